#include <gtest/gtest.h>

#include <set>

#include "app/cli/connectivity/perf.h"
#include "app/cli/connectivity/runner.h"
#include "base/file.h"

namespace axo::cli::connectivity {
namespace {

// A cluster that lets through what a function says, and writes down what was asked of it.
class PaperCluster : public TestCluster {
public:
    std::size_t node_count = 2;
    bool with_outside = true, kube_proxy_replacement = true;
    std::function<bool(const std::string& policies, const std::string& from, const Json& probe)> lets_through =
        [](const std::string&, const std::string&, const Json&) { return true; };
    std::string in_force;
    std::vector<std::string> log;
    std::set<std::string> pods;

    [[nodiscard]] std::string name() const override { return "paper"; }
    Result<std::vector<Peer>> nodes() override {
        std::vector<Peer> all;
        for (std::size_t i = 1; i <= node_count; ++i)
            all.push_back({.kind = Peer::Kind::kNode,
                           .name = "node" + std::to_string(i),
                           .node = "node" + std::to_string(i),
                           .addresses = {IpAddress::v4({192, 168, 0, static_cast<std::uint8_t>(i)})}});
        return all;
    }
    std::optional<Peer> outside() override {
        if (!with_outside) return std::nullopt;
        return Peer{.kind = Peer::Kind::kOutside, .name = "outside", .addresses = {IpAddress::v4({203, 0, 113, 9})}};
    }
    Result<std::vector<Peer>> deploy(const std::vector<PodRequest>& requests) override {
        std::vector<Peer> peers;
        for (const PodRequest& pod : requests) {
            pods.insert(pod.name);
            peers.push_back({.name = pod.name,
                             .node = pod.node,
                             .addresses = {IpAddress::v4({10, 0, 0, static_cast<std::uint8_t>(10 + peers.size())})},
                             .host_port = pod.host_port});
        }
        return peers;
    }
    Status serve(const Peer& peer) override {
        log.push_back("serve " + peer.name);
        return {};
    }
    Result<std::vector<Service>> expose(const std::vector<ServiceRequest>& requests) override {
        std::vector<Service> services;
        for (const ServiceRequest& request : requests)
            services.push_back(
                {.name = request.name,
                 .addresses = {IpAddress::v4({10, 96, 0, static_cast<std::uint8_t>(1 + services.size())})},
                 .node_port = request.node_port,
                 .node = request.backends.front().node});
        return services;
    }
    Status apply(const std::string& yaml) override {
        in_force = yaml;
        return {};
    }
    Status remove(const std::string& yaml) override {
        EXPECT_EQ(yaml, in_force);
        in_force.clear();
        return {};
    }
    Result<std::string> run(const Peer& where, const std::vector<std::string>& arguments, const std::string& input,
                            std::chrono::milliseconds) override {
        if (arguments.front() != "probe")
            return std::string(R"({"seconds":1.0,"per-second":)") + (arguments.front() == "bulk" ? "0" : "50000") +
                   R"(,"p50-us":12.5,"mbit-per-second":)" + (arguments.front() == "bulk" ? "9000" : "0") + "}";
        Json list = Json::parse(input);
        for (Json& item : list) {
            item["ok"] = lets_through(in_force, where.name, item);
            item["error"] = "no answer";
        }
        return list.dump();
    }
    Result<Json> ask_agent(const Peer& node, const std::vector<std::string>& words) override {
        log.push_back(node.name + " " + words.front());
        if (words.front() == "status")
            return Json{{"kube-proxy-replacement",
                         {{"features",
                           {{"nodePort", {{"enabled", kube_proxy_replacement}}},
                            {"hostPort", {{"enabled", kube_proxy_replacement}}}}}}}};
        const Json ok{{"host", {{"primary-address", {{"icmp", {{"status", ""}}}}}}}};
        return Json{{"nodes", Json::array({ok, ok})}};
    }
    Status clean() override {
        pods.clear();
        return {};
    }
};

TestOptions only(const std::string& filter) {
    return {.filters = {filter}, .attempts = 1};
}

TEST(Connectivity, Filters) {
    EXPECT_EQ(choose({})->size(), cases().size());
    EXPECT_EQ(choose({"^client-egress$"})->size(), 1U);
    EXPECT_GT(choose({"client-egress"})->size(), 4U);
    const auto rest = choose({"!knp"});
    EXPECT_GT(rest->size(), 10U);
    for (const Case* test : *rest) EXPECT_EQ(test->name.find("knp"), std::string::npos);
    EXPECT_EQ(choose({"client-egress", "!knp", "!deny"})->size(), 2U);
    EXPECT_FALSE(choose({"("}));
}

TEST(Connectivity, NamesAreUniqueAndPoliciesFilledIn) {
    PaperCluster cluster;
    const auto world = deploy(cluster, "ns");
    ASSERT_TRUE(world);
    std::set<std::string> names;
    for (const Case& test : cases()) {
        EXPECT_TRUE(names.insert(test.name).second) << test.name;
        EXPECT_EQ(policies_of(test, *world).find('$'), std::string::npos) << test.name;
    }
    EXPECT_NE(policies_of(*choose({"^to-cidr-external$"})->front(), *world).find("\"203.0.113.9/32\""),
              std::string::npos);
}

TEST(Connectivity, WithoutPoliciesEverythingIsSent) {
    PaperCluster cluster;
    std::set<std::string> sources;
    std::size_t probes = 0;
    cluster.lets_through = [&](const std::string& policies, const std::string& from, const Json&) {
        EXPECT_EQ(policies, "");
        sources.insert(from);
        ++probes;
        return true;
    };
    testing::internal::CaptureStdout();
    const Status done = run_tests(cluster, only("^no-policies"));
    const std::string out = testing::internal::GetCapturedStdout();
    EXPECT_TRUE(done) << out;
    EXPECT_EQ(sources, (std::set<std::string>{"client", "client2", "client3", "node1", "node2", "outside"}));
    EXPECT_NE(out.find("[=] [cilium-test-1] Test [no-policies] [1/2]\n"), std::string::npos) << out;
    EXPECT_NE(out.find("✅ [cilium-test-1] All 2 tests (" + std::to_string(probes) +
                       " actions) successful, 0 tests skipped, 0 scenarios skipped."),
              std::string::npos)
        << out;
    EXPECT_TRUE(cluster.pods.empty());
}

TEST(Connectivity, WhatIsLetThroughByMistakeFails) {
    PaperCluster cluster;
    testing::internal::CaptureStdout();
    const Status done = run_tests(cluster, only("^all-egress-deny$"));
    const std::string out = testing::internal::GetCapturedStdout();
    ASSERT_FALSE(done);
    EXPECT_NE(out.find("❌ all-egress-deny/pod-to-pod/tcp-ipv4: cilium-test-1/client (10.0.0.10) -> "
                       "cilium-test-1/echo-same-node (10.0.0.13:8080): it was let through, and should not have been"),
              std::string::npos)
        << out;
    EXPECT_NE(out.find("❌ 1/1 test failed"), std::string::npos) << out;
}

TEST(Connectivity, WhatIsLostFailsAndIsReported) {
    PaperCluster cluster;
    cluster.lets_through = [](const std::string&, const std::string& from, const Json& probe) {
        return from != "client3" || probe["kind"] != "udp";
    };
    const std::string file = "/tmp/axo-junit-" + std::to_string(::getpid()) + ".xml";
    TestOptions options = only("^no-policies$");
    options.junit_file = file;
    testing::internal::CaptureStdout();
    const Status done = run_tests(cluster, options);
    testing::internal::GetCapturedStdout();
    EXPECT_FALSE(done);
    const std::string xml = read_file(file).value_or("");
    std::filesystem::remove(file);
    EXPECT_NE(xml.find("<testsuite name=\"paper\" tests=\"1\" failures=\"1\" skipped=\"0\">"), std::string::npos)
        << xml;
    EXPECT_NE(xml.find("pod-to-pod/udp-ipv4: /client3 (10.0.0.12) -&gt; /echo-same-node"), std::string::npos) << xml;
}

TEST(Connectivity, AnActionIsTriedAgain) {
    PaperCluster cluster;
    std::size_t asked = 0;
    cluster.lets_through = [&](const std::string&, const std::string&, const Json&) { return ++asked > 1; };
    TestOptions options = only("^no-policies$");
    options.attempts = 2;
    testing::internal::CaptureStdout();
    EXPECT_TRUE(run_tests(cluster, options));
    testing::internal::GetCapturedStdout();
}

TEST(Connectivity, WhatTheClusterDoesNotHaveIsSkipped) {
    PaperCluster cluster;
    cluster.kube_proxy_replacement = false;
    cluster.with_outside = false;
    cluster.node_count = 1;
    testing::internal::CaptureStdout();
    EXPECT_TRUE(run_tests(cluster, {.filters = {"^no-policies", "^to-cidr-external$"}, .attempts = 1}));
    const std::string out = testing::internal::GetCapturedStdout();
    EXPECT_NE(out.find("Scenario skipped: pod-to-hostport (needs host ports"), std::string::npos) << out;
    EXPECT_NE(out.find("Test skipped: there is no host outside of the cluster"), std::string::npos) << out;
    EXPECT_NE(out.find("All 1 test ("), std::string::npos) << out;
    EXPECT_NE(out.find("2 tests skipped"), std::string::npos) << out;
}

// The expectations of the tests themselves, against a model of what their policies mean.
TEST(Connectivity, ExpectationsFollowTheScenarios) {
    PaperCluster cluster;
    const auto world = deploy(cluster, "ns");
    ASSERT_TRUE(world);
    const auto allowed = [&](const char* test, Scenario scenario) {
        std::set<std::string> pairs;
        for (const Action& action : scenario(*world)) {
            if (choose({std::string("^") + test + "$"})->front()->allowed(action))
                pairs.insert(action.from.name + ">" + action.to.name + "/" + action.kind);
        }
        return pairs;
    };
    EXPECT_EQ(allowed("echo-ingress", pod_to_pod),
              (std::set<std::string>{"client2>echo-same-node/tcp", "client2>echo-other-node/tcp"}));
    EXPECT_EQ(allowed("client-ingress", client_to_client),
              (std::set<std::string>{"client>client2/icmp", "client>client3/icmp", "client2>client/icmp",
                                     "client2>client3/icmp", "client3>client2/icmp"}));
    EXPECT_TRUE(allowed("all-entities-deny", pod_to_world).empty());
    EXPECT_EQ(allowed("to-entities-world", pod_to_world).size(), 3U);
}

TEST(ConnectivityPerf, TableAndJson) {
    PaperCluster cluster;
    testing::internal::CaptureStdout();
    EXPECT_TRUE(run_perf(cluster, {.seconds = 1, .crr = true}));
    const std::string out = testing::internal::GetCapturedStdout();
    EXPECT_NE(out.find("📋 pod-to-pod      | other-node | TCP_CRR         | 1s"), std::string::npos) << out;
    EXPECT_NE(out.find("| 50000.00\n"), std::string::npos) << out;
    EXPECT_NE(out.find("| TCP_STREAM      | 1s         | 9000.00\n"), std::string::npos) << out;
    testing::internal::CaptureStdout();
    EXPECT_TRUE(
        run_perf(cluster, {.seconds = 1, .udp = false, .host_net = false, .other_node = false, .output = "json"}));
    const Json json = Json::parse(testing::internal::GetCapturedStdout());
    ASSERT_EQ(json.size(), 2U);
    EXPECT_EQ(json[0]["test"], "TCP_RR");
    EXPECT_EQ(json[0]["p50-us"], 12.5);
    EXPECT_EQ(json[1]["mbit-per-second"], 9000);
}

}  // namespace
}  // namespace axo::cli::connectivity
