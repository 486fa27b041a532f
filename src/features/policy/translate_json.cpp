// Policies as `cilium policy get` prints them.
#include <algorithm>
#include <array>

#include "features/policy/translate_selectors.h"

namespace axo::policy {
namespace {

Json selector_json(const LabelQuery& query) {
    Json labels = Json::object();
    Json expressions = Json::array();
    for (const Requirement& requirement : query.all) {
        const std::string key = requirement.source + ":" + requirement.key;
        using Op = Requirement::Op;
        const bool plain = requirement.op == Op::kIn && requirement.values.size() == 1 && !labels.contains(key);
        const bool reserved = requirement.op == Op::kExists && requirement.source == label_source::kReserved;
        if (plain || reserved) {
            labels[key] = reserved ? std::string() : requirement.values.front();
            continue;
        }
        Json item = {{"key", key}};
        item["operator"] = requirement.op == Op::kIn       ? "In"
                           : requirement.op == Op::kNotIn  ? "NotIn"
                           : requirement.op == Op::kExists ? "Exists"
                                                           : "DoesNotExist";
        put_nonempty(item, "values", requirement.values);
        expressions.push_back(std::move(item));
    }
    Json json = Json::object();
    put_nonempty(json, "matchLabels", std::move(labels));
    put_nonempty(json, "matchExpressions", std::move(expressions));
    return json;
}

Json label_json(std::string_view key, const std::string& value, std::string_view source) {
    Json json = {{"key", key}, {"source", source}};
    put_nonempty(json, "value", value);
    return json;
}

// Where a rule comes from, sorted by key.
Json origin_labels(const Origin& origin) {
    Json labels = Json::array();
    labels.push_back(label_json("io.cilium.k8s.policy.derived-from", origin.kind, label_source::kK8s));
    labels.push_back(label_json("io.cilium.k8s.policy.name", origin.name, label_source::kK8s));
    if (!origin.k8s_namespace.empty()) {
        labels.push_back(label_json("io.cilium.k8s.policy.namespace", origin.k8s_namespace, label_source::kK8s));
    }
    labels.push_back(label_json("io.cilium.k8s.policy.uid", origin.uid, label_source::kK8s));
    return labels;
}

void set_selectors(Json& entry, const char* member, const std::vector<LabelSelector>& selectors,
                   const std::string& name_space, bool subject_is_init, const TranslateContext& context) {
    for (std::size_t i = 0; i < selectors.size(); ++i) {
        entry[member][i] = selector_json(endpoint_query(selectors[i], name_space, subject_is_init, context));
    }
}

struct Section {
    const char* member;
    const char* endpoints;
    const char* required;
    std::vector<PolicyEntry> PolicySpec::* entries;
};
constexpr std::array kSections{
    Section{"ingress", "fromEndpoints", "fromRequires", &PolicySpec::ingress},
    Section{"ingressDeny", "fromEndpoints", "fromRequires", &PolicySpec::ingress_deny},
    Section{"egress", "toEndpoints", "toRequires", &PolicySpec::egress},
    Section{"egressDeny", "toEndpoints", "toRequires", &PolicySpec::egress_deny},
};

Json spec_json(Json json, const PolicySpec& spec, const Spec& translated, const Origin& origin,
               const TranslateContext& context) {
    json[spec.node_selector ? "nodeSelector" : "endpointSelector"] = selector_json(translated.subject);
    const bool init = std::ranges::any_of(translated.subject.all, [](const Requirement& requirement) {
        return requirement.source == label_source::kReserved && requirement.key == "init";
    });
    for (const Section& section : kSections) {
        const auto& entries = spec.*section.entries;
        for (std::size_t i = 0; i < entries.size(); ++i) {
            Json& entry = json[section.member][i];
            set_selectors(entry, section.endpoints, entries[i].endpoints, origin.k8s_namespace, init, context);
            set_selectors(entry, section.required, entries[i].required, origin.k8s_namespace, init, context);
        }
    }
    json["enableDefaultDeny"] = {{"ingress", translated.default_deny_ingress},
                                 {"egress", translated.default_deny_egress}};
    std::vector<Json> labels = origin_labels(origin).get<std::vector<Json>>();
    for (const Label& label : spec.labels) labels.push_back(label_json(label.key, label.value, label.source));
    std::ranges::stable_sort(labels, {}, [](const Json& label) { return label.at("key").get<std::string>(); });
    json["labels"] = std::move(labels);
    return json;
}

template <class Object>
Result<Json> cilium_rules(const Json& object, const TranslateContext& context) {
    TRY_ASSIGN(const Object parsed, Object::parse(object));
    TRY_ASSIGN(const Translation translation, translate(parsed, context));
    Json rules = Json::array();
    std::size_t index = 0;
    const auto add = [&](const Json& spec) {
        rules.push_back(
            spec_json(spec, parsed.specs[index], translation.policy.specs[index], translation.policy.origin, context));
        ++index;
    };
    if (const auto spec = object.find("spec"); spec != object.end() && !spec->is_null()) add(*spec);
    if (const auto specs = object.find("specs"); specs != object.end() && specs->is_array()) {
        for (const Json& spec : *specs) add(spec);
    }
    return rules;
}

Json ports_json(const std::vector<PortRange>& ranges) {
    Json ports = Json::array();
    for (const PortRange& range : ranges) {
        Json port = {{"protocol", protocol_text(range.protocol)}};
        const bool all = range.first == 0 && range.last == 65535;
        port["port"] = !range.name.empty() ? range.name : all ? "0" : std::to_string(range.first);
        if (range.name.empty() && !all && range.last != range.first) port["endPort"] = range.last;
        ports.push_back(std::move(port));
    }
    return Json::array({{{"ports", std::move(ports)}}});
}

// A rule of Kubernetes in Cilium's form, where labels and CIDRs are entries of their own.
void add_entries(Json& entries, const Rule& rule) {
    const bool ingress = rule.direction == Direction::kIngress;
    Json endpoints = Json::array();
    Json cidrs = Json::array();
    for (const Selector& peer : rule.peers) {
        if (peer.labels) {
            endpoints.push_back(selector_json(*peer.labels));
            continue;
        }
        Json cidr = {{"cidr", peer.cidr->cidr.to_string()}};
        put_nonempty(cidr, "except", peer.cidr->except);
        cidrs.push_back(std::move(cidr));
    }
    const auto add = [&](const char* member, Json& peers) {
        if (peers.empty()) return;
        Json entry = {{member, std::move(peers)}};
        if (!rule.ports.empty()) entry["toPorts"] = ports_json(rule.ports);
        entries.push_back(std::move(entry));
    };
    add(ingress ? "fromEndpoints" : "toEndpoints", endpoints);
    add(ingress ? "fromCIDRSet" : "toCIDRSet", cidrs);
}

Result<Json> network_policy_rules(const Json& object, const TranslateContext& context) {
    TRY_ASSIGN(const NetworkPolicy parsed, NetworkPolicy::parse(object));
    TRY_ASSIGN(const Translation translation, translate(parsed, context));
    const Spec& spec = translation.policy.specs.front();
    Json json = {{"endpointSelector", selector_json(spec.subject)}};
    Json ingress = Json::array();
    Json egress = Json::array();
    for (const Rule& rule : spec.rules) add_entries(rule.direction == Direction::kIngress ? ingress : egress, rule);
    // Denying by default is written as one entry that selects nobody.
    if (spec.default_deny_ingress && ingress.empty()) ingress.push_back(Json::object());
    if (spec.default_deny_egress && egress.empty()) egress.push_back(Json::object());
    put_nonempty(json, "ingress", std::move(ingress));
    put_nonempty(json, "egress", std::move(egress));
    json["enableDefaultDeny"] = {{"ingress", spec.default_deny_ingress}, {"egress", spec.default_deny_egress}};
    json["labels"] = origin_labels(translation.policy.origin);
    return Json::array({std::move(json)});
}

}  // namespace

Result<Json> policy_rules_json(const Json& object, const TranslateContext& context) {
    const auto kind = object.is_object() ? object.find("kind") : object.end();
    const std::string text =
        object.is_object() && kind != object.end() && kind->is_string() ? kind->get<std::string>() : "";
    if (text == CiliumNetworkPolicy::kKind) return cilium_rules<CiliumNetworkPolicy>(object, context);
    if (text == CiliumClusterwideNetworkPolicy::kKind) {
        return cilium_rules<CiliumClusterwideNetworkPolicy>(object, context);
    }
    if (text == NetworkPolicy::kKind) return network_policy_rules(object, context);
    return fail(Code::kInvalidArgument,
                "kind: \"" + text + "\"; accepted: CiliumNetworkPolicy, CiliumClusterwideNetworkPolicy, NetworkPolicy");
}

}  // namespace axo::policy
