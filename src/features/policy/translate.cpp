// CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy.
#include "features/policy/translate.h"

#include <algorithm>

#include "features/policy/translate_selectors.h"

namespace axo::policy {
namespace {

std::string element(const std::string& path, std::string_view member, std::size_t index) {
    return path + "." + std::string(member) + "[" + std::to_string(index) + "]";
}

// One spec of a policy. name_space "": of a cluster-wide one.
class SpecTranslator {
public:
    SpecTranslator(TranslationBuilder& builder, const std::string& name_space, const PolicySpec& spec)
        : builder_(builder), context_(builder.context()), name_space_(name_space), spec_(spec) {}

    Status translate() {
        if (!spec_.unenforced.empty()) {
            return builder_.refuse(Code::kUnimplemented, spec_.unenforced.begin()->first,
                                   "not supported yet; the policy as a whole is not enforced");
        }
        subject();
        result_.description = spec_.description;
        result_.default_deny_ingress =
            spec_.default_deny_ingress.value_or(!spec_.ingress.empty() || !spec_.ingress_deny.empty());
        result_.default_deny_egress =
            spec_.default_deny_egress.value_or(!spec_.egress.empty() || !spec_.egress_deny.empty());
        TRY(entries("ingress", Direction::kIngress, false, spec_.ingress));
        TRY(entries("ingressDeny", Direction::kIngress, true, spec_.ingress_deny));
        TRY(entries("egress", Direction::kEgress, false, spec_.egress));
        TRY(entries("egressDeny", Direction::kEgress, true, spec_.egress_deny));
        for (auto* required : {&result_.ingress_requires, &result_.egress_requires}) {
            std::ranges::sort(*required);
            const auto repeated = std::ranges::unique(*required);
            required->erase(repeated.begin(), repeated.end());
        }
        builder_.result().policy.specs.push_back(std::move(result_));
        return {};
    }

private:
    void subject() {
        if (spec_.node_selector) {
            result_.selects_nodes = true;
            result_.subject = label_query(*spec_.node_selector);
            if (!context_.host_firewall) {
                builder_.warn(spec_.path + ".nodeSelector", "has no effect: enable-host-firewall is off");
            }
        } else {
            endpoint_subject();
        }
        if (const std::string why = contradiction(result_.subject); !why.empty()) {
            builder_.warn(spec_.path + (result_.selects_nodes ? ".nodeSelector" : ".endpointSelector"),
                          "selects nothing: " + why);
        }
    }

    // A namespaced policy is about its own namespace, whatever its selector says.
    void endpoint_subject() {
        LabelSelector selector = *spec_.endpoint_selector;
        if (!name_space_.empty()) {
            const std::string key = std::string(label_source::kK8s) + ":" + std::string(label_key::kPodNamespace);
            const auto given = selector.match_labels.find(key);
            if (given != selector.match_labels.end()) {
                if (given->second != name_space_) {
                    builder_.warn(spec_.path + ".endpointSelector",
                                  "namespace " + given->second + " is ignored: the policy is about its own namespace");
                }
                selector.match_labels.erase(given);
            }
        }
        result_.subject = label_query(selector);
        init_ = std::ranges::any_of(result_.subject.all, [](const Requirement& requirement) {
            return requirement.source == label_source::kReserved && requirement.key == "init";
        });
        if (name_space_.empty()) return;
        result_.subject.all.push_back(require_value(label_source::kK8s, label_key::kPodNamespace, name_space_));
        canonicalize(result_.subject);
    }

    Status entries(std::string_view member, Direction direction, bool deny, const std::vector<PolicyEntry>& entries) {
        for (std::size_t i = 0; i < entries.size(); ++i) {
            TRY(entry(element(spec_.path, member, i), direction, deny, entries[i]));
        }
        return {};
    }

    Status entry(const std::string& path, Direction direction, bool deny, const PolicyEntry& entry) {
        const bool ingress = direction == Direction::kIngress;
        auto& required = ingress ? result_.ingress_requires : result_.egress_requires;
        for (const LabelSelector& selector : entry.required) {
            const LabelQuery query = endpoint_query(selector, name_space_, init_, context_);
            required.insert(required.end(), query.all.begin(), query.all.end());
        }
        if (!entry.nodes.empty() && !context_.node_selector_labels) {
            return builder_.refuse(Code::kInvalidArgument, path + (ingress ? ".fromNodes" : ".toNodes"),
                                   "accepted only with enable-node-selector-labels");
        }
        if (!entry.icmps.empty() && !context_.icmp_rules) {
            return builder_.refuse(Code::kInvalidArgument, path + ".icmps", "accepted only with enable-icmp-rules");
        }

        Rule rule;
        rule.direction = direction;
        rule.deny = deny;
        rule.path = path;
        if (entry.nobody) {
            builder_.warn(path, "selects nobody: a list of peers is empty");
        } else if (entry.peers_given) {
            peers(path, ingress, entry, rule.peers);
            for (const Selector& peer : rule.peers) {
                if (!peer.labels) continue;
                const std::string why = contradiction(*peer.labels);
                if (!why.empty()) builder_.warn(path, "a selector matches nothing: " + why);
            }
        } else if (entry.required.empty() && (!entry.to_ports.empty() || !entry.icmps.empty())) {
            rule.peers.push_back(label_selector({}));
        }
        TRY(ports(path, entry, rule));
        return {};
    }

    void peers(const std::string& path, bool ingress, const PolicyEntry& entry, std::vector<Selector>& peers) {
        for (const LabelSelector& selector : entry.endpoints) {
            peers.push_back(label_selector(endpoint_query(selector, name_space_, init_, context_), true));
        }
        for (const LabelSelector& selector : entry.nodes) peers.push_back(node_selector(selector));
        for (const std::string& entity : entry.entities) add_entity(entity, context_, peers);
        for (std::size_t i = 0; i < entry.cidrs.size(); ++i) {
            builder_.add_cidr(element(path, ingress ? "fromCIDR" : "toCIDR", i), entry.cidrs[i], {}, peers);
        }
        for (std::size_t i = 0; i < entry.cidr_set.size(); ++i) {
            cidr_rule(element(path, ingress ? "fromCIDRSet" : "toCIDRSet", i), entry.cidr_set[i], peers);
        }
        for (std::size_t i = 0; i < entry.services.size(); ++i) {
            service(element(path, "toServices", i), entry.services[i], peers);
        }
    }

    // Labels of nodes are part of the identities of remote nodes.
    Selector node_selector(const LabelSelector& selector) const {
        LabelQuery query = label_query(selector);
        query.all.push_back(require_key(label_source::kReserved, "remote-node"));
        if (context_.default_local_cluster && !mentions(query, label_key::kCluster)) {
            query.all.push_back(require_value(label_source::kK8s, label_key::kCluster, context_.cluster_name));
        }
        canonicalize(query);
        return label_selector(std::move(query));
    }

    void cidr_rule(const std::string& path, const PolicyCidrRule& rule, std::vector<Selector>& peers) {
        if (rule.cidr) {
            builder_.add_cidr(path, *rule.cidr, rule.except, peers);
            return;
        }
        Translation& result = builder_.result();
        if (rule.group_selector) {
            result.all_cidr_groups = true;
            const LabelSelector selector = without_sources(*rule.group_selector);
            bool found = false;
            if (context_.cidr_groups != nullptr) {
                for (const auto& [name, group] : *context_.cidr_groups) {
                    if (!selector.matches(group.metadata.labels)) continue;
                    found = true;
                    cidr_group(path, group, rule.except, peers);
                }
            }
            if (!found) builder_.warn(path, "selects nobody: no CiliumCIDRGroup has these labels");
            return;
        }
        result.cidr_groups.insert(rule.group);
        const auto* groups = context_.cidr_groups;
        const auto group = groups == nullptr ? decltype(groups->end()){} : groups->find(rule.group);
        if (groups == nullptr || group == groups->end()) {
            builder_.warn(path, "selects nobody: there is no CiliumCIDRGroup " + rule.group);
        } else {
            cidr_group(path, group->second, rule.except, peers);
        }
    }

    // Exceptions hold for each of the group's CIDRs as far as they overlap.
    void cidr_group(const std::string& path, const CiliumCidrGroup& group, const std::vector<PolicyCidr>& except,
                    std::vector<Selector>& peers) {
        for (const Prefix& cidr : group.external_cidrs) {
            std::vector<PolicyCidr> inside;
            bool excepted = false;
            for (const PolicyCidr& one : except) {
                excepted = excepted || one.prefix.contains(cidr);
                if (cidr.contains(one.prefix)) inside.push_back(one);
            }
            if (!excepted) builder_.add_cidr(path, {cidr, {}}, inside, peers);
        }
    }

    void service(const std::string& path, const PolicyServiceReference& reference, std::vector<Selector>& peers) {
        builder_.result().services = true;
        bool found = false;
        const auto consider = [&](const ServiceName& name, const ServiceView& view) {
            found = true;
            service_backends(path, name, view, peers);
        };
        const auto* services = context_.services;
        if (services != nullptr && !reference.selector && !reference.name_space.empty()) {
            const auto at = services->find({reference.name_space, reference.name});
            if (at != services->end()) consider(at->first, at->second);
        } else if (services != nullptr) {
            const LabelSelector selector = reference.selector ? without_sources(*reference.selector) : LabelSelector{};
            for (const auto& [name, view] : *services) {
                if (!reference.name_space.empty() && name.name_space != reference.name_space) continue;
                const bool meant = reference.selector ? selector.matches(view.labels) : name.name == reference.name;
                if (meant) consider(name, view);
            }
        }
        if (found) return;
        builder_.warn(path, reference.selector ? std::string("selects nobody: no Service has these labels")
                                               : "selects nobody: there is no Service " +
                                                     (reference.name_space.empty() ? "" : reference.name_space + "/") +
                                                     reference.name);
    }

    void service_backends(const std::string& path, const ServiceName& name, const ServiceView& view,
                          std::vector<Selector>& peers) {
        const std::string what = "Service " + name.name_space + "/" + name.name;
        if (view.external_name) {
            builder_.warn(path, what + " is a DNS name (ExternalName) and has no endpoints");
            return;
        }
        if (view.selector.empty()) {
            for (const IpAddress& backend : view.backends) {
                builder_.add_cidr(path, {Prefix::host(backend), {}}, {}, peers);
            }
            return;
        }
        LabelQuery query;
        for (const auto& [key, value] : view.selector) {
            query.all.push_back(require_value(label_source::kK8s, key, value));
        }
        query.all.push_back(require_value(label_source::kK8s, label_key::kPodNamespace, name.name_space));
        if (context_.default_local_cluster && !mentions(query, label_key::kCluster)) {
            query.all.push_back(require_value(label_source::kK8s, label_key::kCluster, context_.cluster_name));
        }
        canonicalize(query);
        peers.push_back(label_selector(std::move(query), true));
    }

    Status ports(const std::string& path, const PolicyEntry& entry, Rule rule) {
        if (entry.to_ports.empty() && entry.icmps.empty()) {
            builder_.add_rule(result_, std::move(rule));
            return {};
        }
        for (std::size_t i = 0; i < entry.to_ports.size(); ++i) {
            Rule one = rule;
            one.path = element(path, "toPorts", i);
            for (std::size_t k = 0; k < entry.to_ports[i].size(); ++k) {
                TRY(port(element(one.path, "ports", k), entry.to_ports[i][k], one.ports));
            }
            add_ports_rule(std::move(one), entry.to_ports[i].empty());
        }
        for (std::size_t i = 0; i < entry.icmps.size(); ++i) {
            Rule one = rule;
            one.path = element(path, "icmps", i);
            for (const PolicyIcmpField& field : entry.icmps[i]) {
                PortRange range;
                range.protocol = field.family == Family::kIpv6 ? Protocol::kIcmpv6 : Protocol::kIcmp;
                range.first = range.last = field.type;
                one.ports.push_back(std::move(range));
            }
            add_ports_rule(std::move(one), entry.icmps[i].empty());
        }
        return {};
    }

    // No ports would mean every port: an element whose list is empty, or only of protocols that are off, is no rule.
    void add_ports_rule(Rule rule, bool empty_list) {
        if (empty_list) builder_.warn(rule.path, "matches nothing: its list is empty");
        if (!rule.ports.empty()) builder_.add_rule(result_, std::move(rule));
    }

    Status port(const std::string& path, const PolicyPort& port, std::vector<PortRange>& ranges) {
        if ((port.protocol == "VRRP" || port.protocol == "IGMP") && !context_.extended_ip_protocols) {
            return builder_.refuse(Code::kInvalidArgument, path + ".protocol",
                                   "\"" + port.protocol + "\"; accepted only with enable-extended-ip-protocols");
        }
        if (port.protocol != "ANY" || port.first != 0 || !port.name.empty()) {
            if (auto range = builder_.port_range(path, port)) ranges.push_back(std::move(*range));
            return {};
        }
        // Every port of every protocol that has ports; ICMP has none.
        for (const char* protocol : {"TCP", "UDP"}) {
            PolicyPort one = port;
            one.protocol = protocol;
            ranges.push_back(*builder_.port_range(path, one));
        }
        if (context_.sctp) {
            PortRange range;
            range.protocol = Protocol::kSctp;
            ranges.push_back(std::move(range));
        }
        return {};
    }

    TranslationBuilder& builder_;
    const TranslateContext& context_;
    const std::string& name_space_;
    const PolicySpec& spec_;
    Spec result_;
    bool init_ = false;  // the subject is pods that have no labels yet
};

template <class Object>
Result<Translation> translate_specs(const Object& object, const TranslateContext& context) {
    TranslationBuilder builder(context, {.kind = std::string(Object::kKind),
                                         .k8s_namespace = object.metadata.name_space,
                                         .name = object.metadata.name,
                                         .uid = object.metadata.uid});
    for (const PolicySpec& spec : object.specs) {
        TRY(SpecTranslator(builder, object.metadata.name_space, spec).translate());
    }
    return builder.take();
}

}  // namespace

Result<Translation> translate(const CiliumNetworkPolicy& object, const TranslateContext& context) {
    return translate_specs(object, context);
}

Result<Translation> translate(const CiliumClusterwideNetworkPolicy& object, const TranslateContext& context) {
    return translate_specs(object, context);
}

ServiceView service_view(const Service& service, const std::vector<EndpointSlice>& slices) {
    ServiceView view{.labels = service.metadata.labels,
                     .selector = service.selector,
                     .external_name = service.type == Service::Type::kExternalName,
                     .backends = {}};
    if (!view.selector.empty() || view.external_name) return view;
    for (const EndpointSlice& slice : slices) {
        for (const EndpointSlice::Endpoint& endpoint : slice.endpoints) {
            view.backends.insert(view.backends.end(), endpoint.addresses.begin(), endpoint.addresses.end());
        }
    }
    std::ranges::sort(view.backends);
    const auto repeated = std::ranges::unique(view.backends);
    view.backends.erase(repeated.begin(), repeated.end());
    return view;
}

}  // namespace axo::policy
