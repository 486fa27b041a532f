// GET /healthz, /config, /debuginfo.
#include <sys/utsname.h>
#include <unistd.h>

#include "app/agent/api/api.h"
#include "app/agent/config_internal.h"
#include "base/duration.h"
#include "base/sha256.h"
#include "base/version.h"
#include "features/health/desired.h"
#include "model/time.h"

namespace axo {

namespace {

Json probe_json(const ProbeResult& probe) {
    Json json{{"status", !probe.done ? "never probed" : probe.failure}, {"latency-ns", probe.latency.count()}};
    return json;
}

template <class Key, class Value>
Json reconciler_json(const Reconciler<Key, Value>& reconciler, const std::function<std::string(const Key&)>& describe) {
    const ReconcileCounters& counters = reconciler.counters();
    Json errors = Json::array();
    for (const auto& [key, error] : reconciler.errors())
        errors.push_back({{"object", describe(key)}, {"message", error.message}});
    return {{"name", reconciler.name()},   {"unchanged-at-start", counters.unchanged_at_start},
            {"added", counters.added},     {"updated", counters.updated},
            {"removed", counters.removed}, {"failed", counters.failed},
            {"errors", std::move(errors)}};
}

std::string timestamp(std::chrono::system_clock::time_point time) {
    return time.time_since_epoch().count() == 0 ? "0001-01-01T00:00:00Z" : format_time_nano(time);
}

}  // namespace

Json AgentApi::brief_status(bool needs_kubernetes) const {
    Json cilium{{"state", "Ok"}, {"msg", std::string(kVersion) + " (axoneme v" + kVersion + ")"}};
    if (!plane_.waiting_for_.empty()) {
        cilium["state"] = "Failure";
        cilium["msg"] = "waiting for " + plane_.waiting_for_;
    } else if (const Json kubernetes = kubernetes_status(); needs_kubernetes && kubernetes["state"] == "Failure") {
        cilium["state"] = "Failure";
        cilium["msg"] = "Kubernetes service is not ready: " + kubernetes["msg"].get<std::string>();
    }
    return Json{{"cilium", std::move(cilium)}};
}

Json AgentApi::controllers_json() const {
    Json all = Json::array();
    for (const ControllerStatus& controller : plane_.controllers_.all()) {
        all.push_back({{"name", controller.name},
                       {"uuid", name_uuid(controller.name)},
                       {"configuration", {{"error-retry", true}, {"interval", duration_text(controller.interval)}}},
                       {"status",
                        {{"success-count", controller.success_count},
                         {"failure-count", controller.failure_count},
                         {"consecutive-failure-count", controller.consecutive_failures},
                         {"last-success-timestamp", timestamp(controller.last_success)},
                         {"last-failure-timestamp", timestamp(controller.last_failure)},
                         {"last-failure-msg", controller.last_error}}}});
    }
    return all;
}

Json AgentApi::node_addressing() const {
    const auto element = [](const IpAddress& ip, const Prefix& range, bool enabled) {
        Json json{{"enabled", enabled}};
        if (ip) json["ip"] = ip.to_string();
        if (range) json["alloc-range"] = range.to_string();
        return json;
    };
    NodeRow own;
    own.pod_cidrs = plane_.node_state_.pod_cidrs;
    Json json = Json::object();
    if (plane_.config_.ipv4) json["ipv4"] = element(plane_.node_state_.router_ipv4, own.pod_cidr(Family::kIpv4), true);
    if (plane_.config_.ipv6) json["ipv6"] = element(plane_.node_state_.router_ipv6, own.pod_cidr(Family::kIpv6), true);
    return json;
}

Json AgentApi::node_element(const NodeRow& row) const {
    const auto addressing = [&](const IpAddress& v4, const IpAddress& v6, bool ranges) {
        Json json = Json::object();
        const auto add = [&](const char* key, const IpAddress& ip, const Prefix& range, bool on) {
            if (!ip && !range) return;
            Json element{{"enabled", on}, {"ip", ip.to_string()}};
            if (ranges) {
                element["alloc-range"] = range ? range.to_string() : "";
                element["address-type"] = "InternalIP";
            }
            json[key] = std::move(element);
        };
        add("ipv4", v4, ranges ? row.pod_cidr(Family::kIpv4) : Prefix{}, plane_.config_.ipv4);
        add("ipv6", v6, ranges ? row.pod_cidr(Family::kIpv6) : Prefix{}, plane_.config_.ipv6);
        return json;
    };
    Json json{{"name", row.cluster + "/" + row.name},
              {"primary-address", addressing(row.node_ip(Family::kIpv4), row.node_ip(Family::kIpv6), true)},
              {"health-endpoint-address", addressing(row.health_ipv4, row.health_ipv6, false)},
              {"source", row.source}};
    Json secondary = Json::array();
    for (const NodeAddress& address : row.addresses) {
        if (address.ip == row.node_ip(address.ip.family())) continue;
        secondary.push_back({{"enabled", true}, {"ip", address.ip.to_string()}, {"address-type", address.type}});
    }
    json["secondary-addresses"] = std::move(secondary);
    return json;
}

Json AgentApi::cluster_status() const {
    Json health{{"state", "Disabled"}, {"msg", ""}};
    if (plane_.health_) health = {{"state", "Ok"}, {"msg", ""}};
    Json nodes = Json::array();
    if (plane_.nodes_) {
        for (const auto& [name, row] : plane_.nodes_->table().rows()) nodes.push_back(node_element(row));
    }
    return {{"ciliumHealth", std::move(health)},
            {"self", plane_.config_.cluster_name + "/" + plane_.config_.node_name},
            {"nodes", std::move(nodes)}};
}

Json AgentApi::axoneme_status() {
    Json json{{"start-ms", plane_.start_ms_},
              {"datapath-ready-ms", plane_.datapath_ready_ms_},
              {"store", plane_.store_ ? plane_.store_->describe() : plane_.config_.object_store}};
    Json rejected = Json::array();
    for (const auto& [where, message] : plane_.rejections_.all())
        rejected.push_back({{"where", where}, {"message", message}});
    if (plane_.store_) {
        for (const auto& entry : plane_.store_->rejected())
            rejected.push_back({{"where", entry.where}, {"message", entry.message}});
    }
    json["rejected-objects"] = std::move(rejected);
    Json missing = Json::array();
    for (const auto& feature : plane_.features_.missing()) {
        missing.push_back(
            {{"feature", feature.feature}, {"needed-for", feature.needed_for}, {"kernel", feature.kernel}});
    }
    json["missing-kernel-features"] = std::move(missing);
    Json state = Json::array();
    if (!plane_.monitor_) {
        json["rejected-state"] = std::move(state);
        return json;
    }
    for (const auto& [path, message] : plane_.endpoints_->rejected_state())
        state.push_back({{"path", path}, {"message", message}});
    for (const auto& [path, error] : plane_.endpoints_->state_errors())
        state.push_back({{"path", path}, {"message", error.message}});
    json["rejected-state"] = std::move(state);

    const DatapathStartReport& report = plane_.datapath_->start_report();
    Json reasons = Json::array();
    const auto add_reasons = [&reasons](const std::vector<DatapathDecisions::Reason>& list) {
        for (const DatapathDecisions::Reason& reason : list)
            reasons.push_back({{"what", reason.what}, {"choice", reason.choice}, {"reason", reason.reason}});
    };
    add_reasons(plane_.datapath_->decisions().reasons);
    add_reasons(plane_.plan_.reasons);
    json["datapath"] = {{"programs", report.programs_loaded ? "loaded" : "adopted"},
                        {"maps-created", report.maps_created},
                        {"maps-adopted", report.maps_adopted},
                        {"links-attached", report.links_attached},
                        {"links-updated", report.links_updated},
                        {"links-adopted", report.links_adopted},
                        {"devices-created", report.devices_created},
                        {"reasons", std::move(reasons)}};
    Json reconcilers = Json::array();
    reconcilers.push_back(reconciler_json<IpAddress, LocalEndpoint>(
        plane_.endpoints_->addresses(), [](const IpAddress& ip) { return ip.to_string(); }));
    reconcilers.push_back(reconciler_json<IfIndex, DeviceEndpoint>(
        plane_.endpoints_->devices(), [](const IfIndex& link) { return link.to_string(); }));
    reconcilers.push_back(reconciler_json<Prefix, IpcacheEntry>(
        plane_.ipcache_->entries(), [](const Prefix& prefix) { return prefix.to_string(); }));
    if (plane_.routing_) {
        reconcilers.push_back(reconciler_json<Prefix, WantedRoute>(
            plane_.routing_->reconciler(), [](const Prefix& prefix) { return prefix.to_string(); }));
        Json routing = Json::array();
        for (const auto& [name, message] : plane_.routing_->node_errors())
            routing.push_back({{"node", name}, {"message", message}});
        json["unrouted-nodes"] = std::move(routing);
    }
    if (plane_.services_) {
        json["services"] = services_status();
        const ReconcileCounters& counters = plane_.services_->module().counters();
        Json errors = Json::array();
        for (const auto& problem : plane_.services_->module().problems())
            errors.push_back({{"object", problem.where}, {"message", problem.message}});
        reconcilers.push_back({{"name", "services"},
                               {"unchanged-at-start", counters.unchanged_at_start},
                               {"added", counters.added},
                               {"updated", counters.updated},
                               {"removed", counters.removed},
                               {"failed", counters.failed},
                               {"errors", std::move(errors)}});
    }
    if (plane_.nat_) {
        reconcilers.push_back(reconciler_json<IfIndex, NatSource>(
            plane_.nat_->addresses(), [](const IfIndex& link) { return "device " + link.to_string(); }));
        reconcilers.push_back(reconciler_json<Prefix, std::monostate>(
            plane_.nat_->prefixes(), [](const Prefix& prefix) { return prefix.to_string(); }));
    }
    if (plane_.policy_) {
        const ReconcileCounters& counters = plane_.policy_->counters();
        Json errors = Json::array();
        for (const auto& [id, row] : plane_.endpoints_->table().rows()) {
            if (const Error* error = plane_.policy_->error(id))
                errors.push_back({{"object", "endpoint " + id.to_string()}, {"message", error->message}});
        }
        reconcilers.push_back({{"name", "policy"},
                               {"unchanged-at-start", counters.unchanged_at_start},
                               {"added", counters.added},
                               {"updated", counters.updated},
                               {"removed", counters.removed},
                               {"failed", counters.failed},
                               {"errors", std::move(errors)}});
    }
    json["reconcilers"] = std::move(reconcilers);
    Json maps = Json::array();
    for (const auto& map : map_usage_) {
        maps.push_back(
            {{"name", map.name}, {"bytes", map.bytes}, {"entries", map.entries}, {"max-entries", map.max_entries}});
    }
    json["maps"] = std::move(maps);
    json["events"] = {{"seen", plane_.datapath_->events_seen()}, {"lost", plane_.datapath_->events_lost()}};
    Json nodes = Json::array();
    if (plane_.health_) {
        for (const auto& [name, health] : plane_.health_->results()) {
            Json node{{"name", plane_.config_.cluster_name + "/" + name}, {"local", health.local}};
            WallTime last{};
            const auto add = [&](const std::vector<AddressHealth>& list, const std::string& what, const char* ip) {
                if (list.empty()) return;
                node[ip] = list.front().ip.to_string();
                node[what + "-icmp"] = probe_json(list.front().icmp);
                node[what + "-http"] = probe_json(list.front().http);
                last = std::max({last, list.front().icmp.last_probed, list.front().http.last_probed});
            };
            add(health.host, "host", "ip");
            add(health.endpoint, "endpoint", "endpoint-ip");
            node["reachable"] = reachable(health);
            node["last-probed"] = timestamp(last);
            nodes.push_back(std::move(node));
        }
        json["health-probe-interval-ns"] = plane_.health_->interval().count();
    }
    json["node-health"] = std::move(nodes);
    return json;
}

Json AgentApi::kubernetes_status() const {
    const auto server = plane_.store_ ? plane_.store_->server() : std::nullopt;
    if (!server) return {{"state", "Disabled"}, {"msg", ""}};
    const ObjectStore::Reachability reachability = plane_.store_->reachability();
    Json json{{"state", "Ok"}, {"msg", server->version}, {"k8s-api-versions", Json::array()}};
    if (!reachability.reachable) {
        json["state"] = "Failure";
        json["msg"] =
            server->address + " cannot be reached since " + timestamp(reachability.since) + ": " + reachability.error;
    } else if (!server->concerns.empty()) {
        json["state"] = "Warning";
        std::string& text = json["msg"].get_ref<std::string&>();
        for (const std::string& concern : server->concerns) text += "; " + concern;
    }
    for (const auto& api : server->apis) {
        const bool shown = api.state == "watching" || api.state == "listing";
        json["k8s-api-versions"].push_back(shown ? api.name : api.name + " (" + api.state + ")");
    }
    return json;
}

Json AgentApi::hubble_status() const {
    if (!plane_.config_.hubble.enabled) return {{"state", "Disabled"}, {"msg", ""}};
    if (!plane_.hubble_) return {{"state", "Warning"}, {"msg", "not before the datapath runs"}};
    const AgentHubble::Status status = plane_.hubble_->status();
    const bool fails = !status.error.empty(), warns = !status.warning.empty();
    Json json{{"state", fails   ? "Failure"
                        : warns ? "Warning"
                                : "Ok"},
              {"msg", status.error + (fails && warns ? "; " : "") + status.warning},
              {"observer",
               {{"current-flows", status.observer.flows},
                {"max-flows", status.observer.max_flows},
                {"seen-flows", status.observer.seen},
                {"uptime", duration_text(std::chrono::nanoseconds(status.observer.uptime_ns))},
                {"lost-events", {{"datapath", status.observer.lost_datapath}, {"ring", status.observer.lost_ring}}}}}};
    if (status.history)
        json["history"] = {{"flows", status.history->flows},
                           {"bytes", status.history->bytes},
                           {"files", status.history->segments},
                           {"lost-flows", status.history->lost},
                           {"error", status.history->error}};
    if (!status.exporters.up.empty())
        json["exporters"] = {{"active", status.exporters.active},
                             {"errors", status.exporters.errors},
                             {"lost-events", status.exporters.lost},
                             {"intervals-cut-short", status.exporters.cut_short}};
    return json;
}

// Counting entries walks the maps; several calls in a row share one walk.
void AgentApi::refresh_map_usage() {
    if (std::chrono::steady_clock::now() - map_usage_at_ <= std::chrono::seconds(2)) return;
    if (auto usage = plane_.datapath_->map_usage()) {
        map_usage_ = std::move(*usage);
        map_usage_at_ = std::chrono::steady_clock::now();
    }
}

Json AgentApi::status(bool needs_kubernetes) {
    const Config& config = plane_.config_;
    Json json = brief_status(needs_kubernetes);
    json["kvstore"] = {{"state", "Disabled"}, {"msg", ""}};
    json["kubernetes"] = kubernetes_status();
    json["host-firewall"] = {{"mode", plane_.config_.policy.host_firewall ? "Enabled" : "Disabled"}};
    json["hubble"] = hubble_status();
    if (const std::string metrics = plane_.hubble_ ? plane_.hubble_->metrics_state() : ""; !metrics.empty())
        json["hubble-metrics"] = {{"state", metrics == "Ok" ? "Ok" : "Failure"},
                                  {"msg", metrics == "Ok" ? "" : metrics}};
    json["kube-proxy-replacement"] = kube_proxy_replacement();
    json["datapath-mode"] = "veth";
    json["cni-chaining"] = {{"mode", "none"}};
    json["cni-file"] = {{"state", "Disabled"}, {"msg", "CNI configuration file management disabled"}};
    if (plane_.cni_conf_) {
        json["cni-file"] = {{"state", plane_.cni_conf_->ok() ? "Ok" : "Failure"}, {"msg", plane_.cni_conf_->message()}};
    } else if (!config.cni_conf_dir.empty()) {
        json["cni-file"] = {{"state", "Warning"}, {"msg", "not written before the agent is ready"}};
    }
    json["identity-range"] = {{"min-identity", identity::kClusterMin}, {"max-identity", identity::kClusterMax}};
    for (const char* feature : {"ipv4-big-tcp", "ipv6-big-tcp", "bandwidth-manager", "srv6"})
        json[feature] = {{"enabled", false}};
    json["masquerading"] = masquerading();
    json["encryption"] = {{"mode", "Disabled"}};
    json["controllers"] = controllers_json();
    json["cluster"] = cluster_status();
    json["cluster-mesh"] = {{"clusters", Json::array()}};
    const DatapathDecisions& decisions = plane_.datapath_ ? plane_.datapath_->decisions() : plane_.early_;
    const bool tunnel = config.datapath.routing == RoutingMode::kTunnel;
    json["routing"] = {{"inter-host-routing-mode", tunnel ? "Tunnel" : "Native"},
                       {"intra-host-routing-mode", decisions.legacy_host_routing ? "Legacy" : "BPF"}};
    if (tunnel) json["routing"]["tunnel-protocol"] = to_string(config.datapath.tunnel_protocol);
    json["attach-mode"] = decisions.attach_mode == AttachMode::kTcx ? "tcx" : "tc";
    json["clock-source"] = {{"mode", "ktime"}};

    Json ipam{{"allocations", Json::object()}, {"ipv4", Json::array()}, {"ipv6", Json::array()}, {"status", ""}};
    const NodePools& pools = plane_.pool_.pools();
    for (const auto& [ip, allocation] : pools.allocations()) {
        ipam["allocations"][ip.to_string()] = allocation.owner;
        ipam[ip.is_v4() ? "ipv4" : "ipv6"].push_back(ip.to_string());
    }
    std::string text;
    for (const Family family : {Family::kIpv4, Family::kIpv6}) {
        const std::string described = pools.describe(family);
        if (described.empty()) continue;
        if (!text.empty()) text += ", ";
        text.append(family == Family::kIpv4 ? "IPv4: " : "IPv6: ").append(described);
    }
    ipam["status"] = text;
    json["ipam"] = std::move(ipam);
    const long page = ::sysconf(_SC_PAGESIZE);
    json["nodeMonitor"] = {{"cpus", ::sysconf(_SC_NPROCESSORS_CONF)},
                           {"npages", config.datapath.event_ring_bytes / static_cast<std::uint32_t>(page)},
                           {"pagesize", page},
                           {"lost", plane_.datapath_ ? plane_.datapath_->events_lost() : 0},
                           {"unknown", 0}};
    json["bpf-maps"] = {{"dynamic-size-ratio", 0}, {"maps", Json::array()}};
    if (plane_.datapath_) {
        refresh_map_usage();
        for (const auto& map : map_usage_)
            json["bpf-maps"]["maps"].push_back({{"name", map.name}, {"size", map.max_entries}});
    }
    json["stale"] = Json::object();
    json["axoneme"] = axoneme_status();
    return json;
}

Json AgentApi::configuration() const {
    const Config& config = plane_.config_;
    const DatapathDecisions& decisions = plane_.datapath_ ? plane_.datapath_->decisions() : plane_.early_;
    Json map = Json::object();
    for (const ConfigOption& option : config_options()) {
        const auto given = config.given.find(option.key);
        map[option.key] = given == config.given.end() ? option.default_text : given->second;
    }
    Json spec{{"options", Json::object()}, {"policy-enforcement", "default"}};
    Json status{{"realized", spec},
                {"immutable", Json::object()},
                {"addressing", node_addressing()},
                {"deviceMTU", decisions.device_mtu},
                {"routeMTU", decisions.route_mtu},
                {"datapathMode", "veth"},
                {"ipam-mode", config.ipam},
                {"masquerade", masquerading()["enabled"]},
                {"masqueradeProtocols", masquerading()["enabledProtocols"]},
                {"daemonConfigurationMap", std::move(map)},
                {"GSOMaxSize", 65536},
                {"GROMaxSize", 65536},
                {"GSOIPv4MaxSize", 65536},
                {"GROIPv4MaxSize", 65536},
                {"deviceHeadroom", 0},
                {"deviceTailroom", 0},
                {"ipLocalReservedPorts", ""},
                {"enableBBRHostNamespaceOnly", false},
                {"enableRouteMTUForCNIChaining", false},
                {"nodeMonitor", {{"cpus", ::sysconf(_SC_NPROCESSORS_CONF)}, {"pagesize", ::sysconf(_SC_PAGESIZE)}}}};
    return {{"spec", std::move(spec)}, {"status", std::move(status)}};
}

void AgentApi::add_status_routes() {
    add(
        "GET", "/v1/healthz",
        [this](const Call& call) {
            const bool needs_kubernetes = call.request.header("require-k8s-connectivity") != "false";
            call.answer(200, call.request.header("brief") == "true" ? brief_status(needs_kubernetes)
                                                                    : status(needs_kubernetes));
        },
        false);
    add("GET", "/v1/config", [this](const Call& call) { call.answer(200, configuration()); });
    add(
        "GET", "/v1/debuginfo",
        [this](const Call& call) {
            utsname kernel{};
            ::uname(&kernel);
            Json endpoints = Json::array();
            if (plane_.endpoints_) {
                for (const auto& [id, row] : plane_.endpoints_->table().rows()) endpoints.push_back(endpoint_json(row));
            }
            call.answer(200, {{"cilium-version", std::string("axoneme ") + kVersion},
                              {"kernel-version", kernel.release},
                              {"cilium-status", status(true)},
                              {"endpoint-list", std::move(endpoints)},
                              {"service-list", services_json()},
                              {"subsystem", Json::object()}});
        },
        false);
}

}  // namespace axo
