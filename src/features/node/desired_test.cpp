#include "features/node/desired.h"

#include <gtest/gtest.h>

namespace axo {
namespace {

NodeRow node(const std::string& name, const std::string& cidr, const std::string& ip, bool local = false) {
    NodeRow row;
    row.name = name;
    row.local = local;
    row.addresses = {{"InternalIP", *IpAddress::parse(ip)}};
    if (!cidr.empty()) row.pod_cidrs = {*Prefix::parse(cidr)};
    return row;
}

TEST(NodeSet, LaterOverlapIsRefusedAndTheFirstStays) {
    NodeSet set;
    set.upsert(node("a", "10.0.1.0/24", "192.168.0.1"));
    const auto outcome = set.upsert(node("b", "10.0.0.0/16", "192.168.0.2"));
    EXPECT_TRUE(outcome.changed.empty());
    ASSERT_TRUE(outcome.refused.contains("b"));
    EXPECT_EQ(outcome.refused.at("b"), "pod CIDR 10.0.0.0/16 overlaps 10.0.1.0/24 of node a");
    EXPECT_TRUE(set.accepted().contains("a"));
    EXPECT_FALSE(set.accepted().contains("b"));
}

TEST(NodeSet, RefusedNodeComesInWhenTheClaimIsGone) {
    NodeSet set;
    set.upsert(node("a", "10.0.1.0/24", "192.168.0.1"));
    set.upsert(node("b", "10.0.1.128/25", "192.168.0.2"));
    const auto outcome = set.upsert(node("a", "10.0.9.0/24", "192.168.0.1"));
    EXPECT_EQ(outcome.changed, (std::set<std::string>{"a", "b"}));
    EXPECT_TRUE(outcome.refused.empty());
}

TEST(NodeSet, PreviousVersionStaysInForceWhenTheNewOneIsRefused) {
    NodeSet set;
    set.upsert(node("a", "10.0.1.0/24", "192.168.0.1"));
    set.upsert(node("b", "10.0.2.0/24", "192.168.0.2"));
    EXPECT_TRUE(set.upsert(node("b", "10.0.1.0/24", "192.168.0.2")).refused.contains("b"));
    EXPECT_EQ(set.accepted().at("b").pod_cidrs[0].to_string(), "10.0.2.0/24");
    EXPECT_TRUE(set.upsert(node("b", "10.0.2.0/24", "192.168.0.2")).refused.empty());
}

TEST(NodeSet, DoubleAddressIsRefused) {
    NodeSet set;
    set.upsert(node("a", "10.0.1.0/24", "192.168.0.1"));
    const auto outcome = set.upsert(node("b", "10.0.2.0/24", "192.168.0.1"));
    EXPECT_EQ(outcome.refused.at("b"), "address 192.168.0.1 (InternalIP) is already that of node a");
}

TEST(NodeSet, LocalNodeWins) {
    NodeSet set;
    set.upsert(node("a", "10.0.1.0/24", "192.168.0.1"));
    const auto outcome = set.upsert(node("me", "10.0.1.0/24", "192.168.0.9", true));
    EXPECT_EQ(outcome.changed, (std::set<std::string>{"a", "me"}));
    EXPECT_TRUE(outcome.refused.contains("a"));
    EXPECT_TRUE(set.accepted().contains("me"));
}

TEST(NodeSet, EqualRowIsNoChange) {
    NodeSet set;
    set.upsert(node("a", "10.0.1.0/24", "192.168.0.1"));
    EXPECT_TRUE(set.upsert(node("a", "10.0.1.0/24", "192.168.0.1")).changed.empty());
    EXPECT_EQ(set.erase("a").changed, std::set<std::string>{"a"});
    EXPECT_TRUE(set.erase("a").changed.empty());
}

TEST(DesiredNode, KeepsWhatOthersWrote) {
    CiliumNode existing;
    existing.metadata.name = "n1";
    existing.metadata.resource_version = "7";
    existing.pod_cidrs = {*Prefix::parse("10.0.1.0/24")};
    LocalNode local;
    local.name = "n1";
    local.boot_id = "boot";
    local.addresses = {{"InternalIP", *IpAddress::parse("192.168.0.1")}};
    const CiliumNode wanted = desired_node(existing, local);
    EXPECT_EQ(wanted.pod_cidrs, existing.pod_cidrs);
    EXPECT_EQ(wanted.metadata.resource_version, "7");
    EXPECT_EQ(wanted.addresses, local.addresses);
    EXPECT_EQ(desired_node(wanted, local), wanted);
}

}  // namespace
}  // namespace axo
