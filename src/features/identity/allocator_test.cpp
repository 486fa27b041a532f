#include "features/identity/allocator.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace axo {
namespace {

LabelSet labels(const std::vector<std::string>& texts) {
    return LabelSet::from_strings(texts);
}

// A cluster's CiliumIdentity objects, as agents see them.
struct Cluster {
    std::map<IdentityId, std::string> objects;

    [[nodiscard]] KnownIdentities view() const {
        return {[this](IdentityId id) { return objects.contains(id); },
                [this](const std::string& key) -> std::optional<IdentityId> {
                    for (const auto& [id, known] : objects) {
                        if (known == key) return id;
                    }
                    return std::nullopt;
                }};
    }
};

RandomSource random(std::uint64_t seed) {
    return [engine = std::mt19937_64(seed)]() mutable { return engine(); };
}

TEST(ReservedIdentity, FollowsFromLabels) {
    EXPECT_EQ(reserved_identity(labels({"reserved:init"})), identity::kInit);
    EXPECT_EQ(reserved_identity(labels({"reserved:health"})), identity::kHealth);
    EXPECT_EQ(reserved_identity(labels({"reserved:host", "node:rack=1"})), identity::kHost);
    EXPECT_EQ(reserved_identity(labels({"reserved:remote-node", "reserved:kube-apiserver"})), identity::kKubeApiServer);
    EXPECT_EQ(reserved_identity(labels({"reserved:remote-node"})), identity::kRemoteNode);
    EXPECT_FALSE(reserved_identity(labels({"k8s:app=web"})));
    EXPECT_FALSE(reserved_identity(labels({"reserved:init", "k8s:app=web"})))
        << "a pod in init with labels has its own";
    EXPECT_FALSE(reserved_identity(labels({"reserved:unknown"})));
    EXPECT_FALSE(reserved_identity(labels({"reserved:nonsense"})));
    EXPECT_FALSE(reserved_identity(labels({"k8s:host=x"})));
    for (std::uint32_t id = 1; id <= 10; ++id)
        EXPECT_EQ(reserved_identity(reserved_labels(IdentityId{id})), IdentityId{id});
    EXPECT_EQ(reserved_identity_name(identity::kWorldIpv6), "world-ipv6");
}

TEST(IdentityAllocation, SharesByLabelKeyAndPrefersTheLowest) {
    Cluster cluster;
    cluster.objects = {
        {IdentityId{900}, "k8s:app=web;"}, {IdentityId{300}, "k8s:app=web;"}, {IdentityId{256}, "k8s:app=db;"}};
    const IdentityAllocation allocation(labels({"k8s:app=web"}));
    const auto step = allocation.next(cluster.view(), random(1));
    ASSERT_TRUE(step);
    EXPECT_EQ(step->kind, IdentityAllocation::Step::Kind::kUse);
    EXPECT_EQ(step->id.value, 300U);
    EXPECT_FALSE(IdentityAllocation(LabelSet{}).next(cluster.view(), random(1)));
}

TEST(IdentityAllocation, CollisionExcludesTheNumberAndEnds) {
    Cluster cluster;
    IdentityAllocation allocation(labels({"k8s:app=web"}));
    std::set<IdentityId> tried;
    for (int i = 0; i < IdentityAllocation::kMaxAttempts; ++i) {
        const auto step = allocation.next(cluster.view(), random(7));  // the same numbers each time
        ASSERT_TRUE(step);
        EXPECT_EQ(step->kind, IdentityAllocation::Step::Kind::kCreate);
        EXPECT_TRUE(is_cluster_identity(step->id));
        EXPECT_TRUE(tried.insert(step->id).second) << "a number that collided is not proposed again";
        allocation.collided(step->id);
    }
    EXPECT_EQ(allocation.next(cluster.view(), random(7)).error().code, Code::kAborted);
    cluster.objects[IdentityId{400}] = "k8s:app=web;";
    EXPECT_EQ(allocation.next(cluster.view(), random(7))->id.value, 400U) << "somebody else created it meanwhile";
}

TEST(ChooseIdentity, FindsTheLastFreeNumberAndReportsExhaustion) {
    Cluster cluster;
    for (std::uint32_t id = identity::kClusterMin; id <= identity::kClusterMax; ++id) {
        if (id != 31337) cluster.objects[IdentityId{id}] = "x";
    }
    EXPECT_EQ(choose_identity(cluster.view(), {}, random(3))->value, 31337U);
    const auto none = choose_identity(cluster.view(), {IdentityId{31337}}, random(3));
    EXPECT_EQ(none.error().code, Code::kResourceExhausted);
    EXPECT_NE(none.error().message.find("256..65535"), std::string::npos);
}

// Several agents with stale views of the store race for a few label sets: every agent ends with a number
// whose object has its labels, and no number ever carries two label sets.
TEST(IdentityAllocation, RacingAgents) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        std::mt19937_64 engine(seed);
        Cluster store;
        std::vector<Cluster> agents(5);
        for (int round = 0; round < 400; ++round) {
            Cluster& agent = agents[engine() % agents.size()];
            if (engine() % 3 == 0) agent = store;  // its watch catches up
            IdentityAllocation allocation(labels({"k8s:app=" + std::to_string(engine() % 40)}));
            // Few numbers, so that they collide often.
            const RandomSource narrow = [&engine] { return engine() % 60; };
            while (true) {
                const auto step = allocation.next(agent.view(), narrow);
                if (!step) {
                    ASSERT_EQ(step.error().code, Code::kAborted);
                    break;
                }
                if (step->kind == IdentityAllocation::Step::Kind::kUse) {
                    ASSERT_EQ(store.objects.at(step->id), allocation.key());
                    break;
                }
                if (store.objects.emplace(step->id, allocation.key()).second) {
                    agent.objects[step->id] = allocation.key();
                } else {
                    allocation.collided(step->id);
                    agent.objects[step->id] = store.objects[step->id];
                }
            }
        }
    }
}

}  // namespace
}  // namespace axo
