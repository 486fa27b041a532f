#include "features/ipam/pod_pool_controller.h"

#include "features/operator/tables.h"
#include "io/store_fixture.h"

namespace axo {
namespace {

using namespace std::chrono_literals;

class PodPoolControllerTest : public StoreTest {
protected:
    struct Run {
        OperatorTables tables;
        std::vector<std::string> reports;
        PodPoolController controller;

        Run(EventLoop& loop, ControllerRegistry& registry, ObjectStore& store, std::vector<PodIpPool> create)
            : tables(loop, store),
              controller(loop, registry, store, tables.cilium_nodes, {true, false, std::move(create)},
                         [this](const ResourceType& type, const ObjectMeta& object, const std::string& reason,
                                const std::string& message) {
                             reports.push_back(type.kind + " " + object.name + " " + reason + " " + message);
                         }) {}
    };
    void start(std::vector<PodIpPool> create = {}) {
        run_ = std::make_unique<Run>(loop_, registry_, *store_, std::move(create));
    }
    void pool(const std::string& name, const std::vector<std::string>& cidrs) {
        drop(resources::kCiliumPodIpPool, {"", name});
        put(resources::kCiliumPodIpPool,
            {{"metadata", {{"name", name}}}, {"spec", {{"ipv4", {{"cidrs", cidrs}, {"maskSize", 28}}}}}});
    }
    void node(const std::string& name, const std::map<std::string, int>& requested) {
        Json list = Json::array();
        for (const auto& [pool, count] : requested)
            list.push_back({{"pool", pool}, {"needed", {{"ipv4-addrs", count}}}});
        const Json present = get(resources::kCiliumNode, {"", name});
        if (present.is_null()) {
            put(resources::kCiliumNode,
                {{"metadata", {{"name", name}}},
                 {"spec", {{"ipam", {{"pools", {{"requested", list}}}}}, {"eni", {{"vpc-id", "kept"}}}}}});
            return;
        }
        Json next = present;
        next["spec"]["ipam"]["pools"]["requested"] = list;
        change(next);
    }
    void change(const Json& object) {
        const auto updated = store_->update(resources::kCiliumNode, object);
        ASSERT_TRUE(updated) << updated.error().message;
    }
    // "blue 10.1.0.0/28 10.1.0.16/28; "
    std::string held(const std::string& name) {
        const auto object = CiliumNode::parse(get(resources::kCiliumNode, {"", name}));
        if (!object) return object.error().message;
        std::string text;
        for (const PoolAllocation& allocation : object->pools_allocated) {
            text += allocation.pool;
            for (const Prefix& cidr : allocation.cidrs) text += " " + cidr.to_string();
            text += "; ";
        }
        return text;
    }
    void give_back(const std::string& name, const std::string& cidr) {
        auto object = get(resources::kCiliumNode, {"", name});
        auto node = CiliumNode::parse(object).value();
        take_away(node.pools_allocated, {Prefix::parse_cidr(cidr).value()});
        change(updated_json(object, node));
    }
    std::string error(const std::string& name) {
        const Json object = get(resources::kCiliumNode, {"", name});
        return object.value(Json::json_pointer("/status/ipam/operator-status/error"), std::string());
    }
    std::unique_ptr<Run> run_;
};

TEST_F(PodPoolControllerTest, CidrsOnDemand) {
    pool("default", {"10.0.0.0/26"});
    pool("blue", {"10.1.0.0/27"});
    start();
    node("a", {{"default", 8}});
    ASSERT_TRUE(wait_until([&] { return held("a") == "default 10.0.0.0/28; "; })) << held("a");
    node("b", {{"default", 8}, {"blue", 20}});
    ASSERT_TRUE(wait_until([&] { return held("b") == "blue 10.1.0.0/28 10.1.0.16/28; default 10.0.0.16/28; "; }))
        << held("b");
    EXPECT_EQ(get(resources::kCiliumNode, {"", "b"})["spec"]["eni"]["vpc-id"], "kept");
    node("a", {{"default", 8}, {"blue", 1}});
    ASSERT_TRUE(wait_until([&] { return error("a").starts_with("pool \"blue\": allocator full"); })) << error("a");
    ASSERT_EQ(run_->reports.size(), 1U);
    EXPECT_TRUE(run_->reports[0].starts_with("CiliumNode a CIDRNotAvailable pool \"blue\": allocator full"));
    node("b", {{"default", 8}, {"blue", 10}});
    give_back("b", "10.1.0.0/28");
    ASSERT_TRUE(wait_until([&] { return held("a") == "default 10.0.0.0/28; blue 10.1.0.0/28; "; })) << held("a");
    EXPECT_TRUE(wait_until([&] { return error("a").empty(); })) << error("a");
    EXPECT_EQ(run_->reports.size(), 1U);
}

TEST_F(PodPoolControllerTest, APoolComesLater) {
    start();
    node("a", {{"blue", 1}});
    ASSERT_TRUE(wait_until([&] { return error("a") == "pool \"blue\": there is no such CiliumPodIPPool"; }))
        << error("a");
    pool("blue", {"10.1.0.0/27"});
    ASSERT_TRUE(wait_until([&] { return held("a") == "blue 10.1.0.0/28; " && error("a").empty(); })) << error("a");
    pool("red", {"10.1.0.0/16"});
    ASSERT_TRUE(wait_until([&] { return run_->controller.refused().contains("red"); }));
    EXPECT_TRUE(
        run_->reports.back().starts_with("CiliumPodIPPool red PoolRefused pool \"red\": IPv4: requested CIDR "
                                         "10.1.0.0/16 collides with 10.1.0.0/27 of pool blue"))
        << run_->reports.back();
    drop(resources::kCiliumPodIpPool, {"", "blue"});
    ASSERT_TRUE(wait_until([&] { return run_->controller.refused().empty(); })) << "red's CIDR is free";
    node("b", {{"red", 1}});
    ASSERT_TRUE(wait_until([&] { return held("b") == "red 10.1.0.16/28; "; })) << "a's block stays a's: " << held("b");
    EXPECT_TRUE(wait_until([&] {
        return error("a").find("it does not exist: 10.1.0.0/28 stays") != std::string::npos;
    })) << error("a");
}

TEST_F(PodPoolControllerTest, ANewLeaderGivesNothingTwice) {
    pool("default", {"10.0.0.0/26"});
    start();
    for (const char* name : {"a", "b", "c"}) node(name, {{"default", 10}});
    ASSERT_TRUE(wait_until([&] { return !held("a").empty() && !held("b").empty() && !held("c").empty(); }));
    run_for(50ms);
    std::map<std::string, Json> before;
    for (const char* name : {"a", "b", "c"}) before[name] = get(resources::kCiliumNode, {"", name});
    run_.reset();
    start();
    run_for(100ms);
    for (const auto& [name, object] : before) EXPECT_EQ(get(resources::kCiliumNode, {"", name}), object);
    node("d", {{"default", 10}});
    ASSERT_TRUE(wait_until([&] { return held("d") == "default 10.0.0.48/28; "; })) << held("d");
}

TEST_F(PodPoolControllerTest, PoolsOfTheFlag) {
    pool("default", {"10.7.0.0/24"});
    start(parse_pool_list(
              "default=ipv4-cidrs:10.0.0.0/24;ipv4-mask-size:28 blue=ipv4-cidrs:10.1.0.0/24;ipv4-mask-size:28")
              .value());
    ASSERT_TRUE(wait_until([&] { return !get(resources::kCiliumPodIpPool, {"", "blue"}).is_null(); }));
    EXPECT_EQ(get(resources::kCiliumPodIpPool, {"", "default"})["spec"]["ipv4"]["cidrs"][0], "10.7.0.0/24")
        << "what is there stays as it is";
    node("a", {{"blue", 1}, {"default", 1}});
    EXPECT_TRUE(wait_until([&] { return held("a") == "blue 10.1.0.0/28; default 10.7.0.0/28; "; })) << held("a");
}

}  // namespace
}  // namespace axo
