// What the datapath does with services and with traffic of pods that leaves the cluster. The agent decides it from its
// flags and from what the kernel can; it becomes lb_cfg and sock_cfg (bpf/api/config.h) and the sizes of the maps in
// bpf/lib/lb_maps.h. Plain values; equal settings are equal programs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/ip.h"
#include "bpf/api/config.h"
#include "bpf/api/lb.h"

namespace axo {

// bpf-lb-acceleration. Generic (the kernel's slow XDP) is for tests.
enum class XdpAcceleration { kDisabled, kNative, kBestEffort, kGeneric };

struct SocketLbSettings {
    bool enabled = false;
    bool host_only = false;                            // bpf-lb-sock-hostns-only
    bool bind_protection = true;                       // node-port-bind-protection; takes effect with node_port
    bool external_ips = false;                         // disable-external-ip-mitigation
    bool terminate_pod_connections = false;            // TCP too; UDP sockets of a backend that went are always ended
    std::string cgroup_root = "/run/cilium/cgroupv2";  // cgroup-root
};

struct ServiceSettings {
    bool pods = false;       // what pods send to services is translated at their devices
    bool node_port = false;  // what arrives from outside is
    lb_mode mode = LB_MODE_SNAT;
    lb_dispatch dispatch = LB_DISPATCH_OPTION;
    bool external_cluster_ip = false;
    bool no_backend_drop = false;  // false: an ICMP error
    bool source_range_all_types = false;
    std::uint16_t node_port_low = 30000, node_port_high = 32767;
    // nodeport-addresses: addresses that serve NodePorts and host ports, at most NODE_PORT_PREFIXES; empty: all.
    std::vector<Prefix> node_port_addresses{};
    std::uint16_t nat_port_low = 32768, nat_port_high = 65535;  // translated source ports
    IpAddress loopback_ipv4 =
        IpAddress::v4({169, 254, 42, 1});  // source of a pod that reaches itself through a service
    IpAddress loopback_ipv6 = IpAddress::parse("fe80::1").value();
    std::uint32_t maglev_seed = 0;  // of the hash over a connection; equal on all nodes

    // In BPF; the iptables way leaves these false.
    bool masquerade4 = false, masquerade6 = false;
    bool ip_masq_agent = false;
    bool masquerade_remote_nodes = false;
    Prefix native_cidr4{}, native_cidr6{};  // destinations that are spared; unset: none
    // Netfilter masquerades: what leaves the cluster has to pass the kernel's stack.
    bool netfilter_masquerade = false;

    SocketLbSettings sockets{};
    XdpAcceleration acceleration = XdpAcceleration::kDisabled;
    bool xdp_prefilter = false;  // enable-xdp-prefilter: sources in cilium_cidr_* are dropped at the uplinks
    // Direct server return through a Geneve tunnel, whatever the routing.
    [[nodiscard]] bool dsr_by_geneve() const {
        return node_port && mode != LB_MODE_SNAT && dispatch == LB_DISPATCH_GENEVE;
    }
    [[nodiscard]] bool xdp() const { return acceleration != XdpAcceleration::kDisabled || xdp_prefilter; }

    std::uint32_t service_map_max = LB_MAX_SERVICES;  // per family
    std::uint32_t backend_map_max = LB_MAX_BACKENDS;
    std::uint32_t affinity_map_max = LB_MAX_SERVICES;
    std::uint32_t source_range_map_max = LB_MAX_SERVICES;
    std::uint32_t sock_rev_nat_map_max = 16384;
    std::uint32_t ip_masq_map_max = 16384;
};

}  // namespace axo
