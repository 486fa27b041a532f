#include "datapath/program_config.h"

#include <arpa/inet.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "maps/convert.h"

namespace axo {
namespace {

void write_v6(std::uint32_t (&words)[4], const IpAddress& address) {
    if (address.is_v6()) std::memcpy(words, address.bytes().data(), sizeof(words));
}

std::uint32_t write_v4(const IpAddress& address) {
    return address.is_v4() ? address.v4_network_order() : 0;
}

// At least one: a lifetime of zero would end a flow before its answer.
std::uint32_t ticks(std::chrono::nanoseconds time) {
    const auto count = static_cast<std::uint64_t>(std::max<std::int64_t>(time.count(), 0)) >> AXO_TICK_SHIFT;
    return static_cast<std::uint32_t>(std::clamp<std::uint64_t>(count, 1, INT32_MAX));
}

// Different on every node and yet the same after a restart: programs with another seed would have to be loaded again.
std::uint32_t hash_seed(const MacAddress& mac) {
    std::uint32_t hash = 2166136261U;  // FNV-1a
    for (const std::uint8_t byte : mac.bytes()) hash = (hash ^ byte) * 16777619U;
    return hash;
}

lb_config make_lb_config(const DatapathSettings& settings) {
    const ServiceSettings& services = settings.services;
    lb_config lb{};
    lb.pods = services.pods;
    lb.node_port = services.node_port;
    lb.mode = static_cast<std::uint8_t>(services.mode);
    lb.dispatch = static_cast<std::uint8_t>(services.dispatch);
    lb.external_cluster_ip = services.external_cluster_ip;
    lb.no_backend_drop = services.no_backend_drop;
    lb.source_range_all_types = services.source_range_all_types;
    lb.masquerade4 = settings.ipv4 && services.masquerade4;
    lb.masquerade6 = settings.ipv6 && services.masquerade6;
    lb.ip_masq_agent = services.ip_masq_agent;
    lb.masquerade_remote_nodes = services.masquerade_remote_nodes;
    lb.nat_port_low = services.nat_port_low;
    lb.nat_port_high = services.nat_port_high;
    if (services.native_cidr4) {
        const int length = services.native_cidr4.length();
        lb.native_routing4 = write_v4(services.native_cidr4.address());
        lb.native_routing4_mask = htonl(length == 0 ? 0 : ~std::uint32_t{0} << (32 - length));
    }
    if (services.native_cidr6) {
        lb.native_routing6_len = static_cast<std::uint8_t>(services.native_cidr6.length());
        write_v6(lb.native_routing6, services.native_cidr6.address());
    }
    lb.loopback_ip4 = write_v4(services.loopback_ipv4);
    write_v6(lb.loopback_ip6, services.loopback_ipv6);
    lb.maglev_seed = services.maglev_seed;
    write_node_port_addresses(lb, services.node_port_addresses);
    return lb;
}

}  // namespace

ProgramConfig make_program_config(const DatapathSettings& settings, const KernelFeatures& features,
                                  const DatapathDecisions& decisions, const BaseDevices& devices) {
    ProgramConfig config;
    config.node.ipv4 = settings.ipv4;
    config.node.ipv6 = settings.ipv6;
    config.node.legacy_routing = decisions.legacy_host_routing;
    config.node.has_ktime_coarse = features.ktime_coarse;
    config.node.has_redirect_peer = features.redirect_peer;
    config.node.has_fib_skip_neigh = features.fib_skip_neigh;
    config.node.conntrack_accounting = settings.conntrack_accounting;
    config.node.extended_protocols = settings.extended_protocols;
    config.node.host_ifindex = devices.host.index.value;
    config.node.net_ifindex = devices.net.index.value;
    config.node.host_mac = to_axo_mac(devices.host.mac);
    config.node.mtu = static_cast<std::uint16_t>(decisions.device_mtu);
    config.node.router_ip4 = write_v4(settings.router_ipv4);
    write_v6(config.node.router_ip6, settings.router_ipv6);
    config.node.hash_seed = hash_seed(devices.host.mac);
    config.node.host_firewall = settings.host_firewall;
    if (devices.tunnel) {
        config.tunnel.protocol = settings.tunnel_protocol == TunnelProtocol::kVxlan ? TUNNEL_VXLAN : TUNNEL_GENEVE;
        config.tunnel.fast = decisions.tunnel_fast_path;
        config.tunnel.underlay_v6 = decisions.underlay_ipv6;
        config.tunnel.has_decap_flags = features.adjust_room_decap;
        config.tunnel.port = htons(settings.tunnel_port);
        config.tunnel.overhead = static_cast<std::uint16_t>(tunnel_overhead(decisions.underlay_ipv6));
        config.tunnel.ifindex = devices.tunnel->index.value;
        config.tunnel.node_ip4 = write_v4(decisions.node_ipv4);
        write_v6(config.tunnel.node_ip6, decisions.node_ipv6);
        config.tunnel.sport_low = settings.tunnel_source_port_low;
        config.tunnel.sport_high = settings.tunnel_source_port_high;
    }
    config.trace.drop = settings.drop_events;
    config.trace.trace = settings.trace_events;
    config.trace.verdict = settings.verdict_events;
    config.trace.dns = settings.dns_events;
    config.trace.aggregation = static_cast<std::uint8_t>(settings.monitor_aggregation);
    config.trace.report_tcp_flags = settings.monitor_tcp_flags;
    config.trace.report_interval = ticks(settings.monitor_interval);
    config.trace.ring_wakeup_bytes = std::bit_ceil(settings.event_ring_bytes) / 4;
    config.ct.regular_tcp = ticks(settings.ct_tcp);
    config.ct.regular_any = ticks(settings.ct_any);
    config.ct.regular_tcp_syn = ticks(settings.ct_tcp_syn);
    config.ct.regular_tcp_fin = ticks(settings.ct_tcp_fin);
    config.ct.fragments_v4 = settings.ipv4_fragments;
    config.ct.fragments_v6 = settings.ipv6_fragments;
    config.lb = make_lb_config(settings);
    return config;
}

}  // namespace axo
