// Rules by cookie, and what explanations ask.
#include "features/policy/desired.h"

#include <algorithm>
#include <tuple>

#include "features/policy/match.h"

namespace axo::policy {

std::string to_text(const Enforcement& enforcement) {
    if (!enforcement.enforced) return "not enforced: no policy closes it";
    if (!enforcement.closed_by.empty()) {
        std::string text = "default deny from ";
        for (std::size_t i = 0; i < enforcement.closed_by.size(); ++i) {
            if (i > 0) text += ", ";
            text += enforcement.closed_by[i].to_string();
        }
        return text;
    }
    if (enforcement.init) return "default deny because the pod's labels are not known yet (reserved:init)";
    return "default deny because of enable-policy=always";
}

std::string RuleInfo::to_string() const {
    switch (kind) {
        case Kind::kNone: return "no policy is enforced";
        case Kind::kLocalhost: return "allow-localhost: a node may reach its own pods";
        case Kind::kClosed: return "the endpoint is closed: its own policy does not fit into an image";
        case Kind::kDefaultDeny: return axo::policy::to_text(enforcement);
        case Kind::kRule: break;
    }
    return origin.to_string() + ", " + path;
}

RuleInfo PolicyEngine::info(std::uint32_t cookie, const Named& named) const {
    RuleInfo info;
    info.cookie = cookie;
    info.direction = named.direction;
    if (!named.policy) {
        info.kind = RuleInfo::Kind::kDefaultDeny;
        info.enforcement = named.enforcement;
        return info;
    }
    const Rule& rule = named.policy->specs[named.spec].rules[named.rule];
    info.kind = RuleInfo::Kind::kRule;
    info.deny = rule.deny;
    info.origin = named.policy->origin;
    info.spec_index = named.spec;
    info.path = rule.path;
    info.text = axo::policy::to_text(rule);
    return info;
}

std::optional<RuleInfo> PolicyEngine::rule(std::uint32_t cookie) const {
    RuleInfo result;
    result.cookie = cookie;
    if (cookie == POLICY_COOKIE_NONE) return result;
    if (cookie == POLICY_COOKIE_LOCALHOST || cookie == POLICY_COOKIE_CLOSED) {
        result.kind = cookie == POLICY_COOKIE_CLOSED ? RuleInfo::Kind::kClosed : RuleInfo::Kind::kLocalhost;
        return result;
    }
    const std::string* name = cookies_.name(cookie);
    if (name == nullptr) return std::nullopt;
    return info(cookie, named_.at(*name));
}

std::vector<RuleInfo> PolicyEngine::rules() const {
    std::vector<RuleInfo> all;
    for (const auto& [name, named] : named_) all.push_back(info(cookies_.cookie(name), named));
    std::ranges::sort(all, [](const RuleInfo& a, const RuleInfo& b) {
        const auto place = [](const RuleInfo& one) {
            return std::tie(one.kind, one.direction, one.origin, one.spec_index, one.path, one.cookie);
        };
        return place(a) < place(b);
    });
    return all;
}

std::uint32_t PolicyEngine::cookie(const Origin& origin, const Rule& rule) const {
    return cookies_.cookie(rule_name(origin, rule));
}

std::vector<SelectedSpec> PolicyEngine::selected_by(const LabelSet& labels, bool host) const {
    if (settings_.mode == EnforcementMode::kNever) return {};
    std::vector<SpecEntry*> found;
    (host ? node_specs_ : pod_specs_).match(labels, [&](SpecEntry* spec) { found.push_back(spec); });
    std::ranges::sort(found, SpecEntry::before);
    std::vector<SelectedSpec> specs;
    for (const SpecEntry* spec : found) specs.push_back({spec->policy.get(), spec->index});
    return specs;
}

Enforcement PolicyEngine::enforcement(const std::vector<SelectedSpec>& specs, Direction direction,
                                      const LabelSet& labels, bool host) const {
    Enforcement result;
    if (settings_.mode == EnforcementMode::kNever) return result;
    result.always = settings_.mode == EnforcementMode::kAlways;
    result.init = settings_.enforce_init && !host && labels.has_reserved("init");
    for (const SelectedSpec& selected : specs) {
        const Spec& spec = selected.spec();
        const bool closes = direction == Direction::kIngress ? spec.default_deny_ingress : spec.default_deny_egress;
        if (!closes) continue;
        // Specs come by policy: equal origins stand together.
        if (result.closed_by.empty() || result.closed_by.back() != selected.policy->origin) {
            result.closed_by.push_back(selected.policy->origin);
        }
    }
    result.enforced = result.always || result.init || !result.closed_by.empty();
    return result;
}

std::vector<std::shared_ptr<const Policy>> PolicyEngine::policies() const {
    std::vector<std::shared_ptr<const Policy>> all;
    for (const auto& [key, entry] : policies_) all.push_back(entry.policy);
    return all;
}

}  // namespace axo::policy
