// CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy (cilium.io/v2). Read only: what users wrote is never written
// back, only .status is (policy_status.h). Thread: any (values).
#pragma once

#include <string_view>
#include <vector>

#include "model/meta.h"
#include "model/policy_rule.h"

namespace axo {

struct CiliumNetworkPolicy {
    static constexpr std::string_view kApiVersion = "cilium.io/v2";
    static constexpr std::string_view kKind = "CiliumNetworkPolicy";

    ObjectMeta metadata;
    std::vector<PolicySpec> specs;  // spec and specs

    // The first error names the object, the path and the value; nothing of a bad object is used.
    static Result<CiliumNetworkPolicy> parse(const Json& json);
    friend bool operator==(const CiliumNetworkPolicy&, const CiliumNetworkPolicy&) = default;
};

struct CiliumClusterwideNetworkPolicy {
    static constexpr std::string_view kApiVersion = "cilium.io/v2";
    static constexpr std::string_view kKind = "CiliumClusterwideNetworkPolicy";

    ObjectMeta metadata;
    std::vector<PolicySpec> specs;

    static Result<CiliumClusterwideNetworkPolicy> parse(const Json& json);
    friend bool operator==(const CiliumClusterwideNetworkPolicy&, const CiliumClusterwideNetworkPolicy&) = default;
};

}  // namespace axo
