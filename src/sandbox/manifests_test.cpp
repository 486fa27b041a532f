#include "sandbox/manifests.h"

#include <gtest/gtest.h>
#include <unistd.h>
#include <yaml-cpp/yaml.h>

#include "base/file.h"

namespace axo::sandbox {
namespace {

class ManifestsTest : public testing::Test {
protected:
    void SetUp() override {
        char name[] = "/tmp/axo-manifests-XXXXXX";
        ASSERT_NE(::mkdtemp(name), nullptr);
        store_ = name;
    }
    void TearDown() override { std::filesystem::remove_all(store_); }

    std::string error_of(const std::string& yaml) {
        auto applied = apply_manifests(store_, yaml);
        return applied ? "accepted" : applied.error().message;
    }
    std::filesystem::path store_;
};

TEST_F(ManifestsTest, DocumentsOfOneFileGoToTheirPlacesWithTheirTextAsItStands) {
    auto applied =
        apply_manifests(store_,
                        "# a pool\napiVersion: cilium.io/v2alpha1\nkind: CiliumPodIPPool\nmetadata: {name: blue}\n"
                        "---\napiVersion: v1\nkind: Pod\nmetadata: {name: web, labels: {version: \"5\"}}\n---\n");
    ASSERT_TRUE(applied) << applied.error().to_string();
    EXPECT_EQ(*applied, (std::vector<std::string>{"CiliumPodIPPool blue", "Pod default/web"}));
    EXPECT_EQ(read_file(store_ / "ciliumpodippools.cilium.io/blue.yaml").value_or(""),
              "# a pool\napiVersion: cilium.io/v2alpha1\nkind: CiliumPodIPPool\nmetadata: {name: blue}\n");
    EXPECT_NE(read_file(store_ / "pods/default/web.yaml").value_or("").find("\"5\""), std::string::npos);

    ASSERT_TRUE(delete_manifests(store_, "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\n"));
    EXPECT_FALSE(std::filesystem::exists(store_ / "pods/default/web.yaml"));
}

TEST_F(ManifestsTest, OneBadDocumentAndNothingIsWritten) {
    EXPECT_NE(error_of("apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\nkind: [\n").find("document 2: "),
              std::string::npos);
    EXPECT_TRUE(std::filesystem::is_empty(store_));
    EXPECT_NE(
        error_of("apiVersion: v1\nkind: Gadget\nmetadata: {name: a}\n").find("'v1 Gadget': expected one of v1 Pod"),
        std::string::npos);
    EXPECT_NE(error_of("apiVersion: v1\nkind: Pod\nmetadata: {name: ../../etc}\n").find("metadata.name"),
              std::string::npos);
    EXPECT_NE(error_of("apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: ..}\n").find("metadata.namespace"),
              std::string::npos);
    EXPECT_EQ(error_of("---\n"), "there is no object in it");
    EXPECT_TRUE(std::filesystem::is_empty(store_));
}

TEST_F(ManifestsTest, PodManifestIsAPodWithWhatWasAsked) {
    PodSpec pod{.name = "web", .node = "node1", .labels = {{"app", "we\"b"}}, .annotations = {}, .uid = "u-1"};
    const YAML::Node pending = YAML::Load(pod_manifest(pod, "172.18.1.11", {}));
    EXPECT_EQ(pending["metadata"]["labels"]["app"].Scalar(), "we\"b");
    EXPECT_EQ(pending["spec"]["nodeName"].Scalar(), "node1");
    EXPECT_EQ(pending["status"]["phase"].Scalar(), "Pending");
    EXPECT_FALSE(pending["status"]["podIP"]);
    const auto v4 = IpAddress::parse("10.0.0.7").value_or(IpAddress()),
               v6 = IpAddress::parse("fd00::7").value_or(IpAddress());
    const YAML::Node running = YAML::Load(pod_manifest(pod, "172.18.1.11", {v4, v6}));
    EXPECT_EQ(running["status"]["phase"].Scalar(), "Running");
    EXPECT_EQ(running["status"]["podIP"].Scalar(), "10.0.0.7");
    EXPECT_EQ(running["status"]["podIPs"][1]["ip"].Scalar(), "fd00::7");
}

TEST_F(ManifestsTest, NodeManifestHasTheAddressesOfItsFamilies) {
    ClusterSpec spec;
    spec.families = Families::kIpv6;
    spec.add_nodes(1, 2);
    const YAML::Node node = YAML::Load(node_manifest(spec, spec.nodes[0]));
    ASSERT_EQ(node["status"]["addresses"].size(), 2U);
    EXPECT_EQ(node["status"]["addresses"][0]["address"].Scalar(), "fd00:18:2::11");
    EXPECT_EQ(node["spec"]["taints"][0]["key"].Scalar(), "node.cilium.io/agent-not-ready");
}

TEST_F(ManifestsTest, PodCidrsAreReadFromTheCiliumNode) {
    EXPECT_TRUE(pod_cidrs_of(store_, "node1").empty());
    const auto file = store_ / "ciliumnodes.cilium.io/node1.yaml";
    ASSERT_TRUE(make_directories(file.parent_path()));
    ASSERT_TRUE(write_atomic(file, "spec: {ipam: {podCIDRs: [10.0.1.0/24, 'fd00::100/120']}}\n"));
    const auto cidrs = pod_cidrs_of(store_, "node1");
    ASSERT_EQ(cidrs.size(), 2U);
    EXPECT_EQ(cidrs[1].to_string(), "fd00::100/120");
    ASSERT_TRUE(write_atomic(file, "spec: {ipam: {pools: {allocated: [{pool: a, cidrs: [10.1.0.0/28]}]}}}\n"));
    EXPECT_EQ(pod_cidrs_of(store_, "node1").at(0).to_string(), "10.1.0.0/28");
    ASSERT_TRUE(write_atomic(file, "spec: ["));
    EXPECT_TRUE(pod_cidrs_of(store_, "node1").empty());
}

TEST(ParseLabels, PairsOrAnError) {
    auto labels = parse_labels("app=web,tier=");
    ASSERT_TRUE(labels);
    EXPECT_EQ(*labels, (std::map<std::string, std::string>{{"app", "web"}, {"tier", ""}}));
    EXPECT_FALSE(parse_labels("app"));
    EXPECT_FALSE(parse_labels("=x"));
    EXPECT_TRUE(parse_labels("")->empty());
}

TEST(Manifests, NamedPorts) {
    PodSpec pod{.name = "web", .node = "n", .ports = parse_ports("http=8080,dns=53/UDP").value()};
    const YAML::Node ports = YAML::Load(pod_manifest(pod, "172.18.1.11", {}))["spec"]["containers"][0]["ports"];
    ASSERT_EQ(ports.size(), 2u);
    EXPECT_EQ(ports[0]["name"].as<std::string>(), "dns");
    EXPECT_EQ(ports[0]["containerPort"].as<int>(), 53);
    EXPECT_EQ(ports[0]["protocol"].as<std::string>(), "UDP");
    EXPECT_EQ(ports[1]["containerPort"].as<int>(), 8080);
    EXPECT_EQ(ports[1]["protocol"].as<std::string>(), "TCP");
    for (const char* bad : {"http", "http=0", "http=65536", "http=80/ICMP", "http=web", "http=80/"})
        EXPECT_FALSE(parse_ports(bad)) << bad;
}

}  // namespace
}  // namespace axo::sandbox
