#include "features/policy/diff.h"

namespace axo::policy {
namespace {

constexpr std::uint32_t kLocalScope = 1U << 24;  // numbers of identities of prefixes
constexpr std::uint32_t kScopeMask = 0xffU << 24;

// The identity that the side would have if the engine's prefixes were in the ipcache.
IdentityId identity_of(const PolicyEngine& engine, IdentityId id, const std::optional<IpAddress>& address) {
    const bool outside = id == identity::kWorld || id == identity::kWorldIpv4 || id == identity::kWorldIpv6 ||
                         (id.value & kScopeMask) == kLocalScope;
    if (!outside || !address) return id;
    return engine.identities().of_address(*address).value_or(id);
}

struct Side {
    bool judged = false;
    Lookup lookup{.action = POLICY_ALLOW};
};

struct Judgement {
    Side egress, ingress;
    [[nodiscard]] bool allowed() const { return egress.lookup.allowed() && ingress.lookup.allowed(); }
    [[nodiscard]] const Side& side(Direction direction) const {
        return direction == Direction::kEgress ? egress : ingress;
    }
};

Side judge_side(const PolicyEngine& engine, std::optional<EndpointId> subject, Direction direction, IdentityId peer,
                const FlowTuple& flow) {
    if (!subject) return {};
    const std::optional<Lookup> found = engine.decide(*subject, direction, peer, flow.protocol, flow.port);
    if (!found) return {};
    return {true, *found};
}

Judgement judge(const PolicyEngine& engine, const FlowTuple& flow) {
    const IdentityId source = identity_of(engine, flow.source_identity, flow.source_address);
    const IdentityId destination = identity_of(engine, flow.destination_identity, flow.destination_address);
    return {judge_side(engine, flow.source, Direction::kEgress, destination, flow),
            judge_side(engine, flow.destination, Direction::kIngress, source, flow)};
}

RuleInfo info_of(const PolicyEngine& engine, const Side& side, Direction direction) {
    RuleInfo info = engine.rule(side.lookup.cookie).value_or(RuleInfo{});
    info.direction = direction;
    return info;
}

}  // namespace

void assume_identities(PolicyEngine& engine) {
    std::uint32_t next = kLocalScope | 0xffffff;
    std::set<Prefix> known;
    for (const auto& [id, slot] : engine.identities().identities()) {
        const KnownIdentity* one = engine.identities().find(id);
        if (one->cidr) known.insert(*one->cidr);
    }
    for (const Prefix& prefix : engine.cidrs()) {
        if (known.contains(prefix)) continue;
        while (engine.identities().find(IdentityId{next}) != nullptr) --next;
        const IdentityId world = prefix.family() == Family::kIpv4 ? identity::kWorldIpv4 : identity::kWorldIpv6;
        const KnownIdentity* all_of_family = engine.identities().find(world);
        engine.upsert_identity(IdentityId{next},
                               all_of_family != nullptr ? all_of_family->labels : LabelSet::reserved("world"), prefix);
    }
}

std::vector<Difference> compare(const PolicyEngine& before, const PolicyEngine& after,
                                std::span<const FlowTuple> flows) {
    std::vector<Difference> differences;
    for (const FlowTuple& flow : flows) {
        const Judgement old_verdict = judge(before, flow);
        const Judgement new_verdict = judge(after, flow);
        if (old_verdict.allowed() == new_verdict.allowed()) continue;
        const Judgement& denying = new_verdict.allowed() ? old_verdict : new_verdict;
        Difference difference;
        difference.flow = flow;
        difference.allowed_after = new_verdict.allowed();
        difference.direction = denying.egress.lookup.allowed() ? Direction::kIngress : Direction::kEgress;
        difference.before = info_of(before, old_verdict.side(difference.direction), difference.direction);
        difference.after = info_of(after, new_verdict.side(difference.direction), difference.direction);
        differences.push_back(std::move(difference));
    }
    return differences;
}

}  // namespace axo::policy
