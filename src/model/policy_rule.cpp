#include "model/policy_rule.h"

#include <algorithm>
#include <array>
#include <span>

#include "model/names.h"

namespace axo {
namespace {

// What an entry's members are called, by direction.
struct EntryMembers {
    std::string_view cidr, cidr_set, endpoints, entities, nodes, required, groups;
    std::array<std::string_view, 12> allow_members;  // "" where there are fewer
    std::array<std::string_view, 12> deny_members;
};

constexpr EntryMembers kIngressMembers{
    "fromCIDR",
    "fromCIDRSet",
    "fromEndpoints",
    "fromEntities",
    "fromNodes",
    "fromRequires",
    "fromGroups",
    {"fromCIDR", "fromCIDRSet", "fromEndpoints", "fromEntities", "fromGroups", "fromNodes", "fromRequires", "toPorts",
     "icmps", "authentication"},
    {"fromCIDR", "fromCIDRSet", "fromEndpoints", "fromEntities", "fromGroups", "fromNodes", "fromRequires", "toPorts",
     "icmps"},
};
constexpr EntryMembers kEgressMembers{
    "toCIDR",
    "toCIDRSet",
    "toEndpoints",
    "toEntities",
    "toNodes",
    "toRequires",
    "toGroups",
    {"toCIDR", "toCIDRSet", "toEndpoints", "toEntities", "toFQDNs", "toGroups", "toNodes", "toRequires", "toServices",
     "toPorts", "icmps", "authentication"},
    {"toCIDR", "toCIDRSet", "toEndpoints", "toEntities", "toGroups", "toNodes", "toRequires", "toServices", "toPorts",
     "icmps"},
};

std::span<const std::string_view> used(const std::array<std::string_view, 12>& members) {
    return {members.begin(), std::ranges::find(members, std::string_view())};
}

constexpr std::array<std::string_view, 13> kEntities{
    "all",    "world", "world-ipv4", "world-ipv6",     "cluster",   "host", "remote-node",
    "health", "init",  "ingress",    "kube-apiserver", "unmanaged", "none"};

PolicyCidrRule read_cidr_rule(const JsonReader& item) {
    allow_only(item, {"cidr", "cidrGroupRef", "cidrGroupSelector", "except"});
    PolicyCidrRule rule;
    if (item.has("cidr")) {
        constexpr std::string_view kRule = "a CIDR such as 10.0.1.0/24 or fd00::/64";
        auto cidr = parse_policy_cidr(item.string("cidr"), BareAddress::kRefused);
        if (cidr) {
            rule.cidr = std::move(*cidr);
        } else {
            item.reject("cidr", kRule);
        }
    }
    rule.group = item.string("cidrGroupRef");
    if (item.has("cidrGroupRef") && !is_dns_subdomain(rule.group)) item.reject("cidrGroupRef", kDnsSubdomainRule);
    if (item.has("cidrGroupSelector")) {
        rule.group_selector = read_policy_selector(item.at("cidrGroupSelector"), SelectorKeys::kCilium);
    }
    const int given = int{item.has("cidr")} + int{item.has("cidrGroupRef")} + int{item.has("cidrGroupSelector")};
    if (given != 1) item.reject("", "exactly one of cidr, cidrGroupRef and cidrGroupSelector");

    rule.except = read_policy_cidrs(item, "except", BareAddress::kRefused);
    if (rule.cidr) {
        std::size_t index = 0;
        item.each("except", [&](const JsonReader& element) {
            if (index < rule.except.size() && !rule.cidr->prefix.contains(rule.except[index].prefix)) {
                element.reject("", "a CIDR inside " + rule.cidr->prefix.to_string());
            }
            ++index;
        });
    }
    return rule;
}

PolicyServiceReference read_service(const JsonReader& item) {
    allow_only(item, {"k8sService", "k8sServiceSelector"});
    PolicyServiceReference reference;
    if (item.has("k8sService") == item.has("k8sServiceSelector")) {
        item.reject("", "exactly one of k8sService and k8sServiceSelector");
        return reference;
    }
    const bool by_name = item.has("k8sService");
    const JsonReader service = item.at(by_name ? "k8sService" : "k8sServiceSelector");
    reference.name_space = service.string("namespace");
    if (!reference.name_space.empty() && !is_dns_label(reference.name_space)) {
        service.reject("namespace", kDnsLabelRule);
    }
    if (by_name) {
        allow_only(service, {"serviceName", "namespace"});
        reference.name = service.string("serviceName");
        service.require("serviceName", kDnsLabelRule);
        if (service.has("serviceName") && !is_dns_subdomain(reference.name)) {
            service.reject("serviceName", kDnsLabelRule);
        }
    } else {
        allow_only(service, {"selector", "namespace"});
        service.require("selector", "a label selector");
        reference.selector = read_policy_selector(service.at("selector"), SelectorKeys::kCilium);
    }
    return reference;
}

// Notes that a list of peers is given; returns whether it has elements.
bool note_peers(const JsonReader& entry, std::string_view member, PolicyEntry& read) {
    if (!entry.has(member)) return false;
    read.peers_given = true;
    const Json& list = entry.at(member).json();
    if (!list.is_array()) {
        entry.reject(member, "a list");
        return false;
    }
    if (list.empty()) read.nobody = true;
    return !list.empty();
}

bool contains_null(const Json& value) {
    return value.is_null() || (value.is_structured() && std::any_of(value.begin(), value.end(), contains_null));
}

// A member written without a value is no restriction in Go's reading, and hardly ever what was meant; the API server
// refuses it in custom resources too.
void refuse_nulls(const JsonReader& reader) {
    if (!reader.json().is_object()) return;
    for (const auto& [name, value] : reader.json().items()) {
        if (value.is_null()) {
            reader.reject("", "a value for \"" + name + "\"");
        } else if (value.is_object()) {
            refuse_nulls(reader.at(name));
        } else if (value.is_array()) {
            reader.each(name, refuse_nulls);
        }
    }
}

PolicyEntry read_entry(const JsonReader& reader, const EntryMembers& members, bool deny,
                       std::map<std::string, Json>& unenforced) {
    PolicyEntry entry;
    if (!reader.json().is_object()) {
        reader.reject("", "an object");
        return entry;
    }
    allow_only(reader, used(deny ? members.deny_members : members.allow_members));

    std::string_view kind;  // of the peers
    for (const std::string_view member :
         {members.cidr, members.cidr_set, members.endpoints, members.entities, members.nodes, members.groups,
          std::string_view("toServices"), std::string_view("toFQDNs")}) {
        if (!note_peers(reader, member, entry)) continue;
        if (!kind.empty()) reader.reject(member, "one kind of peers in an entry: it has " + std::string(kind) + " too");
        kind = member;
    }

    entry.endpoints = read_policy_selectors(reader, members.endpoints, SelectorKeys::kCilium);
    entry.nodes = read_policy_selectors(reader, members.nodes, SelectorKeys::kCilium);
    entry.required = read_policy_selectors(reader, members.required, SelectorKeys::kCilium);
    if (deny && !entry.required.empty()) {
        reader.reject(members.required, "none: it narrows what is allowed and means nothing in a denial");
    }
    entry.cidrs = read_policy_cidrs(reader, members.cidr, BareAddress::kAccepted);
    reader.each(members.cidr_set, [&](const JsonReader& item) {
        if (!item.json().is_object()) item.reject("", "an object with cidr, cidrGroupRef or cidrGroupSelector");
        entry.cidr_set.push_back(read_cidr_rule(item));
    });
    reader.each(members.entities, [&](const JsonReader& item) {
        const std::string entity = item.json().is_string() ? item.json().get<std::string>() : std::string();
        if (std::ranges::find(kEntities, entity) == kEntities.end()) {
            std::string accepted;
            for (const std::string_view known : kEntities)
                accepted += (accepted.empty() ? "" : ", ") + std::string(known);
            item.reject("", accepted);
        }
        entry.entities.push_back(entity);
    });
    reader.each("toServices", [&](const JsonReader& item) { entry.services.push_back(read_service(item)); });

    entry.to_ports = read_policy_ports(reader, deny, unenforced);
    entry.icmps = read_policy_icmps(reader);
    if (!entry.to_ports.empty() && !entry.icmps.empty()) {
        reader.reject("icmps", "no icmps beside toPorts: an entry of its own");
    }

    for (const std::string_view member : {members.groups, std::string_view("toFQDNs")}) {
        const JsonReader value = reader.at(member);
        if (value.present() && !value.json().empty()) unenforced.emplace(value.path(), value.json());
    }
    const JsonReader authentication = reader.at("authentication");
    if (authentication.present()) {
        allow_only(authentication, {"mode"});
        const std::string mode = authentication.string("mode");
        if (mode != "disabled" && mode != "required" && mode != "test-always-fail") {
            if (authentication.has("mode")) authentication.reject("mode", "disabled, required, test-always-fail");
            authentication.require("mode", "disabled, required, test-always-fail");
        }
        if (mode != "disabled") unenforced.emplace(authentication.path(), authentication.json());
    }
    return entry;
}

std::vector<PolicyEntry> read_entries(const JsonReader& spec, std::string_view member, const EntryMembers& members,
                                      bool deny, std::map<std::string, Json>& unenforced) {
    std::vector<PolicyEntry> entries;
    spec.each(member, [&](const JsonReader& item) { entries.push_back(read_entry(item, members, deny, unenforced)); });
    return entries;
}

std::optional<bool> read_flag(const JsonReader& reader, std::string_view member) {
    if (!reader.has(member)) return std::nullopt;
    return reader.boolean(member);
}

}  // namespace

PolicySpec read_policy_spec(const JsonReader& reader) {
    PolicySpec spec;
    spec.path = reader.path();
    if (!reader.json().is_object()) {
        reader.reject("", "an object");
        return spec;
    }
    allow_only(reader, {"endpointSelector", "nodeSelector", "ingress", "ingressDeny", "egress", "egressDeny",
                        "enableDefaultDeny", "labels", "description", "log"});
    if (reader.has("endpointSelector") == reader.has("nodeSelector")) {
        reader.reject("", "exactly one of endpointSelector and nodeSelector");
    }
    if (reader.has("endpointSelector")) {
        spec.endpoint_selector = read_policy_selector(reader.at("endpointSelector"), SelectorKeys::kCilium);
    }
    if (reader.has("nodeSelector")) {
        spec.node_selector = read_policy_selector(reader.at("nodeSelector"), SelectorKeys::kCilium);
    }
    spec.ingress = read_entries(reader, "ingress", kIngressMembers, false, spec.unenforced);
    spec.ingress_deny = read_entries(reader, "ingressDeny", kIngressMembers, true, spec.unenforced);
    spec.egress = read_entries(reader, "egress", kEgressMembers, false, spec.unenforced);
    spec.egress_deny = read_entries(reader, "egressDeny", kEgressMembers, true, spec.unenforced);
    if (spec.ingress.empty() && spec.ingress_deny.empty() && spec.egress.empty() && spec.egress_deny.empty()) {
        reader.reject("",
                      "at least one entry in ingress, ingressDeny, egress or egressDeny (denying by default: "
                      "\"ingress: [{}]\")");
    }

    const JsonReader default_deny = reader.at("enableDefaultDeny");
    allow_only(default_deny, {"ingress", "egress"});
    spec.default_deny_ingress = read_flag(default_deny, "ingress");
    spec.default_deny_egress = read_flag(default_deny, "egress");

    reader.each("labels", [&](const JsonReader& item) {
        allow_only(item, {"key", "value", "source"});
        item.require("key", "the key of a label");
        spec.labels.push_back({item.string("source", label_source::kUnspec), item.string("key"), item.string("value")});
    });
    spec.description = reader.string("description");
    const JsonReader log = reader.at("log");
    allow_only(log, {"value"});
    spec.log = log.string("value");
    if (spec.log.size() > 32) log.reject("value", "at most 32 characters");
    if (contains_null(reader.json())) refuse_nulls(reader);
    return spec;
}

}  // namespace axo
