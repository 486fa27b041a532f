#include "model/cilium_network_policy.h"

namespace axo {
namespace {

template <class Policy>
Result<Policy> parse_policy(const Json& json, Scope scope) {
    const JsonReader object(json, std::string(Policy::kKind));
    TRY(require_kind(object, Policy::kKind));
    Policy policy;
    policy.metadata = read_meta(object, Policy::kKind, scope);
    allow_only(object, {"apiVersion", "kind", "metadata", "spec", "specs", "status"});
    if (object.has("spec")) policy.specs.push_back(read_policy_spec(object.at("spec")));
    object.each("specs", [&](const JsonReader& item) { policy.specs.push_back(read_policy_spec(item)); });
    if (policy.specs.empty()) {
        object.require("spec", "spec, or specs with at least one element");
        object.reject("specs", "spec, or specs with at least one element");
    }
    if (scope == Scope::kNamespaced) {
        for (const PolicySpec& spec : policy.specs) {
            if (!spec.node_selector) continue;
            TRY(object.status());
            return fail(Code::kInvalidArgument,
                        "CiliumNetworkPolicy " + policy.metadata.full_name() + ": " + spec.path +
                            ".nodeSelector: accepted: endpointSelector only; policies of nodes are "
                            "CiliumClusterwideNetworkPolicies");
        }
    }
    TRY(object.status());
    return policy;
}

}  // namespace

Result<CiliumNetworkPolicy> CiliumNetworkPolicy::parse(const Json& json) {
    return parse_policy<CiliumNetworkPolicy>(json, Scope::kNamespaced);
}

Result<CiliumClusterwideNetworkPolicy> CiliumClusterwideNetworkPolicy::parse(const Json& json) {
    return parse_policy<CiliumClusterwideNetworkPolicy>(json, Scope::kCluster);
}

}  // namespace axo
