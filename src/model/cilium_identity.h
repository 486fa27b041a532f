// CiliumIdentity (cilium.io/v2): a number for a set of labels, its name being the number. Thread: any (values).
#pragma once

#include <string>

#include "base/types.h"
#include "model/labels.h"
#include "model/meta.h"

namespace axo {

struct CiliumIdentity {
    static constexpr std::string_view kApiVersion = "cilium.io/v2";
    static constexpr std::string_view kKind = "CiliumIdentity";
    // RFC 3339 time since when the operator has seen the identity unused.
    static constexpr std::string_view kHeartbeatAnnotation = "io.cilium.heartbeat";

    ObjectMeta metadata;
    LabelSet security_labels;

    // A new identity as an agent creates it: name and metadata.labels follow from the arguments.
    static CiliumIdentity make(IdentityId id, const LabelSet& labels);
    // The name must be a number from 1 to 16777215.
    static Result<CiliumIdentity> parse(const Json& json);
    [[nodiscard]] Json to_json() const;
    [[nodiscard]] IdentityId id() const;

    friend bool operator==(const CiliumIdentity&, const CiliumIdentity&) = default;
};

}  // namespace axo
