// Rows of the identities table: the cluster's numbers and the labels behind them. Thread: any (values).
#pragma once

#include "base/types.h"
#include "model/labels.h"

namespace axo {

struct IdentityRow {
    IdentityId id;
    LabelSet labels;
    bool stored = false;  // a CiliumIdentity says so; otherwise an endpoint of this node, restored from disk
    friend bool operator==(const IdentityRow&, const IdentityRow&) = default;
};

}  // namespace axo
