#include "features/policy/translate_selectors.h"

#include <algorithm>

namespace axo::policy {
namespace {

constexpr std::size_t kMaxWarnings = 20;

template <class T>
void sort_unique(std::vector<T>& values) {
    std::ranges::sort(values);
    const auto repeated = std::ranges::unique(values);
    values.erase(repeated.begin(), repeated.end());
}

Selector cidr_selector(CidrQuery query) {
    Selector selector;
    selector.cidr = std::move(query);
    return selector;
}

Requirement reserved(std::string_view name) {
    return require_key(label_source::kReserved, name);
}

// Sorted prefixes follow what contains them.
std::vector<Prefix> outermost(std::vector<Prefix> prefixes) {
    std::ranges::sort(prefixes);
    std::vector<Prefix> kept;
    for (const Prefix& prefix : prefixes) {
        if (kept.empty() || !kept.back().contains(prefix)) kept.push_back(prefix);
    }
    return kept;
}

}  // namespace

TranslationBuilder::TranslationBuilder(const TranslateContext& context, Origin origin) : context_(context) {
    result_.policy.origin = std::move(origin);
}

void TranslationBuilder::warn(const std::string& path, std::string_view text) {
    result_.warnings.push_back(path + ": " + std::string(text));
}

std::unexpected<Error> TranslationBuilder::refuse(Code code, const std::string& path, std::string_view text) const {
    return fail(code, result_.policy.origin.to_string() + ": " + path + ": " + std::string(text));
}

Translation TranslationBuilder::take() {
    auto& warnings = result_.warnings;
    if (warnings.size() > kMaxWarnings) {
        const std::size_t left = warnings.size() - kMaxWarnings;
        warnings.resize(kMaxWarnings);
        warnings.push_back(std::to_string(left) + " more warnings of this policy are not shown");
    }
    return std::move(result_);
}

void TranslationBuilder::add_cidr(const std::string& path, const PolicyCidr& cidr,
                                  const std::vector<PolicyCidr>& except, std::vector<Selector>& peers) {
    if (!cidr.written.empty()) {
        warn(path, cidr.written + " has host bits, which do not count: it means " + cidr.prefix.to_string());
    }
    if (cidr.prefix.length() == 0 && except.empty()) {
        // Identities of prefixes carry the label of their half of the world, so it stands for all of them.
        const bool v4 = cidr.prefix.family() == Family::kIpv4;
        peers.push_back(label_selector({{reserved(v4 ? "world-ipv4" : "world-ipv6")}}));
        const bool whole_world = v4 ? context_.ipv4 && !context_.ipv6 : context_.ipv6 && !context_.ipv4;
        if (whole_world) peers.push_back(label_selector({{reserved("world")}}));
        return;
    }
    CidrQuery query{.cidr = cidr.prefix, .except = {}};
    for (const PolicyCidr& one : except) {
        if (!one.written.empty()) {
            warn(path + ".except",
                 one.written + " has host bits, which do not count: it means " + one.prefix.to_string());
        }
        query.except.push_back(one.prefix);
    }
    query.except = outermost(std::move(query.except));
    if (std::ranges::find(query.except, query.cidr) != query.except.end()) {
        warn(path, "selects nobody: " + query.cidr.to_string() + " is excepted as a whole");
        return;
    }
    if (query.cidr.length() != 0) warn_about_cluster(path, query.cidr);
    peers.push_back(cidr_selector(std::move(query)));
}

void TranslationBuilder::warn_about_cluster(const std::string& path, const Prefix& cidr) {
    if (context_.cluster_prefixes.empty()) return;
    if (!cluster_) cluster_ = outermost(context_.cluster_prefixes);
    // None of them is inside another: only the one before could contain cidr, only those after lie in it.
    const auto after = std::ranges::lower_bound(*cluster_, cidr);
    if (after != cluster_->begin() && std::prev(after)->contains(cidr)) {
        warn(path, cidr.to_string() + " matches no pod or node: it lies in " + std::prev(after)->to_string() +
                       ", addresses of pods or nodes, which labels and entities select and CIDRs do not");
        return;
    }
    if (after == cluster_->end() || !cidr.contains(*after)) return;
    if (*after == cidr) {
        warn(path, cidr.to_string() +
                       " matches no pod or node: these are addresses of pods or nodes, which labels "
                       "and entities select and CIDRs do not");
    } else {
        warn(path, cidr.to_string() + " matches no pod or node: not those in " + after->to_string() +
                       ", which labels and entities select and CIDRs do not");
    }
}

std::optional<PortRange> TranslationBuilder::port_range(const std::string& path, const PolicyPort& port) {
    PortRange range;
    if (port.protocol == "TCP") {
        range.protocol = Protocol::kTcp;
    } else if (port.protocol == "UDP") {
        range.protocol = Protocol::kUdp;
    } else if (port.protocol == "VRRP") {
        range.protocol = Protocol::kVrrp;
    } else if (port.protocol == "IGMP") {
        range.protocol = Protocol::kIgmp;
    } else if (port.protocol == "SCTP") {
        if (!context_.sctp) {
            if (!sctp_warned_) warn(path, "SCTP has no effect: enable-sctp is off");
            sctp_warned_ = true;
            return std::nullopt;
        }
        range.protocol = Protocol::kSctp;
    }
    if (!port.name.empty()) {
        range.name = port.name;
        range.first = range.last = 0;
    } else if (port.first != 0) {
        range.first = port.first;
        range.last = port.last;
    }
    return range;
}

void TranslationBuilder::add_rule(Spec& spec, Rule rule) {
    if (rule.peers.empty()) return;
    sort_unique(rule.peers);
    sort_unique(rule.ports);
    spec.rules.push_back(std::move(rule));
}

Requirement require_value(std::string_view source, std::string_view key, std::string value) {
    return {std::string(source), std::string(key), Requirement::Op::kIn, {std::move(value)}};
}

Requirement require_key(std::string_view source, std::string_view key) {
    return {std::string(source), std::string(key), Requirement::Op::kExists, {}};
}

void canonicalize(LabelQuery& query) {
    for (Requirement& requirement : query.all) sort_unique(requirement.values);
    sort_unique(query.all);
}

LabelQuery label_query(const LabelSelector& selector, std::string_view source, std::string_view prefix) {
    LabelQuery query;
    const auto begin = [&](const std::string& text) {
        const SelectorKey parsed = source.empty() ? parse_selector_key(text) : SelectorKey{source, text};
        Requirement requirement;
        requirement.source = parsed.source;
        requirement.key = prefix;
        requirement.key += parsed.key;
        return requirement;
    };
    for (const auto& [key, value] : selector.match_labels) {
        Requirement requirement = begin(key);
        // "reserved:host" is written with an empty value and means that the label is there.
        if (requirement.source != label_source::kReserved || !value.empty()) {
            requirement.op = Requirement::Op::kIn;
            requirement.values = {value};
        }
        query.all.push_back(std::move(requirement));
    }
    for (const LabelSelector::Requirement& expression : selector.match_expressions) {
        Requirement requirement = begin(expression.key);
        requirement.op = expression.op == "In"       ? Requirement::Op::kIn
                         : expression.op == "NotIn"  ? Requirement::Op::kNotIn
                         : expression.op == "Exists" ? Requirement::Op::kExists
                                                     : Requirement::Op::kDoesNotExist;
        requirement.values = expression.values;
        query.all.push_back(std::move(requirement));
    }
    canonicalize(query);
    return query;
}

bool mentions(const LabelQuery& query, std::string_view key) {
    return std::ranges::any_of(query.all, [&](const Requirement& requirement) {
        return requirement.key == key &&
               (requirement.source == label_source::kK8s || requirement.source == label_source::kAny);
    });
}

bool mentions_source(const LabelQuery& query, std::string_view source) {
    return std::ranges::find(query.all, source, &Requirement::source) != query.all.end();
}

std::string contradiction(const LabelQuery& query) {
    using Op = Requirement::Op;
    const auto one_value = [](const Requirement& requirement) { return requirement.op == Op::kIn; };
    for (const Requirement& a : query.all) {
        for (const Requirement& b : query.all) {
            if (&a == &b || a.key != b.key) continue;
            // An identity has one label of a key, whatever its source.
            if (one_value(a) && one_value(b) && std::ranges::none_of(a.values, [&](const std::string& value) {
                    return std::ranges::binary_search(b.values, value);
                })) {
                return "label " + a.key + " cannot be both " + a.values.front() + " and " + b.values.front();
            }
            const bool covers = b.source == a.source || b.source == label_source::kAny;
            if ((a.op == Op::kExists || a.op == Op::kIn) && b.op == Op::kDoesNotExist && covers) {
                return "label " + a.key + " cannot both exist and not exist";
            }
            if (one_value(a) && b.op == Op::kNotIn && covers && std::ranges::includes(b.values, a.values)) {
                return "label " + a.key + " cannot both be and not be " + a.values.front();
            }
        }
    }
    return {};
}

LabelQuery endpoint_query(const LabelSelector& selector, const std::string& name_space, bool subject_is_init,
                          const TranslateContext& context) {
    LabelQuery query = label_query(selector);
    // Who asks for a reserved label means what is no pod and has no namespace.
    if (mentions_source(query, label_source::kReserved)) return query;
    const bool by_namespace_label = std::ranges::any_of(query.all, [](const Requirement& requirement) {
        const std::string_view prefix = label_key::kNamespaceLabels;
        return (requirement.source == label_source::kK8s || requirement.source == label_source::kAny) &&
               requirement.key.size() > prefix.size() && requirement.key.starts_with(prefix) &&
               requirement.key[prefix.size()] == '.';
    });
    if (!mentions(query, label_key::kPodNamespace)) {
        if (name_space.empty()) {
            // Pods of all namespaces, and not the world; pods that have no labels yet have no namespace either.
            if (!subject_is_init) query.all.push_back(require_key(label_source::kK8s, label_key::kPodNamespace));
        } else if (!by_namespace_label) {
            query.all.push_back(require_value(label_source::kK8s, label_key::kPodNamespace, name_space));
        }
    }
    if (context.default_local_cluster && !mentions(query, label_key::kCluster)) {
        query.all.push_back(require_value(label_source::kK8s, label_key::kCluster, context.cluster_name));
    }
    canonicalize(query);
    return query;
}

Selector label_selector(LabelQuery query, bool endpoints) {
    Selector selector;
    selector.labels = std::move(query);
    selector.endpoints = endpoints;
    return selector;
}

void add_entity(std::string_view entity, const TranslateContext& context, std::vector<Selector>& peers) {
    const auto add = [&](std::string_view name) { peers.push_back(label_selector({{reserved(name)}})); };
    if (entity == "all") {
        peers.push_back(label_selector({}));
    } else if (entity == "world") {
        for (const char* name : {"world", "world-ipv4", "world-ipv6"}) add(name);
    } else if (entity == "cluster") {
        for (const char* name : {"host", "remote-node", "init", "ingress", "health", "unmanaged", "kube-apiserver"}) {
            add(name);
        }
        peers.push_back(
            label_selector({{require_value(label_source::kK8s, label_key::kCluster, context.cluster_name)}}));
    } else if (entity != "none") {
        add(entity);
    }
}

LabelSelector without_sources(const LabelSelector& selector) {
    LabelSelector plain;
    for (const auto& [key, value] : selector.match_labels) {
        const std::string name(parse_selector_key(key).key);
        const auto [at, inserted] = plain.match_labels.emplace(name, value);
        // Two sources of one key: both have to hold.
        if (!inserted && at->second != value) plain.match_expressions.push_back({name, "In", {value}});
    }
    for (LabelSelector::Requirement requirement : selector.match_expressions) {
        requirement.key = std::string(parse_selector_key(requirement.key).key);
        plain.match_expressions.push_back(std::move(requirement));
    }
    return plain;
}

}  // namespace axo::policy
