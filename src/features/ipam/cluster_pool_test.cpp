#include "features/ipam/cluster_pool.h"

#include <gtest/gtest.h>

#include <random>

namespace axo {
namespace {

Prefix cidr(const char* text) {
    return Prefix::parse_cidr(text).value();
}

std::vector<Prefix> cidrs(std::initializer_list<const char*> texts) {
    std::vector<Prefix> all;
    for (const char* text : texts) all.push_back(cidr(text));
    return all;
}

ClusterPool dual() {
    return ClusterPool::create({cidrs({"10.0.0.0/23", "10.9.0.0/24"}), 24, cidrs({"fd00::/118"}), 120}).value();
}

TEST(ClusterPool, NextFreeBlockInListOrder) {
    ClusterPool pool = dual();
    EXPECT_EQ(pool.assign("a").value(), cidrs({"10.0.0.0/24", "fd00::/120"}));
    EXPECT_EQ(pool.assign("b").value(), cidrs({"10.0.1.0/24", "fd00::100/120"}));
    EXPECT_EQ(pool.assign("c").value(), cidrs({"10.9.0.0/24", "fd00::200/120"}));
    const auto full = pool.assign("d");
    ASSERT_FALSE(full);
    EXPECT_EQ(full.error().code, Code::kResourceExhausted);
    EXPECT_TRUE(full.error().message.starts_with("allocator full")) << full.error().message;
    EXPECT_NE(full.error().message.find("10.0.0.0/23"), std::string::npos);
    EXPECT_TRUE(pool.cidrs_of("d").empty()) << "all or nothing: the free IPv6 block stays free";
    EXPECT_TRUE(pool.holder_of(cidr("fd00::300/120")).empty());
    pool.release("a");
    EXPECT_EQ(pool.assign("d").value(), cidrs({"10.0.0.0/24", "fd00::/120"}));
    EXPECT_EQ(pool.assign("d").value(), cidrs({"10.0.0.0/24", "fd00::/120"})) << "asking again changes nothing";
}

TEST(ClusterPool, WhatNodesHoldComesFirst) {
    ClusterPool pool = dual();
    ASSERT_TRUE(pool.claim("b", cidrs({"10.0.0.0/24"})));
    EXPECT_EQ(pool.assign("a").value(), cidrs({"10.0.1.0/24", "fd00::/120"}));
    EXPECT_EQ(pool.assign("b").value(), cidrs({"10.0.0.0/24", "fd00::100/120"})) << "the missing family is added";
}

TEST(ClusterPool, ConflictsHaveCiliumsTexts) {
    ClusterPool pool = dual();
    ASSERT_TRUE(pool.claim("a", cidrs({"10.0.0.0/24"})));
    auto result = pool.claim("b", cidrs({"10.0.0.0/24"}));
    EXPECT_EQ(result.error().code, Code::kAlreadyExists);
    EXPECT_TRUE(result.error().message.starts_with("requested CIDR (10.0.0.0/24) is already allocated: node a"));
    result = pool.claim("b", cidrs({"10.0.0.128/25"}));
    EXPECT_EQ(result.error().code, Code::kAlreadyExists) << "a part of somebody's block";
    result = pool.claim("b", cidrs({"10.0.0.0/23"}));
    EXPECT_EQ(result.error().code, Code::kAlreadyExists) << "a block around somebody's";
    result = pool.claim("b", cidrs({"192.168.0.0/24"}));
    EXPECT_EQ(result.error().code, Code::kOutOfRange);
    EXPECT_TRUE(result.error().message.starts_with("allocator not configured for the requested CIDR 192.168.0.0/24"));
    result = pool.claim("b", cidrs({"10.0.1.0/24", "10.0.1.128/25"}));
    EXPECT_FALSE(result) << "one's own CIDRs overlapping";
    EXPECT_TRUE(pool.cidrs_of("b").empty());
    ASSERT_TRUE(pool.claim("b", cidrs({"10.0.1.0/24"})));
    EXPECT_FALSE(pool.claim("b", cidrs({"10.0.0.0/24"})));
    EXPECT_EQ(pool.cidrs_of("b"), cidrs({"10.0.1.0/24"})) << "a refused claim leaves the old one";

    ClusterPool v4_only = ClusterPool::create({cidrs({"10.0.0.0/8"}), 24, {}, 120}).value();
    EXPECT_TRUE(v4_only.claim("a", cidrs({"fd00::/120"}))
                    .error()
                    .message.starts_with(
                        "unable to allocate CIDR [fd00::/120] since allocator for IPv6 addresses does not exist"));
}

TEST(ClusterPool, OtherSizesThanTheMask) {
    ClusterPool pool = dual();
    ASSERT_TRUE(pool.claim("small-1", cidrs({"10.0.0.0/26"})));
    ASSERT_TRUE(pool.claim("small-2", cidrs({"10.0.0.64/26"})));
    EXPECT_EQ(pool.assign("x").value().front(), cidr("10.0.1.0/24")) << "a partly used block is not free";
    pool.release("small-1");
    EXPECT_EQ(pool.assign("y").value().front(), cidr("10.9.0.0/24")) << "the block is still shared with small-2";
    pool.release("small-2");
    EXPECT_EQ(pool.assign("z").value().front(), cidr("10.0.0.0/24"));
}

TEST(ClusterPool, HugePoolsAndHugeClaims) {
    ClusterPool pool = ClusterPool::create({{}, 24, cidrs({"fd00::/8"}), 64}).value();
    ASSERT_TRUE(pool.claim("whale", cidrs({"fd00::/9"})));
    EXPECT_EQ(pool.assign("a").value(), cidrs({"fd80::/64"}));
    pool.release("whale");
    EXPECT_EQ(pool.assign("b").value(), cidrs({"fd00::/64"}));
}

TEST(ClusterPool, BadConfigurationNamesTheFlag) {
    const auto message = [](ClusterPoolConfig config) {
        const auto made = ClusterPool::create(config);
        return made ? std::string("accepted") : made.error().message;
    };
    EXPECT_TRUE(
        message({cidrs({"10.0.0.0/8"}), 7, {}, 120}).starts_with("cluster-pool-ipv4-mask-size: 7; accepted: 8"));
    EXPECT_TRUE(message({cidrs({"10.0.0.0/8"}), 33, {}, 120}).starts_with("cluster-pool-ipv4-mask-size: 33"));
    EXPECT_TRUE(message({cidrs({"fd00::/8"}), 24, {}, 120}).starts_with("cluster-pool-ipv4-cidr: fd00::/8"));
    EXPECT_TRUE(message({{}, 24, cidrs({"fd00::/8", "fd00:1::/32"}), 64})
                    .starts_with("cluster-pool-ipv6-cidr: requested CIDR fd00:1::/32 collides with fd00::/8"));
    EXPECT_EQ(message({cidrs({"10.0.0.0/24"}), 24, cidrs({"fd00::/104"}), 120}), "accepted");
    EXPECT_TRUE(
        message({{}, 24, cidrs({"fd00::/8"}), 128}).starts_with("cluster-pool-ipv6-mask-size: 128; accepted: at most"));
}

// Random sequences: blocks never overlap, never leave the pools, and all come back.
// A cluster of IPv4 nodes that IPv6 is switched on for: between an assignment and its coming back from the store, nodes
// are looked at again, and not in the order of the first time.
TEST(ClusterPool, WhatWasAssignedIsNotGivenToAnotherWhileTheNodeShowsOnlyAPart) {
    ClusterPool pool = ClusterPool::create({cidrs({"10.0.0.0/20"}), 24, cidrs({"fd00::/112"}), 120}).value();
    ASSERT_TRUE(pool.claim("n9", cidrs({"10.0.9.0/24"})));
    ASSERT_EQ(pool.assign("n9").value(), cidrs({"10.0.9.0/24", "fd00::/120"}));
    ASSERT_TRUE(pool.claim("n12", cidrs({"10.0.12.0/24"})));
    ASSERT_TRUE(pool.claim("n9", cidrs({"10.0.9.0/24"}))) << "as the store still has it";
    EXPECT_EQ(pool.assign("n12").value(), cidrs({"10.0.12.0/24", "fd00::100/120"}));
    EXPECT_EQ(pool.assign("n9").value(), cidrs({"10.0.9.0/24", "fd00::/120"}));
    ASSERT_TRUE(pool.claim("n9", cidrs({"10.0.10.0/24"}))) << "another one was written into its object";
    EXPECT_EQ(pool.cidrs_of("n9"), cidrs({"10.0.10.0/24"}));
}

TEST(ClusterPool, RandomSequences) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        std::mt19937_64 engine(seed);
        ClusterPool pool =
            ClusterPool::create({cidrs({"10.0.0.0/20", "10.9.0.0/22"}), 24, cidrs({"fd00::/114", "fd11::/118"}), 120})
                .value();
        for (int i = 0; i < 1500; ++i) {
            const std::string node = "n" + std::to_string(engine() % 25);
            switch (engine() % 3) {
                case 0: (void)pool.assign(node); break;
                case 1: pool.release(node); break;
                default: {
                    const int length = 22 + static_cast<int>(engine() % 6);
                    const Prefix wanted(IpAddress::parse("10.0.0.0")->plus((engine() % 32) << 8 | (engine() % 256)),
                                        length);
                    const auto before = pool.cidrs_of(node);
                    if (!pool.claim(node, {wanted})) {
                        ASSERT_EQ(pool.cidrs_of(node), before);
                    }
                }
            }
            std::vector<Prefix> all;
            for (int n = 0; n < 25; ++n) {
                for (const Prefix& held : pool.cidrs_of("n" + std::to_string(n))) {
                    for (const Prefix& other : all) ASSERT_FALSE(held.overlaps(other)) << held.to_string();
                    ASSERT_TRUE(cidr("10.0.0.0/20").contains(held) || cidr("10.9.0.0/22").contains(held) ||
                                cidr("fd00::/114").contains(held) || cidr("fd11::/118").contains(held));
                    all.push_back(held);
                }
            }
        }
        for (int n = 0; n < 25; ++n) pool.release("n" + std::to_string(n));
        for (int n = 0; n < 20; ++n) ASSERT_TRUE(pool.assign("m" + std::to_string(n))) << n;
        EXPECT_EQ(pool.cidrs_of("m19").front(), cidr("10.9.3.0/24")) << "every block came back";
        EXPECT_FALSE(pool.assign("m20"));
    }
}

}  // namespace
}  // namespace axo
