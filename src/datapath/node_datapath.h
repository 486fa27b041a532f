// The Datapath of a running agent. Private to src/datapath and its tests.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>

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
    [[nodiscard]] PolicySlabs& policy() override { return *policy_; }
    [[nodiscard]] FlowMaps& flows() override { return *flows_; }
    [[nodiscard]] MetricsMap& metrics() override { return *metrics_; }
    [[nodiscard]] std::vector<XdpDevice> xdp_devices() const override { return xdp_devices_; }
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
        bool promoted = true;  // attached as decisions_.attach_mode says
        bool refused = false;  // promotion failed
    };

    // A tcx link costs a grace period of the kernel's RCU (8 to 15 ms, under the lock that all network configuration
    // takes), a clsact filter 0.1 ms. So a new pod starts with filters and is promoted to links once the ADDs have
    // calmed down, one pod at a time, off the loop.
    void promote_later();
    void promote_next();
    void promoted(EndpointId id, IfIndex link, const Status& outcome);
    [[nodiscard]] AttachMode mode_of(const PodDevice& pod) const;
    [[nodiscard]] std::string endpoint_directory(EndpointId id) const;
    void add_to_report(const AttachCounts& counts);

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
    std::optional<XdpFeatureMonitor> xdp_monitor_;  // nothing: no XDP, or a kernel that does not tell
    DatapathDecisions decisions_;
    std::vector<XdpDevice> xdp_devices_;
    DatapathStartReport report_;
    BaseDevices devices_;
    std::optional<ProgramSet> programs_;
    std::map<EndpointId, PodDevice> pods_;

    std::optional<EndpointMap> endpoints_;
    std::optional<EndpointDeviceMap> endpoint_devices_;
    std::optional<IpcacheMap> ipcache_;
    std::optional<Generations> generations_;
    std::optional<PolicySlabs> policy_;
    std::shared_ptr<FlowMaps> flows_;
    std::optional<MetricsMap> metrics_;
    RawBpfMap events_lost_;

    bool started_ = false;
    std::string fingerprint_;
    std::function<void()> changed_;
    std::unique_ptr<Controller> check_;
    std::unique_ptr<FlowCollector> collector_;
    EventLoop::Handle readable_, xdp_features_;
    EventLoop::Handle settle_;
    EventLoop::Handle promote_;
    bool promoting_ = false;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
    // Events come from the ring's reader and from the collector, one at a time; nobody hears them once this has gone.
    struct EventSink {
        std::mutex mutex;
        EventCallback callback;
        void tell(const flow_event& event, std::span<const std::byte> message = {}) {
            const std::lock_guard lock(mutex);
            if (callback) callback(event, message);
        }
    };
    std::shared_ptr<EventSink> sink_ = std::make_shared<EventSink>();
    std::unique_ptr<RingBufferReader> events_;  // last: its thread calls into what stands above
};

}  // namespace axo
