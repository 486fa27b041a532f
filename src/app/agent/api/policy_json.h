// What several handlers say of policies. Pure. Thread: any.
#pragma once

#include <vector>

#include "features/policy/desired.h"
#include "model/json.h"

namespace axo {

inline Json rule_json(const policy::RuleInfo& rule) {
    using Kind = policy::RuleInfo::Kind;
    Json json{{"cookie", rule.cookie},
              {"type", rule.kind == Kind::kRule          ? "rule"
                       : rule.kind == Kind::kDefaultDeny ? "default-deny"
                       : rule.kind == Kind::kLocalhost   ? "localhost"
                       : rule.kind == Kind::kClosed      ? "closed"
                                                         : "none"},
              {"direction", policy::direction_text(rule.direction)},
              {"deny", rule.kind == Kind::kDefaultDeny || rule.kind == Kind::kClosed || rule.deny},
              {"description", rule.to_string()}};
    if (rule.kind == Kind::kRule) {
        json["kind"] = rule.origin.kind;
        json["namespace"] = rule.origin.k8s_namespace;
        json["name"] = rule.origin.name;
        json["spec"] = rule.spec_index;
        json["path"] = rule.path;
        json["text"] = rule.text;
    }
    return json;
}

inline Json rules_json(const std::vector<policy::RuleInfo>& rules) {
    Json all = Json::array();
    for (const policy::RuleInfo& rule : rules) all.push_back(rule_json(rule));
    return all;
}

}  // namespace axo
