// The operator's configuration: Cilium's flag names, from the command line, the environment (CILIUM_*) and
// --config-dir (one file per key), in this order of precedence. All mistakes are reported together.
// Thread: main's; immutable once made.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/result.h"
#include "features/ipam/cluster_pool.h"
#include "features/operator/node_marks.h"
#include "features/operator/tables.h"
#include "io/lease.h"
#include "io/listen_address.h"
#include "io/object_store.h"
#include "model/pod_ip_pool.h"

namespace axo {

struct OperatorConfig {
    std::string object_store = "kubernetes:";
    KubernetesFlags kubernetes{.qps = 100, .burst = 200, .user_agent = "axoneme-operator"};
    std::string cluster_name = "default";
    std::string ipam = "cluster-pool";
    bool ipv4 = true;
    bool ipv6 = false;
    ClusterPoolConfig cluster_pool;     // only the enabled families
    std::vector<PodIpPool> auto_pools;  // made at the start of leading when they are missing

    Duration identity_gc_interval = std::chrono::minutes(15);
    Duration identity_heartbeat_timeout = std::chrono::minutes(30);
    Duration identity_gc_rate_interval = std::chrono::minutes(1);
    std::size_t identity_gc_rate_limit = 2500;
    Duration endpoint_gc_interval = std::chrono::minutes(5);
    Duration nodes_gc_interval = std::chrono::minutes(5);

    OperatorTablesSettings tables;
    NodeMarksSettings node_marks;
    Duration unmanaged_pod_interval = std::chrono::seconds(15);
    bool endpoint_slices = false;
    std::size_t endpoints_per_slice = 100;
    bool register_crds = true;  // not skip-crd-creation
    LeaseConfig lease;          // without identity

    // Where the API and the metrics are served; no value: nowhere.
    std::optional<ListenAddress> api, metrics;
    bool serve_metrics = false;

    LogLevel log_level = LogLevel::kInfo;
    LogFormat log_format = LogFormat::kText;
};

// What main does with the arguments: run with a configuration, or print a text and leave.
struct OperatorInvocation {
    OperatorConfig config;
    std::optional<std::string> print;  // --help, --version
};

// environment: as in environ, name to value.
Result<OperatorInvocation> parse_operator_config(int argc, const char* const* argv,
                                                 const std::map<std::string, std::string>& environment);

}  // namespace axo
