// How the tests of the translation write policies and read rules: YAML in, one line for each rule out.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "features/policy/translate.h"
#include "model/yaml.h"

namespace axo::policy {
namespace {

[[maybe_unused]] void replace_all(std::string& text, std::string_view from, std::string_view to) {
    for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
        text.replace(at, from.size(), to);
    }
}

template <class Items, class Text>
std::string joined(const Items& items, const char* separator, Text text) {
    std::string all;
    for (const auto& item : items) all += (all.empty() ? "" : separator) + text(item);
    return all;
}

// "any:app=web", "k8s:env in (a b)", "!any:old"; long keys that nearly every rule has are shortened.
[[maybe_unused]] std::string dump(const Requirement& requirement) {
    std::string text = requirement.source + ":" + requirement.key;
    replace_all(text, "k8s:io.kubernetes.pod.namespace", "ns");
    replace_all(text, "k8s:io.cilium.k8s.policy.cluster", "cluster");
    replace_all(text, "k8s:io.cilium.k8s.namespace.labels.", "nslabel.");
    const std::string values = joined(requirement.values, " ", [](const std::string& value) { return value; });
    switch (requirement.op) {
        case Requirement::Op::kIn:
            return requirement.values.size() == 1 ? text + "=" + values : text + " in (" + values + ")";
        case Requirement::Op::kNotIn: return text + " notin (" + values + ")";
        case Requirement::Op::kExists: return text;
        case Requirement::Op::kDoesNotExist: break;
    }
    return "!" + text;
}

[[maybe_unused]] std::string dump(const std::vector<Requirement>& all) {
    return joined(all, ",", [](const Requirement& one) { return dump(one); });
}

// "E{…}" when written as endpoints, "{…}" otherwise.
[[maybe_unused]] std::string dump(const Selector& selector) {
    EXPECT_NE(selector.labels.has_value(), selector.cidr.has_value());
    if (selector.labels) return (selector.endpoints ? "E{" : "{") + dump(selector.labels->all) + "}";
    std::string text = selector.cidr->cidr.to_string();
    for (const Prefix& except : selector.cidr->except) text += "-" + except.to_string();
    return text;
}

[[maybe_unused]] std::string dump(const PortRange& range) {
    std::string text = protocol_text(range.protocol);
    if (!range.name.empty()) return text + "/" + range.name;
    text += "/" + std::to_string(range.first);
    return range.last == range.first ? text : text + "-" + std::to_string(range.last);
}

[[maybe_unused]] std::string dump(const Policy& policy) {
    std::string text;
    for (const Spec& spec : policy.specs) {
        text += std::string(spec.selects_nodes ? "nodes " : "pods ") + "{" + dump(spec.subject.all) + "}";
        if (spec.default_deny_ingress) text += " deny-ingress";
        if (spec.default_deny_egress) text += " deny-egress";
        if (!spec.ingress_requires.empty()) text += " ingress-requires {" + dump(spec.ingress_requires) + "}";
        if (!spec.egress_requires.empty()) text += " egress-requires {" + dump(spec.egress_requires) + "}";
        text += "\n";
        for (const Rule& rule : spec.rules) {
            EXPECT_TRUE(rule.path.contains(direction_text(rule.direction))) << rule.path;
            text += std::string(rule.deny ? "deny " : "allow ") + rule.path + ": " +
                    joined(rule.peers, " ", [](const Selector& peer) { return dump(peer); });
            if (!rule.ports.empty()) {
                text += " | " + joined(rule.ports, " ", [](const PortRange& range) { return dump(range); });
            }
            text += "\n";
        }
    }
    return text;
}

template <class Object>
Result<Translation> translated(const std::string& yaml, const TranslateContext& context = {}) {
    TRY_ASSIGN(const Json json, parse_yaml(yaml));
    TRY_ASSIGN(const Object object, Object::parse(json));
    return translate(object, context);
}

template <class Object>
void expect_rules(const std::string& yaml, const std::string& rules, const TranslateContext& context = {}) {
    const auto translation = translated<Object>(yaml, context);
    ASSERT_TRUE(translation) << yaml << "\n" << translation.error().message;
    EXPECT_EQ(dump(translation->policy), rules) << yaml;
}

[[maybe_unused]] std::string cnp(const std::string& spec) {
    return "{kind: CiliumNetworkPolicy, metadata: {name: p, namespace: blue}, spec: " + spec + "}";
}
[[maybe_unused]] std::string ccnp(const std::string& spec) {
    return "{kind: CiliumClusterwideNetworkPolicy, metadata: {name: p}, spec: " + spec + "}";
}
[[maybe_unused]] std::string np(const std::string& spec) {
    return "{kind: NetworkPolicy, metadata: {name: p, namespace: blue}, spec: " + spec + "}";
}

[[maybe_unused]] std::string warnings_of(const Result<Translation>& translation) {
    if (!translation) return "error: " + translation.error().message;
    return joined(translation->warnings, "\n", [](const std::string& warning) { return warning; });
}

[[maybe_unused]] void expect_warning(const Result<Translation>& translation, const std::string& part) {
    EXPECT_NE(warnings_of(translation).find(part), std::string::npos)
        << "got:      " << warnings_of(translation) << "\nexpected: " << part;
}

}  // namespace
}  // namespace axo::policy
