// For tests: random clusters, and an oracle that says what their policies mean, straight from the rules.
// It shares nothing with the engine but the types of its input: slow and obvious on purpose.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "features/policy/desired.h"

namespace axo::policy::oracle {

struct World {
    EngineSettings settings;
    std::map<std::tuple<std::string, std::string, std::string>, Policy> policies;
    std::map<IdentityId, KnownIdentity> identities;
    std::map<IdentityId, NamedPorts> ports;
    std::map<EndpointId, Subject> subjects;
};

// Who decides, in the words of the policy; empty fields where they mean nothing.
struct Decider {
    std::string kind;  // "rule", "localhost", "default", "none"
    Origin origin;
    std::string path;
    bool deny = false;
    std::vector<Origin> closed_by;
    friend bool operator==(const Decider&, const Decider&) = default;
};
struct Verdict {
    bool allowed = false;
    Decider decider;
    std::vector<std::string> allows, denies;  // "<origin> <path>" of all rules that match
};

class Oracle {
public:
    explicit Oracle(const World& world) : world_(world) {}

    [[nodiscard]] Verdict verdict(const Subject& subject, Direction direction, IdentityId peer, std::uint8_t protocol,
                                  std::uint16_t port) const {
        Verdict verdict;
        if (world_.settings.mode == EnforcementMode::kNever) {
            verdict.allowed = true;
            verdict.decider.kind = "none";
            return verdict;
        }
        bool closed = world_.settings.mode == EnforcementMode::kAlways;
        const Label* init = subject.labels.find("init");
        if (world_.settings.enforce_init && !subject.host && init != nullptr && init->source == "reserved")
            closed = true;
        std::vector<Requirement> demanded;
        std::set<Origin> closers;
        for (const auto& [key, policy] : world_.policies) {
            for (const Spec& spec : policy.specs) {
                if (!selects(spec, subject)) continue;
                const bool ingress = direction == Direction::kIngress;
                if (ingress ? spec.default_deny_ingress : spec.default_deny_egress) closers.insert(policy.origin);
                for (const Requirement& one : ingress ? spec.ingress_requires : spec.egress_requires) {
                    demanded.push_back(one);
                }
            }
        }
        closed = closed || !closers.empty();
        std::optional<Decider> first_deny, first_allow;
        for (const auto& [key, policy] : world_.policies) {  // the map's order is the order of precedence
            for (const Spec& spec : policy.specs) {
                if (!selects(spec, subject)) continue;
                for (const Rule& rule : spec.rules) {
                    if (rule.direction != direction) continue;
                    if (!ports_match(rule, subject, peer, protocol, port)) continue;
                    if (!peers_match(rule, peer, rule.deny ? std::vector<Requirement>{} : demanded)) continue;
                    const Decider decider{"rule", policy.origin, rule.path, rule.deny, {}};
                    std::optional<Decider>& first = rule.deny ? first_deny : first_allow;
                    if (!first) first = decider;
                    (rule.deny ? verdict.denies : verdict.allows)
                        .push_back(policy.origin.to_string() + " " + rule.path);
                }
            }
        }
        if (first_deny) {
            verdict.decider = *first_deny;
        } else if (!closed) {
            verdict.allowed = true;
            verdict.decider.kind = "none";
        } else if (first_allow) {
            verdict.allowed = true;
            verdict.decider = *first_allow;
        } else if (direction == Direction::kIngress && world_.settings.allow_localhost && !subject.host &&
                   peer.value == 1) {
            verdict.allowed = true;
            verdict.decider.kind = "localhost";
        } else {
            verdict.decider.kind = "default";
            verdict.decider.closed_by.assign(closers.begin(), closers.end());
        }
        return verdict;
    }

    [[nodiscard]] static bool holds(const Requirement& requirement, const LabelSet& labels) {
        for (const Label& label : labels) {
            if (label.key != requirement.key) continue;
            if (requirement.source != "any" && label.source != requirement.source) continue;
            bool in = false;
            for (const std::string& value : requirement.values) in = in || value == label.value;
            switch (requirement.op) {
                case Requirement::Op::kIn: return in;
                case Requirement::Op::kNotIn: return !in;
                case Requirement::Op::kExists: return true;
                case Requirement::Op::kDoesNotExist: return false;
            }
        }
        return requirement.op == Requirement::Op::kNotIn || requirement.op == Requirement::Op::kDoesNotExist;
    }
    [[nodiscard]] static bool holds(const std::vector<Requirement>& all, const LabelSet& labels) {
        for (const Requirement& one : all) {
            if (!holds(one, labels)) return false;
        }
        return true;
    }
    [[nodiscard]] static bool selects(const Spec& spec, const Subject& subject) {
        return spec.selects_nodes == subject.host && holds(spec.subject.all, subject.labels);
    }
    [[nodiscard]] bool peers_match(const Rule& rule, IdentityId peer, const std::vector<Requirement>& demanded) const {
        for (const Selector& selector : rule.peers) {
            if (peer_matches(selector, peer, selector.endpoints ? demanded : std::vector<Requirement>{})) return true;
        }
        return false;
    }
    [[nodiscard]] bool ports_match(const Rule& rule, const Subject& subject, IdentityId peer, std::uint8_t protocol,
                                   std::uint16_t port) const {
        if (rule.ports.empty()) return true;
        for (const PortRange& range : rule.ports) {
            const int wanted = static_cast<int>(range.protocol);
            if (wanted == 0 ? (protocol != 6 && protocol != 17 && protocol != 132) : protocol != wanted) continue;
            if (range.name.empty()) {
                if (range.first <= port && port <= range.last) return true;
                continue;
            }
            const NamedPorts* named = &subject.named_ports;
            if (rule.direction == Direction::kEgress) {
                const auto at = world_.ports.find(peer);
                if (at == world_.ports.end() || !world_.identities.contains(peer)) continue;
                named = &at->second;
            }
            const auto at = named->find(range.name);
            if (at == named->end()) continue;
            for (const NamedPort& value : at->second) {
                if (static_cast<int>(value.protocol) == protocol && value.port == port) return true;
            }
        }
        return false;
    }

private:
    static bool inside(const Prefix& inner, const Prefix& outer) {
        if (inner.family() != outer.family() || inner.length() < outer.length()) return false;
        return Prefix(inner.address(), outer.length()) == outer;
    }
    [[nodiscard]] bool peer_matches(const Selector& selector, IdentityId peer,
                                    const std::vector<Requirement>& demanded) const {
        const auto at = world_.identities.find(peer);
        // Of an identity that nobody knows nothing can be said: only what asks for nothing takes it.
        if (at == world_.identities.end()) {
            return selector.labels && selector.labels->all.empty() && demanded.empty();
        }
        const KnownIdentity& known = at->second;
        if (selector.labels && !holds(selector.labels->all, known.labels)) return false;
        if (selector.cidr) {
            std::vector<Prefix> prefixes;
            if (known.cidr) {
                prefixes.push_back(*known.cidr);
            } else {
                if (peer.value == 2 || peer.value == 9) prefixes.push_back(Prefix::parse("0.0.0.0/0").value());
                if (peer.value == 2 || peer.value == 10) prefixes.push_back(Prefix::parse("::/0").value());
            }
            bool found = false;
            for (const Prefix& prefix : prefixes) {
                bool matches = inside(prefix, selector.cidr->cidr);
                for (const Prefix& except : selector.cidr->except) matches = matches && !inside(prefix, except);
                found = found || matches;
            }
            if (!found) return false;
        }
        return holds(demanded, known.labels);
    }

    const World& world_;
};

// Random worlds: small, so that everything meets everything.
class Worlds {
public:
    explicit Worlds(std::uint64_t seed) : random_(seed) {}

    int number(int below) { return static_cast<int>(random_() % static_cast<std::uint64_t>(below)); }
    bool one_in(int n) { return number(n) == 0; }
    template <class Container>
    const auto& any_of(const Container& items) {
        return *std::next(items.begin(), number(static_cast<int>(items.size())));
    }
    template <class Container>
    void shuffle(Container& items) {
        std::shuffle(items.begin(), items.end(), random_);
    }

    World world() {
        World world;
        world.settings.mode = one_in(8)    ? EnforcementMode::kAlways
                              : one_in(20) ? EnforcementMode::kNever
                                           : EnforcementMode::kDefault;
        world.settings.allow_localhost = !one_in(4);
        world.settings.enforce_init = !one_in(4);
        const auto add_identity = [&](std::uint32_t id, LabelSet labels, std::optional<Prefix> cidr = std::nullopt) {
            world.identities[IdentityId{id}] = {IdentityId{id}, std::move(labels), cidr};
        };
        add_identity(1, LabelSet::reserved("host"));
        if (one_in(2)) add_identity(2, LabelSet::reserved("world"));
        if (one_in(2)) add_identity(9, LabelSet::reserved("world-ipv4"));
        if (one_in(2)) add_identity(10, LabelSet::reserved("world-ipv6"));
        if (one_in(2)) add_identity(6, LabelSet::reserved("remote-node"));
        for (int i = number(9); i > 0; --i) add_identity(256 + static_cast<std::uint32_t>(number(12)), labels());
        for (int i = number(5); i > 0; --i) {
            const int which = number(static_cast<int>(prefixes().size()));
            LabelSet labels = LabelSet::reserved("world");
            labels.insert({"cidr", prefixes()[static_cast<std::size_t>(which)].to_string(), ""});
            add_identity(16777217 + static_cast<std::uint32_t>(which), labels,
                         prefixes()[static_cast<std::size_t>(which)]);
        }
        for (int i = number(5); i > 0; --i)
            world.ports[IdentityId{256 + static_cast<std::uint32_t>(number(12))}] = named_ports();
        for (int i = number(5); i > 0; --i) {
            Policy policy = this->policy();
            world.policies[{policy.origin.kind, policy.origin.k8s_namespace, policy.origin.name}] = policy;
        }
        for (std::uint16_t i = 1 + static_cast<std::uint16_t>(number(3)); i > 0; --i)
            world.subjects[EndpointId{i}] = subject();
        return world;
    }

    LabelSet labels() {
        if (one_in(12)) return LabelSet::reserved("init");
        LabelSet labels;
        for (const char* key : {"a", "b", "c"}) {
            if (!one_in(3)) labels.insert({one_in(5) ? "node" : "k8s", key, std::to_string(number(3))});
        }
        return labels;
    }
    Subject subject() { return {labels(), named_ports(), one_in(6)}; }
    NamedPorts named_ports() {
        NamedPorts ports;
        for (int i = number(4); i > 0; --i) {
            ports[one_in(2) ? "http" : "dns"].insert({one_in(2) ? Protocol::kTcp : Protocol::kUdp, this->port()});
        }
        return ports;
    }
    Policy policy() {
        Policy policy;
        const char* kinds[] = {"CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy", "NetworkPolicy"};
        policy.origin = {kinds[number(3)], one_in(2) ? "default" : "other", std::string(1, "pqr"[number(3)]), "uid"};
        const int specs = 1 + (one_in(4) ? 1 : 0);
        for (int index = 0; index < specs; ++index) {
            Spec spec;
            if (!one_in(3)) spec.subject.all = requirements();
            spec.selects_nodes = one_in(6);
            for (int i = number(4); i > 0; --i) {
                const std::string path = "specs[" + std::to_string(index) + "].rule[" + std::to_string(i) + "]";
                spec.rules.push_back(rule(path));
            }
            spec.default_deny_ingress = !one_in(3);
            spec.default_deny_egress = !one_in(3);
            if (one_in(6)) spec.ingress_requires = requirements();
            if (one_in(6)) spec.egress_requires = requirements();
            policy.specs.push_back(std::move(spec));
        }
        return policy;
    }
    std::uint16_t port() {
        static constexpr std::uint16_t kPorts[] = {0, 1, 8, 53, 79, 80, 81, 128, 255, 256, 443, 8080, 65534, 65535};
        return kPorts[number(std::size(kPorts))];
    }
    std::uint8_t protocol() {
        static constexpr std::uint8_t kProtocols[] = {6, 6, 6, 17, 17, 132, 1, 58, 112, 2, 47, 0};
        return kProtocols[number(std::size(kProtocols))];
    }
    // Known ones, and one that nobody knows.
    IdentityId peer(const World& world) { return one_in(10) ? IdentityId{4711} : any_of(world.identities).first; }

private:
    static const std::vector<Prefix>& prefixes() {
        static const std::vector<Prefix> kPrefixes = [] {
            std::vector<Prefix> all;
            for (const char* text : {"10.0.0.0/8", "10.1.0.0/16", "10.1.1.0/24", "10.1.1.1/32", "10.2.0.0/16",
                                     "11.0.0.0/8", "fd00::/8", "fd00:1::/32", "fd00:1::1/128", "10.0.0.0/9"}) {
                all.push_back(Prefix::parse(text).value());
            }
            return all;
        }();
        return kPrefixes;
    }
    std::vector<Requirement> requirements() {
        std::vector<Requirement> all;
        for (int i = 1 + number(2); i > 0; --i) {
            Requirement one;
            one.source = one_in(2) ? "any" : one_in(4) ? "node" : "k8s";
            one.key = std::string(1, "abc"[number(3)]);
            one.op = static_cast<Requirement::Op>(number(4));
            if (one.op == Requirement::Op::kIn || one.op == Requirement::Op::kNotIn) {
                std::set<std::string> values;
                for (int j = 1 + number(2); j > 0; --j) values.insert(std::to_string(number(3)));
                one.values.assign(values.begin(), values.end());
            }
            all.push_back(std::move(one));
        }
        std::ranges::sort(all);
        all.erase(std::ranges::unique(all).begin(), all.end());
        return all;
    }
    Selector selector() {
        Selector selector;
        if (one_in(4)) {
            CidrQuery query;
            query.cidr = one_in(4) ? Prefix::parse(one_in(2) ? "0.0.0.0/0" : "::/0").value() : any_of(prefixes());
            for (int i = number(3); i > 0; --i) query.except.push_back(any_of(prefixes()));
            std::ranges::sort(query.except);
            selector.cidr = query;
            return selector;
        }
        selector.labels = LabelQuery{};
        if (one_in(8)) {
            const char* names[] = {"host", "world", "world-ipv4", "world-ipv6", "remote-node", "init"};
            selector.labels->all = {{"reserved", names[number(6)], Requirement::Op::kExists, {}}};
            return selector;
        }
        if (!one_in(5)) selector.labels->all = requirements();
        selector.endpoints = !one_in(4);
        return selector;
    }
    PortRange range() {
        static constexpr Protocol kProtocols[] = {Protocol::kTcp,  Protocol::kTcp,    Protocol::kUdp,  Protocol::kAny,
                                                  Protocol::kIcmp, Protocol::kIcmpv6, Protocol::kSctp, Protocol::kVrrp};
        PortRange range;
        range.protocol = kProtocols[number(std::size(kProtocols))];
        if (range.protocol == Protocol::kVrrp || one_in(10)) return range;
        const bool nameable = range.protocol != Protocol::kIcmp && range.protocol != Protocol::kIcmpv6;
        if (nameable && one_in(4)) {
            range.name = one_in(2) ? "http" : "dns";
            range.last = 0;
            return range;
        }
        range.first = port();
        range.last = one_in(2) ? range.first : std::max(range.first, port());
        return range;
    }
    Rule rule(std::string path) {
        Rule rule;
        rule.direction = one_in(2) ? Direction::kIngress : Direction::kEgress;
        rule.deny = one_in(4);
        rule.path = std::move(path);
        for (int i = number(4); i > 0; --i) rule.peers.push_back(selector());
        if (!one_in(3)) {
            for (int i = 1 + number(3); i > 0; --i) rule.ports.push_back(range());
        }
        return rule;
    }

    std::mt19937_64 random_;
};

inline Decider decider_of(const RuleInfo& info) {
    switch (info.kind) {
        case RuleInfo::Kind::kNone: return {"none", {}, {}, false, {}};
        case RuleInfo::Kind::kLocalhost: return {"localhost", {}, {}, false, {}};
        case RuleInfo::Kind::kClosed: return {"closed", {}, {}, false, {}};
        case RuleInfo::Kind::kDefaultDeny: return {"default", {}, {}, false, info.enforcement.closed_by};
        case RuleInfo::Kind::kRule: break;
    }
    return {"rule", info.origin, info.path, info.deny, {}};
}

// Everything of the world into the engine, in the order in which it stands there.
inline void fill(PolicyEngine& engine, const World& world) {
    for (const auto& [id, known] : world.identities) engine.upsert_identity(id, known.labels, known.cidr);
    for (const auto& [id, ports] : world.ports) engine.set_named_ports(id, ports);
    for (const auto& [key, policy] : world.policies) engine.upsert_policy(std::make_shared<Policy>(policy));
    for (const auto& [id, subject] : world.subjects) engine.upsert_subject(id, subject);
}

}  // namespace axo::policy::oracle
