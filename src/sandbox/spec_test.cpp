#include "sandbox/spec.h"

#include <gtest/gtest.h>

namespace axo::sandbox {
namespace {

std::string error_of(const std::string& yaml) {
    auto spec = parse_cluster_spec(yaml);
    return spec ? "accepted" : spec.error().message;
}

TEST(ClusterSpec, EmptyFileIsThreeNodesDualStackOverVxlan) {
    auto spec = parse_cluster_spec("");
    ASSERT_TRUE(spec) << spec.error().to_string();
    EXPECT_EQ(spec->nodes.size(), 3U);
    EXPECT_EQ(spec->nodes[2].name, "node3");
    EXPECT_TRUE(spec->ipv4() && spec->ipv6());
    EXPECT_EQ(spec->routing, Routing::kVxlan);
    EXPECT_EQ(spec->mtu, 1500U);
}

TEST(ClusterSpec, EveryFieldIsRead) {
    auto spec = parse_cluster_spec(
        "name: t1\nfamilies: ipv6\nrouting: native\nmtu: 9000\nagent-flags: [--a, --b=c]\noperator-flags: [--o]\n"
        "nodes:\n- name: left\n- {name: right, segment: 2, agent-flags: [--x]}\n");
    ASSERT_TRUE(spec) << spec.error().to_string();
    EXPECT_EQ(spec->name, "t1");
    EXPECT_FALSE(spec->ipv4());
    EXPECT_EQ(spec->routing, Routing::kNative);
    EXPECT_EQ(spec->mtu, 9000U);
    EXPECT_EQ(spec->agent_flags, (std::vector<std::string>{"--a", "--b=c"}));
    EXPECT_EQ(spec->operator_flags, (std::vector<std::string>{"--o"}));
    ASSERT_NE(spec->node("right"), nullptr);
    EXPECT_EQ(spec->node("right")->segment, 2);
    EXPECT_EQ(spec->node("right")->number, 2);
    EXPECT_EQ(spec->node("right")->agent_flags, (std::vector<std::string>{"--x"}));
    EXPECT_TRUE(spec->has_segment(2));
}

TEST(ClusterSpec, SurvivesTheStateFile) {
    auto spec =
        parse_cluster_spec("{name: t2, families: ipv4, nodes: [{name: a, segment: 2, agent-flags: [--x]}], mtu: 1400}");
    ASSERT_TRUE(spec) << spec.error().to_string();
    auto again = cluster_spec_from_json(nlohmann::json::parse(nlohmann::json(*spec).dump()));
    ASSERT_TRUE(again) << again.error().to_string();
    EXPECT_EQ(nlohmann::json(*again), nlohmann::json(*spec));
}

TEST(ClusterSpec, ErrorsNameFieldValueAndWhatIsAccepted) {
    EXPECT_EQ(error_of("families: ipv5"), "cluster spec: families: 'ipv5': expected dual, ipv4 or ipv6");
    EXPECT_EQ(error_of("routing: gre"), "cluster spec: routing: 'gre': expected vxlan, geneve or native");
    EXPECT_EQ(error_of("nodes: 0"), "cluster spec: nodes: '0': expected a number from 1 to 200");
    EXPECT_EQ(error_of("mtu: big"), "cluster spec: mtu: 'big': expected a number from 1280 to 65535");
    EXPECT_EQ(error_of("nodez: 3"),
              "cluster spec: field: 'nodez': expected one of name, families, routing, mtu, agent-flags, "
              "operator-flags, nodes");
    EXPECT_EQ(error_of("nodes: [{name: a, segment: 3}]"),
              "cluster spec: nodes[0].segment: '3': expected a number from 1 to 2");
    EXPECT_EQ(error_of("nodes: [{name: a}, {name: a}]"), "cluster spec: nodes: 'a': expected every name once");
    EXPECT_NE(error_of("name: ../etc").find("cluster name '../etc'"), std::string::npos);
    EXPECT_NE(error_of("nodes: [{name: outside}]").find("'outside'"), std::string::npos);
    EXPECT_NE(error_of("a: [").find("cluster spec: yaml-cpp: error"), std::string::npos);
    EXPECT_NE(error_of("just text").find("expected a map"), std::string::npos);
}

TEST(ClusterSpec, AddingNodesFillsTheLowestFreeNumbers) {
    ClusterSpec spec;
    spec.add_nodes(3, 1);
    std::erase_if(spec.nodes, [](const NodeSpec& node) { return node.number == 2; });
    spec.add_nodes(2, 2);
    EXPECT_EQ(spec.nodes[2].name, "node2");
    EXPECT_EQ(spec.nodes[3].name, "node4");
    EXPECT_EQ(spec.nodes[3].segment, 2);
}

TEST(ClusterSpec, AddressesReadTheSameInBothFamilies) {
    EXPECT_EQ(segment_address_v4(1, 11).to_string(), "172.18.1.11");
    EXPECT_EQ(segment_address_v6(1, 11).to_string(), "fd00:18:1::11");
    EXPECT_EQ(segment_address_v6(kOutsideSegment, kOutsideHost).to_string(), "fd00:18:200::10");
}

}  // namespace
}  // namespace axo::sandbox
