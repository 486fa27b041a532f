// Services and masquerading as the flags ask for them. What the node then does is decided with the kernel's abilities
// in service_plan.h. What the programs are told as it is given stands in DatapathSettings::services already.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/ip.h"
#include "bpf/api/config.h"
#include "bpf/api/lb.h"

namespace axo {

// kube-proxy-replacement: who serves what.
enum class KubeProxyReplacement {
    kFalse,    // pods' ClusterIPs in BPF, the rest is kube-proxy's
    kTrue,     // all of it, or the agent does not start; also "strict"
    kPartial,  // what the single switches name, or the agent does not start
    kProbe,    // what this kernel can, the rest is kube-proxy's
};

struct ServiceConfig {
    KubeProxyReplacement replacement = KubeProxyReplacement::kFalse;
    // Single switches; nullopt: as the replacement says.
    std::optional<bool> socket_lb, node_port, external_ips, host_port, session_affinity;
    [[nodiscard]] std::string name() const {
        switch (replacement) {
            case KubeProxyReplacement::kTrue: return "true";
            case KubeProxyReplacement::kPartial: return "partial";
            case KubeProxyReplacement::kProbe: return "probe";
            case KubeProxyReplacement::kFalse: break;
        }
        return "false";
    }
    bool proxy_adapter = false;  // kube-proxy's ClusterIP rules are taken out of its chain

    lb_mode mode = LB_MODE_SNAT;  // never LB_MODE_ANNOTATION: that is mode_annotation
    bool mode_annotation = false;
    lb_algorithm algorithm = LB_RANDOM;
    bool algorithm_annotation = false;
    std::uint32_t maglev_table_size = 16381;
    std::string maglev_hash_seed = "JLfvgnHc2kaSUFaI";  // 12 bytes in base64
    std::string direct_routing_device;                  // another one than that with the node's address is not used
    bool health_check_node_port = true;
    bool health_check_load_balancer_ip = false;
    bool auto_protect_port_range = true;
    bool topology = false;   // slices' hints also where the Service does not ask for them
    std::string proxy_name;  // k8s-service-proxy-name
    IpAddress healthz_address;
    std::uint16_t healthz_port = 0;  // 0: none
    std::uint32_t map_max = LB_MAX_SERVICES;
    std::uint32_t service_map_max = 0, backend_map_max = 0, affinity_map_max = 0, source_range_map_max = 0;  // 0: that
};

struct MasqueradeConfig {
    std::chrono::seconds stats_interval{30};  // how often source ports in use are counted; 0: never
    std::uint32_t stats_entries = 32;
    bool ipv4 = true, ipv6 = true;
    bool bpf = false;
    bool ip_masq_agent = false;
    std::filesystem::path ip_masq_agent_file = "/etc/config/ip-masq-agent";
    bool to_route_source = false;             // netfilter: the address that the route would use
    std::vector<std::string> out_interfaces;  // netfilter: only what leaves through these; "eth+"
    std::string address_device;               // BPF: this device's address instead of the way out's

    // Netfilter rules at all, and how they are written.
    bool install_rules = true;
    bool no_conntrack = false;
    bool random_fully = false;
    bool feeder_rules = true;
    bool prepend = true;
    std::chrono::seconds lock_timeout{5};
};

}  // namespace axo
