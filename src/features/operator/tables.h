// OperatorTables: the cluster's objects as the operator's duties see them, kept current by watches.
// Thread: the loop's only.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "features/operator/types.h"

namespace axo {

// Which pods and nodes are looked at more closely.
struct OperatorTablesSettings {
    std::string agent_namespace = "kube-system";
    std::map<std::string, std::string> agent_labels = {{"k8s-app", "cilium"}};          // cilium-pod-labels
    std::map<std::string, std::string> restartable_labels = {{"k8s-app", "kube-dns"}};  // pod-restart-selector
    std::string taint_key = "node.cilium.io/agent-not-ready";
};

// "k8s-app=cilium,tier=x": every label has to be there.
Result<std::map<std::string, std::string>> parse_label_list(std::string_view text);

class OperatorTables {
public:
    OperatorTables(EventLoop& loop, ObjectStore& store, OperatorTablesSettings settings = {});
    OperatorTables(const OperatorTables&) = delete;
    OperatorTables& operator=(const OperatorTables&) = delete;

    OperatorNodeTable cilium_nodes;
    KubeNodeTable nodes;
    OperatorPodTable pods;
    OperatorEndpointTable endpoints;
    OperatorIdentityTable identities;

    // The store holds something it cannot read: what is missing from a table and never was in it may be that.
    [[nodiscard]] bool unreadable_objects() const { return !store_.rejected().empty(); }

private:
    ObjectStore& store_;
    OperatorTablesSettings settings_;
    std::vector<std::unique_ptr<ObjectStore::Watch>> watches_;
};

}  // namespace axo
