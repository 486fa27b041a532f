// The datapath as the endpoint manager sees it. Thread: the loop's only.
#pragma once

#include "datapath/datapath.h"
#include "features/endpoint/port.h"

namespace axo {

class DatapathPort : public EndpointDatapath {
public:
    DatapathPort(EventLoop& loop, Datapath& datapath);
    Status attach(const EndpointRow& endpoint) override;
    Status detach(EndpointId id) override { return datapath_.detach_endpoint(id); }
    Status prune(const std::vector<EndpointId>& known) override { return datapath_.prune_endpoints(known); }
    Reconciler<IpAddress, LocalEndpoint>::Operations addresses() override;
    Reconciler<IfIndex, DeviceEndpoint>::Operations devices() override;
    void bump(const EndpointRow& endpoint) override;
    void forget_flows(const std::set<IpAddress>& addresses) override;

private:
    void collect();

    EventLoop& loop_;
    Datapath& datapath_;
    std::set<IpAddress> forgotten_;  // collected by the next pass
    bool collecting_ = false;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace axo
