#include "features/ipam/pod_pools.h"

#include <gtest/gtest.h>

#include <random>

namespace axo {
namespace {

using Held = std::map<std::string, std::vector<Prefix>>;

std::vector<Prefix> cidrs(std::initializer_list<const char*> texts) {
    std::vector<Prefix> all;
    for (const char* text : texts) all.push_back(Prefix::parse_cidr(text).value());
    return all;
}

PodIpPool pool(const std::string& name, std::vector<Prefix> ipv4, int mask = 28, std::vector<Prefix> ipv6 = {},
               int mask6 = 124) {
    PodIpPool made;
    made.metadata.name = name;
    if (!ipv4.empty()) made.ipv4 = {std::move(ipv4), mask};
    if (!ipv6.empty()) made.ipv6 = {std::move(ipv6), mask6};
    return made;
}

PodPools two_pools() {
    PodPools pools(true, true);
    EXPECT_TRUE(pools.set_pool(pool("default", cidrs({"10.0.0.0/24"}), 28, cidrs({"fd00::/120"}))));
    EXPECT_TRUE(pools.set_pool(pool("blue", cidrs({"10.1.0.0/27"}), 28)));
    return pools;
}

TEST(PodPools, BlocksUntilTheAddressesSuffice) {
    PodPools pools = two_pools();
    auto grant = pools.grant("a", {{"default", 8, 8}});
    EXPECT_EQ(grant.added, (Held{{"default", cidrs({"10.0.0.0/28", "fd00::/124"})}}));
    EXPECT_TRUE(grant.errors.empty());
    EXPECT_TRUE(pools.grant("a", {{"default", 14, 14}}).added.empty()) << "14 of 16 addresses can be used";
    EXPECT_EQ(pools.grant("a", {{"default", 15, 0}}).added, (Held{{"default", cidrs({"10.0.0.16/28"})}}));
    EXPECT_EQ(pools.grant("b", {{"default", 30, 0}}).added,
              (Held{{"default", cidrs({"10.0.0.32/28", "10.0.0.48/28", "10.0.0.64/28"})}}));
    EXPECT_TRUE(pools.grant("b", {{"default", 2, 0}}).added.empty()) << "less is the agent's to give back";
}

TEST(PodPools, WhatNodesHoldComesFirst) {
    PodPools pools = two_pools();
    EXPECT_TRUE(pools.claim("b", {{"default", cidrs({"10.0.0.0/28"})}}).empty());
    EXPECT_EQ(pools.grant("a", {{"default", 1, 0}}).added, (Held{{"default", cidrs({"10.0.0.16/28"})}}));
    const auto errors = pools.claim("c", {{"default", cidrs({"10.0.0.0/28", "10.0.0.32/28"})}});
    ASSERT_EQ(errors.size(), 1U);
    EXPECT_EQ(errors[0],
              "pool \"default\": requested CIDR (10.0.0.0/28) is already allocated: node b holds 10.0.0.0/28");
    EXPECT_EQ(pools.held("c"), (Held{{"default", cidrs({"10.0.0.32/28"})}}));
}

TEST(PodPools, WhatTheAgentTakesAwayIsFree) {
    PodPools pools = two_pools();
    (void)pools.grant("a", {{"blue", 20, 0}});
    EXPECT_EQ(pools.held("a"), (Held{{"blue", cidrs({"10.1.0.0/28", "10.1.0.16/28"})}}));
    auto full = pools.grant("b", {{"blue", 1, 0}});
    EXPECT_TRUE(full.added.empty());
    ASSERT_EQ(full.errors.size(), 1U);
    EXPECT_TRUE(full.errors[0].starts_with(
        "pool \"blue\": allocator full: no free IPv4 /28 in 10.1.0.0/27 (2 blocks, 2 node CIDRs)"))
        << full.errors[0];
    EXPECT_TRUE(pools.claim("a", {{"blue", cidrs({"10.1.0.16/28"})}}).empty());
    EXPECT_EQ(pools.grant("b", {{"blue", 1, 0}}).added, (Held{{"blue", cidrs({"10.1.0.0/28"})}}));
    pools.release("a");
    EXPECT_EQ(pools.grant("b", {{"blue", 20, 0}}).added, (Held{{"blue", cidrs({"10.1.0.16/28"})}}));
}

TEST(PodPools, PoolsComeAndGo) {
    PodPools pools = two_pools();
    auto grant = pools.grant("a", {{"green", 1, 0}, {"blue", 1, 1}});
    ASSERT_EQ(grant.errors.size(), 2U);
    EXPECT_EQ(grant.errors[0], "pool \"green\": there is no such CiliumPodIPPool");
    EXPECT_EQ(grant.errors[1], "pool \"blue\": it has no IPv6 CIDRs");
    EXPECT_EQ(grant.added, (Held{{"blue", cidrs({"10.1.0.0/28"})}})) << "one pool's trouble is not another's";
    ASSERT_TRUE(pools.set_pool(pool("green", cidrs({"10.2.0.0/28"}))));
    EXPECT_EQ(pools.grant("a", {{"green", 1, 0}}).added, (Held{{"green", cidrs({"10.2.0.0/28"})}}));

    pools.remove_pool("green");
    const auto errors = pools.claim("a", {{"green", cidrs({"10.2.0.0/28"})}, {"blue", cidrs({"10.1.0.0/28"})}});
    ASSERT_EQ(errors.size(), 1U);
    EXPECT_TRUE(errors[0].starts_with("pool \"green\": it does not exist: 10.2.0.0/28 stays with the node"));
    ASSERT_TRUE(pools.set_pool(pool("red", cidrs({"10.2.0.0/27"}))));
    EXPECT_EQ(pools.grant("b", {{"red", 1, 0}}).added, (Held{{"red", cidrs({"10.2.0.16/28"})}}))
        << "what a node holds of a pool that is gone is nobody else's";
    ASSERT_TRUE(pools.set_pool(pool("blue", cidrs({"10.1.0.0/27", "10.3.0.0/28"}))));
    (void)pools.grant("b", {{"blue", 20, 0}});
    EXPECT_EQ(pools.held("b")["blue"], cidrs({"10.1.0.16/28", "10.3.0.0/28"})) << "a pool grows while in use";
}

TEST(PodPools, PoolsThatCannotBe) {
    PodPools pools = two_pools();
    (void)pools.grant("a", {{"blue", 1, 0}});
    auto refused = pools.set_pool(pool("green", cidrs({"10.9.0.0/24", "10.0.0.128/25"})));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().message,
              "pool \"green\": IPv4: requested CIDR 10.0.0.128/25 collides with 10.0.0.0/24 of pool default; accepted: "
              "CIDRs that do not overlap");
    EXPECT_FALSE(pools.has_pool("green"));
    EXPECT_TRUE(pools.set_pool(pool("green", cidrs({"10.9.0.0/24"})))) << "nothing was left behind";
    refused = pools.set_pool(pool("blue", cidrs({"10.1.0.0/27"}), 29));
    EXPECT_EQ(refused.error().code, Code::kFailedPrecondition);
    pools.release("a");
    EXPECT_TRUE(pools.set_pool(pool("blue", cidrs({"10.1.0.0/27"}), 29)));
    EXPECT_EQ(pools.grant("a", {{"blue", 1, 0}}).added, (Held{{"blue", cidrs({"10.1.0.0/29"})}}));
}

TEST(PodPools, ARequestGoneWrongIsBounded) {
    PodPools pools(true, true);
    ASSERT_TRUE(pools.set_pool(pool("default", {}, 28, cidrs({"fd00::/64"}))));
    const auto grant = pools.grant("a", {{"default", 0, 2'000'000'000}});
    EXPECT_EQ(grant.added.at("default").size(), 1024U);
    EXPECT_EQ(grant.errors.size(), 1U);
}

TEST(PodPools, OnlyEnabledFamilies) {
    PodPools pools(true, false);
    ASSERT_TRUE(pools.set_pool(pool("default", cidrs({"10.0.0.0/24"}))));
    const auto grant = pools.grant("a", {{"default", 1, 1}});
    EXPECT_EQ(grant.added, (Held{{"default", cidrs({"10.0.0.0/28"})}}));
    EXPECT_TRUE(grant.errors.empty());
}

TEST(PodPools, WhatTheAgentReadsOutOfTheErrors) {
    PodPools pools = two_pools();
    (void)pools.claim("a", {{"green", cidrs({"10.5.0.0/28"})}, {"blue", cidrs({"10.1.0.0/27"})}});
    auto errors = pools.claim("b", {{"green", cidrs({"10.5.0.16/28"})}, {"default", cidrs({"10.5.0.0/28"})}});
    for (std::string& error : pools.grant("b", {{"blue", 1, 0}, {"red", 1, 0}, {"default", 1, 0}}).errors)
        errors.push_back(std::move(error));
    const std::string text = pool_errors_text(errors);
    EXPECT_TRUE(pool_refusal(text, "blue").starts_with("pool \"blue\": allocator full")) << text;
    EXPECT_EQ(pool_refusal(text, "red"), "pool \"red\": there is no such CiliumPodIPPool");
    EXPECT_EQ(pool_refusal(text, "default"), "") << "what is wrong with one CIDR does not keep others away";
    EXPECT_EQ(pool_refusal(text, "green"), "");
    EXPECT_EQ(pool_refusal("failed to allocate ipv4 address for node \"n\" from pool \"x\": full", "x").substr(0, 6),
              "failed");
    EXPECT_EQ(pool_refusal("", "x"), "");
}

// Whatever nodes ask for and give back: nobody's CIDRs overlap, and at the end all come back.
TEST(PodPools, RandomSequences) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        std::mt19937_64 random(seed);
        PodPools pools = two_pools();
        std::map<std::string, Held> nodes;
        for (int i = 0; i < 400; ++i) {
            const std::string node = "n" + std::to_string(random() % 6);
            Held& held = nodes[node];
            std::vector<PoolAllocation> kept;
            for (auto& [name, list] : held) {
                std::erase_if(list, [&](const Prefix&) { return random() % 3 == 0; });
                kept.push_back({name, list});
            }
            EXPECT_TRUE(pools.claim(node, kept).empty());
            for (const auto& [name, list] :
                 pools.grant(node, {{"default", random() % 60, random() % 60}, {"blue", random() % 30, 0}}).added)
                held[name].insert(held[name].end(), list.begin(), list.end());
            std::vector<Prefix> all;
            for (const auto& [owner, theirs] : nodes) {
                for (const auto& [name, list] : theirs) {
                    for (const Prefix& cidr : list) {
                        for (const Prefix& other : all) ASSERT_FALSE(cidr.overlaps(other)) << cidr.to_string();
                        all.push_back(cidr);
                    }
                }
            }
        }
        for (const auto& [node, held] : nodes) pools.release(node);
        EXPECT_EQ(pools.grant("z", {{"default", 224, 224}, {"blue", 28, 0}}).errors, std::vector<std::string>{});
    }
}

TEST(PodPools, ListOfTheFlag) {
    auto pools = parse_pool_list("default=ipv4-cidrs:10.0.0.0/16,10.1.0.0/16;ipv4-mask-size:24");
    ASSERT_TRUE(pools) << pools.error().message;
    ASSERT_EQ(pools->size(), 1U);
    EXPECT_EQ(pools->at(0).ipv4, (PodIpPool::FamilyPool{cidrs({"10.0.0.0/16", "10.1.0.0/16"}), 24}));
    for (
        const char* text :
        {"a=ipv4-cidrs:10.0.0.0/16,10.1.0.0/16;ipv4-mask-size:24,b=ipv6-cidrs:fd00::/104;ipv6-mask-size:120",
         "a=ipv4-cidrs:10.0.0.0/16,10.1.0.0/16;ipv4-mask-size:24 b=ipv6-cidrs:fd00::/104;ipv6-mask-size:120",
         R"({"a": "ipv4-cidrs:10.0.0.0/16,10.1.0.0/16;ipv4-mask-size:24", "b": "ipv6-cidrs:fd00::/104;ipv6-mask-size:120"})"}) {
        pools = parse_pool_list(text);
        ASSERT_TRUE(pools) << pools.error().message;
        ASSERT_EQ(pools->size(), 2U) << text;
        EXPECT_EQ(pools->at(0).ipv4->cidrs.size(), 2U);
        EXPECT_EQ(pools->at(1).metadata.name, "b");
        EXPECT_EQ(pools->at(1).ipv6, (PodIpPool::FamilyPool{cidrs({"fd00::/104"}), 120}));
    }
    EXPECT_TRUE(parse_pool_list("").value().empty());
    for (const char* wrong : {"default", "Default=ipv4-cidrs:10.0.0.0/8;ipv4-mask-size:24", "a=ipv4-cidrs:10.0.0.0/8",
                              "a=ipv4-cidrs:10.0.0.0/8;ipv4-mask-size:x", "a=ipv5-cidrs:10.0.0.0/8", "a="})
        EXPECT_FALSE(parse_pool_list(wrong)) << wrong;
}

}  // namespace
}  // namespace axo
