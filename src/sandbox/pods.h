// Pods of a sandbox cluster: what scheduler, kubelet and container runtime do for one, without containers.
// Thread: single-threaded programs (functions fork).
#pragma once

#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "sandbox/cluster.h"

namespace axo::sandbox {

struct Pod {
    PodSpec spec;
    std::string container_id;
    std::string netns;      // as the node sees it
    nlohmann::json result;  // of CNI ADD; null when it failed
    std::vector<IpAddress> addresses;
    std::chrono::microseconds cni_add{0};  // time in the plugins
};

struct PodsAdded {
    std::vector<Result<Pod>> pods;         // in the order asked for
    std::chrono::microseconds cni_add{0};  // from the first plugin call to the last one's end
};

// Writes the Pods that nobody else keeps, makes their network namespaces, calls CNI ADD (all at once when `parallel`),
// and records what came of it. A pod whose ADD fails is taken away again, as a kubelet would before its next attempt.
Result<PodsAdded> add_pods(const Cluster& cluster, const std::vector<PodSpec>& specs, bool parallel);
// CNI DEL, then everything else of the pod; DEL's failure is reported after the rest is gone. Returns the time in the
// plugins.
Result<std::chrono::microseconds> remove_pod(const Cluster& cluster, const std::string& name_space,
                                             const std::string& name);
// CNI CHECK.
Status check_pod(const Cluster& cluster, const std::string& name_space, const std::string& name);

std::vector<Pod> list_pods(const Cluster& cluster);
Result<Pod> find_pod(const Cluster& cluster, const std::string& name_space, const std::string& name);

}  // namespace axo::sandbox
