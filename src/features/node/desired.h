// The CiliumNode this node should have, and which nodes' claims are accepted: pure functions and values.
// Thread: any one at a time.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "features/node/types.h"
#include "model/cilium_node.h"
#include "model/node.h"

namespace axo {

// What an agent knows of its own node and tells the others.
struct LocalNode {
    std::string name;
    std::string cluster;
    std::string boot_id;
    std::string instance_id;
    std::map<std::string, std::string> labels;  // of the Node object; empty: the CiliumNode keeps its own
    std::vector<NodeAddress> addresses;
    IpAddress health_ipv4, health_ipv6;
    std::vector<Prefix> pod_cidrs;  // only where the agent writes them (ipam=kubernetes); else empty: the operator's
    // ipam=multi-pool: what the node wants of the pools, and the CIDRs it gives back.
    struct Pools {
        std::vector<PoolRequest> requested;
        std::set<Prefix> given_back;
        std::vector<PoolAllocation> held;  // for an object that has to be made anew: pods have addresses of it
        friend bool operator==(const Pools&, const Pools&) = default;
    };
    std::optional<Pools> pools;
    friend bool operator==(const LocalNode&, const LocalNode&) = default;
};

// `existing` with this node's part replaced; what the operator and others wrote stays.
CiliumNode desired_node(const std::optional<CiliumNode>& existing, const LocalNode& local);
// ipam=kubernetes: the pod CIDRs that a Node has, of both families: spec.podCIDRs, else annotation
// network.cilium.io/ipv4-pod-cidr, …/ipv6-pod-cidr (older: io.cilium.network.…).
Result<std::vector<Prefix>> kubernetes_pod_cidrs(const Node& node);
// annotate-k8s-node: what Cilium writes on a Node for those who cannot read CiliumNodes. `node`'s pod CIDRs are the
// first of each family.
std::map<std::string, std::string> kubernetes_annotations(const CiliumNode& node);
NodeRow node_row(const CiliumNode& node, const std::string& cluster, bool local);

// Accepts nodes whose pod CIDRs and addresses are nobody else's. Of two nodes that claim the same, the one
// accepted first stays and the other is refused until the claim is gone; the local node is never refused.
class NodeSet {
public:
    struct Outcome {
        std::set<std::string> changed;               // accepted rows that are new, different or gone
        std::map<std::string, std::string> refused;  // node -> why, all that are refused now
    };
    Outcome upsert(NodeRow row);
    Outcome erase(const std::string& name);
    [[nodiscard]] const std::map<std::string, NodeRow>& accepted() const { return accepted_; }

private:
    std::optional<std::string> conflict(const NodeRow& row) const;
    void take(const NodeRow& row);
    void drop(const std::string& name);
    void reconsider(Outcome& outcome);

    std::map<std::string, NodeRow> accepted_;
    std::map<Prefix, std::string> cidrs_;  // disjoint
    std::map<IpAddress, std::string> addresses_;
    std::map<std::string, NodeRow> refused_;  // by name; an older version of the same node may be accepted
    std::map<std::string, std::string> reasons_;
};

}  // namespace axo
