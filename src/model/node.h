// Node (v1): the cluster's own object for a machine; absent in clusters without Kubernetes. Thread: any (values).
#pragma once

#include <string>
#include <vector>

#include "model/cilium_node.h"
#include "model/meta.h"

namespace axo {

struct Taint {
    std::string key;
    std::string value;
    std::string effect;  // NoSchedule, PreferNoSchedule, NoExecute

    friend bool operator==(const Taint&, const Taint&) = default;
};

struct Node {
    static constexpr std::string_view kApiVersion = "v1";
    static constexpr std::string_view kKind = "Node";

    ObjectMeta metadata;
    std::vector<Prefix> pod_cidrs;  // spec.podCIDRs, or spec.podCIDR alone
    std::string provider_id;
    std::vector<Taint> taints;
    std::vector<NodeAddress> addresses;  // status.addresses that are IPs: InternalIP, ExternalIP

    static Result<Node> parse(const Json& json);
    [[nodiscard]] Json to_json() const;
    friend bool operator==(const Node&, const Node&) = default;
};

}  // namespace axo
