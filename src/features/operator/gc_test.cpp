// Garbage collection of nodes, endpoints and identities against a real store.
#include "features/operator/endpoint_gc.h"
#include "features/operator/identity_gc.h"
#include "features/operator/node_gc.h"
#include "features/operator/tables.h"
#include "io/store_fixture.h"
#include "model/cilium_identity.h"

namespace axo {
namespace {

using namespace std::chrono_literals;

class GcTest : public StoreTest {
protected:
    void SetUp() override { tables_ = std::make_unique<OperatorTables>(loop_, *store_); }
    void TearDown() override {
        nodes_.reset();
        endpoints_.reset();
        identities_.reset();
        tables_.reset();
    }
    bool synced() {
        return wait_until([&] {
            return tables_->cilium_nodes.initialized() && tables_->nodes.initialized() && tables_->pods.initialized() &&
                   tables_->endpoints.initialized() && tables_->identities.initialized();
        });
    }

    void cilium_node(const std::string& name, const std::string& ip, const Json& metadata = Json::object()) {
        Json object = {{"metadata", metadata}, {"spec", {{"addresses", {{{"type", "InternalIP"}, {"ip", ip}}}}}}};
        object["metadata"]["name"] = name;
        put(resources::kCiliumNode, object);
    }
    void endpoint(const std::string& name, std::uint32_t identity, const std::string& node_ip, bool owned) {
        Json object = {{"metadata", {{"name", name}, {"namespace", "default"}}},
                       {"status", {{"identity", {{"id", identity}}}, {"networking", {{"node", node_ip}}}}}};
        if (owned) {
            object["metadata"]["ownerReferences"] = {
                {{"apiVersion", "v1"}, {"kind", "Pod"}, {"name", name}, {"uid", "u"}}};
        }
        put(resources::kCiliumEndpoint, object);
    }
    void pod(const std::string& name, const std::string& phase = "Running") {
        put(resources::kPod,
            {{"metadata", {{"name", name}, {"namespace", "default"}}}, {"status", {{"phase", phase}}}});
    }
    bool has_endpoint(const std::string& name) { return exists(resources::kCiliumEndpoint, {"default", name}); }
    bool has_cilium_node(const std::string& name) { return exists(resources::kCiliumNode, {"", name}); }

    std::unique_ptr<OperatorTables> tables_;
    std::unique_ptr<NodeGc> nodes_;
    std::unique_ptr<EndpointGc> endpoints_;
    std::unique_ptr<IdentityGc> identities_;
};

TEST_F(GcTest, CiliumNodesFollowTheirNodes) {
    cilium_node("with", "192.168.0.1");
    cilium_node("without", "192.168.0.2");
    put(resources::kNode, {{"metadata", {{"name", "with"}}}});
    nodes_ = std::make_unique<NodeGc>(loop_, registry_, *store_, *tables_, NodeGcConfig{.interval = 1h, .grace = 60ms});
    const auto owner = [&] {
        return get(resources::kCiliumNode, {"", "with"})
            .value(Json::json_pointer("/metadata/ownerReferences/0/kind"), std::string());
    };
    ASSERT_TRUE(wait_until([&] { return owner() == "Node"; }));
    drop(resources::kNode, {"", "with"});
    ASSERT_TRUE(wait_until([&] { return !has_cilium_node("with"); }));
    run_for(150ms);
    EXPECT_TRUE(has_cilium_node("without")) << "it never had a Node";
}

TEST_F(GcTest, ReplacedProtectedAndUnreadableNodesKeepTheirCiliumNodes) {
    const Json owned = {{"ownerReferences", {{{"apiVersion", "v1"}, {"kind", "Node"}, {"name", "x"}, {"uid", ""}}}}};
    Json kept = owned;
    kept["annotations"] = {{"cilium.io/do-not-gc", "true"}};
    cilium_node("replaced", "192.168.0.1");
    cilium_node("protected", "192.168.0.2", kept);
    cilium_node("unreadable", "192.168.0.3", owned);
    put(resources::kNode, {{"metadata", {{"name", "replaced"}}}});
    const auto broken = directory_ / "broken.yaml";
    ASSERT_TRUE(write_atomic(broken, "apiVersion: v1\nkind: Node\nmetadata: {name: [unreadable\n"));
    run_for(30ms);
    nodes_ =
        std::make_unique<NodeGc>(loop_, registry_, *store_, *tables_, NodeGcConfig{.interval = 100ms, .grace = 200ms});
    ASSERT_TRUE(wait_until([&] { return registry_.all().front().success_count > 0; }));
    drop(resources::kNode, {"", "replaced"});
    run_for(60ms);
    put(resources::kNode, {{"metadata", {{"name", "replaced"}}}});
    run_for(500ms);
    EXPECT_TRUE(has_cilium_node("replaced"));
    EXPECT_TRUE(has_cilium_node("protected"));
    EXPECT_TRUE(has_cilium_node("unreadable")) << "its Node may be the one that cannot be read";
    std::filesystem::remove(broken);
    EXPECT_TRUE(wait_until([&] { return !has_cilium_node("unreadable"); })) << "now it is known to be gone";
}

TEST_F(GcTest, OrphanedEndpointsGo) {
    cilium_node("n1", "192.168.0.1");
    cilium_node("n2", "192.168.0.2");
    for (const char* name : {"stays", "deleted", "finished"}) pod(name);
    for (const char* name : {"stays", "deleted", "finished"}) endpoint(name, 300, "192.168.0.1", true);
    endpoint("podless", 5, "192.168.0.1", false);
    endpoint("on-n2", 5, "192.168.0.2", false);
    endpoints_ = std::make_unique<EndpointGc>(loop_, registry_, *store_, *tables_,
                                              EndpointGcConfig{.interval = 1h, .grace = 60ms});
    run_for(150ms);
    for (const char* name : {"stays", "deleted", "finished", "podless", "on-n2"})
        EXPECT_TRUE(has_endpoint(name)) << name;

    drop(resources::kPod, {"default", "deleted"});
    Json finished = get(resources::kPod, {"default", "finished"});
    finished["status"]["phase"] = "Succeeded";
    ASSERT_TRUE(store_->update_status(resources::kPod, finished));
    drop(resources::kCiliumNode, {"", "n2"});
    ASSERT_TRUE(
        wait_until([&] { return !has_endpoint("deleted") && !has_endpoint("finished") && !has_endpoint("on-n2"); }));
    run_for(100ms);
    EXPECT_TRUE(has_endpoint("stays"));
    EXPECT_TRUE(has_endpoint("podless")) << "no Pod object ever owned it and its node is there";
}

TEST_F(GcTest, OrphansAreFoundAfterARestartToo) {
    cilium_node("n1", "192.168.0.1");
    endpoint("late", 300, "192.168.0.1", true);
    endpoint("lost", 300, "192.168.0.9", false);
    endpoints_ = std::make_unique<EndpointGc>(loop_, registry_, *store_, *tables_,
                                              EndpointGcConfig{.interval = 1h, .grace = 60ms});
    EXPECT_TRUE(wait_until([&] { return !has_endpoint("late") && !has_endpoint("lost"); }));
}

TEST(OrphanReason, Cases) {
    std::map<ObjectKey, OperatorPodRow> pods = {{{"default", "a"}, {"n", false}}, {{"default", "done"}, {"n", true}}};
    OperatorNodeRow row;
    row.node.addresses = {{"InternalIP", IpAddress::parse("192.168.0.1").value()}};
    std::map<ObjectKey, OperatorNodeRow> nodes = {{{"", "n"}, row}};
    const IpAddress known = IpAddress::parse("192.168.0.1").value();
    const IpAddress unknown = IpAddress::parse("192.168.0.7").value();
    const auto reason = [&](const char* name, const OperatorEndpointRow& endpoint) {
        return orphan_reason({"default", name}, endpoint, pods, nodes).value_or("");
    };
    EXPECT_EQ(reason("a", {"u", 1, "a", known}), "");
    EXPECT_EQ(reason("done", {"u", 1, "done", known}), "its Pod has finished");
    EXPECT_EQ(reason("x", {"u", 1, "x", known}), "its Pod is gone");
    EXPECT_EQ(reason("x", {"u", 1, "", known}), "");
    EXPECT_EQ(reason("a", {"u", 1, "a", unknown}), "its node 192.168.0.7 is gone");
    EXPECT_EQ(reason("x", {"u", 1, "", {}}), "");
    nodes.begin()->second.parse_error = "some field";
    EXPECT_EQ(reason("a", {"u", 1, "a", unknown}), "") << "the unreadable node may be its own";
}

class IdentityGcTest : public GcTest {
protected:
    void identity(std::uint32_t id) {
        put(resources::kCiliumIdentity,
            CiliumIdentity::make(IdentityId{id}, LabelSet::from_strings({"k8s:app=a" + std::to_string(id)})).to_json());
    }
    std::string heartbeat(std::uint32_t id) {
        const Json object = get(resources::kCiliumIdentity, {"", std::to_string(id)});
        if (object.is_null()) return "gone";
        return object.value(Json::json_pointer("/metadata/annotations/io.cilium.heartbeat"), std::string());
    }
    void pass(Duration later) {
        now_ += std::chrono::duration_cast<WallTime::duration>(later);
        run_for(20ms);  // the tables catch up
        const auto done = run_to_end(loop_, identities_->collect());
        ASSERT_TRUE(done) << done.error().message;
        run_for(20ms);
    }
    void start(std::size_t limit = 2500) {
        identities_ = std::make_unique<IdentityGc>(
            loop_, registry_, *store_, *tables_,
            IdentityGcConfig{
                .interval = 0s, .heartbeat_timeout = 30min, .rate_interval = 50ms, .rate_limit = limit, .now = [this] {
                    return now_;
                }});
        ASSERT_TRUE(synced());
    }

    WallTime now_ = parse_time("2026-01-01T00:00:00Z").value();
};

TEST_F(IdentityGcTest, UnusedAreMarkedThenRemovedAndUsedOnesUnmarked) {
    identity(300);
    identity(301);
    endpoint("web", 300, "192.168.0.1", false);
    start();
    pass(0s);
    EXPECT_EQ(heartbeat(300), "");
    EXPECT_EQ(heartbeat(301), "2026-01-01T00:00:00Z");
    pass(15min);
    EXPECT_EQ(heartbeat(301), "2026-01-01T00:00:00Z") << "the mark is written once";
    endpoint("db", 301, "192.168.0.1", false);
    pass(1min);
    EXPECT_EQ(heartbeat(301), "") << "used again";
    drop(resources::kCiliumEndpoint, {"default", "db"});
    pass(1min);
    EXPECT_EQ(heartbeat(301), "2026-01-01T00:17:00Z");
    // A restart of the operator neither rewrites nor forgets.
    const Json before = get(resources::kCiliumIdentity, {"", "301"});
    start();
    pass(29min);
    EXPECT_EQ(get(resources::kCiliumIdentity, {"", "301"}), before);
    pass(1min);
    EXPECT_EQ(heartbeat(301), "gone");
    EXPECT_EQ(heartbeat(300), "");
}

TEST_F(IdentityGcTest, DeletionsPerPassAreLimited) {
    for (std::uint32_t id = 400; id < 410; ++id) identity(id);
    start(4);
    pass(0s);
    pass(30min);
    const auto left = [&] { return store_->list(resources::kCiliumIdentity).value().size(); };
    EXPECT_EQ(left(), 6U);
    EXPECT_TRUE(wait_until([&] { return left() == 0; })) << "the rest goes in the following rate intervals";
}

TEST(IdentityFate, Cases) {
    const WallTime now = parse_time("2026-01-01T01:00:00Z").value();
    EXPECT_EQ(identity_fate(true, "", now, 30min), IdentityFate::kKeep);
    EXPECT_EQ(identity_fate(true, "2020-01-01T00:00:00Z", now, 30min), IdentityFate::kUnmark);
    EXPECT_EQ(identity_fate(false, "", now, 30min), IdentityFate::kMark);
    EXPECT_EQ(identity_fate(false, "nonsense", now, 30min), IdentityFate::kMark);
    EXPECT_EQ(identity_fate(false, "2026-01-01T00:30:01Z", now, 30min), IdentityFate::kKeep);
    EXPECT_EQ(identity_fate(false, "2026-01-01T00:30:00Z", now, 30min), IdentityFate::kDelete);
    EXPECT_EQ(identity_fate(false, "2031-01-01T00:00:00Z", now, 30min), IdentityFate::kMark) << "the clock went back";
}

}  // namespace
}  // namespace axo
