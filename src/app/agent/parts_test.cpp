#include "app/agent/cni_conf.h"

#include <gtest/gtest.h>

#include <fstream>

#include "app/agent/api/endpoint_request.h"
#include "app/agent/delete_queue.h"
#include "app/agent/ipam.h"
#include "base/file.h"
#include "model/json.h"

namespace axo {
namespace {

class Directory : public testing::Test {
protected:
    void SetUp() override {
        char pattern[] = "/tmp/axo-agent-unit-XXXXXX";
        path_ = ::mkdtemp(pattern);
    }
    void TearDown() override { std::filesystem::remove_all(path_); }
    void put(const std::string& name, const std::string& content) { std::ofstream(path_ / name) << content; }
    void run_for(Duration time) {
        const auto timer = loop_.after(time, [this] { loop_.stop(); });
        loop_.run();
    }
    std::filesystem::path path_;
    EventLoop loop_;
    ControllerRegistry registry_;
};

TEST_F(Directory, ConflistIsCiliumsAndKeptAndOthersAreSetAside) {
    put("10-other.conflist", "{}");
    put("readme.txt", "stays");
    const auto file = path_ / "05-cilium.conflist";
    CniConf conf(
        loop_, registry_,
        {.file = file, .exclusive = true, .debug = false, .log_file = "/var/run/cilium/cilium-cni.log", .custom = {}});
    run_for(std::chrono::milliseconds(30));
    const Json written = Json::parse(*read_file(file));
    EXPECT_EQ(
        written,
        Json::parse(
            R"({"cniVersion":"0.3.1","name":"cilium","plugins":[{"type":"cilium-cni","enable-debug":false,"log-file":"/var/run/cilium/cilium-cni.log"}]})"));
    EXPECT_EQ(std::filesystem::status(file).permissions(), std::filesystem::perms(0600));
    EXPECT_TRUE(std::filesystem::exists(path_ / "10-other.conflist.cilium_bak"));
    EXPECT_TRUE(std::filesystem::exists(path_ / "readme.txt"));
    EXPECT_TRUE(conf.ok());
    put("05-cilium.conflist", "broken");
    put("99-late.conf", "{}");
    run_for(std::chrono::milliseconds(100));
    EXPECT_EQ(Json::parse(*read_file(file)), written);
    EXPECT_TRUE(std::filesystem::exists(path_ / "99-late.conf.cilium_bak"));
}

TEST_F(Directory, CustomConfigurationIsUsedAndABadOneIsReported) {
    put("custom", R"({"name":"mine"})");
    const auto file = path_ / "net.d" / "05-cilium.conflist";
    CniConf conf(loop_, registry_,
                 {.file = file, .exclusive = false, .debug = false, .log_file = "", .custom = path_ / "custom"});
    run_for(std::chrono::milliseconds(30));
    EXPECT_EQ(*read_file(file), R"({"name":"mine"})");
    put("bad", "{");
    CniConf bad(loop_, registry_,
                {.file = path_ / "other" / "x.conflist",
                 .exclusive = false,
                 .debug = false,
                 .log_file = "",
                 .custom = path_ / "bad"});
    run_for(std::chrono::milliseconds(30));
    EXPECT_FALSE(bad.ok());
    EXPECT_NE(bad.message().find("not valid JSON"), std::string::npos) << bad.message();
}

TEST_F(Directory, DeleteQueueIsReplayedOnce) {
    std::filesystem::create_directories(path_ / "deleteQueue");
    put("deleteQueue/aa.delete", R"({"container-id":"c1"})");
    put("deleteQueue/bb.delete", "torn");
    std::vector<std::string> removed;
    auto report = replay_delete_queue(path_, [&](const std::string& id) { removed.push_back(id); });
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_EQ(report->replayed, 1U);
    EXPECT_EQ(report->malformed, 1U);
    EXPECT_EQ(removed, std::vector<std::string>{"c1"});
    report = replay_delete_queue(path_, [&](const std::string& id) { removed.push_back(id); });
    EXPECT_EQ(report->replayed, 0U);
    EXPECT_TRUE(replay_delete_queue(path_ / "nowhere", {}));
}

TEST(EndpointRequest, FieldsAreCheckedAndNamed) {
    const auto good = parse_endpoint_request(
        R"({"container-id":"c","interface-name":"lxc1","interface-index":7,"mac":"02:00:00:00:00:01","host-mac":"02:00:00:00:00:02","netns-cookie":"18446744073709551615",
            "addressing":{"ipv4":"10.0.0.5","ipv4-expiration-uuid":"u"},"k8s-pod-name":"web","k8s-namespace":"default","state":"waiting-for-identity","labels":null,
            "datapath-configuration":{"require-arp-passthrough":true}})");
    ASSERT_TRUE(good) << good.error().message;
    EXPECT_EQ(good->endpoint.link, IfIndex(7));
    EXPECT_EQ(good->endpoint.netns_cookie, UINT64_MAX);
    EXPECT_EQ(good->expiration4, "u");
    EXPECT_TRUE(good->endpoint.arp_passthrough);
    const auto message = [](const char* body) {
        const auto parsed = parse_endpoint_request(body);
        return parsed ? std::string() : parsed.error().message;
    };
    EXPECT_NE(message("[]").find("not a JSON object"), std::string::npos);
    EXPECT_NE(message(R"({"addressing":{"ipv4":"fd00::1"}})").find("addressing.ipv4"), std::string::npos);
    EXPECT_NE(message(R"({"interface-index":"seven"})").find("interface-index"), std::string::npos);
    EXPECT_NE(message(R"({"k8s-pod-name":"../x","k8s-namespace":"default"})").find("k8s-pod-name"), std::string::npos);
    EXPECT_NE(message(R"({"state":"happy"})").find("state"), std::string::npos);
    EXPECT_NE(message(R"({"netns-cookie":"12x"})").find("netns-cookie"), std::string::npos);
}

TEST_F(Directory, AddressPool) {
    const auto choose = [](Family, const std::string&) -> Task<Result<std::string>> {
        return Result<std::string>("default");
    };
    AddressPool pool(loop_, {}, {.choose = choose});
    EXPECT_EQ(run_to_end(loop_, pool.allocate(Family::kNone, "", "a", false)).error().code, Code::kUnavailable);
    ASSERT_TRUE(pool.set_allocated({{"default", {Prefix::parse("10.0.0.0/29").value()}}}));
    const auto router = pool.reserve(Family::kIpv4, IpAddress::parse("10.0.0.3").value(), "router");
    EXPECT_EQ(router->to_string(), "10.0.0.3");
    const auto lease = run_to_end(loop_, pool.allocate(Family::kNone, "", "default/web", true));
    ASSERT_TRUE(lease);
    EXPECT_FALSE(lease->uuid4.empty());
    EXPECT_EQ(run_to_end(loop_, pool.allocate(Family::kIpv6, "", "x", false)).error().code, Code::kInvalidArgument);
    EndpointRow endpoint;
    endpoint.ipv4 = lease->ipv4;
    EXPECT_TRUE(pool.claim(endpoint));
    // Confirmed by the claim: it does not expire any more.
    EXPECT_FALSE(pool.pools().next_expiration());
    endpoint.ipv4 = *router;
    EXPECT_EQ(pool.claim(endpoint).error().code, Code::kAlreadyExists);
    endpoint.ipv4 = IpAddress::parse("10.9.9.9").value();
    EXPECT_EQ(pool.claim(endpoint).error().code, Code::kOutOfRange);
    endpoint.state = EndpointState::kRestoring;
    EXPECT_TRUE(pool.claim(endpoint));
}

TEST_F(Directory, AddressesOnDemandAreWaitedFor) {
    std::string refusal;
    int changes = 0;
    AddressPool pool(loop_, {.pools = {.on_demand = true, .pre_allocate = {{"default", 1}}}},
                     {.choose = [](Family, const std::string& owner) -> Task<Result<std::string>> {
                          return Result<std::string>(owner == "default/web" ? "blue" : "default");
                      },
                      .changed = [&] { ++changes; },
                      .refusal = [&](const std::string&) { return refusal; }});
    const std::vector<PoolAllocation> own{{"default", {Prefix::parse("10.0.0.0/28").value()}}};
    ASSERT_TRUE(pool.set_allocated(own));
    TaskGroup tasks;
    std::optional<Result<AddressPool::Lease>> got;
    const auto ask = [&] {
        got.reset();
        tasks.spawn(pool.allocate(Family::kNone, "", "default/web", true),
                    [&](Result<AddressPool::Lease> lease) { got = std::move(lease); });
    };
    changes = 0;
    ask();
    EXPECT_FALSE(got);
    EXPECT_EQ(changes, 1) << "the node's object has to say so";
    EXPECT_EQ(pool.pools().requested(), (std::vector<PoolRequest>{{"blue", 1, 0}, {"default", 1, 0}}));
    ASSERT_TRUE(pool.set_allocated(own));
    EXPECT_FALSE(got) << "nothing new, and nobody says why";
    refusal = "pool \"blue\": there is no such CiliumPodIPPool";
    ASSERT_TRUE(pool.set_allocated(own));
    ASSERT_TRUE(got);
    EXPECT_NE(got->error().message.find("the operator says: pool \"blue\": there is no such"), std::string::npos)
        << got->error().message;
    refusal.clear();
    ask();
    std::vector<PoolAllocation> both = own;
    both.push_back({"blue", {Prefix::parse("10.1.0.0/28").value()}});
    ASSERT_TRUE(pool.set_allocated(both));
    ASSERT_TRUE(got && *got);
    EXPECT_EQ(pool.pools().pool_of((*got)->ipv4), "blue");
}

}  // namespace
}  // namespace axo
