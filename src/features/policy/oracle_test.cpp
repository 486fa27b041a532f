// The engine and its images against the oracle, over random policies.
#include <gtest/gtest.h>

#include "features/policy/oracle_fixture.h"

namespace axo::policy::oracle {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int kWorlds = 3000;  // about as long as the others take without sanitizers
#else
constexpr int kWorlds = 24000;
#endif

std::string describe(const Decider& decider) {
    std::string text =
        decider.kind + " " + decider.origin.to_string() + " " + decider.path + (decider.deny ? " deny" : "");
    for (const Origin& origin : decider.closed_by) text += " by " + origin.to_string();
    return text;
}

using Seen = std::map<std::string, int>;

void expect_as_oracle(const PolicyEngine& engine, const World& world, Worlds& random, int probes, int seed,
                      Seen* seen = nullptr) {
    const Oracle oracle(world);
    for (int probe = 0; probe < probes; ++probe) {
        const auto& [id, subject] = random.any_of(world.subjects);
        const Direction direction = random.one_in(2) ? Direction::kIngress : Direction::kEgress;
        const IdentityId peer = random.peer(world);
        const std::uint8_t protocol = random.protocol();
        const std::uint16_t port = random.one_in(8) ? static_cast<std::uint16_t>(random.number(65536)) : random.port();
        const Verdict expected = oracle.verdict(subject, direction, peer, protocol, port);
        const std::optional<Lookup> found = engine.decide(id, direction, peer, protocol, port);
        ASSERT_TRUE(found) << "seed " << seed;
        const std::optional<RuleInfo> rule = engine.rule(found->cookie);
        ASSERT_TRUE(rule) << "seed " << seed << " cookie " << found->cookie;
        if (seen != nullptr) ++(*seen)[expected.decider.kind + (expected.allowed ? " allows" : " denies")];
        const std::string where = "seed " + std::to_string(seed) + " endpoint " + id.to_string() + " " +
                                  direction_text(direction) + " peer " + peer.to_string() + " protocol " +
                                  std::to_string(protocol) + " port " + std::to_string(port);
        ASSERT_EQ(found->allowed(), expected.allowed) << where << "\n expected " << describe(expected.decider);
        ASSERT_EQ(describe(decider_of(*rule)), describe(expected.decider)) << where;
        ASSERT_EQ(found->matched, expected.decider.kind == "rule" || expected.decider.kind == "localhost") << where;
    }
}

TEST(PolicyOracle, EngineAndImagesSayWhatTheRulesSay) {
    Seen seen;
    for (int seed = 1; seed <= kWorlds; ++seed) {
        Worlds random(static_cast<std::uint64_t>(seed));
        const World world = random.world();
        PolicyEngine engine(world.settings);
        fill(engine, world);
        engine.changes();
        expect_as_oracle(engine, world, random, 60, seed, &seen);
        if (HasFatalFailure()) return;
    }
    // A generator that stopped making one of these would leave the test green and blind.
    for (const char* outcome : {"rule allows", "rule denies", "default denies", "localhost allows", "none allows"}) {
        EXPECT_GE(seen[outcome], kWorlds / 10) << outcome;
    }
}

// Steps that lead to the world, in random order, with detours over another one.
std::vector<std::function<void(PolicyEngine&)>> steps_to(const World& world, const World& detour, Worlds& random) {
    using Step = std::function<void(PolicyEngine&)>;
    std::vector<Step> early, late;
    for (const auto& [key, policy] : detour.policies) {
        early.push_back([&policy](PolicyEngine& engine) { engine.upsert_policy(std::make_shared<Policy>(policy)); });
        if (!world.policies.contains(key)) {
            late.push_back([&policy](PolicyEngine& engine) {
                engine.remove_policy(policy.origin.kind, policy.origin.k8s_namespace, policy.origin.name);
            });
        }
    }
    for (const auto& [id, known] : detour.identities) {
        early.push_back([&known](PolicyEngine& engine) { engine.upsert_identity(known.id, known.labels, known.cidr); });
        if (!world.identities.contains(id)) {
            late.push_back([id = id](PolicyEngine& engine) { engine.remove_identity(id); });
        }
    }
    for (const auto& [id, ports] : detour.ports) {
        early.push_back([id = id, &ports](PolicyEngine& engine) { engine.set_named_ports(id, ports); });
        if (!world.ports.contains(id)) {
            late.push_back([id = id](PolicyEngine& engine) { engine.set_named_ports(id, {}); });
        }
    }
    for (const auto& [id, subject] : detour.subjects) {
        early.push_back([id = id, &subject](PolicyEngine& engine) { engine.upsert_subject(id, subject); });
        if (!world.subjects.contains(id)) {
            late.push_back([id = id](PolicyEngine& engine) { engine.remove_subject(id); });
        }
    }
    for (const auto& [key, policy] : world.policies) {
        late.push_back([&policy](PolicyEngine& engine) { engine.upsert_policy(std::make_shared<Policy>(policy)); });
    }
    for (const auto& [id, known] : world.identities) {
        late.push_back([&known](PolicyEngine& engine) { engine.upsert_identity(known.id, known.labels, known.cidr); });
    }
    for (const auto& [id, ports] : world.ports) {
        late.push_back([id = id, &ports](PolicyEngine& engine) { engine.set_named_ports(id, ports); });
    }
    for (const auto& [id, subject] : world.subjects) {
        late.push_back([id = id, &subject](PolicyEngine& engine) { engine.upsert_subject(id, subject); });
    }
    late.push_back([mode = world.settings.mode](PolicyEngine& engine) { engine.set_mode(mode); });
    random.shuffle(early);
    random.shuffle(late);
    early.insert(early.end(), late.begin(), late.end());
    return early;
}

void expect_same(const PolicyEngine& engine, const PolicyEngine& straight, const World& world, int seed) {
    ASSERT_EQ(engine.subjects(), straight.subjects()) << "seed " << seed;
    for (const auto& [id, subject] : world.subjects) {
        ASSERT_TRUE(engine.image(id)) << "seed " << seed;
        ASSERT_TRUE(*engine.image(id) == *straight.image(id)) << "seed " << seed << " endpoint " << id.to_string();
    }
    ASSERT_EQ(engine.cidrs(), straight.cidrs()) << "seed " << seed;
    ASSERT_EQ(engine.rules(), straight.rules()) << "seed " << seed;
    ASSERT_EQ(engine.identities().selector_count(), straight.identities().selector_count()) << "seed " << seed;
}

TEST(PolicyOracle, TheOrderOfArrivalChangesNoByte) {
    for (int seed = 1; seed <= kWorlds / 4; ++seed) {
        Worlds random(static_cast<std::uint64_t>(seed) + 1'000'000);
        const World world = random.world();
        const World detour = random.world();
        PolicyEngine straight(world.settings);
        fill(straight, world);
        straight.changes();

        EngineSettings settings = world.settings;
        settings.mode = detour.settings.mode;
        PolicyEngine engine(settings);
        std::map<EndpointId, std::shared_ptr<const PolicyImage>> told;
        std::set<Prefix> prefixes;
        const auto ask = [&] {
            const CidrChanges cidrs = engine.take_cidr_changes();
            for (const Prefix& prefix : cidrs.added) ASSERT_TRUE(prefixes.insert(prefix).second) << "seed " << seed;
            for (const Prefix& prefix : cidrs.removed) ASSERT_EQ(prefixes.erase(prefix), 1U) << "seed " << seed;
            for (const EndpointId id : engine.changes()) {
                ASSERT_NE(told[id], engine.image(id)) << "seed " << seed;
                told[id] = engine.image(id);
            }
        };
        for (const auto& step : steps_to(world, detour, random)) {
            step(engine);
            if (random.one_in(3)) ask();
        }
        ask();
        expect_same(engine, straight, world, seed);
        for (const auto& [id, subject] : world.subjects) ASSERT_EQ(told[id], engine.image(id)) << "seed " << seed;
        const std::vector<Prefix> cidrs = engine.cidrs();
        ASSERT_EQ(std::vector<Prefix>(prefixes.begin(), prefixes.end()), cidrs) << "seed " << seed;
        expect_as_oracle(engine, world, random, 10, seed);

        const std::unique_ptr<PolicyEngine> clone = engine.clone();
        clone->changes();
        expect_same(*clone, straight, world, seed);
        if (HasFatalFailure()) return;
    }
}

// Equal contents are one object, whoever has them.
TEST(PolicyOracle, EqualImagesAreOneObject) {
    for (int seed = 1; seed <= 500; ++seed) {
        Worlds random(static_cast<std::uint64_t>(seed) + 2'000'000);
        World world = random.world();
        world.subjects[EndpointId{100}] = world.subjects.begin()->second;
        PolicyEngine engine(world.settings);
        fill(engine, world);
        engine.changes();
        ASSERT_EQ(engine.image(EndpointId{100}), engine.image(world.subjects.begin()->first));
        for (const auto& [a, ignored] : world.subjects) {
            for (const auto& [b, also_ignored] : world.subjects) {
                ASSERT_EQ(engine.image(a) == engine.image(b), *engine.image(a) == *engine.image(b)) << "seed " << seed;
            }
        }
    }
}

}  // namespace
}  // namespace axo::policy::oracle
