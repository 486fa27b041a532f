#include "features/policy/unit.h"

#include <algorithm>
#include <tuple>

namespace axo::policy {

// '\0' stands in no name of Kubernetes.
std::string rule_name(const Origin& origin, const Rule& rule) {
    std::string name = origin.kind;
    for (const std::string* part : {&origin.k8s_namespace, &origin.name, &rule.path}) {
        name += '\0';
        name += *part;
    }
    name += '\0';
    name += direction_text(rule.direction);
    name += rule.deny ? " deny" : " allow";
    return name;
}

std::string default_name(Direction direction, const Enforcement& enforcement) {
    std::string name = "default deny ";
    name += direction_text(direction);
    if (enforcement.always) name += " always";
    if (enforcement.init) name += " init";
    for (const Origin& origin : enforcement.closed_by) {
        for (const std::string* part : {&origin.kind, &origin.k8s_namespace, &origin.name}) {
            name += '\0';
            name += *part;
        }
    }
    return name;
}

bool fits_protocol(const PortRange& range, Protocol protocol) {
    if (range.protocol != Protocol::kAny) return range.protocol == protocol;
    return protocol == Protocol::kTcp || protocol == Protocol::kUdp || protocol == Protocol::kSctp;
}

bool SpecEntry::before(const SpecEntry* a, const SpecEntry* b) {
    const auto place = [](const SpecEntry* entry) {
        const Origin& origin = entry->policy->origin;
        return std::tie(origin.kind, origin.k8s_namespace, origin.name, entry->index, entry->serial);
    };
    return place(a) < place(b);
}

const std::vector<Slot>& UnitCompiler::keep(std::vector<Slot> slots) {
    return kept_.emplace_back(std::move(slots));
}

UnitCompiler::Peers UnitCompiler::narrowed(const Peers& peers, const std::vector<Slot>& to) {
    if (peers.everybody) return {.everybody = false, .members = {&to}};
    Peers result;
    for (const std::vector<Slot>* members : peers.members) {
        std::vector<Slot> both;
        std::ranges::set_intersection(*members, to, std::back_inserter(both));
        if (!both.empty()) result.members.push_back(&keep(std::move(both)));
    }
    return result;
}

UnitCompiler::Peers UnitCompiler::peers_of(const SpecEntry& spec, std::size_t rule_index) {
    const Rule& rule = spec.spec().rules[rule_index];
    Peers all;
    for (std::size_t peer = 0; peer < rule.peers.size(); ++peer) {
        const SelectorId selector = spec.peers[rule_index][peer];
        Peers one{.everybody = cache_.everybody(selector), .members = {}};
        if (!one.everybody) one.members.push_back(&cache_.members(selector));
        // Requirements limit what is allowed; a denial that they limited would let through what it was written against.
        if (rule.peers[peer].endpoints && !rule.deny) {
            for (const std::vector<Slot>* required : requires_) one = narrowed(one, *required);
        }
        if (one.everybody) return {.everybody = true, .members = {}};
        for (const std::vector<Slot>* members : one.members) {
            if (!members->empty()) all.members.push_back(members);
        }
    }
    return all;
}

void UnitCompiler::add_rule(const Unit& unit, const SpecEntry& spec, std::size_t rule_index, ImageDirection& out) {
    const Rule& rule = spec.spec().rules[rule_index];
    const Peers peers = peers_of(spec, rule_index);
    const auto matches_nobody = [](const Peers& some) { return !some.everybody && some.members.empty(); };
    if (matches_nobody(peers)) return;

    policy_verdict verdict{};
    verdict.cookie = cookie_of_(spec.rule_names[rule_index]);
    verdict.action = rule.deny ? POLICY_DENY : POLICY_ALLOW;
    const auto add_line = [&](const Peers& whom, bool all_ports, std::vector<PortRange> ports) {
        out.rules.push_back({whom.everybody, whom.members, all_ports, std::move(ports), verdict});
    };
    if (rule.ports.empty()) {
        add_line(peers, true, {});
        return;
    }
    std::vector<PortRange> numbers;
    std::map<NamedPort, std::set<IdentityId>> by_port;  // egress: who has the ports that the names stand for
    for (const PortRange& range : rule.ports) {
        if (range.name.empty()) {
            numbers.push_back(range);
        } else if (rule.direction == Direction::kIngress) {
            const auto own = unit.key->named_ports.find(range.name);
            if (own == unit.key->named_ports.end()) continue;
            for (const NamedPort& port : own->second) {
                if (fits_protocol(range, port.protocol)) numbers.push_back({port.protocol, port.port, port.port, {}});
            }
        } else if (const auto known = named_ports_.find(range.name); known != named_ports_.end()) {
            for (const auto& [port, identities] : known->second) {
                if (fits_protocol(range, port.protocol)) by_port[port].insert(identities.begin(), identities.end());
            }
        }
    }
    if (!numbers.empty()) add_line(peers, false, std::move(numbers));
    for (const auto& [port, identities] : by_port) {
        std::vector<Slot> holders;
        for (const IdentityId id : identities) {
            if (const std::optional<Slot> slot = cache_.slot(id)) holders.push_back(*slot);
        }
        std::ranges::sort(holders);
        const Peers some = narrowed(peers, keep(std::move(holders)));
        if (!matches_nobody(some)) add_line(some, false, {{port.protocol, port.port, port.port, {}}});
    }
}

ImageDirection UnitCompiler::compile(const Unit& unit, Direction direction, bool allow_localhost) {
    const std::size_t side = index_of(direction);
    ImageDirection out;
    out.enforced = unit.enforcement[side].enforced;
    if (out.enforced) out.default_cookie = cookie_of_(unit.default_names[side]);
    requires_.clear();
    for (const SpecEntry* spec : unit.specs) {
        if (spec->requires_of[side]) requires_.push_back(&cache_.members(*spec->requires_of[side]));
    }
    for (const bool deny : {true, false}) {
        // Where nothing is denied by default, rules that allow say nothing.
        if (!deny && !out.enforced) break;
        for (const SpecEntry* spec : unit.specs) {
            const std::vector<Rule>& rules = spec->spec().rules;
            for (std::size_t rule = 0; rule < rules.size(); ++rule) {
                if (rules[rule].direction == direction && rules[rule].deny == deny) add_rule(unit, *spec, rule, out);
            }
        }
    }
    if (out.enforced && allow_localhost && direction == Direction::kIngress && !unit.key->host) {
        policy_verdict verdict{};
        verdict.cookie = POLICY_COOKIE_LOCALHOST;
        verdict.action = POLICY_ALLOW;
        const std::optional<Slot> host = cache_.slot(identity::kHost);
        const std::vector<Slot>& slots = keep(host ? std::vector<Slot>{*host} : std::vector<Slot>{});
        out.rules.push_back({false, {&slots}, true, {}, verdict});
    }
    return out;
}

}  // namespace axo::policy
