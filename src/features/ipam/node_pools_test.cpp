#include "features/ipam/node_pools.h"

#include <gtest/gtest.h>

#include <random>

#include "features/ipam/pod_pools.h"

namespace axo {
namespace {

using namespace std::chrono_literals;

const NodePools::TimePoint kStart{};

std::vector<Prefix> cidrs(std::initializer_list<const char*> texts) {
    std::vector<Prefix> all;
    for (const char* text : texts) all.push_back(Prefix::parse_cidr(text).value());
    return all;
}

RandomSource random_source(std::uint64_t seed = 1) {
    return [engine = std::mt19937_64(seed)]() mutable { return engine(); };
}

NodePools on_demand(std::map<std::string, std::uint64_t> pre_allocate = {{"default", 8}}) {
    return NodePools({.on_demand = true, .pre_allocate = std::move(pre_allocate)}, random_source());
}

// What stays of the node's object.
std::vector<PoolAllocation> kept(NodePools& pools, NodePools::TimePoint now) {
    std::vector<PoolAllocation> all = pools.allocated();
    take_away(all, pools.review(now));
    return all;
}

TEST(NodePools, OneFixedPool) {
    NodePools pools({}, random_source());
    EXPECT_EQ(pools.allocate("default", Family::kIpv4, "x").error().code, Code::kUnavailable);
    ASSERT_TRUE(pools.set_allocated({{"default", cidrs({"10.0.0.0/30"})}}));
    ASSERT_TRUE(pools.allocate("default", Family::kIpv4, "default/a"));
    ASSERT_TRUE(pools.allocate("default", Family::kIpv4, "default/b"));
    EXPECT_EQ(pools.allocate("default", Family::kIpv4, "default/c").error().code, Code::kResourceExhausted);
    EXPECT_EQ(pools.describe(Family::kIpv4), "2/2 allocated from 10.0.0.0/30");
    EXPECT_TRUE(pools.requested().empty());
    EXPECT_TRUE(pools.review(kStart + 1h).empty());
}

TEST(NodePools, EventsAreCounted) {
    NodePools pools({}, random_source());
    ASSERT_TRUE(pools.set_allocated({{"default", cidrs({"10.0.0.0/30", "fd00::/64"})}}));
    const IpAddress ip = pools.allocate("default", Family::kIpv4, "default/a").value();
    ASSERT_FALSE(pools.allocate_specific(ip, "default/b"));
    ASSERT_TRUE(pools.release(ip));
    ASSERT_FALSE(pools.release(ip));
    ASSERT_TRUE(pools.allocate_specific(ip, "default/b"));
    const IpAddress leased = pools.allocate("default", Family::kIpv6, "default/b").value();
    ASSERT_TRUE(pools.expire_after(leased, kStart + 1s));
    EXPECT_EQ(pools.expire(kStart + 2s).size(), 1U);
    EXPECT_EQ(pools.events().at(Family::kIpv4).allocated, 2U);
    EXPECT_EQ(pools.events().at(Family::kIpv4).released, 1U);
    EXPECT_EQ(pools.events().at(Family::kIpv6).allocated, 1U);
    EXPECT_EQ(pools.events().at(Family::kIpv6).released, 1U);
}

TEST(NodePools, NeededIsRoundedUp) {
    NodePools pools = on_demand();
    EXPECT_EQ(pools.requested(), (std::vector<PoolRequest>{{"default", 8, 0}}));
    ASSERT_TRUE(pools.set_allocated({{"default", cidrs({"10.0.0.0/26"})}}));
    std::vector<IpAddress> ips;
    for (int i = 0; i < 9; ++i) ips.push_back(pools.allocate("default", Family::kIpv4, "p").value());
    EXPECT_EQ(pools.needed("default", Family::kIpv4), 24U) << "9 + 8, rounded up to eights";
    ASSERT_TRUE(pools.release(ips[0]));
    EXPECT_EQ(pools.needed("default", Family::kIpv4), 16U);
    pools.ask("blue", Family::kIpv4, "default/web", kStart + 10s);
    pools.ask("blue", Family::kIpv4, "default/web", kStart + 20s);
    pools.ask("blue", Family::kIpv4, "default/db", kStart + 10s);
    EXPECT_EQ(pools.requested(), (std::vector<PoolRequest>{{"blue", 2, 0}, {"default", 16, 0}}));
    EXPECT_EQ(pools.next_change(), kStart + 10s);
    (void)pools.review(kStart + 10s);
    EXPECT_EQ(pools.needed("blue", Family::kIpv4), 1U) << "default/db waited long enough";
    ASSERT_TRUE(pools.set_allocated({{"blue", cidrs({"10.1.0.0/28"})}, {"default", cidrs({"10.0.0.0/26"})}}));
    const auto ip = pools.allocate("blue", Family::kIpv4, "default/web");
    ASSERT_TRUE(ip);
    EXPECT_EQ(pools.needed("blue", Family::kIpv4), 1U) << "asked for is now in use";
    EXPECT_EQ(pools.pool_of(*ip), "blue");
    EXPECT_EQ(pools.describe(Family::kIpv4),
              "blue 1/14 allocated from 10.1.0.0/28; default 8/62 allocated from 10.0.0.0/26");
}

TEST(NodePools, UnusedCidrsGoAfterTheGraceTime) {
    NodePools pools = on_demand({});
    const std::vector<PoolAllocation> two{{"blue", cidrs({"10.1.0.0/28", "10.1.0.16/28"})}};
    ASSERT_TRUE(pools.set_allocated(two));
    std::vector<IpAddress> ips;
    for (int i = 0; i < 15; ++i) ips.push_back(pools.allocate("blue", Family::kIpv4, "p").value());
    EXPECT_EQ(kept(pools, kStart), two);
    EXPECT_FALSE(pools.next_change()) << "both are in use";
    ASSERT_TRUE(pools.release(ips[14]));
    EXPECT_EQ(kept(pools, kStart), two);
    EXPECT_EQ(pools.next_change(), kStart + 5s);
    ips[14] = pools.allocate("blue", Family::kIpv4, "p").value();
    EXPECT_EQ(kept(pools, kStart + 5s), two) << "in use again";
    ASSERT_TRUE(pools.release(ips[14]));
    EXPECT_EQ(kept(pools, kStart + 6s), two);
    const std::vector<PoolAllocation> one{{"blue", cidrs({"10.1.0.0/28"})}};
    EXPECT_EQ(kept(pools, kStart + 11s), one);
    EXPECT_EQ(pools.allocate("blue", Family::kIpv4, "q").error().code, Code::kResourceExhausted)
        << "nothing is handed out of what is being given back";
    ASSERT_TRUE(pools.set_allocated(one));
    ASSERT_TRUE(pools.set_allocated(two)) << "the operator gave it again";
    EXPECT_TRUE(pools.allocate("blue", Family::kIpv4, "q"));
    for (const auto& [ip, allocation] : pools.allocations()) ASSERT_TRUE(pools.release(ip));
    (void)pools.review(kStart + 20s);
    EXPECT_TRUE(kept(pools, kStart + 25s).empty());
    EXPECT_TRUE(pools.requested().empty());
}

TEST(NodePools, PreAllocationKeepsCidrs) {
    NodePools pools = on_demand({{"default", 8}});
    ASSERT_TRUE(pools.set_allocated({{"default", cidrs({"10.0.0.0/28", "10.0.0.16/28"})}}));
    const auto ip = pools.allocate("default", Family::kIpv4, "router").value();
    (void)pools.review(kStart);
    EXPECT_EQ(kept(pools, kStart + 1min).front().cidrs.size(), 2U) << "9 are needed, rounded up to 16";
    ASSERT_TRUE(pools.release(ip));
    (void)pools.review(kStart + 2min);
    EXPECT_EQ(kept(pools, kStart + 3min).front().cidrs, cidrs({"10.0.0.0/28"}));
    EXPECT_FALSE(pools.next_change()) << "what is needed is not looked at again";
}

TEST(NodePools, AddressesOutliveTheirCidrs) {
    NodePools pools = on_demand({});
    ASSERT_TRUE(pools.set_allocated({{"blue", cidrs({"10.1.0.0/28"})}}));
    const auto ip = pools.allocate("blue", Family::kIpv4, "default/web").value();
    ASSERT_TRUE(pools.set_allocated({}));
    EXPECT_EQ(pools.owner_of(ip), "default/web");
    EXPECT_EQ(pools.pool_of(ip), "blue");
    EXPECT_EQ(pools.needed("blue", Family::kIpv4), 0U);
    EXPECT_EQ(pools.allocate_specific(ip, "x").error().code, Code::kAlreadyExists);
    ASSERT_TRUE(pools.set_allocated({{"blue", cidrs({"10.1.0.0/28"})}}));
    EXPECT_EQ(pools.needed("blue", Family::kIpv4), 1U);
    ASSERT_TRUE(pools.release(ip));
    EXPECT_EQ(pools.release(ip).error().code, Code::kNotFound);
}

TEST(NodePools, SpecificAddressesFindTheirPool) {
    NodePools pools = on_demand({});
    ASSERT_TRUE(pools.set_allocated({{"a", cidrs({"10.1.0.0/28"})}, {"b", cidrs({"10.2.0.0/28"})}}));
    const auto ip = IpAddress::parse("10.2.0.3").value();
    ASSERT_TRUE(pools.allocate_specific(ip, "default/web"));
    EXPECT_EQ(pools.pool_of(ip), "b");
    EXPECT_EQ(pools.allocate_specific(IpAddress::parse("10.3.0.3").value(), "x").error().code, Code::kOutOfRange);
    const auto uuid = pools.expire_after(ip, kStart + 1s);
    ASSERT_TRUE(uuid);
    EXPECT_EQ(pools.next_expiration(), kStart + 1s);
    EXPECT_FALSE(pools.confirm(ip, "other"));
    ASSERT_TRUE(pools.confirm(ip, *uuid));
    EXPECT_TRUE(pools.expire(kStart + 1h).empty());
    EXPECT_FALSE(pools.set_allocated({{"a", cidrs({"10.1.0.0/24"})}, {"b", cidrs({"10.1.0.0/28"})}})) << "overlap";
    EXPECT_EQ(pools.allocated().size(), 2U);
}

// Operator and agents together: no two nodes ever have the same address, and what is asked for comes if there is room.
TEST(NodePools, WithTheOperator) {
    for (std::uint64_t seed = 1; seed <= 10; ++seed) {
        std::mt19937_64 random(seed);
        PodPools operator_pools(true, false);
        PodIpPool pool;
        pool.metadata.name = "default";
        pool.ipv4 = {cidrs({"10.0.0.0/25"}), 28};
        ASSERT_TRUE(operator_pools.set_pool(pool));
        struct Node {
            NodePools pools;
            std::vector<PoolAllocation> object;  // spec.ipam.pools.allocated
            std::vector<IpAddress> ips;
        };
        std::vector<Node> nodes;
        for (std::uint64_t i = 0; i < 3; ++i) nodes.push_back({on_demand({{"default", 2}}), {}, {}});
        auto now = kStart;
        for (int step = 0; step < 600; ++step) {
            Node& node = nodes[random() % nodes.size()];
            const std::string name = std::to_string(&node - nodes.data());
            switch (random() % 4) {
                case 0:
                    if (const auto ip = node.pools.allocate("default", Family::kIpv4, "p")) {
                        node.ips.push_back(*ip);
                    } else {
                        node.pools.ask("default", Family::kIpv4, "p", now + 10s);
                    }
                    break;
                case 1:
                    if (node.ips.empty()) break;
                    std::swap(node.ips[random() % node.ips.size()], node.ips.back());
                    ASSERT_TRUE(node.pools.release(node.ips.back()));
                    node.ips.pop_back();
                    break;
                case 2:  // the agent writes, later it sees what it wrote
                    take_away(node.object, node.pools.review(now));
                    if (random() % 2 == 0) {
                        ASSERT_TRUE(node.pools.set_allocated(node.object));
                    }
                    break;
                default: {
                    ASSERT_TRUE(operator_pools.claim(name, node.object).empty());
                    for (const auto& [p, added] : operator_pools.grant(name, node.pools.requested()).added) {
                        if (node.object.empty()) node.object.push_back({p, {}});
                        node.object[0].cidrs.insert(node.object[0].cidrs.end(), added.begin(), added.end());
                    }
                    ASSERT_TRUE(node.pools.set_allocated(node.object));
                }
            }
            now += std::chrono::seconds(random() % 4);
            std::set<IpAddress> all;
            for (const Node& one : nodes) {
                for (const IpAddress& ip : one.ips) ASSERT_TRUE(all.insert(ip).second) << ip.to_string();
            }
        }
    }
}

TEST(NodePools, PreAllocationFlag) {
    using Counts = std::map<std::string, std::uint64_t>;
    EXPECT_EQ(parse_pre_allocation("default=8,blue=0").value(), (Counts{{"default", 8}, {"blue", 0}}));
    EXPECT_EQ(parse_pre_allocation(R"({"default": "8", "blue": 16})").value(), (Counts{{"default", 8}, {"blue", 16}}));
    EXPECT_TRUE(parse_pre_allocation("").value().empty());
    for (const char* wrong : {"default", "default=", "default=x", "=8", "default=-1", "default=99999999"})
        EXPECT_FALSE(parse_pre_allocation(wrong)) << wrong;
}

}  // namespace
}  // namespace axo
