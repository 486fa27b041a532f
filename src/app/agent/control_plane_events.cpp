// What the datapath tells: monitor's clients and Hubble.
#include <net/if.h>

#include "app/agent/control_plane.h"
#include "app/agent/monitor_notices.h"
#include "io/listen_socket.h"

namespace axo {

namespace {

constexpr std::size_t kMonitorClients = 128;

}  // namespace

void ControlPlane::start_events() {
    monitor_ = std::make_unique<MonitorHub>(
        loop_,
        EventNames{.interface = [this](std::uint32_t index) -> std::string {
                       auto known = interface_names_.find(index);
                       if (known == interface_names_.end()) {
                           char name[IF_NAMESIZE] = {};
                           if (index == 0 || ::if_indextoname(index, name) == nullptr) return "";
                           known = interface_names_.emplace(index, name).first;
                       }
                       return known->second;
                   },
                   .labels = [this](std::uint32_t id) { return labels_of(IdentityId(id)).to_strings(); },
                   .pod = [this](const IpAddress& ip) -> std::string {
                       const IpcacheRow* row = ipcache_->claims().winner(Prefix::host(ip));
                       return row == nullptr || row->k8s_namespace.empty() ? "" : row->k8s_namespace + "/" + row->name;
                   },
                   .rule = [this](std::uint32_t cookie) -> EventRule {
                       if (cookie == POLICY_COOKIE_CLOSED)
                           return {"the endpoint is closed: its policy does not fit, see axoneme status", "none",
                                   false};
                       const auto rule = policy_->engine().rule(cookie);
                       if (!rule) return {};
                       return {rule->to_string(), policy_->match_of(*rule),
                               rule->kind == policy::RuleInfo::Kind::kRule && rule->deny};
                   }});
    // Indices are reused when pods go.
    endpoint_watch_ = endpoints_->table().watch([this](const std::set<EndpointId>&) { interface_names_.clear(); });
    if (config_.hubble.enabled) {
        hubble_ = std::make_unique<AgentHubble>(
            loop_, config_.hubble, config_.cluster_name, config_.node_name,
            AgentHubble::Tables{.nodes = nodes_->table(),
                                .endpoints = endpoints_->table(),
                                .identities = identities_->table(),
                                .frontends = services_->module().frontends(),
                                .ipcache = *ipcache_,
                                .policy = *policy_,
                                .pods = *pods_,
                                .labels_of = [this](IdentityId id) { return labels_of(id); },
                                .events_lost = [this] { return datapath_->events_lost(); }});
        hubble_->set_node_labels(local_node_.labels);
        hubble_->tap_agent_events([hub = monitor_.get()](const std::string& event) {
            if (!hub->wants_notices()) return;
            if (const auto notice = monitor_notice(event)) hub->tell(*notice);
        });
    }
    serve_monitor_socket();
    const auto publish = [hub = monitor_.get(), hubble = hubble_.get()](const flow_event& event,
                                                                        std::span<const std::byte> message) {
        // Monitor is about packets, and this one has been told of.
        if (event.type != EVENT_DNS) hub->publish(event);
        if (hubble != nullptr) hubble->observe(event, message);
    };
    if (auto events = datapath_->start_events(publish); !events)
        log_.warn("Datapath events are not available", {events.error()});
}

// Where `cilium-dbg monitor` and whatever else reads Cilium's own stream looks.
void ControlPlane::serve_monitor_socket() {
    const std::string path = (config_.state_dir / "monitor1_2.sock").string();
    monitor_socket_ = std::make_unique<PushServer>(
        loop_, kMonitorClients,
        [hub = monitor_.get()](std::shared_ptr<PushClient> client) { hub->attach(std::move(client)); });
    auto served = monitor_socket_->listen_unix(path, 0660);
    if (served) served = give_to_group(path, "cilium");
    // Nothing else depends on it.
    if (!served) log_.error("Cilium's monitor socket is not served", {served.error()});
}

}  // namespace axo
