// The agent's configuration: Cilium's flag names, from the command line, the environment (CILIUM_*)
// and --config-dir (one file per key), in this order of precedence.
//
// parse_config reads everything once and reports all mistakes together; the result is immutable.
// Keys of Cilium whose feature does not exist here are warned about, and refused where silently
// ignoring them would leave the cluster less protected than its operator believes. Thread: main's.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/log.h"
#include "base/result.h"
#include "datapath/datapath.h"
#include "app/agent/hubble_config.h"
#include "app/agent/service_config.h"
#include "features/policy/types.h"
#include "io/listen_address.h"
#include "io/object_store.h"
#include "runtime/metrics.h"

namespace axo {

struct PolicyConfig {
    policy::EnforcementMode mode = policy::EnforcementMode::kDefault;  // enable-policy
    bool audit = false;                                                // policy-audit-mode: of the whole node
    bool allow_localhost = true;                                       // false: allow-localhost=policy
    bool network_policy = true;                                        // enable-k8s-networkpolicy
    bool cilium_network_policy = true;                                 // enable-cilium-network-policy
    bool cilium_clusterwide_network_policy = true;
    bool icmp_rules = true;
    bool sctp = false;
    bool extended_protocols = false;  // VRRP, IGMP
    bool host_firewall = false;       // enable-host-firewall
    bool node_selector_labels = false;
    bool default_local_cluster = true;  // policy-default-local-cluster
};

struct Config {
    std::string node_name;
    std::string cluster_name = "default";
    int cluster_id = 0;
    bool ipv4 = true, ipv6 = false;

    DatapathSettings datapath;  // all but the addresses, which the running node decides
    bool auto_direct_node_routes = false;
    bool direct_routing_skip_unreachable = false;
    Prefix native_cidr4, native_cidr6;
    IpAddress router_ipv4, router_ipv6;  // local-router-ipv4/6: unset: from the pod CIDR

    PolicyConfig policy;
    ServiceConfig services;
    MasqueradeConfig masquerade;
    HubbleConfig hubble;

    std::string ipam = "cluster-pool";     // cluster-pool, kubernetes, multi-pool
    std::string default_pool = "default";  // multi-pool: ipam-default-ip-pool
    std::map<std::string, std::uint64_t>
        pre_allocate;              // ipam-multi-pool-pre-allocation; default: 8 of the default pool
    bool annotate_node = false;    // annotate-k8s-node
    bool endpoint_slices = false;  // enable-cilium-endpoint-slice
    std::string object_store = "kubernetes:";
    KubernetesFlags kubernetes{.user_agent = "axoneme-agent"};
    std::filesystem::path state_dir = "/var/run/cilium";
    std::filesystem::path socket_path;  // default <state-dir>/cilium.sock

    std::uint32_t ct_tcp_max = 0, ct_any_max = 0;  // 0: the default size of the flow table

    std::vector<std::string> label_filter;  // `labels`, in Cilium's syntax
    Duration identity_change_grace_period = std::chrono::seconds(5);

    std::filesystem::path cni_conf_dir;  // write-cni-conf-when-ready; empty: none is written
    bool cni_exclusive = true;
    std::string cni_log_file = "/var/run/cilium/cilium-cni.log";
    std::filesystem::path read_cni_conf;

    std::uint16_t agent_health_port = 9879;
    std::optional<ListenAddress> metrics;  // prometheus-serve-addr
    MetricSelection metric_selection;      // metrics
    bool health_checking = true;
    bool endpoint_health_checking = true;
    std::uint16_t cluster_health_port = 4240;

    LogLevel log_level = LogLevel::kInfo;
    LogFormat log_format = LogFormat::kText;

    // What the sources said, for GET /config; defaults are not in it.
    std::map<std::string, std::string> given;

    [[nodiscard]] std::filesystem::path endpoint_state_dir() const { return state_dir / "state"; }
};

struct ParsedConfig {
    Config config;
    std::vector<std::string> warnings;
    bool help = false;
    bool version = false;
};

// environment: NAME -> value. An error's message holds one line per mistake.
Result<ParsedConfig> parse_config(const std::vector<std::string>& arguments,
                                  const std::map<std::string, std::string>& environment);
std::map<std::string, std::string> process_environment();
std::string config_help();

}  // namespace axo
