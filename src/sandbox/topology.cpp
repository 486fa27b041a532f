#include "sandbox/topology.h"

#include <set>

#include "kernel/netlink.h"
#include "kernel/netns.h"

namespace axo::sandbox {
namespace {

// RTPROT_STATIC; tells the sandbox's routes to pods from the kernel's own.
constexpr std::uint8_t kRouteProtocol = 4;

std::string bridge_name(int segment) {
    return "seg" + std::to_string(segment);
}
std::string port_name(const NodeSpec& node) {
    return "port" + std::to_string(node.number);
}

Status add_family_addresses(const ClusterSpec& spec, Netlink& netlink, IfIndex link, int segment, int host) {
    if (spec.ipv4()) {
        const auto address = segment_address_v4(segment, host);
        TRY(netlink.add_address(link, Prefix(address, kSegmentLengthV4), address));
    }
    if (spec.ipv6()) {
        const auto address = segment_address_v6(segment, host);
        TRY(netlink.add_address(link, Prefix(address, kSegmentLengthV6), address));
    }
    return {};
}

Status add_default_routes(const ClusterSpec& spec, Netlink& netlink, IfIndex link, int segment) {
    const auto add = [&](const IpAddress& any, const IpAddress& gateway) {
        Route route;
        route.destination = Prefix(any, 0);
        route.gateway = gateway;
        route.link = link;
        route.protocol = kRouteProtocol;
        return netlink.put_route(route);
    };
    if (spec.ipv4()) TRY(add(IpAddress::v4({0, 0, 0, 0}), segment_address_v4(segment, kGatewayHost)));
    if (spec.ipv6()) TRY(add(IpAddress::v6(std::array<std::uint8_t, 16>{}), segment_address_v6(segment, kGatewayHost)));
    return {};
}

Status loopback_up(Netlink& netlink) {
    TRY_ASSIGN(const Link loopback, netlink.link("lo"));
    return netlink.set_up(loopback.index, true);
}

// Before links are made, so that they inherit `default`. Without duplicate address detection an address is usable at
// once; nobody else is on these wires.
Status set_machine_sysctls(const std::string& netns, bool forwarding) {
    TRY_ASSIGN(const Fd fd, open_netns(netns));
    return run_in_netns(fd.get(), [&]() -> Status {
        for (const char* scope : {"all", "default"}) {
            const std::string v6 = std::string("net.ipv6.conf.") + scope;
            TRY(write_sysctl(v6 + ".disable_ipv6", "0"));
            TRY(write_sysctl(v6 + ".accept_dad", "0"));
            TRY(write_sysctl(v6 + ".accept_ra", "0"));
            TRY(write_sysctl(v6 + ".router_solicitations", "0"));
            TRY(write_sysctl(std::string("net.ipv4.conf.") + scope + ".rp_filter", "0"));
            if (forwarding) TRY(write_sysctl(v6 + ".forwarding", "1"));
        }
        if (forwarding) TRY(write_sysctl("net.ipv4.ip_forward", "1"));
        return {};
    });
}

// The segments are wires with a switch: with br_netfilter, its bridges would have every frame pass iptables' hooks.
Status keep_netfilter_from_bridges(const std::string& underlay_netns) {
    TRY_ASSIGN(const Fd fd, open_netns(underlay_netns));
    return run_in_netns(fd.get(), []() -> Status {
        for (const std::string name : {"net.bridge.bridge-nf-call-iptables", "net.bridge.bridge-nf-call-ip6tables",
                                       "net.bridge.bridge-nf-call-arptables"}) {
            if (read_sysctl(name)) TRY(write_sysctl(name, "0"));
        }
        return {};
    });
}

Status add_uplink(const ClusterSpec& spec, Netlink& underlay, const std::string& port, int segment, int host,
                  const std::string& netns) {
    TRY_ASSIGN(const Fd fd, open_netns(netns));
    TRY(underlay.add_veth(
        {.name = port, .peer_name = "eth0", .mac = {}, .peer_mac = {}, .mtu = spec.mtu, .peer_netns_fd = fd.get()}));
    TRY_ASSIGN(const Link port_link, underlay.link(port));
    TRY_ASSIGN(const Link bridge, underlay.link(bridge_name(segment)));
    TRY(underlay.set_master(port_link.index, bridge.index));
    TRY(underlay.set_up(port_link.index, true));

    TRY_ASSIGN(Netlink machine, Netlink::open_in(netns));
    TRY(loopback_up(machine));
    TRY_ASSIGN(const Link eth0, machine.link("eth0"));
    TRY(machine.set_mtu(eth0.index, spec.mtu));
    TRY(machine.set_up(eth0.index, true));
    TRY(add_family_addresses(spec, machine, eth0.index, segment, host));
    return add_default_routes(spec, machine, eth0.index, segment);
}

}  // namespace

Status add_segment(const ClusterSpec& spec, const std::string& underlay_netns, int segment) {
    TRY_ASSIGN(Netlink underlay, Netlink::open_in(underlay_netns));
    const std::string name = bridge_name(segment);
    if (underlay.link(name)) return {};
    TRY(underlay.add_bridge(name));
    TRY_ASSIGN(const Link bridge, underlay.link(name));
    // Set by hand, the gateway's MAC stays; otherwise it follows the lowest of the ports and changes when nodes come.
    // Another than it has: 5.10 does not enter an unchanged one into the bridge's table, and so never delivers to it.
    TRY(underlay.set_mac(bridge.index, MacAddress::random()));
    TRY(underlay.set_mtu(bridge.index, spec.mtu));
    TRY(underlay.set_up(bridge.index, true));
    return add_family_addresses(spec, underlay, bridge.index, segment, kGatewayHost);
}

Status build_underlay(const ClusterSpec& spec, const std::string& underlay_netns, const std::string& outside_netns) {
    TRY(set_machine_sysctls(underlay_netns, true));
    TRY(set_machine_sysctls(outside_netns, false));
    TRY(keep_netfilter_from_bridges(underlay_netns));
    TRY_ASSIGN(Netlink underlay, Netlink::open_in(underlay_netns));
    TRY(loopback_up(underlay));
    for (const int segment : {1, 2, kOutsideSegment}) {
        if (segment == kOutsideSegment || spec.has_segment(segment)) TRY(add_segment(spec, underlay_netns, segment));
    }
    return add_uplink(spec, underlay, "outside", kOutsideSegment, kOutsideHost, outside_netns);
}

Status connect_node(const ClusterSpec& spec, const NodeSpec& node, const std::string& underlay_netns,
                    const std::string& node_netns) {
    // A Kubernetes node forwards; kubeadm checks it before anything is installed.
    TRY(set_machine_sysctls(node_netns, true));
    TRY(add_segment(spec, underlay_netns, node.segment));
    TRY_ASSIGN(Netlink underlay, Netlink::open_in(underlay_netns));
    return add_uplink(spec, underlay, port_name(node), node.segment, node_host(node), node_netns);
}

Status disconnect_node(const NodeSpec& node, const std::string& underlay_netns) {
    TRY_ASSIGN(Netlink underlay, Netlink::open_in(underlay_netns));
    return underlay.remove_link(port_name(node));
}

Status prepare_pod_netns(const std::string& pod_netns) {
    TRY_ASSIGN(Netlink pod, Netlink::open_in(pod_netns));
    return loopback_up(pod);
}

Result<int> sync_pod_routes(const std::string& underlay_netns, const std::vector<PodCidr>& cidrs) {
    TRY_ASSIGN(Netlink underlay, Netlink::open_in(underlay_netns));
    TRY_ASSIGN(const auto present, underlay.routes());
    std::vector<Route> wanted;
    for (const auto& cidr : cidrs) {
        Route route;
        route.destination = cidr.prefix;
        route.gateway = cidr.prefix.family() == Family::kIpv4
                            ? segment_address_v4(cidr.node.segment, node_host(cidr.node))
                            : segment_address_v6(cidr.node.segment, node_host(cidr.node));
        TRY_ASSIGN(const Link bridge, underlay.link(bridge_name(cidr.node.segment)));
        route.link = bridge.index;
        route.protocol = kRouteProtocol;
        wanted.push_back(route);
    }
    const auto same = [](const Route& a, const Route& b) {
        return a.destination == b.destination && a.gateway == b.gateway && a.link == b.link;
    };
    int changes = 0;
    for (const auto& route : present) {
        if (route.protocol != kRouteProtocol || route.table != 254) continue;
        if (std::ranges::any_of(wanted, [&](const Route& w) { return same(w, route); })) continue;
        TRY(underlay.remove_route(route));
        ++changes;
    }
    for (const auto& route : wanted) {
        if (std::ranges::any_of(present, [&](const Route& p) { return same(p, route); })) continue;
        TRY(underlay.put_route(route));
        ++changes;
    }
    return changes;
}

}  // namespace axo::sandbox
