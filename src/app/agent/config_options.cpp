// The table of keys: name, default, meaning, and how a value becomes a field of Config.
#include "app/agent/config_parse.h"

namespace axo {

namespace {

using namespace config_parse;

Status parse_tcp_flags(Config& config, const std::string& value) {
    static const std::map<std::string, int> bits = {{"fin", 1},  {"syn", 2},  {"rst", 4},  {"psh", 8},
                                                    {"ack", 16}, {"urg", 32}, {"ece", 64}, {"cwr", 128}};
    int flags = 0;
    for (const std::string& word : split_list(value)) {
        const auto found = bits.find(word);
        if (word == "all") {
            flags = 0xFF;
        } else if (found == bits.end()) {
            return not_accepted("all, or a list of fin, syn, rst, psh, ack, urg, ece, cwr");
        } else {
            flags |= found->second;
        }
    }
    config.datapath.monitor_tcp_flags = static_cast<std::uint8_t>(flags);
    return {};
}

Status parse_port_range(Config& config, const std::string& value) {
    const auto dash = value.find('-');
    const auto low =
        dash == std::string::npos ? parse_number("x", 0, 0) : parse_number(value.substr(0, dash), 0, 65535);
    const auto high =
        dash == std::string::npos ? parse_number("x", 0, 0) : parse_number(value.substr(dash + 1), 0, 65535);
    if (!low || !high || *low > *high || (*low == 0) != (*high == 0)) {
        return not_accepted("<low>-<high> with 1 <= low <= high <= 65535, or 0-0 for the kernel's range");
    }
    config.datapath.tunnel_source_port_low = static_cast<std::uint16_t>(*low);
    config.datapath.tunnel_source_port_high = static_cast<std::uint16_t>(*high);
    return {};
}

Status parse_log_opt(Config& config, const std::string& value) {
    for (const std::string& word : split_list(value)) {
        if (word == "format=text" || word == "format=text-ts") {
            config.log_format = LogFormat::kText;
        } else if (word == "format=json" || word == "format=json-ts") {
            config.log_format = LogFormat::kJson;
        } else if (word == "level=debug") {
            config.log_level = LogLevel::kDebug;
        } else if (word == "level=info") {
            config.log_level = LogLevel::kInfo;
        } else if (word == "level=warn" || word == "level=warning") {
            config.log_level = LogLevel::kWarn;
        } else if (word == "level=error") {
            config.log_level = LogLevel::kError;
        } else {
            return not_accepted("format=text|text-ts|json|json-ts, level=debug|info|warning|error");
        }
    }
    return {};
}

// cluster names go into labels, store paths and node names of other clusters.
Status parse_cluster_name(Config& config, const std::string& value) {
    const auto legal = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; };
    if (value.empty() || value.size() > 32 || !std::ranges::all_of(value, legal) || value.front() == '-' ||
        value.back() == '-') {
        return not_accepted("1 to 32 of a-z, 0-9 and '-', beginning and ending with a letter or digit");
    }
    config.cluster_name = value;
    return {};
}

std::vector<ConfigOption> make_options() {
    std::vector<ConfigOption> all;
    const auto add = [&](std::string key, std::string fallback, std::string help, Parse parse) {
        const bool boolean = fallback == "true" || fallback == "false";
        all.push_back({std::move(key), std::move(fallback), std::move(help), boolean, std::move(parse)});
    };
    add("agent-health-port", "9879", "TCP port of /healthz on the loopback addresses",
        number(FIELD(agent_health_port), 1, 65535));
    add("allow-localhost", "auto", "auto, always: the node may reach its own pods; policy: only as policy says",
        one_of({{"auto", [](Config& c) { c.policy.allow_localhost = true; }},
                {"always", [](Config& c) { c.policy.allow_localhost = true; }},
                {"policy", [](Config& c) { c.policy.allow_localhost = false; }}}));
    add("api-rate-limit", "", "accepted for compatibility; the API does not throttle",
        [](Config&, const std::string&) { return Status{}; });
    add("auto-direct-node-routes", "false", "native routing: routes to the pod CIDRs of nodes on the same L2 segment",
        flag(FIELD(auto_direct_node_routes)));
    add("bpf-conntrack-accounting", "true", "count packets and bytes per flow",
        flag(FIELD(datapath.conntrack_accounting)));
    add("bpf-ct-global-any-max", "0", "entries of the flow table for other protocols, added to those for TCP",
        number([](Config& c) -> auto& { return c.ct_any_max; }, 0, 1U << 24));
    add("bpf-ct-global-tcp-max", "0", "entries of the flow table; 0: default",
        number([](Config& c) -> auto& { return c.ct_tcp_max; }, 0, 1U << 24));
    add("bpf-ct-timeout-regular-any", "1m0s", "lifetime of non-TCP flows", seconds(FIELD(datapath.ct_any)));
    add("bpf-ct-timeout-regular-tcp", "2h13m20s", "lifetime of established TCP flows", seconds(FIELD(datapath.ct_tcp)));
    add("bpf-ct-timeout-regular-tcp-fin", "10s", "lifetime of closing TCP flows", seconds(FIELD(datapath.ct_tcp_fin)));
    add("bpf-ct-timeout-regular-tcp-syn", "1m0s", "lifetime of TCP flows before they are established",
        seconds(FIELD(datapath.ct_tcp_syn)));
    add("bpf-events-drop-enabled", "true", "report drops", flag(FIELD(datapath.drop_events)));
    add("bpf-events-policy-verdict-enabled", "true", "report policy verdicts", flag(FIELD(datapath.verdict_events)));
    add("bpf-events-trace-enabled", "true", "report forwarded packets, aggregated", flag(FIELD(datapath.trace_events)));
    add("bpf-fragments-map-max", "8192", "entries of the fragment tables", map_size(FIELD(datapath.fragment_map_max)));
    add("bpf-policy-map-max", "16384", "accepted for compatibility; compiled policies grow with use: policy-memory-max",
        [](Config&, const std::string& v) -> Status {
            TRY(parse_number(v, 0, 1U << 24));
            return {};
        });
    add("bpf-root", "/sys/fs/bpf", "BPF file system", absolute_path(FIELD(datapath.paths.root)));
    add("cluster-health-port", "4240", "TCP port of the node-to-node health probes",
        number(FIELD(cluster_health_port), 1, 65535));
    add("cluster-id", "0", "0 to 255; unique among connected clusters", number(FIELD(cluster_id), 0, 255));
    add("cluster-name", "default", "name of the cluster", parse_cluster_name);
    add("cni-chaining-mode", "none", "none",
        one_of({{"none", [](Config&) {}}}, " (chaining is not available in this version)"));
    add("cni-exclusive", "true", "rename other CNI configurations to *.cilium_bak", flag(FIELD(cni_exclusive)));
    add("cni-log-file", "/var/run/cilium/cilium-cni.log", "log file of the CNI plugin", text(FIELD(cni_log_file)));
    add("debug", "false", "log more", [](Config& c, const std::string& v) -> Status {
        TRY_ASSIGN(const bool on, parse_bool(v));
        if (on) c.log_level = LogLevel::kDebug;
        return {};
    });
    add("devices", "", "native devices, e.g. \"eth0 eth1\" or \"eth+\"; empty: detected",
        [](Config& c, const std::string& v) {
            c.datapath.devices = split_list(v);
            return Status{};
        });
    add("direct-routing-skip-unreachable", "false",
        "auto-direct-node-routes: skip nodes that are not on the same L2 segment",
        flag(FIELD(direct_routing_skip_unreachable)));
    add("enable-cilium-clusterwide-network-policy", "true", "CiliumClusterwideNetworkPolicy objects",
        flag(FIELD(policy.cilium_clusterwide_network_policy)));
    add("enable-cilium-network-policy", "true", "CiliumNetworkPolicy objects",
        flag(FIELD(policy.cilium_network_policy)));
    add("enable-endpoint-health-checking", "true", "probe the health endpoint of every node",
        flag(FIELD(endpoint_health_checking)));
    add("enable-extended-ip-protocols", "false", "VRRP and IGMP in policies",
        [](Config& c, const std::string& v) -> Status {
            TRY_ASSIGN(c.policy.extended_protocols, parse_bool(v));
            c.datapath.extended_protocols = c.policy.extended_protocols;
            return {};
        });
    add("enable-health-checking", "true", "probe every node", flag(FIELD(health_checking)));
    add("enable-host-firewall", "false", "policies with a nodeSelector apply to this node",
        [](Config& c, const std::string& v) -> Status {
            TRY_ASSIGN(c.policy.host_firewall, parse_bool(v));
            c.datapath.host_firewall = c.policy.host_firewall;
            return {};
        });
    add("enable-host-legacy-routing", "false", "forward through the kernel's stack instead of in BPF",
        flag(FIELD(datapath.legacy_host_routing)));
    add("enable-icmp-rules", "true", "ICMP in policies", flag(FIELD(policy.icmp_rules)));
    add("enable-ipv4", "true", "IPv4", flag(FIELD(ipv4)));
    add("enable-ipv4-fragment-tracking", "true", "track IPv4 fragments", flag(FIELD(datapath.ipv4_fragments)));
    add("enable-ipv6", "false", "IPv6", flag(FIELD(ipv6)));
    add("enable-ipv6-fragment-tracking", "true", "track IPv6 fragments", flag(FIELD(datapath.ipv6_fragments)));
    add("enable-k8s-networkpolicy", "true", "NetworkPolicy objects", flag(FIELD(policy.network_policy)));
    add("enable-node-selector-labels", "false", "fromNodes and toNodes in policies",
        flag(FIELD(policy.node_selector_labels)));
    const auto mode = [](policy::EnforcementMode value) { return [value](Config& c) { c.policy.mode = value; }; };
    add("enable-policy", "default", "default: endpoints that a policy selects; always: all; never: none",
        one_of({{"default", mode(policy::EnforcementMode::kDefault)},
                {"always", mode(policy::EnforcementMode::kAlways)},
                {"never", mode(policy::EnforcementMode::kNever)}}));
    add("enable-sctp", "false", "SCTP in policies", flag(FIELD(policy.sctp)));
    add("enable-tcx", "true", "attach with tcx links where the kernel has them", flag(FIELD(datapath.enable_tcx)));
    add("enable-tunnel-fast-path", "true", "push and pull tunnel headers in tc instead of the tunnel device",
        flag(FIELD(datapath.tunnel_fast_path)));
    add("identity-change-grace-period", "5s", "wait before an endpoint takes a new identity",
        [](Config& c, const std::string& v) -> Status {
            TRY_ASSIGN(c.identity_change_grace_period, parse_duration(v));
            return {};
        });
    add("ipv4-native-routing-cidr", "", "destinations that native routing reaches without masquerading",
        cidr(FIELD(native_cidr4), Family::kIpv4));
    add("ipv4-node", "auto", "IPv4 address of this node", address(FIELD(datapath.node_ipv4), Family::kIpv4));
    add("ipv6-native-routing-cidr", "", "as ipv4-native-routing-cidr", cidr(FIELD(native_cidr6), Family::kIpv6));
    add("ipv6-node", "auto", "IPv6 address of this node", address(FIELD(datapath.node_ipv6), Family::kIpv6));
    add("k8s-api-server-urls", "", "API servers, separated by commas; empty: as the kubeconfig or the pod says",
        list(FIELD(kubernetes.servers)));
    add("k8s-client-burst", "20", "requests to the API server at once", number(FIELD(kubernetes.burst), 1, 100'000));
    add("k8s-client-qps", "10", "requests to the API server per second; 0: any number",
        [](Config& c, const std::string& v) -> Status {
            TRY_ASSIGN(const std::uint64_t qps, parse_number(v, 0, 100'000));
            c.kubernetes.qps = static_cast<double>(qps);
            return {};
        });
    add("k8s-kubeconfig-path", "", "kubeconfig; empty: the pod's service account", text(FIELD(kubernetes.kubeconfig)));
    add("k8s-node-name", "", "name of this node; also K8S_NODE_NAME; default: the host's name", text(FIELD(node_name)));
    add("labels", "", "label filter: prefixes that make up identities, '!' excludes",
        [](Config& c, const std::string& v) {
            c.label_filter = split_list(v);
            return Status{};
        });
    add("local-router-ipv4", "", "address of cilium_host instead of one from the pod CIDR",
        address(FIELD(router_ipv4), Family::kIpv4));
    add("local-router-ipv6", "", "as local-router-ipv4", address(FIELD(router_ipv6), Family::kIpv6));
    add("log-opt", "", "format=text|json, level=debug|info|warning|error", parse_log_opt);
    const auto level = [](int value) { return [value](Config& c) { c.datapath.monitor_aggregation = value; }; };
    add("metrics", "", "metrics to add (+name) or to leave out (-name)", [](Config& c, const std::string& v) -> Status {
        auto selection = MetricSelection::parse(v);
        if (!selection) return not_accepted("+name or -name of metrics, separated by spaces");
        c.metric_selection = std::move(*selection);
        return {};
    });
    add("monitor-aggregation", "medium", "none, lowest, low, medium, maximum",
        one_of({{"none", level(TRACE_AGGREGATE_NONE)},
                {"disabled", level(TRACE_AGGREGATE_NONE)},
                {"lowest", level(TRACE_AGGREGATE_LOWEST)},
                {"low", level(TRACE_AGGREGATE_LOW)},
                {"medium", level(TRACE_AGGREGATE_MEDIUM)},
                {"maximum", level(TRACE_AGGREGATE_MAXIMUM)},
                {"max", level(TRACE_AGGREGATE_MAXIMUM)}}));
    add("monitor-aggregation-flags", "syn,fin,rst", "TCP flags whose first appearance is reported", parse_tcp_flags);
    add("monitor-aggregation-interval", "5s", "report an active flow again after",
        [](Config& c, const std::string& v) -> Status {
            TRY_ASSIGN(c.datapath.monitor_interval, parse_duration(v));
            if (c.datapath.monitor_interval < std::chrono::milliseconds(200))
                return not_accepted("a duration of at least 200ms, e.g. 5s");
            return {};
        });
    add("mtu", "0", "MTU of the underlay; 0: the devices'", [](Config& c, const std::string& v) -> Status {
        TRY_ASSIGN(const std::uint64_t mtu, parse_number(v, 0, 65535));
        if (mtu != 0 && mtu < 576) return not_accepted("0 or a number from 576 to 65535");
        c.datapath.mtu = static_cast<std::uint32_t>(mtu);
        return {};
    });
    add("node-name", "", "as k8s-node-name", text(FIELD(node_name)));
    add("object-store", "kubernetes:", "where cluster state lives: kubernetes: or dir:/path",
        text(FIELD(object_store)));
    add("policy-audit-mode", "false", "report what policy would deny, and let it pass", flag(FIELD(policy.audit)));
    add("policy-default-local-cluster", "true", "peers of a policy are this cluster's unless it names another",
        flag(FIELD(policy.default_local_cluster)));
    add("policy-memory-max", "128", "MiB of compiled policies; what does not fit is refused and reported",
        [](Config& c, const std::string& v) -> Status {
            TRY_ASSIGN(const std::uint64_t mib, parse_number(v, 1, 2048));
            c.datapath.policy_max_bytes = mib << 20;
            return {};
        });
    add("procfs", "/proc", "a proc file system whose sys/ can be written; a container's own cannot",
        [](Config&, const std::string& value) {
            return value.starts_with('/') ? Status{} : Status(not_accepted("an absolute path"));
        });
    add("prometheus-serve-addr", "", "where /metrics is served, e.g. :9962; empty: nowhere",
        [](Config& c, const std::string& v) -> Status {
            c.metrics.reset();
            if (v.empty()) return {};
            auto where = parse_listen_address(v);
            if (!where) return not_accepted(where.error().message + "; empty: nowhere");
            c.metrics = *where;
            return {};
        });
    add("read-cni-conf", "", "template of the CNI configuration", text(FIELD(read_cni_conf)));
    add("routing-mode", "tunnel", "tunnel or native",
        one_of({{"tunnel", [](Config& c) { c.datapath.routing = RoutingMode::kTunnel; }},
                {"native", [](Config& c) { c.datapath.routing = RoutingMode::kNative; }}}));
    add("socket-path", "<state-dir>/cilium.sock", "unix socket of the REST API", absolute_path(FIELD(socket_path)));
    add("state-dir", "/var/run/cilium", "sockets, locks and endpoint state", absolute_path(FIELD(state_dir)));
    add("tunnel-port", "0", "UDP port of the tunnel; 0: 8472 (vxlan), 6081 (geneve)",
        number([](Config& c) -> auto& { return c.datapath.tunnel_port; }, 0, 65535));
    add("tunnel-protocol", "vxlan", "vxlan or geneve",
        one_of({{"vxlan", [](Config& c) { c.datapath.tunnel_protocol = TunnelProtocol::kVxlan; }},
                {"geneve", [](Config& c) { c.datapath.tunnel_protocol = TunnelProtocol::kGeneve; }}}));
    add("tunnel-source-port-range", "0-0", "outer source ports", parse_port_range);
    add("write-cni-conf-when-ready", "", "CNI configuration to write when ready: a directory, or a file's path",
        absolute_path(FIELD(cni_conf_dir)));
    add_service_options(all);
    add_ipam_options(all);
    add_hubble_options(all);
    return all;
}

}  // namespace

const std::vector<ConfigOption>& config_options() {
    static const std::vector<ConfigOption> options = make_options();
    return options;
}

const std::vector<MissingFeature>& missing_features() {
    static const std::vector<MissingFeature> features = {
        {"enable-wireguard", "encryption (WireGuard)", {"false"}, true},
        {"enable-ipsec", "encryption (IPsec)", {"false"}, true},
        {"enable-ztunnel", "encryption (ztunnel)", {"false"}, true},
        {"encrypt-node", "encryption of node traffic", {"false"}, true},
        {"enable-encryption-strict-mode", "encryption, strict mode", {"false"}, true},
        {"enable-encryption-strict-mode-egress", "encryption, strict mode", {"false"}, true},
        {"enable-encryption-strict-mode-ingress", "encryption, strict mode", {"false"}, true},
        {"mesh-auth-mutual-enabled", "mutual authentication", {"false"}, true},
        {"datapath-mode", "netkit devices", {"veth"}, true},
        {"identity-allocation-mode", "identities in a kvstore", {"crd", "kvstore"}, false},
        {"kvstore", "kvstore", {""}, true},
        {"enable-bandwidth-manager", "bandwidth manager", {"false"}, false},
        {"enable-bgp-control-plane", "BGP", {"false"}, false},
        {"enable-egress-gateway", "egress gateway", {"false"}, false},
        {"enable-ipv4-egress-gateway", "egress gateway", {"false"}, false},
        {"enable-endpoint-routes", "a route per endpoint", {"false"}, false},
        {"enable-envoy-config", "L7 proxy configuration", {"false"}, false},
        {"enable-gateway-api", "Gateway API", {"false"}, false},
        {"enable-ingress-controller", "ingress controller", {"false"}, false},
        {"enable-ipv4-big-tcp", "IPv4 BIG TCP", {"false"}, false},
        {"enable-ipv6-big-tcp", "IPv6 BIG TCP", {"false"}, false},
        {"enable-l2-announcements", "L2 announcements", {"false"}, false},
        {"enable-l2-pod-announcements", "L2 announcements", {"false"}, false},
        {"enable-local-redirect-policy", "local redirect policies", {"false"}, false},
        {"enable-nat46x64-gateway", "NAT46/64 gateway", {"false"}, false},
        {"enable-srv6", "SRv6", {"false"}, false},
        {"enable-vtep", "VTEP integration", {"false"}, false},
        {"multicast-enabled", "multicast", {"false"}, false},
        {"policy-cidr-match-mode", "CIDR rules that match nodes or pods", {""}, true},
        {"static-cnp-path", "policies from files", {""}, true},
    };
    return features;
}

}  // namespace axo
