#include "features/ipam/host_scope.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace axo {
namespace {

using namespace std::chrono_literals;

Prefix cidr(const char* text) {
    return Prefix::parse_cidr(text).value();
}
IpAddress ip(const char* text) {
    return IpAddress::parse(text).value();
}

RandomSource random(std::uint64_t seed = 1) {
    return [engine = std::mt19937_64(seed)]() mutable { return engine(); };
}

HostScopeAllocator make(std::vector<Prefix> cidrs,
                        HostScopeAllocator::Strategy strategy = HostScopeAllocator::Strategy::kRandom,
                        std::uint64_t seed = 1) {
    return HostScopeAllocator::create(std::move(cidrs), random(seed), strategy).value();
}

std::set<std::string> drain(HostScopeAllocator& allocator, Family family) {
    std::set<std::string> all;
    while (true) {
        const auto got = allocator.allocate(family, "p");
        if (!got) {
            EXPECT_EQ(got.error().code, Code::kResourceExhausted);
            return all;
        }
        EXPECT_TRUE(all.insert(got->to_string()).second) << "twice: " << got->to_string();
    }
}

TEST(HostScope, FirstAndLastAreNeverHandedOut) {
    auto allocator = make({cidr("10.0.0.0/29")});
    EXPECT_EQ(drain(allocator, Family::kIpv4),
              (std::set<std::string>{"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"}));
    EXPECT_FALSE(allocator.allocate_specific(ip("10.0.0.0"), "x"));
    EXPECT_EQ(allocator.allocate_specific(ip("10.0.0.7"), "x").error().code, Code::kOutOfRange);
}

TEST(HostScope, SmallCidrsAreUsedWhole) {
    auto allocator = make({cidr("10.0.0.4/31"), cidr("10.0.0.9/32"), cidr("fd00::2/127"), cidr("fd00::8/128")});
    EXPECT_EQ(drain(allocator, Family::kIpv4), (std::set<std::string>{"10.0.0.4", "10.0.0.5", "10.0.0.9"}));
    EXPECT_EQ(drain(allocator, Family::kIpv6), (std::set<std::string>{"fd00::2", "fd00::3", "fd00::8"}));
}

TEST(HostScope, ExhaustionNamesCidrsAndCounts) {
    auto allocator = make({cidr("10.0.0.0/30"), cidr("10.0.1.0/30")});
    EXPECT_EQ(drain(allocator, Family::kIpv4).size(), 4U);
    const auto full = allocator.allocate(Family::kIpv4, "default/web");
    ASSERT_FALSE(full);
    EXPECT_NE(full.error().message.find("4/4 allocated from 10.0.0.0/30, 10.0.1.0/30"), std::string::npos);
    EXPECT_NE(full.error().message.find("default/web"), std::string::npos);
    EXPECT_NE(allocator.allocate(Family::kIpv6, "a").error().message.find("no pod CIDR of this family"),
              std::string::npos);
}

TEST(HostScope, HugeRangesCostNothing) {
    auto allocator = make({cidr("10.0.0.0/8"), cidr("fd00:1::/64"), cidr("fd00:2::/32")});
    std::set<IpAddress> seen;
    for (int i = 0; i < 5000; ++i) {
        const auto v4 = allocator.allocate(Family::kIpv4, "a");
        const auto v6 = allocator.allocate(Family::kIpv6, "a");
        ASSERT_TRUE(v4 && v6);
        EXPECT_TRUE(cidr("10.0.0.0/8").contains(*v4));
        EXPECT_TRUE(cidr("fd00:1::/64").contains(*v6));
        EXPECT_TRUE(seen.insert(*v4).second);
        EXPECT_TRUE(seen.insert(*v6).second);
    }
    EXPECT_EQ(allocator.describe(Family::kIpv4), "5000/16777214 allocated from 10.0.0.0/8");
    EXPECT_TRUE(allocator.allocate_specific(ip("fd00:1::1"), "router"));
}

TEST(HostScope, NextGoesRoundBeforeItReuses) {
    auto allocator = make({cidr("10.0.0.0/29")}, HostScopeAllocator::Strategy::kNext);
    EXPECT_EQ(allocator.allocate(Family::kIpv4, "a")->to_string(), "10.0.0.1");
    EXPECT_EQ(allocator.allocate(Family::kIpv4, "b")->to_string(), "10.0.0.2");
    ASSERT_TRUE(allocator.release(ip("10.0.0.1")));
    EXPECT_EQ(allocator.allocate(Family::kIpv4, "c")->to_string(), "10.0.0.3");
}

TEST(HostScope, SpecificAddressesAndOwners) {
    auto allocator = make({cidr("10.0.0.0/24")});
    ASSERT_TRUE(allocator.allocate_specific(ip("10.0.0.5"), "router"));
    const auto again = allocator.allocate_specific(ip("10.0.0.5"), "health");
    EXPECT_EQ(again.error().code, Code::kAlreadyExists);
    EXPECT_NE(again.error().message.find("already allocated to router"), std::string::npos);
    EXPECT_EQ(allocator.allocate_specific(ip("10.0.1.5"), "x").error().code, Code::kOutOfRange);
    EXPECT_EQ(allocator.allocate_specific(ip("fd00::1"), "x").error().code, Code::kOutOfRange);
    EXPECT_EQ(allocator.owner_of(ip("10.0.0.5")), "router");
    EXPECT_EQ(allocator.release(ip("10.0.0.6")).error().code, Code::kNotFound);
}

TEST(HostScope, UnconfirmedAllocationsExpire) {
    auto allocator = make({cidr("10.0.0.0/24")});
    const auto start = HostScopeAllocator::TimePoint{} + 1h;
    const IpAddress a = allocator.allocate(Family::kIpv4, "default/a").value();
    const IpAddress b = allocator.allocate(Family::kIpv4, "default/b").value();
    const std::string uuid_a = allocator.expire_after(a, start + 10min).value();
    const std::string uuid_b = allocator.expire_after(b, start + 10min).value();
    EXPECT_NE(uuid_a, uuid_b);
    EXPECT_EQ(uuid_a.size(), 36U);
    EXPECT_EQ(uuid_a[14], '4');
    EXPECT_EQ(allocator.next_expiration(), start + 10min);
    EXPECT_EQ(allocator.confirm(a, uuid_b).error().code, Code::kFailedPrecondition);
    ASSERT_TRUE(allocator.confirm(a, uuid_a));
    EXPECT_FALSE(allocator.confirm(a, uuid_a)) << "a confirmed allocation does not expire";
    EXPECT_TRUE(allocator.expire(start + 9min).empty());
    const auto expired = allocator.expire(start + 10min);
    ASSERT_EQ(expired.size(), 1U);
    EXPECT_EQ(expired[0].first, b);
    EXPECT_EQ(expired[0].second.owner, "default/b");
    EXPECT_EQ(allocator.confirm(b, uuid_b).error().code, Code::kNotFound);
    EXPECT_EQ(allocator.used(Family::kIpv4), 1U);
    EXPECT_FALSE(allocator.next_expiration());
}

TEST(HostScope, ChangingTheCidrsKeepsAllocations) {
    auto allocator = make({cidr("10.0.0.0/24")});
    ASSERT_TRUE(allocator.allocate_specific(ip("10.0.0.5"), "a"));
    ASSERT_TRUE(allocator.set_cidrs({cidr("10.0.7.0/24")}));
    EXPECT_EQ(allocator.strays(), std::vector<IpAddress>{ip("10.0.0.5")});
    EXPECT_EQ(allocator.used(Family::kIpv4), 0U);
    ASSERT_TRUE(allocator.set_cidrs({cidr("10.0.7.0/24"), cidr("10.0.0.0/24")}));
    EXPECT_TRUE(allocator.strays().empty());
    EXPECT_EQ(allocator.used(Family::kIpv4), 1U);
    EXPECT_FALSE(allocator.allocate_specific(ip("10.0.0.5"), "b"));
    ASSERT_TRUE(allocator.set_cidrs({cidr("10.0.7.0/24")}));
    ASSERT_TRUE(allocator.release(ip("10.0.0.5"))) << "a stray can be released";
}

TEST(HostScope, OverlappingCidrsAreRefused) {
    const auto made = HostScopeAllocator::create({cidr("10.0.0.0/16"), cidr("10.0.3.0/24")}, random());
    ASSERT_FALSE(made);
    EXPECT_NE(made.error().message.find("10.0.3.0/24 overlaps 10.0.0.0/16"), std::string::npos);
}

// Random sequences against a plain set: never twice, never outside, everything comes back.
TEST(HostScope, RandomSequences) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        std::mt19937_64 engine(seed);
        const auto strategy =
            seed % 2 == 0 ? HostScopeAllocator::Strategy::kRandom : HostScopeAllocator::Strategy::kNext;
        auto allocator = make({cidr("10.0.0.0/27"), cidr("10.1.0.0/28"), cidr("fd00::/123")}, strategy, seed);
        std::set<IpAddress> held;
        for (int i = 0; i < 3000; ++i) {
            const auto family = engine() % 3 == 0 ? Family::kIpv6 : Family::kIpv4;
            switch (engine() % 4) {
                case 0:
                case 1:
                    if (const auto got = allocator.allocate(family, "o")) {
                        ASSERT_TRUE(held.insert(*got).second);
                    } else {
                        ASSERT_EQ(allocator.used(family), allocator.capacity(family));
                    }
                    break;
                case 2: {
                    const IpAddress wanted =
                        (family == Family::kIpv4 ? ip("10.0.0.0") : ip("fd00::")).plus(engine() % 40);
                    const bool got = allocator.allocate_specific(wanted, "o").has_value();
                    if (got) {
                        ASSERT_TRUE(held.insert(wanted).second);
                    }
                    break;
                }
                default:
                    if (!held.empty()) {
                        auto victim = held.begin();
                        std::advance(victim, static_cast<long>(engine() % held.size()));
                        ASSERT_TRUE(allocator.release(*victim));
                        held.erase(victim);
                    }
            }
            ASSERT_EQ(allocator.used(Family::kIpv4) + allocator.used(Family::kIpv6), held.size());
        }
        for (const IpAddress& address : held) {
            const bool inside = cidr("10.0.0.0/27").contains(address) || cidr("10.1.0.0/28").contains(address) ||
                                cidr("fd00::/123").contains(address);
            ASSERT_TRUE(inside) << address.to_string();
            for (const char* reserved : {"10.0.0.0", "10.0.0.31", "10.1.0.0", "10.1.0.15", "fd00::", "fd00::1f"}) {
                ASSERT_NE(address.to_string(), reserved);
            }
            ASSERT_TRUE(allocator.release(address));
        }
        EXPECT_EQ(drain(allocator, Family::kIpv4).size(), 30U + 14U);
        EXPECT_EQ(drain(allocator, Family::kIpv6).size(), 30U);
    }
}

}  // namespace
}  // namespace axo
