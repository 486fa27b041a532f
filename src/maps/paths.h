// Where BPF objects are pinned: Cilium's places, so that tools and operators find them.
#pragma once

#include <string>

#include "base/types.h"

namespace axo {

struct BpfPaths {
    std::string root = "/sys/fs/bpf";  // --bpf-root

    [[nodiscard]] std::string globals() const { return root + "/tc/globals"; }
    [[nodiscard]] std::string map(const std::string& name) const { return globals() + "/" + name; }
    [[nodiscard]] std::string state() const { return root + "/cilium"; }
    // A BPF file system takes no dots in names; VLAN devices have them.
    [[nodiscard]] std::string device_links(std::string device) const {
        for (char& c : device) c = c == '.' ? '-' : c;
        return state() + "/devices/" + device + "/links";
    }
    [[nodiscard]] std::string endpoint_links(EndpointId id) const {
        return state() + "/endpoints/" + id.to_string() + "/links";
    }
    [[nodiscard]] std::string socket_links() const { return state() + "/socketlb/links/cgroup"; }
    // The loaded programs of one build and configuration, adopted by a restarting agent.
    [[nodiscard]] std::string programs(const std::string& digest) const { return state() + "/programs/" + digest; }
};

namespace map_name {
inline constexpr const char* kEndpoints = "cilium_lxc";
inline constexpr const char* kEndpointDevices = "cilium_lxc_dev";
inline constexpr const char* kIpcache = "cilium_ipcache_v2";
inline constexpr const char* kGenerations = "cilium_generations";
inline constexpr const char* kPolicySlabs = "cilium_policy_slabs";
inline constexpr const char* kFlows4 = "cilium_flows4";
inline constexpr const char* kFlows6 = "cilium_flows6";
inline constexpr const char* kFragments4 = "cilium_ipv4_frag_datagrams";
inline constexpr const char* kFragments6 = "cilium_ipv6_frag_datagrams";
inline constexpr const char* kEvents = "cilium_events";
inline constexpr const char* kEventsLost = "cilium_events_lost";
inline constexpr const char* kMetrics = "cilium_metrics";
inline constexpr const char* kServices4 = "cilium_lb4_services_v2";
inline constexpr const char* kServices6 = "cilium_lb6_services_v2";
inline constexpr const char* kLbTables = "cilium_lb_tables";
inline constexpr const char* kLbBackends = "cilium_lb_backends";
inline constexpr const char* kLbAffinity = "cilium_lb_affinity";
inline constexpr const char* kLbAffinityMatch = "cilium_lb_affinity_match";
inline constexpr const char* kLbSourceRange4 = "cilium_lb4_source_range";
inline constexpr const char* kLbSourceRange6 = "cilium_lb6_source_range";
inline constexpr const char* kLbPorts = "cilium_lb_ports";
inline constexpr const char* kLbSockets = "cilium_lb_sockets";
inline constexpr const char* kReverseSk4 = "cilium_lb4_reverse_sk";
inline constexpr const char* kReverseSk6 = "cilium_lb6_reverse_sk";
inline constexpr const char* kNatAddresses = "cilium_nat_addresses";
inline constexpr const char* kNatRetries4 = "cilium_snat_v4_alloc_retries";
inline constexpr const char* kNatRetries6 = "cilium_snat_v6_alloc_retries";
inline constexpr const char* kIpMasq4 = "cilium_ipmasq_v4";
inline constexpr const char* kIpMasq6 = "cilium_ipmasq_v6";
inline constexpr const char* kPrefilterFix4 = "cilium_cidr_v4_fix";
inline constexpr const char* kPrefilterDyn4 = "cilium_cidr_v4_dyn";
inline constexpr const char* kPrefilterFix6 = "cilium_cidr_v6_fix";
inline constexpr const char* kPrefilterDyn6 = "cilium_cidr_v6_dyn";
inline constexpr const char* kXdpDevices = "cilium_xdp_devices";
}  // namespace map_name

}  // namespace axo
