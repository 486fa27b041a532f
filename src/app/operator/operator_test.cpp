// Two operators on one store: who works, who takes over, and what a restart changes.
#include "app/operator/operator.h"

#include "io/store_fixture.h"

namespace axo {
namespace {

using namespace std::chrono_literals;

class OperatorTest : public StoreTest {
protected:
    OperatorTest() {
        config_.cluster_pool.ipv4_cidrs = {Prefix::parse_cidr("10.0.0.0/23").value()};
        config_.lease.lease_duration = 1s;
        config_.lease.renew_deadline = 600ms;
        config_.lease.retry_period = 50ms;
        config_.endpoint_gc_interval = 1h;
    }
    std::unique_ptr<Operator> candidate(const std::string& name) {
        return std::make_unique<Operator>(loop_, *store_, config_, name);
    }
    void node(const std::string& name) {
        put(resources::kCiliumNode, {{"metadata", {{"name", name}}}, {"spec", Json::object()}});
    }
    std::string cidrs(const std::string& name) {
        return get(resources::kCiliumNode, {"", name})
            .value(Json::json_pointer("/spec/ipam/podCIDRs"), Json::array())
            .dump();
    }

    OperatorConfig config_;
};

// What a client of the API gets.
struct Answer : HttpResponder {
    HttpResponse response;
    void send(HttpResponse sent) override { response = std::move(sent); }
    void send_head(int, const std::string&) override {}
    bool send_chunk(std::string) override { return false; }
    void end() override {}
    [[nodiscard]] std::size_t pending_bytes() const override { return 0; }
    [[nodiscard]] bool client_gone() const override { return false; }
    void on_gone(std::function<void()>) override {}
};

HttpResponse ask(Operator& from, const std::string& path, const std::string& method = "GET") {
    auto answer = std::make_shared<Answer>();
    HttpRequest request;
    request.method = method;
    request.path = path;
    from.handle(request, answer);
    return answer->response;
}

TEST_F(OperatorTest, OnlyTheLeaderWorksAndTheOtherTakesOver) {
    auto first = candidate("one");
    ASSERT_TRUE(wait_until([&] { return first->is_leader(); }));
    auto second = candidate("two");
    node("a");
    ASSERT_TRUE(wait_until([&] { return cidrs("a") == R"(["10.0.0.0/24"])"; }));
    run_for(300ms);
    EXPECT_FALSE(second->is_leader());
    EXPECT_EQ(second->pod_cidrs(), nullptr);
    EXPECT_EQ(ask(*second, "/healthz").status, 200) << "who stands by is healthy too";

    const auto before = std::chrono::steady_clock::now();
    first.reset();  // SIGTERM: the lease is released
    ASSERT_TRUE(wait_until([&] { return second->is_leader(); }));
    EXPECT_LT(std::chrono::steady_clock::now() - before, 500ms);
    node("b");
    ASSERT_TRUE(wait_until([&] { return cidrs("b") == R"(["10.0.1.0/24"])"; }));
    EXPECT_EQ(cidrs("a"), R"(["10.0.0.0/24"])");
}

// The cluster's addresses are known before the first policy is looked at; what one agent may refuse for its flags is
// valid.
TEST_F(OperatorTest, TheLeaderSaysWhetherPoliciesAreValid) {
    put(resources::kCiliumNode, {{"metadata", {{"name", "a"}}},
                                 {"spec", {{"ipam", {{"podCIDRs", {"10.0.0.0/24"}}}}, {"addresses", Json::array()}}}});
    const auto policy = [this](const std::string& name, Json spec) {
        put(resources::kCiliumNetworkPolicy,
            {{"metadata", {{"name", name}, {"namespace", "default"}}}, {"spec", spec}});
    };
    const Json everybody = Json::object();
    policy("good", {{"endpointSelector", everybody},
                    {"ingress", {{{"toPorts", {{{"ports", {{{"port", "80"}, {"protocol", "SCTP"}}}}}}}}}}});
    policy("over", {{"endpointSelector", everybody}, {"egress", {{{"toCIDR", {"10.0.0.7/32"}}}}}});
    policy("bad", {{"endpointSelector", everybody}, {"egress", {{{"toCIDR", {"10.0.0.7/40"}}}}}});
    const auto condition = [this](const std::string& name) {
        const Json object = get(resources::kCiliumNetworkPolicy, {"default", name});
        const Json found = object.value(Json::json_pointer("/status/conditions/0"), Json::object());
        return found.value("type", "") + "=" + found.value("status", "") + " " + found.value("message", "");
    };
    std::string first;
    auto leader = candidate("one");
    ASSERT_TRUE(wait_until([&] {
        first = condition("over");
        return first.starts_with("Valid=");
    }));
    EXPECT_TRUE(first.starts_with("Valid=True") && first.find("warning") != std::string::npos) << first;
    ASSERT_TRUE(wait_until([&] { return condition("bad").starts_with("Valid=False"); })) << condition("bad");
    EXPECT_EQ(condition("good"), "Valid=True Policy validation succeeded");
}

TEST_F(OperatorTest, ASilentLeaderIsReplacedAndItsWritesAreRefused) {
    put(resources::kLease, {{"metadata", {{"name", "cilium-operator-resource-lock"}, {"namespace", "kube-system"}}},
                            {"spec", {{"holderIdentity", "dead"}, {"leaseDurationSeconds", 1}}}});
    auto successor = candidate("two");
    run_for(300ms);
    EXPECT_FALSE(successor->is_leader());
    ASSERT_TRUE(wait_until([&] { return successor->is_leader(); }, 3s));

    FencedStore fenced(*store_, [] { return false; });
    const ObjectKey lease{"kube-system", "cilium-operator-resource-lock"};
    const Json node = {{"metadata", {{"name", "x"}}}};
    EXPECT_EQ(run_to_end(loop_, fenced.create(resources::kCiliumNode, node)).error().code, Code::kFailedPrecondition);
    EXPECT_EQ(run_to_end(loop_, fenced.remove(resources::kLease, lease)).error().code, Code::kFailedPrecondition);
    EXPECT_TRUE(run_to_end(loop_, fenced.get(resources::kLease, lease)));
}

TEST_F(OperatorTest, ALostLeaseEndsTheDuties) {
    auto leader = candidate("one");
    ASSERT_TRUE(wait_until([&] { return leader->is_leader() && leader->pod_cidrs()->started(); }));
    Json lease = get(resources::kLease, {"kube-system", "cilium-operator-resource-lock"});
    lease["spec"]["holderIdentity"] = "usurper";
    ASSERT_TRUE(store_->update(resources::kLease, lease));
    ASSERT_TRUE(wait_until([&] { return !leader->is_leader(); }));
    EXPECT_EQ(leader->pod_cidrs(), nullptr);
    ASSERT_TRUE(wait_until([&] { return leader->is_leader(); }, 4s)) << "the usurper is silent: it leads again";
}

TEST_F(OperatorTest, ExhaustionIsAnEventToo) {
    auto leader = candidate("one");
    for (const char* name : {"a", "b", "c"}) node(name);
    const auto event = [&]() -> Json {
        const auto events = store_->list(resources::kEvent).value();
        return events.empty() ? Json() : events.front();
    };
    ASSERT_TRUE(wait_until([&] { return !event().is_null(); }));
    EXPECT_EQ(event()["reason"], "CIDRNotAvailable");
    EXPECT_EQ(event()["type"], "Warning");
    EXPECT_EQ(event()["involvedObject"]["kind"], "CiliumNode");
    EXPECT_EQ(event()["involvedObject"]["name"], "c");
    EXPECT_TRUE(event()["message"].get<std::string>().starts_with("allocator full"));
    const Json before = get(resources::kCiliumNode, {"", "c"});
    EXPECT_EQ(before["status"]["ipam"]["operator-status"]["error"], event()["message"]);

    leader.reset();
    leader = candidate("two");
    ASSERT_TRUE(wait_until([&] { return leader->is_leader() && leader->pod_cidrs()->started(); }));
    EXPECT_EQ(leader->pod_cidrs()->counters().unchanged_at_start, 3U);
    EXPECT_EQ(leader->pod_cidrs()->counters().written, 0U);
    run_for(50ms);
    EXPECT_EQ(get(resources::kCiliumNode, {"", "c"}), before);
    EXPECT_EQ(store_->list(resources::kEvent)->size(), 1U);
    EXPECT_EQ(event()["count"], 1) << "not told again after a restart";
}

TEST_F(OperatorTest, KubernetesIpamLeavesPodCidrsAlone) {
    config_.ipam = "kubernetes";
    auto leader = candidate("one");
    node("a");
    ASSERT_TRUE(wait_until([&] { return leader->is_leader(); }));
    run_for(100ms);
    EXPECT_EQ(cidrs("a"), "[]");
    EXPECT_EQ(leader->pod_cidrs(), nullptr);
}

TEST_F(OperatorTest, Api) {
    auto leader = candidate("one");
    node("a");
    ASSERT_TRUE(wait_until([&] { return leader->is_leader() && leader->pod_cidrs()->counters().written == 1; }));
    EXPECT_EQ(ask(*leader, "/healthz").body, "ok");
    EXPECT_EQ(ask(*leader, "/v1/healthz").status, 200);
    EXPECT_EQ(ask(*leader, "/nothing").status, 404);
    EXPECT_EQ(ask(*leader, "/healthz", "POST").status, 405);
    const Json status = Json::parse(ask(*leader, "/v1/status").body);
    EXPECT_EQ(status["leader"], true);
    EXPECT_EQ(status["holder"], "one");
    EXPECT_EQ(status["pod-cidrs"]["written"], 1);
    EXPECT_FALSE(status["controllers"].empty());
}

}  // namespace
}  // namespace axo
