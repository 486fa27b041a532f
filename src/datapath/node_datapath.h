// The Datapath of a running agent. Private to src/datapath and its tests.
#pragma once

#include <atomic>
#include <map>

#include "datapath/attachments.h"
#include "datapath/flow_collector.h"
#include "kernel/ring_buffer.h"

namespace axo {

class NodeDatapath : public Datapath {
public:
    NodeDatapath(EventLoop& loop, const DatapathSettings& settings, const KernelFeatures& features, Netlink netlink,
                 NetlinkMonitor monitor);
    ~NodeDatapath() override;

    // Everything from the devices to the links: what is right already stays untouched.
    Status bring_up();
    Status start_controllers(ControllerRegistry& registry);

    [[nodiscard]] const DatapathDecisions& decisions() const override { return decisions_; }
    [[nodiscard]] const DatapathStartReport& start_report() const override { return report_; }
    [[nodiscard]] EndpointMap& endpoints() override { return *endpoints_; }
    [[nodiscard]] EndpointDeviceMap& endpoint_devices() override { return *endpoint_devices_; }
    [[nodiscard]] IpcacheMap& ipcache() override { return *ipcache_; }
    [[nodiscard]] Generations& generations() override { return *generations_; }
    [[nodiscard]] FlowMaps& flows() override { return *flows_; }
    [[nodiscard]] MetricsMap& metrics() override { return *metrics_; }
    [[nodiscard]] IfIndex host_device() const override { return devices_.host.index; }
    [[nodiscard]] IfIndex tunnel_device() const override {
        return devices_.tunnel ? devices_.tunnel->index : IfIndex{};
    }
    void set_change_callback(std::function<void()> callback) override { changed_ = std::move(callback); }

    Status attach_endpoint(EndpointId id, const std::string& device, IfIndex link) override;
    Status detach_endpoint(EndpointId id) override;
    Status prune_endpoints(const std::vector<EndpointId>& known) override;

    Status start_events(EventCallback callback) override;
    [[nodiscard]] std::uint64_t events_seen() const override { return events_ ? events_->records() : 0; }
    [[nodiscard]] std::uint64_t events_lost() const override;
    Result<std::vector<MapUsage>> map_usage() override;

private:
    struct PodDevice {
        std::string device;
        IfIndex link;
        bool complete = true;  // false: cil_to_container is still to come
    };

    // Attaching one program to a device costs a grace period of the kernel's RCU (8 to 15 ms, under the lock that all
    // network configuration takes). A pod works with the first alone: whatever this node's programs deliver has been
    // through them, and nothing routes to a pod's device past them. So the second follows once the ADDs have calmed
    // down.
    void complete_later();
    void complete_next();

    Status use_programs(ProgramSet programs);
    Status open_maps();
    Status attach_node();
    Status check();
    void network_changed();
    Result<std::string> network_fingerprint();

    EventLoop& loop_;
    DatapathSettings settings_;
    KernelFeatures features_;
    Netlink netlink_;
    NetlinkMonitor monitor_;
    DatapathDecisions decisions_;
    DatapathStartReport report_;
    BaseDevices devices_;
    std::optional<ProgramSet> programs_;
    std::map<EndpointId, PodDevice> pods_;

    std::optional<EndpointMap> endpoints_;
    std::optional<EndpointDeviceMap> endpoint_devices_;
    std::optional<IpcacheMap> ipcache_;
    std::optional<Generations> generations_;
    std::shared_ptr<FlowMaps> flows_;
    std::optional<MetricsMap> metrics_;
    RawBpfMap events_lost_;

    bool started_ = false;
    std::string fingerprint_;
    std::function<void()> changed_;
    std::unique_ptr<Controller> check_;
    std::unique_ptr<FlowCollector> collector_;
    EventLoop::Handle readable_;
    EventLoop::Handle settle_;
    EventLoop::Handle complete_;
    std::unique_ptr<RingBufferReader> events_;  // last: its thread calls into what stands above
};

}  // namespace axo
