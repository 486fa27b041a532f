// Which services this node serves itself: flags x kernel. Pure.
//
// What stays off is kube-proxy's. The reasons are printed by `status --verbose`.
#pragma once

#include <string>
#include <vector>

#include "app/agent/config.h"
#include "datapath/datapath.h"
#include "kernel/features.h"

namespace axo {

struct ServicePlan {
    // Pods' ClusterIPs are always served.
    bool socket_lb = false;
    bool node_port = false;  // LoadBalancer, too
    bool external_ips = false;
    bool host_port = false;
    bool session_affinity = true;
    std::string mode;  // "True", "False", "Partial", "Probe"
    ServiceSettings programs;
    std::vector<DatapathDecisions::Reason> reasons;

    // Nothing is left to kube-proxy.
    [[nodiscard]] bool complete() const { return socket_lb && node_port && external_ips && host_port; }
};

// kFailedPrecondition: what was asked for is more than this kernel can; the message lists all of it.
Result<ServicePlan> plan_services(const Config& config, const KernelFeatures& features);

}  // namespace axo
