#include "features/ipam/pod_cidr_controller.h"

#include <atomic>
#include <set>
#include <thread>

#include "features/operator/tables.h"
#include "io/store_fixture.h"

namespace axo {
namespace {

using namespace std::chrono_literals;

class PodCidrControllerTest : public StoreTest {
protected:
    struct Run {
        OperatorTables tables;
        std::vector<std::string> reports;
        PodCidrController controller;

        Run(EventLoop& loop, ControllerRegistry& registry, ObjectStore& store, const ClusterPoolConfig& config)
            : tables(loop, store),
              controller(loop, registry, store, tables.cilium_nodes, ClusterPool::create(config).value(),
                         [this](const CiliumNode& node, const std::string& reason, const std::string& message) {
                             reports.push_back(node.metadata.name + " " + reason + " " + message);
                         }) {}
    };
    ClusterPoolConfig config_{
        {Prefix::parse_cidr("10.0.0.0/23").value()}, 24, {Prefix::parse_cidr("fd00::/104").value()}, 120};

    void start() { run_ = std::make_unique<Run>(loop_, registry_, *store_, config_); }
    void restart() {
        run_.reset();
        start();
        ASSERT_TRUE(wait_until([&] { return run_->controller.started(); }));
    }
    void node(const std::string& name, const std::vector<std::string>& cidrs = {}, const std::string& created = {}) {
        Json object = {{"metadata", {{"name", name}}},
                       {"spec", {{"ipam", {{"podCIDRs", cidrs}}}, {"eni", {{"vpc-id", "kept"}}}}}};
        if (created.empty()) {
            put(resources::kCiliumNode, object);
            return;
        }
        // As somebody's file: a store that creates an object sets the time itself.
        object["apiVersion"] = "cilium.io/v2";
        object["kind"] = "CiliumNode";
        object["metadata"]["creationTimestamp"] = created;
        ASSERT_TRUE(write_atomic(directory_ / (name + ".json"), object.dump()));
    }
    std::string cidrs(const std::string& name) {
        const Json object = get(resources::kCiliumNode, {"", name});
        return object.is_null() ? "gone" : object["spec"]["ipam"].value("podCIDRs", Json::array()).dump();
    }
    std::string error(const std::string& name) {
        const Json object = get(resources::kCiliumNode, {"", name});
        return object.value(Json::json_pointer("/status/ipam/operator-status/error"), std::string());
    }
    void set_cidrs(const std::string& name, const std::vector<std::string>& cidrs) {
        Json object = get(resources::kCiliumNode, {"", name});
        object["spec"]["ipam"]["podCIDRs"] = cidrs;
        const auto updated = store_->update(resources::kCiliumNode, object);
        ASSERT_TRUE(updated) << updated.error().message;
    }

    std::unique_ptr<Run> run_;
};

TEST_F(PodCidrControllerTest, EveryNodeGetsItsBlocksAndKeepsForeignFields) {
    node("a");
    start();
    ASSERT_TRUE(wait_until([&] { return cidrs("a") == R"(["10.0.0.0/24","fd00::/120"])"; })) << cidrs("a");
    node("b");
    ASSERT_TRUE(wait_until([&] { return cidrs("b") == R"(["10.0.1.0/24","fd00::100/120"])"; })) << cidrs("b");
    EXPECT_EQ(get(resources::kCiliumNode, {"", "a"})["spec"]["eni"]["vpc-id"], "kept");
    drop(resources::kCiliumNode, {"", "a"});
    node("c");
    ASSERT_TRUE(wait_until([&] { return cidrs("c") == R"(["10.0.0.0/24","fd00::/120"])"; }))
        << "a's blocks are free again";
}

TEST_F(PodCidrControllerTest, RestartWritesNothing) {
    node("a");
    node("b");
    node("c");
    start();
    ASSERT_TRUE(wait_until([&] { return !error("c").empty() && cidrs("b") != "[]"; }));
    run_for(50ms);
    std::map<std::string, Json> before;
    for (const char* name : {"a", "b", "c"}) before[name] = get(resources::kCiliumNode, {"", name});
    restart();
    run_for(50ms);
    EXPECT_EQ(run_->controller.counters().unchanged_at_start, 3U);
    EXPECT_EQ(run_->controller.counters().written, 0U);
    EXPECT_TRUE(run_->reports.empty()) << "what was told before the restart is not told again";
    for (const auto& [name, object] : before) EXPECT_EQ(get(resources::kCiliumNode, {"", name}), object);
}

TEST_F(PodCidrControllerTest, ExhaustionIsReportedAndHealsWhenABlockComesFree) {
    node("a");
    node("b");
    start();
    ASSERT_TRUE(wait_until([&] { return cidrs("b") != "[]"; }));
    node("c");
    ASSERT_TRUE(wait_until([&] { return error("c").starts_with("allocator full"); })) << error("c");
    EXPECT_EQ(cidrs("c"), "[]");
    ASSERT_EQ(run_->reports.size(), 1U);
    EXPECT_TRUE(run_->reports[0].starts_with("c CIDRNotAvailable allocator full")) << run_->reports[0];
    drop(resources::kCiliumNode, {"", "a"});
    ASSERT_TRUE(wait_until([&] { return cidrs("c") == R"(["10.0.0.0/24","fd00::/120"])" && error("c").empty(); }));
    EXPECT_EQ(run_->reports.size(), 1U);
}

TEST_F(PodCidrControllerTest, OfTwoOverlappingNodesTheFirstKeepsWorking) {
    node("zz-old", {"10.0.0.0/24", "fd00::/120"}, "2026-01-01T00:00:00Z");
    node("aa-new", {"10.0.0.0/25"}, "2026-01-02T00:00:00Z");
    start();
    ASSERT_TRUE(wait_until([&] { return !error("aa-new").empty(); }));
    EXPECT_TRUE(error("aa-new").starts_with("requested CIDR (10.0.0.0/25) is already allocated: node zz-old"))
        << error("aa-new");
    EXPECT_TRUE(error("zz-old").empty());
    EXPECT_EQ(cidrs("aa-new"), R"(["10.0.0.0/25"])") << "what somebody wrote stays";
    restart();
    run_for(50ms);
    EXPECT_EQ(run_->controller.counters().written, 0U);
    EXPECT_TRUE(error("zz-old").empty());

    // An intruder that is older than the holder: who had it first still keeps it, also after a restart.
    node("b", {}, "2020-01-01T00:00:00Z");
    ASSERT_TRUE(wait_until([&] { return cidrs("b").find("10.0.1.0/24") != std::string::npos; }));
    set_cidrs("b", {"10.0.0.0/24"});
    ASSERT_TRUE(wait_until([&] { return !error("b").empty(); }));
    EXPECT_TRUE(error("zz-old").empty());
    restart();
    run_for(50ms);
    EXPECT_TRUE(error("zz-old").empty());
    EXPECT_FALSE(error("b").empty());

    set_cidrs("b", {});
    ASSERT_TRUE(wait_until([&] { return error("b").empty() && cidrs("b").find("10.0.1.0/24") != std::string::npos; }))
        << cidrs("b");
}

TEST_F(PodCidrControllerTest, OutsideOfThePoolAndUnreadable) {
    node("a", {"192.168.0.0/24"});
    node("b", {"10.0.0.0/33"});
    node("c");
    start();
    ASSERT_TRUE(wait_until([&] { return !error("a").empty() && !error("b").empty() && cidrs("c") != "[]"; }));
    EXPECT_TRUE(error("a").starts_with("allocator not configured for the requested CIDR 192.168.0.0/24")) << error("a");
    EXPECT_NE(error("b").find("spec.ipam.podCIDRs[0]: \"10.0.0.0/33\""), std::string::npos) << error("b");
    EXPECT_EQ(run_->reports.size(), 2U);
    set_cidrs("b", {"10.0.1.0/24"});
    ASSERT_TRUE(wait_until([&] { return error("b").empty() && cidrs("b") == R"(["10.0.1.0/24","fd00::100/120"])"; }))
        << error("b");
}

// An agent that updates its CiliumNode all the time, from revisions it has read itself.
TEST_F(PodCidrControllerTest, AgentsMayWriteAtTheSameTime) {
    config_.ipv4_cidrs = {Prefix::parse_cidr("10.0.0.0/16").value()};
    for (int i = 0; i < 20; ++i) node("n" + std::to_string(i));
    start();
    // A store of its own, as another process has it.
    std::atomic<bool> stop = false;
    std::atomic<int> agent_writes = 0;
    std::thread agent([&] {
        EventLoop loop;
        const SyncStore store(loop, open_object_store("dir:" + directory_.string(), loop));
        for (int round = 0; !stop; ++round) {
            auto object = store->get(resources::kCiliumNode, {"", "n" + std::to_string(round % 20)});
            if (!object) continue;
            (*object)["spec"]["bootid"] = std::to_string(round);
            if (store->update(resources::kCiliumNode, *object)) ++agent_writes;
        }
    });
    const auto all_assigned = [&] {
        std::set<std::string> distinct;
        for (int i = 0; i < 20; ++i) {
            const std::string have = cidrs("n" + std::to_string(i));
            if (have == "[]" || !distinct.insert(have).second) return false;
        }
        return true;
    };
    EXPECT_TRUE(wait_until(all_assigned));
    run_for(100ms);
    stop = true;
    agent.join();
    EXPECT_TRUE(all_assigned()) << "no write of either side was lost";
    EXPECT_GT(agent_writes, 20);
    EXPECT_EQ(run_->controller.counters().failed, 0U);
    EXPECT_EQ(run_->controller.counters().written, 20U);
}

TEST_F(PodCidrControllerTest, ANodeThatComesBackGetsWhatItHad) {
    node("a");
    node("b");
    start();
    ASSERT_TRUE(wait_until([&] { return cidrs("b") == R"(["10.0.1.0/24","fd00::100/120"])"; }));
    drop(resources::kCiliumNode, {"", "a"});
    drop(resources::kCiliumNode, {"", "b"});
    run_for(30ms);
    node("b");
    ASSERT_TRUE(wait_until([&] { return cidrs("b") != "[]"; }));
    EXPECT_EQ(cidrs("b"), R"(["10.0.1.0/24","fd00::100/120"])");
    node("c");
    ASSERT_TRUE(wait_until([&] { return cidrs("c") == R"(["10.0.0.0/24","fd00::/120"])"; }))
        << "nothing is kept for who is gone";
    node("a");
    EXPECT_TRUE(wait_until([&] { return error("a").starts_with("allocator full"); }));
}

TEST_F(PodCidrControllerTest, BlocksComeBackWhenSomebodyClearsThem) {
    node("a");
    start();
    ASSERT_TRUE(wait_until([&] { return cidrs("a") != "[]"; }));
    const std::string had = cidrs("a");
    set_cidrs("a", {});
    EXPECT_TRUE(wait_until([&] { return cidrs("a") == had; }));
}

}  // namespace
}  // namespace axo
