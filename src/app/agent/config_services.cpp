// The keys of services, masquerading and netfilter, and what has to hold among them.
#include <algorithm>
#include <map>

#include "app/agent/config_parse.h"
#include "base/base64.h"

namespace axo {

namespace {

using namespace config_parse;

// What Maglev tables can be: primes, far larger than the number of backends.
constexpr std::uint32_t kMaglevSizes[] = {251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521, 131071};

template <class Field>
Parse optional_flag(Field field) {
    return [=](Config& config, const std::string& value) -> Status {
        TRY_ASSIGN(field(config), parse_bool(value));
        return {};
    };
}

Status parse_node_port_range(Config& config, const std::string& value) {
    const std::vector<std::string> bounds = split_list(value);
    const auto bound = [&](std::size_t i) {
        return bounds.size() == 2 ? parse_number(bounds[i], 1, 65535) : parse_number("", 0, 0);
    };
    const auto low = bound(0);
    const auto high = bound(1);
    // Translated source ports follow the range; below 1024 of them nothing much can be translated.
    if (!low || !high || *low >= *high || *high > 64511)
        return not_accepted("<lowest>,<highest> with 1 <= lowest < highest <= 64511, e.g. 30000,32767");
    ServiceSettings& services = config.datapath.services;
    services.node_port_low = static_cast<std::uint16_t>(*low);
    services.node_port_high = static_cast<std::uint16_t>(*high);
    services.nat_port_low = static_cast<std::uint16_t>(*high + 1);
    return {};
}

Status parse_node_port_addresses(Config& config, const std::string& value) {
    std::vector<Prefix> prefixes;
    for (const std::string& word : split_list(value)) {
        auto prefix = Prefix::parse(word);
        if (!prefix || prefixes.size() == NODE_PORT_PREFIXES)
            return not_accepted("a list of at most " + std::to_string(NODE_PORT_PREFIXES) +
                                " CIDRs, e.g. 192.168.0.0/16,fd00::/8");
        prefixes.push_back(*prefix);
    }
    config.datapath.services.node_port_addresses = std::move(prefixes);
    return {};
}

Status parse_maglev_seed(Config& config, const std::string& value) {
    const auto bytes = base64_decode(value);
    if (!bytes || bytes->size() != 12)
        return not_accepted("12 bytes in base64, as `head -c12 /dev/urandom | base64 -w0` prints them");
    config.services.maglev_hash_seed = value;
    return {};
}

Status parse_maglev_size(Config& config, const std::string& value) {
    const auto size = parse_number(value, 1, 1U << 20);
    if (!size || std::ranges::find(kMaglevSizes, *size) == std::end(kMaglevSizes)) {
        std::string accepted;
        for (const std::uint32_t prime : kMaglevSizes)
            accepted += (accepted.empty() ? "" : ", ") + std::to_string(prime);
        return not_accepted(accepted);
    }
    config.services.maglev_table_size = static_cast<std::uint32_t>(*size);
    return {};
}

Status parse_healthz_address(Config& config, const std::string& value) {
    config.services.healthz_port = 0;
    if (value.empty()) return {};
    const auto colon = value.rfind(':');
    std::string host = value.substr(0, std::min(colon, value.size()));
    if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
    const auto ip = IpAddress::parse(host);
    const auto port =
        colon == std::string::npos ? parse_number("", 1, 0) : parse_number(value.substr(colon + 1), 1, 65535);
    if (!ip || !port) return not_accepted("<address>:<port>, e.g. 0.0.0.0:10256 or [::]:10256");
    config.services.healthz_address = *ip;
    config.services.healthz_port = static_cast<std::uint16_t>(*port);
    return {};
}

Parse compatible(std::function<Status(const std::string&)> check) {
    return [check = std::move(check)](Config&, const std::string& value) { return check(value); };
}

Status any_duration(const std::string& value) {
    TRY(parse_duration(value));
    return {};
}
Status any_size(const std::string& value) {
    TRY(parse_number(value, 0, 1U << 24));
    return {};
}

using Add = std::function<void(std::string, std::string, std::string, Parse)>;

void add_replacement(const Add& add) {
    const auto replacement = [](KubeProxyReplacement value) {
        return [value](Config& c) { c.services.replacement = value; };
    };
    add("kube-proxy-replacement", "false",
        "true (strict): all services in BPF, or no start; partial: what the single switches name; probe: what this "
        "kernel can; false: pods' ClusterIPs only",
        one_of({{"true", replacement(KubeProxyReplacement::kTrue)},
                {"strict", replacement(KubeProxyReplacement::kTrue)},
                {"partial", replacement(KubeProxyReplacement::kPartial)},
                {"probe", replacement(KubeProxyReplacement::kProbe)},
                {"false", replacement(KubeProxyReplacement::kFalse)},
                {"disabled", replacement(KubeProxyReplacement::kFalse)}}));
    add("bpf-lb-sock", "false", "services at sockets, of the node and its pods",
        optional_flag(FIELD(services.socket_lb)));
    add("enable-host-reachable-services", "false", "old name of bpf-lb-sock", optional_flag(FIELD(services.socket_lb)));
    add("enable-node-port", "false", "NodePort and LoadBalancer services", optional_flag(FIELD(services.node_port)));
    add("enable-external-ips", "false", "services' external IPs", optional_flag(FIELD(services.external_ips)));
    add("enable-host-port", "false", "pods' host ports", optional_flag(FIELD(services.host_port)));
    add("enable-session-affinity", "false", "session affinity of services",
        optional_flag(FIELD(services.session_affinity)));
    add("enable-kube-proxy-adapter", "false",
        "beside a kube-proxy in iptables mode: its ClusterIP rules are taken out of KUBE-SERVICES and kept out",
        flag(FIELD(services.proxy_adapter)));
    add("kube-proxy-replacement-healthz-bind-address", "", "address and port of kube-proxy's /healthz",
        parse_healthz_address);
    add("k8s-service-proxy-name", "", "only services whose label service.kubernetes.io/service-proxy-name is this",
        text(FIELD(services.proxy_name)));
}

void add_socket_lb(const Add& add) {
    add("bpf-lb-sock-hostns-only", "false", "services at sockets of the node only; pods' packets are translated",
        flag(FIELD(datapath.services.sockets.host_only)));
    add("bpf-lb-sock-terminate-pod-connections", "false", "end pods' TCP connections, too, when their backend goes",
        flag(FIELD(datapath.services.sockets.terminate_pod_connections)));
    add("bpf-sock-rev-map-max", "0", "entries of the tables of unconnected datagram sockets",
        map_size(FIELD(datapath.services.sock_rev_nat_map_max)));
    add("cgroup-root", "/run/cilium/cgroupv2", "the cgroup v2 hierarchy whose sockets are served",
        absolute_path(FIELD(datapath.services.sockets.cgroup_root)));
    add("node-port-bind-protection", "true", "the node's programs may not take ports of NodePort services",
        flag(FIELD(datapath.services.sockets.bind_protection)));
}

void add_forwarding(const Add& add) {
    const auto mode = [](lb_mode value) { return [value](Config& c) { c.services.mode = value; }; };
    for (const char* key : {"bpf-lb-mode", "node-port-mode"}) {
        add(key, "snat",
            std::string(key) == "bpf-lb-mode" ? "how remote backends are reached: snat, dsr, or hybrid (dsr for TCP)"
                                              : "old name of bpf-lb-mode",
            one_of({{"snat", mode(LB_MODE_SNAT)}, {"dsr", mode(LB_MODE_DSR)}, {"hybrid", mode(LB_MODE_HYBRID)}}));
    }
    add("bpf-lb-mode-annotation", "false", "service.cilium.io/forwarding-mode chooses it per service",
        flag(FIELD(services.mode_annotation)));
    const auto dispatch = [](lb_dispatch value) {
        return [value](Config& c) { c.datapath.services.dispatch = value; };
    };
    add("bpf-lb-dsr-dispatch", "opt", "how the service's address travels to the backend's node",
        one_of({{"opt", dispatch(LB_DISPATCH_OPTION)},
                {"ipip", dispatch(LB_DISPATCH_IPIP)},
                {"geneve", dispatch(LB_DISPATCH_GENEVE)}}));
    const auto algorithm = [](lb_algorithm value) { return [value](Config& c) { c.services.algorithm = value; }; };
    add("bpf-lb-algorithm", "random", "random or maglev",
        one_of({{"random", algorithm(LB_RANDOM)}, {"maglev", algorithm(LB_MAGLEV)}}));
    add("bpf-lb-algorithm-annotation", "false", "service.cilium.io/lb-algorithm chooses it per service",
        flag(FIELD(services.algorithm_annotation)));
    add("bpf-lb-maglev-table-size", "16381", "entries of a service's Maglev table: a prime", parse_maglev_size);
    add("bpf-lb-maglev-hash-seed", "JLfvgnHc2kaSUFaI", "12 bytes in base64; equal on all nodes", parse_maglev_seed);
    const auto acceleration = [](XdpAcceleration value) {
        return [value](Config& c) { c.datapath.services.acceleration = value; };
    };
    add("bpf-lb-acceleration", "disabled", "XDP for traffic to remote backends",
        one_of({{"disabled", acceleration(XdpAcceleration::kDisabled)},
                {"native", acceleration(XdpAcceleration::kNative)},
                {"best-effort", acceleration(XdpAcceleration::kBestEffort)},
                {"testing-only", acceleration(XdpAcceleration::kGeneric)}}));
    add("enable-xdp-prefilter", "false", "drop what comes from listed sources in XDP",
        flag(FIELD(datapath.services.xdp_prefilter)));
    add("bpf-lb-external-clusterip", "false", "ClusterIPs can be reached from outside",
        flag(FIELD(datapath.services.external_cluster_ip)));
    add("bpf-lb-source-range-all-types", "false", "loadBalancerSourceRanges hold for all of a service's addresses",
        flag(FIELD(datapath.services.source_range_all_types)));
    add("service-no-backend-response", "reject", "to clients of a service without backends: reject (ICMP) or drop",
        one_of({{"reject", [](Config& c) { c.datapath.services.no_backend_drop = false; }},
                {"drop", [](Config& c) { c.datapath.services.no_backend_drop = true; }}}));
    add("enable-service-topology", "false", "prefer backends by the hints of EndpointSlices",
        flag(FIELD(services.topology)));
    add("enable-health-check-nodeport", "true", "answer on services' healthCheckNodePort",
        flag(FIELD(services.health_check_node_port)));
    add("enable-health-check-loadbalancer-ip", "false", "and at that port of their load balancer IPs",
        flag(FIELD(services.health_check_load_balancer_ip)));
    add("ipv4-service-loopback-address", "169.254.42.1", "source of a pod that reaches itself through a service",
        address(FIELD(datapath.services.loopback_ipv4), Family::kIpv4));
    add("ipv6-service-loopback-address", "fe80::1", "the same for IPv6",
        address(FIELD(datapath.services.loopback_ipv6), Family::kIpv6));
}

void add_node_ports(const Add& add) {
    add("node-port-range", "30000,32767", "ports of NodePort services; translated source ports follow it",
        parse_node_port_range);
    add("nodeport-addresses", "", "NodePorts and host ports only at nodes' addresses within these CIDRs; empty: at all",
        parse_node_port_addresses);
    add("direct-routing-device", "",
        "the native device that has the node's address; another one is reported, and not used",
        text(FIELD(services.direct_routing_device)));
    add("enable-auto-protect-node-port-range", "true",
        "add NodePorts to net.ipv4.ip_local_reserved_ports where they clash with ephemeral ports",
        flag(FIELD(services.auto_protect_port_range)));
}

void add_map_sizes(const Add& add) {
    add("bpf-lb-map-max", "65536", "entries of each map of services that has no size of its own",
        map_size(FIELD(services.map_max)));
    add("bpf-lb-service-map-max", "0", "frontends, per family", map_size(FIELD(services.service_map_max)));
    add("bpf-lb-service-backend-map-max", "0", "backends", map_size(FIELD(services.backend_map_max)));
    add("bpf-lb-affinity-map-max", "0", "clients with an affinity", map_size(FIELD(services.affinity_map_max)));
    add("bpf-lb-source-range-map-max", "0", "source ranges, per family",
        map_size(FIELD(services.source_range_map_max)));
    add("bpf-lb-rev-nat-map-max", "0", "accepted for compatibility: there is no such map", compatible(any_size));
    add("bpf-lb-maglev-map-max", "0", "accepted for compatibility: tables grow with use", compatible(any_size));
    add("bpf-nat-global-max", "0", "accepted for compatibility: translations are in the flow table",
        compatible(any_size));
    for (const char* key :
         {"bpf-ct-timeout-service-tcp", "bpf-ct-timeout-service-any", "bpf-ct-timeout-service-tcp-grace"}) {
        add(key, std::string(key) == "bpf-ct-timeout-service-tcp" ? "2h13m20s" : "1m0s",
            "accepted for compatibility: a service's connections live as long as others", compatible(any_duration));
    }
}

void add_masquerade(const Add& add) {
    add("enable-ipv4-masquerade", "true", "pods' IPv4 traffic leaves the cluster with the node's address",
        flag(FIELD(masquerade.ipv4)));
    add("enable-ipv6-masquerade", "true", "pods' IPv6 traffic leaves the cluster with the node's address",
        flag(FIELD(masquerade.ipv6)));
    add("enable-bpf-masquerade", "false", "masquerade in BPF; false: by netfilter, through the kernel's stack",
        flag(FIELD(masquerade.bpf)));
    add("enable-ip-masq-agent", "false",
        "destinations of ip-masq-agent-config-path are reached with pods' own addresses",
        flag(FIELD(masquerade.ip_masq_agent)));
    add("ip-masq-agent-config-path", "/etc/config/ip-masq-agent",
        "nonMasqueradeCIDRs, masqLinkLocal, masqLinkLocalIPv6 as YAML or JSON; read again when it changes",
        absolute_path(FIELD(masquerade.ip_masq_agent_file)));
    add("enable-remote-node-masquerade", "false", "also towards other nodes of the cluster",
        flag(FIELD(datapath.services.masquerade_remote_nodes)));
    add("enable-masquerade-to-route-source", "false", "netfilter: the source address that the route has",
        flag(FIELD(masquerade.to_route_source)));
    add("egress-masquerade-interfaces", "", "netfilter: only what leaves through these devices, e.g. \"eth+\"",
        list(FIELD(masquerade.out_interfaces)));
    add("derive-masq-ip-addr-from-device", "", "BPF: the address of this device instead of the way out's",
        text(FIELD(masquerade.address_device)));
    add("nat-map-stats-interval", "30s", "how often translated source ports in use are counted; 0s: never",
        [](Config& c, const std::string& value) -> Status {
            TRY_ASSIGN(const Duration duration, parse_duration(value));
            if (duration != Duration{0} && duration < std::chrono::seconds(1))
                return not_accepted("0s, or a duration of at least 1s, e.g. 30s");
            c.masquerade.stats_interval = std::chrono::duration_cast<std::chrono::seconds>(duration);
            return {};
        });
    add("nat-map-stats-entries", "32", "destinations with the most source ports in use that the status shows",
        number(FIELD(masquerade.stats_entries), 1, 65536));
    add("install-iptables-rules", "true", "write netfilter rules at all", flag(FIELD(masquerade.install_rules)));
    add("install-no-conntrack-iptables-rules", "false", "pods' traffic bypasses netfilter's connection tracking",
        flag(FIELD(masquerade.no_conntrack)));
    add("iptables-random-fully", "false", "netfilter: --random-fully", flag(FIELD(masquerade.random_fully)));
    add("iptables-lock-timeout", "5s", "how long to wait for others that write netfilter rules",
        seconds(FIELD(masquerade.lock_timeout)));
    add("disable-iptables-feeder-rules", "", "jumps into our chains are installed by somebody else: all",
        [](Config& c, const std::string& v) -> Status {
            if (!v.empty() && v != "all") return not_accepted("empty, or all");
            c.masquerade.feeder_rules = v.empty();
            return {};
        });
    add("prepend-iptables-chains", "true", "jumps into our chains stand before others' rules",
        flag(FIELD(masquerade.prepend)));
}

}  // namespace

void add_service_options(std::vector<ConfigOption>& all) {
    const Add add = [&all](std::string key, std::string fallback, std::string help, Parse parse) {
        const bool boolean = fallback == "true" || fallback == "false";
        all.push_back({std::move(key), std::move(fallback), std::move(help), boolean, std::move(parse)});
    };
    add_replacement(add);
    add_socket_lb(add);
    add_forwarding(add);
    add_node_ports(add);
    add_map_sizes(add);
    add_masquerade(add);
}

namespace {

void check_replacement(const Config& config, std::vector<std::string>& errors, std::vector<std::string>& warnings) {
    const ServiceConfig& services = config.services;
    const std::pair<const char*, const std::optional<bool>*> switches[] = {
        {"bpf-lb-sock", &services.socket_lb},
        {"enable-node-port", &services.node_port},
        {"enable-external-ips", &services.external_ips},
        {"enable-host-port", &services.host_port},
        {"enable-session-affinity", &services.session_affinity},
    };
    const bool all = services.replacement == KubeProxyReplacement::kTrue;
    for (const auto& [key, value] : switches) {
        if (all && *value == false)
            warnings.push_back(std::string(key) +
                               "=false: has no effect with kube-proxy-replacement=true; use partial");
        if (services.replacement == KubeProxyReplacement::kFalse && *value == true &&
            key != std::string("bpf-lb-sock") && key != std::string("enable-session-affinity"))
            errors.push_back(std::string(key) +
                             "=true: needs kube-proxy-replacement=partial (or true), but it is false: services would "
                             "be served by both");
    }
    if (services.replacement == KubeProxyReplacement::kPartial &&
        std::ranges::none_of(switches, [](const auto& entry) { return *entry.second == true; }))
        warnings.emplace_back(
            "kube-proxy-replacement=partial: none of bpf-lb-sock, enable-node-port, enable-external-ips, "
            "enable-host-port is on, so only pods' ClusterIPs are served");
    if (services.external_ips == true && services.node_port != true &&
        services.replacement == KubeProxyReplacement::kPartial)
        errors.emplace_back("enable-external-ips=true: needs enable-node-port=true");
    if (services.host_port == true && services.node_port != true &&
        services.replacement == KubeProxyReplacement::kPartial)
        errors.emplace_back("enable-host-port=true: needs enable-node-port=true");
    if (services.proxy_adapter && (services.replacement != KubeProxyReplacement::kFalse || services.socket_lb == true))
        errors.emplace_back(
            "enable-kube-proxy-adapter=true: needs kube-proxy-replacement=false and bpf-lb-sock=false: it is for "
            "nodes where kube-proxy serves all but pods' ClusterIPs");
    if (services.proxy_adapter && !config.masquerade.install_rules)
        errors.emplace_back("enable-kube-proxy-adapter=true: needs install-iptables-rules=true");
}

void check_forwarding(Config& config, std::vector<std::string>& errors) {
    ServiceSettings& programs = config.datapath.services;
    const ServiceConfig& services = config.services;
    programs.mode = services.mode_annotation ? LB_MODE_ANNOTATION : services.mode;
    const bool dsr = services.mode != LB_MODE_SNAT || services.mode_annotation;
    const std::string what = services.mode == LB_MODE_DSR      ? "bpf-lb-mode=dsr"
                             : services.mode == LB_MODE_HYBRID ? "bpf-lb-mode=hybrid"
                                                               : "bpf-lb-mode-annotation=true";
    if (programs.dispatch == LB_DISPATCH_IPIP) {
        errors.emplace_back(
            "bpf-lb-dsr-dispatch=ipip: is for load balancers in front of a cluster, whose backends have the service's "
            "address themselves: pods have not; accepted: opt, geneve");
    } else if (programs.dispatch == LB_DISPATCH_GENEVE) {
        if (dsr && config.datapath.tunnel_protocol != TunnelProtocol::kGeneve)
            errors.push_back(what +
                             ": with bpf-lb-dsr-dispatch=geneve it needs tunnel-protocol=geneve, but it is vxlan");
    } else if (dsr && config.datapath.routing == RoutingMode::kTunnel) {
        errors.push_back(what +
                         ": with bpf-lb-dsr-dispatch=opt it needs routing-mode=native, but it is tunnel; in a tunnel "
                         "bpf-lb-dsr-dispatch=geneve with tunnel-protocol=geneve");
    }
    const bool node_port = services.replacement == KubeProxyReplacement::kTrue ||
                           services.replacement == KubeProxyReplacement::kProbe || services.node_port == true;
    if (!node_port) {
        const auto needs = [&](const std::string& given) {
            errors.push_back(given + ": needs kube-proxy-replacement=true, or partial with enable-node-port=true");
        };
        if (dsr) needs(what);
        if (programs.acceleration != XdpAcceleration::kDisabled) needs("bpf-lb-acceleration");
        if (programs.external_cluster_ip) needs("bpf-lb-external-clusterip=true");
    }
    const auto size = [&](std::uint32_t own) { return own != 0 ? own : services.map_max; };
    programs.service_map_max = size(services.service_map_max);
    programs.backend_map_max = size(services.backend_map_max);
    programs.affinity_map_max = size(services.affinity_map_max);
    programs.source_range_map_max = size(services.source_range_map_max);
    // As Cilium cuts the seed: the first word is Maglev's own, the second one the connections'.
    if (const auto seed = base64_decode(services.maglev_hash_seed)) {
        for (std::size_t i = 4; i < 8; ++i) programs.maglev_seed = programs.maglev_seed << 8 | (*seed)[i];
    }
}

void check_masquerade(Config& config, std::vector<std::string>& errors) {
    const MasqueradeConfig& masquerade = config.masquerade;
    ServiceSettings& programs = config.datapath.services;
    const bool v4 = config.ipv4 && masquerade.ipv4;
    const bool v6 = config.ipv6 && masquerade.ipv6;
    const bool any = v4 || v6;
    const bool native = config.datapath.routing == RoutingMode::kNative;
    const auto needs_bpf = [&](const std::string& given) {
        errors.push_back(given + ": needs enable-bpf-masquerade=true and masquerading of a family that is on");
    };
    if (masquerade.ip_masq_agent && !(masquerade.bpf && any)) needs_bpf("enable-ip-masq-agent=true");
    if (programs.masquerade_remote_nodes && !(masquerade.bpf && any)) needs_bpf("enable-remote-node-masquerade=true");
    if (!masquerade.address_device.empty() && !masquerade.bpf)
        needs_bpf("derive-masq-ip-addr-from-device=" + masquerade.address_device);
    if (masquerade.bpf && !masquerade.out_interfaces.empty())
        errors.emplace_back(
            "egress-masquerade-interfaces: is for enable-bpf-masquerade=false; in BPF every native device "
            "masquerades: choose them with devices");
    if (masquerade.bpf && masquerade.to_route_source)
        errors.emplace_back("enable-masquerade-to-route-source=true: is for enable-bpf-masquerade=false");
    if (masquerade.to_route_source && !masquerade.out_interfaces.empty())
        errors.emplace_back("enable-masquerade-to-route-source=true: excludes egress-masquerade-interfaces");
    if (any && !masquerade.bpf && !masquerade.install_rules)
        errors.emplace_back(
            "install-iptables-rules=false: nobody would masquerade; set enable-bpf-masquerade=true, or "
            "enable-ipv4-masquerade=false and enable-ipv6-masquerade=false");
    const auto needs_cidr = [&](const char* key, const char* off) {
        errors.push_back(std::string(key) +
                         ": is needed with routing-mode=native and masquerading, to tell what pods "
                         "reach with their own addresses; or set enable-ip-masq-agent=true or " +
                         off + "=false");
    };
    if (native && !masquerade.ip_masq_agent) {
        if (v4 && !config.native_cidr4) needs_cidr("ipv4-native-routing-cidr", "enable-ipv4-masquerade");
        if (v6 && !config.native_cidr6) needs_cidr("ipv6-native-routing-cidr", "enable-ipv6-masquerade");
    }
    if (masquerade.no_conntrack) {
        const auto needs = [&](const char* what) {
            errors.push_back(std::string("install-no-conntrack-iptables-rules=true: needs ") + what);
        };
        if (!native) needs("routing-mode=native, but it is tunnel");
        if (config.services.replacement != KubeProxyReplacement::kTrue) needs("kube-proxy-replacement=true");
        if (any && !masquerade.bpf) needs("enable-bpf-masquerade=true, or no masquerading");
        if (!masquerade.install_rules) needs("install-iptables-rules=true");
    }
    programs.masquerade4 = v4 && masquerade.bpf;
    programs.masquerade6 = v6 && masquerade.bpf;
    programs.netfilter_masquerade = any && !masquerade.bpf;
    programs.ip_masq_agent = masquerade.ip_masq_agent;
    programs.native_cidr4 = config.native_cidr4;
    programs.native_cidr6 = config.native_cidr6;
}

}  // namespace

void check_services(Config& config, std::vector<std::string>& errors, std::vector<std::string>& warnings) {
    check_replacement(config, errors, warnings);
    check_forwarding(config, errors);
    check_masquerade(config, errors);
}

}  // namespace axo
