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

TEST(DesiredNode, PoolsAreAskedForAndGivenBack) {
    CiliumNode existing;
    existing.metadata.name = "n1";
    existing.pools_allocated = {{"blue", {*Prefix::parse("10.1.0.0/28"), *Prefix::parse("10.1.0.16/28")}},
                                {"default", {*Prefix::parse("10.0.0.0/28")}}};
    LocalNode local;
    local.name = "n1";
    EXPECT_EQ(desired_node(existing, local).pools_allocated, existing.pools_allocated)
        << "other modes leave them alone";
    local.pools =
        LocalNode::Pools{{{"blue", 8, 0}}, {*Prefix::parse("10.1.0.16/28"), *Prefix::parse("10.0.0.0/28")}, {}};
    const CiliumNode node = desired_node(existing, local);
    EXPECT_EQ(node.pools_requested, (std::vector<PoolRequest>{{"blue", 8, 0}}));
    EXPECT_EQ(node.pools_allocated, (std::vector<PoolAllocation>{{"blue", {*Prefix::parse("10.1.0.0/28")}}}));
    EXPECT_EQ(node_row(node, "c", true).pod_cidrs, std::vector<Prefix>{*Prefix::parse("10.1.0.0/28")});
    local.pools->held = {{"blue", {*Prefix::parse("10.1.0.0/28")}}};
    EXPECT_EQ(desired_node(std::nullopt, local).pools_allocated, local.pools->held) << "somebody removed the object";
}

TEST(KubernetesNode, PodCidrsOfTheSpecBeforeThoseOfAnnotations) {
    Node node;
    node.metadata.name = "n1";
    node.metadata.annotations = {{"network.cilium.io/ipv4-pod-cidr", "10.9.0.0/24"},
                                 {"io.cilium.network.ipv6-pod-cidr", "fd09::/112"}};
    EXPECT_EQ(*kubernetes_pod_cidrs(node),
              (std::vector<Prefix>{*Prefix::parse("10.9.0.0/24"), *Prefix::parse("fd09::/112")}));
    node.pod_cidrs = {*Prefix::parse("10.1.0.0/24")};
    EXPECT_EQ(*kubernetes_pod_cidrs(node),
              (std::vector<Prefix>{*Prefix::parse("10.1.0.0/24"), *Prefix::parse("fd09::/112")}));
    node.metadata.annotations["network.cilium.io/ipv6-pod-cidr"] = "10.0.0.0/8";
    EXPECT_EQ(
        kubernetes_pod_cidrs(node).error().message,
        "Node n1: annotation network.cilium.io/ipv6-pod-cidr: \"10.0.0.0/8\"; accepted: an IPv6 CIDR without host "
        "bits");
}

TEST(KubernetesNode, AnnotationsOfTheNode) {
    CiliumNode node;
    node.pod_cidrs = {*Prefix::parse("10.1.0.0/24"), *Prefix::parse("10.2.0.0/24")};
    node.addresses = {{"InternalIP", *IpAddress::parse("192.168.0.1")},
                      {"CiliumInternalIP", *IpAddress::parse("10.1.0.7")}};
    node.health_ipv4 = *IpAddress::parse("10.1.0.8");
    EXPECT_EQ(kubernetes_annotations(node),
              (std::map<std::string, std::string>{{"network.cilium.io/ipv4-pod-cidr", "10.1.0.0/24"},
                                                  {"network.cilium.io/ipv4-health-ip", "10.1.0.8"},
                                                  {"network.cilium.io/ipv4-cilium-host", "10.1.0.7"}}));
}

}  // namespace
}  // namespace axo
