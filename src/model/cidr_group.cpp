#include "model/cidr_group.h"

#include <algorithm>

#include "model/policy_selector.h"

namespace axo {

Result<CiliumCidrGroup> CiliumCidrGroup::parse(const Json& json) {
    const JsonReader object(json, std::string(kKind));
    TRY(require_kind(object, kKind));
    CiliumCidrGroup group;
    group.metadata = read_meta(object, kKind, Scope::kCluster);
    allow_only(object, {"apiVersion", "kind", "metadata", "spec", "status"});
    object.require("spec", "an object with externalCIDRs");
    const JsonReader spec = object.at("spec");
    allow_only(spec, {"externalCIDRs"});
    if (spec.present()) spec.require("externalCIDRs", "a list of CIDRs");
    for (PolicyCidr& cidr : read_policy_cidrs(spec, "externalCIDRs", BareAddress::kAccepted)) {
        group.external_cidrs.push_back(cidr.prefix);
    }
    std::ranges::sort(group.external_cidrs);
    const auto repeated = std::ranges::unique(group.external_cidrs);
    group.external_cidrs.erase(repeated.begin(), repeated.end());
    TRY(object.status());
    return group;
}

Json CiliumCidrGroup::to_json() const {
    Json json = object_json(kApiVersion, kKind, metadata);
    Json cidrs = Json::array();
    for (const Prefix& cidr : external_cidrs) cidrs.push_back(cidr.to_string());
    json["spec"] = {{"externalCIDRs", std::move(cidrs)}};
    return json;
}

}  // namespace axo
