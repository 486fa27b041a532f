// OperatorTables: the cluster's objects as the operator's duties see them, kept current by watches.
// Thread: the loop's only.
#pragma once

#include <memory>
#include <vector>

#include "features/operator/types.h"

namespace axo {

class OperatorTables {
public:
    OperatorTables(EventLoop& loop, ObjectStore& store);
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
    std::vector<std::unique_ptr<ObjectStore::Watch>> watches_;
};

}  // namespace axo
