#include "features/operator/unused_kinds.h"

#include "io/resources.h"
#include "io/store_fixture.h"

namespace axo {
namespace {

using UnusedKindsTest = StoreTest;

const Json& condition_of(const Json& object) {
    static const Json none;
    for (const Json& condition : object["status"]["conditions"]) {
        if (condition["type"] == "axoneme.io/Supported") return condition;
    }
    return none;
}

TEST_F(UnusedKindsTest, SayThatNothingHappensOncePerGeneration) {
    const auto& type = resources::kCiliumLoadBalancerIpPool;
    write("pool.yaml",
          "{apiVersion: cilium.io/v2, kind: CiliumLoadBalancerIPPool, metadata: {name: p, generation: 3}, spec: {}, "
          "status: {conditions: [{type: cilium.io/PoolConflict, status: 'False'}]}}");
    UnusedKinds kinds(loop_, registry_, *store_);
    ASSERT_TRUE(wait_until([&] {
        const auto pool = store_->get(type, {"", "p"});
        return pool && says_unsupported(*pool);
    }));
    const Json pool = store_->get(type, {"", "p"}).value();
    EXPECT_EQ(pool["status"]["conditions"].size(), 2U) << "the other one stays";
    EXPECT_EQ(condition_of(pool)["reason"], "NotAvailable");
    EXPECT_EQ(condition_of(pool)["observedGeneration"], 3);
    EXPECT_EQ(condition_of(pool)["message"],
              "Axoneme does not act on CiliumLoadBalancerIPPool in this version (LB-IPAM)");
}

TEST(UnusedKind, ANewGenerationIsToldAgain) {
    const UnusedKind kind = unused_kinds()[0];
    Json object = {{"metadata", {{"name", "p"}, {"generation", 1}}}};
    object = saying_unsupported(object, kind, "2026-01-01T00:00:00Z");
    EXPECT_TRUE(says_unsupported(object));
    object["metadata"]["generation"] = 2;
    EXPECT_FALSE(says_unsupported(object));
    object = saying_unsupported(object, kind, "2026-01-02T00:00:00Z");
    EXPECT_TRUE(says_unsupported(object));
    EXPECT_EQ(object["status"]["conditions"].size(), 1U);
}

}  // namespace
}  // namespace axo
