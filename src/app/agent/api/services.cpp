// Services as the API's models: GET /service, /service/{id}, /lrp.
#include <charconv>

#include "app/agent/api/api.h"

namespace axo {

namespace {

const char* policy_name(bool local) {
    return local ? "Local" : "Cluster";
}

Json backend_json(const service::Backend& backend, bool usable) {
    Json json{{"ip", backend.address.address.to_string()},
              {"protocol", lb_protocol_name(backend.address.protocol)},
              {"port", backend.address.port},
              {"state", std::string(service::state_name(backend.state))},
              {"preferred", usable},
              {"weight", backend.weight}};
    put_nonempty(json, "nodeName", backend.node.empty() ? "" : backend.node.str());
    put_nonempty(json, "zone", backend.zone.empty() ? "" : backend.zone.str());
    return json;
}

}  // namespace

Json AgentApi::service_json(const service::FrontendKey& key, const service::FrontendRow& row) const {
    const service::ServiceInfo& info = *row.service;
    Json backends = Json::array();
    for (std::size_t i = 0; i < row.selection->backends.size(); ++i)
        backends.push_back(backend_json(row.selection->backends[i], i < row.selection->usable));
    Json flags{{"type", std::string(service::type_name(row.type))},
               {"trafficPolicy", policy_name(info.external_local)},
               {"extTrafficPolicy", policy_name(info.external_local)},
               {"intTrafficPolicy", policy_name(info.internal_local)},
               {"natPolicy", "None"},
               {"name", info.name.name},
               {"namespace", info.name.name_space}};
    if (info.health_check_node_port != 0) flags["healthCheckNodePort"] = info.health_check_node_port;
    Json spec{{"id", row.id},
              {"frontend-address",
               {{"ip", key.address.to_string()},
                {"protocol", lb_protocol_name(key.protocol)},
                {"port", key.port},
                {"scope", key.scope == LB_SCOPE_INTERNAL ? "internal" : "external"}}},
              {"backend-addresses", std::move(backends)},
              {"flags", std::move(flags)}};
    Json status{{"realized", spec}};
    return {{"spec", std::move(spec)}, {"status", std::move(status)}};
}

Json AgentApi::services_json() const {
    Json all = Json::array();
    if (!plane_.services_) return all;
    // What did not fit into the maps is not served: it is among the problems, not here.
    for (const auto& [key, row] : plane_.services_->module().frontends().rows()) {
        if (row.id != 0) all.push_back(service_json(key, row));
    }
    return all;
}

Json AgentApi::kube_proxy_replacement() const {
    const Config& config = plane_.config_;
    const ServicePlan& plan = plane_.plan_;
    const ServiceSettings& programs = plan.programs;
    const DatapathDecisions& decisions = plane_.datapath_ ? plane_.datapath_->decisions() : plane_.early_;
    Json devices = Json::array();
    Json list = Json::array();
    for (const NativeDevice& device : decisions.devices) {
        Json ips = Json::array();
        for (const IpAddress& ip : device.addresses) {
            ips.push_back(ip.to_string());
        }
        devices.push_back(device.name);
        list.push_back({{"name", device.name}, {"ip", std::move(ips)}});
    }
    Json node_port{{"enabled", plan.node_port}};
    if (plan.node_port) {
        node_port["mode"] = programs.mode == LB_MODE_DSR          ? "DSR"
                            : programs.mode == LB_MODE_HYBRID     ? "Hybrid"
                            : config.services.mode == LB_MODE_DSR ? "DSR"
                                                                  : "SNAT";
        node_port["dsrMode"] = programs.dispatch == LB_DISPATCH_GENEVE ? "Geneve" : "IP Option/Extension";
        node_port["algorithm"] = config.services.algorithm == LB_MAGLEV ? "Maglev" : "Random";
        node_port["lutSize"] = config.services.maglev_table_size;
        // Of what was asked for; what each device does is in services_status.
        node_port["acceleration"] = programs.acceleration == XdpAcceleration::kNative       ? "Native"
                                    : programs.acceleration == XdpAcceleration::kBestEffort ? "Best-Effort"
                                    : programs.acceleration == XdpAcceleration::kGeneric    ? "Generic"
                                                                                            : "Disabled";
        node_port["portMin"] = programs.node_port_low;
        node_port["portMax"] = programs.node_port_high;
    }
    Json annotations = Json::array({"service.cilium.io/node", "service.cilium.io/node-selector",
                                    "service.cilium.io/src-ranges-policy", "service.cilium.io/type"});
    if (config.services.mode_annotation) annotations.push_back("service.cilium.io/forwarding-mode");
    if (config.services.algorithm_annotation) annotations.push_back("service.cilium.io/lb-algorithm");
    Json protocols = Json::array();
    if (plan.socket_lb) protocols = Json::array({"TCP", "UDP"});
    return {{"mode", plan.mode},
            {"devices", std::move(devices)},
            {"deviceList", std::move(list)},
            {"directRoutingDevice", direct_routing_device(decisions)},
            {"features",
             {{"nodePort", std::move(node_port)},
              {"hostPort", {{"enabled", plan.host_port}}},
              {"externalIPs", {{"enabled", plan.external_ips}}},
              {"hostReachableServices", {{"enabled", plan.socket_lb}, {"protocols", std::move(protocols)}}},
              {"socketLB", {{"enabled", plan.socket_lb}}},
              {"sessionAffinity", {{"enabled", plan.session_affinity}}},
              {"gracefulTermination", {{"enabled", true}}},
              {"nat46X64", {{"enabled", false}}},
              {"socketLBTracing", {{"enabled", false}}},
              {"bpfSocketLBHostnsOnly", programs.sockets.host_only},
              {"annotations", std::move(annotations)}}}};
}

Json AgentApi::masquerading() const {
    const Config& config = plane_.config_;
    const bool v4 = config.ipv4 && config.masquerade.ipv4;
    const bool v6 = config.ipv6 && config.masquerade.ipv6;
    Json json{{"enabled", v4 || v6}, {"enabledProtocols", {{"ipv4", v4}, {"ipv6", v6}}}};
    if (!v4 && !v6) return json;
    json["mode"] = config.masquerade.bpf ? "BPF" : "iptables";
    json["ip-masq-agent"] = config.masquerade.ip_masq_agent;
    // Without a CIDR of native routing, what is spared are the pods' own.
    NodeRow own;
    own.pod_cidrs = plane_.node_state_.pod_cidrs;
    const auto exclusion = [&](const Prefix& native, Family family) {
        const Prefix prefix = native ? native : own.pod_cidr(family);
        return prefix ? prefix.to_string() : std::string();
    };
    if (v4) json["snat-exclusion-cidr-v4"] = exclusion(config.native_cidr4, Family::kIpv4);
    if (v6) json["snat-exclusion-cidr-v6"] = exclusion(config.native_cidr6, Family::kIpv6);
    return json;
}

// What services add to the status's own part.
Json AgentApi::services_status() const {
    const service::ServiceModule& module = plane_.services_->module();
    const auto usage = module.usage();
    Json xdp = Json::array();
    for (const Datapath::XdpDevice& device : plane_.datapath_->xdp_devices()) {
        Json entry{{"device", device.name},
                   {"mode", device.mode == XdpMode::kNative    ? "native"
                            : device.mode == XdpMode::kGeneric ? "generic"
                                                               : "none"},
                   {"forwards", device.forwards}};
        put_nonempty(entry, "note", device.note);
        xdp.push_back(std::move(entry));
    }
    Json prefilter = nullptr;
    if (plane_.prefilter_) {
        if (const auto prefixes = plane_.prefilter_->list())
            prefilter = {{"prefixes", prefixes->size()}, {"revision", plane_.prefilter_->revision()}};
    }
    Json netfilter = nullptr;
    if (plane_.netfilter_) {
        const auto counts = plane_.netfilter_->counts();
        netfilter = {{"checks", counts.checks},
                     {"writes", counts.writes},
                     {"taken-from-kube-proxy", counts.taken_from_kube_proxy},
                     {"problem", plane_.netfilter_->problem()}};
    }
    Json ended = nullptr;
    if (const SocketTerminator* terminator = plane_.services_->terminator()) {
        const auto counts = terminator->counts();
        ended = {{"passes", counts.passes}, {"ended", counts.ended}, {"failed", counts.failed}};
    }
    Json problems = Json::array();
    for (const auto& problem : module.problems())
        problems.push_back({{"where", problem.where}, {"message", problem.message}});
    Json nat_stats = nullptr;
    if (const nat::NatStats* stats = plane_.nat_stats_.get()) {
        for (const auto& problem : stats->problems())
            problems.push_back({{"where", problem.where}, {"message", problem.message}});
        nat_stats = Json::array();
        for (const nat::PortUse& use : stats->top()) {
            nat_stats.push_back({{"tuple", use.tuple.to_string()},
                                 {"ports-used", use.used},
                                 {"ports-available", stats->range().size()}});
        }
    }
    return {{"synced", plane_.services_->synced()}, {"services", usage.services},
            {"frontends", usage.frontends},         {"backends", usage.backends},
            {"table-bytes", usage.tables.bytes},    {"problems", std::move(problems)},
            {"nat-stats", std::move(nat_stats)},    {"xdp", std::move(xdp)},
            {"prefilter", std::move(prefilter)},    {"netfilter", std::move(netfilter)},
            {"sockets-ended", std::move(ended)}};
}

void AgentApi::add_service_routes() {
    add("GET", "/v1/service", [this](const Call& call) { call.answer(200, services_json()); });
    add("GET", "/v1/service/{}", [this](const Call& call) {
        const std::string& text = call.parameters[0];
        std::uint16_t id = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
        if (error != std::errc{} || end != text.data() + text.size() || id == 0)
            return call.fail(400, "service '" + text + "': accepted: a number from 1 to 65535");
        for (const auto& [key, row] : plane_.services_->module().frontends().rows()) {
            if (row.id == id) return call.answer(200, service_json(key, row));
        }
        call.fail(404, "service " + text + " does not exist");
    });
    // There are no local redirect policies, and nothing speaks BGP.
    add("GET", "/v1/lrp", [](const Call& call) { call.answer(200, Json::array()); });
    for (const char* path : {"/v1/bgp/peers", "/v1/bgp/routes", "/v1/bgp/route-policies"})
        add("GET", path, [](const Call& call) { call.fail(501, "BGP Control Plane disabled"); });
}

}  // namespace axo
