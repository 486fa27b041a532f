// The datapath as the endpoint manager sees it. Thread: the loop's only.
#pragma once

#include <deque>

#include "datapath/datapath.h"
#include "features/endpoint/port.h"

namespace axo {

class DatapathPort : public EndpointDatapath {
public:
    DatapathPort(EventLoop& loop, Datapath& datapath);
    Status attach(const EndpointRow& endpoint) override;
    Status detach(EndpointId id) override { return datapath_.detach_endpoint(id); }
    void remove_device(const EndpointRow& endpoint, std::function<void(Status)> done) override;
    Status prune(const std::vector<EndpointId>& known) override { return datapath_.prune_endpoints(known); }
    Reconciler<IpAddress, LocalEndpoint>::Operations addresses() override;
    Reconciler<IfIndex, DeviceEndpoint>::Operations devices() override;
    void bump(const EndpointRow& endpoint) override;
    void forget_flows(const std::set<IpAddress>& addresses) override;

private:
    struct Removal {
        std::string name;
        IfIndex link;
        std::function<void(Status)> done;
    };
    void collect();
    void remove_next();

    EventLoop& loop_;
    Datapath& datapath_;
    std::set<IpAddress> forgotten_;  // collected by the next pass
    bool collecting_ = false;
    std::deque<Removal> removals_;
    bool removing_ = false;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace axo
