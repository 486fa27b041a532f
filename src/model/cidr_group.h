// CiliumCIDRGroup (cilium.io/v2, and v2alpha1 when read): addresses outside the cluster under one name.
// Thread: any (values).
#pragma once

#include "model/meta.h"

namespace axo {

struct CiliumCidrGroup {
    static constexpr std::string_view kApiVersion = "cilium.io/v2";
    static constexpr std::string_view kKind = "CiliumCIDRGroup";

    ObjectMeta metadata;
    std::vector<Prefix> external_cidrs;  // sorted, unique, host bits cleared

    static Result<CiliumCidrGroup> parse(const Json& json);
    [[nodiscard]] Json to_json() const;
    friend bool operator==(const CiliumCidrGroup&, const CiliumCidrGroup&) = default;
};

}  // namespace axo
