#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <array>

#include "bpf/api/policy.h"
#include "features/monitor/module.h"

namespace axo {
namespace {

flow_event tcp_event() {
    flow_event event{};
    event.type = EVENT_TRACE;
    event.subtype = TRACE_TO_LXC;
    event.reason = TRACE_REASON_ESTABLISHED;
    event.ifindex = 7;
    event.saddr.ip4 = IpAddress::parse("10.0.0.1")->v4_network_order();
    event.daddr.ip4 = IpAddress::parse("10.0.0.2")->v4_network_order();
    event.sport = htons(40000);
    event.dport = htons(80);
    event.proto = 6;
    event.tcp_flags = 0x12;
    event.identity_src = 300;
    event.endpoint_dst = 12;
    event.packets = 3;
    return event;
}

EventNames names() {
    return {.interface = [](std::uint32_t index) { return "if" + std::to_string(index); },
            .labels =
                [](std::uint32_t id) {
                    return id == 300 ? std::vector<std::string>{"k8s:app=a"} : std::vector<std::string>{};
                },
            .pod =
                [](const IpAddress& ip) {
                    return ip.to_string() == "10.0.0.2" ? std::string("default/b") : std::string();
                }};
}

TEST(EventJson, Trace) {
    const Json json = event_json(tcp_event(), names(), 1'000'000'000);
    EXPECT_EQ(json["type"], "trace");
    EXPECT_EQ(json["observation-point"], "to-endpoint");
    EXPECT_EQ(json["trace-reason"], "established");
    EXPECT_EQ(json["time"], "1970-01-01T00:00:01Z");
    EXPECT_EQ(json["src"], "10.0.0.1");
    EXPECT_EQ(json["sport"], 40000);
    EXPECT_EQ(json["dport"], 80);
    EXPECT_EQ(json["proto"], "TCP");
    EXPECT_EQ(json["tcp-flags"], "SYN, ACK");
    EXPECT_EQ(json["interface"], "if7");
    EXPECT_EQ(json["labels-src"], Json::array({"k8s:app=a"}));
    EXPECT_EQ(json["pod-dst"], "default/b");
    EXPECT_FALSE(json.contains("file"));
}

TEST(EventJson, DropWithoutL4) {
    flow_event event = tcp_event();
    event.type = EVENT_DROP;
    event.subtype = 133;
    event.flags = EVENT_F_NO_L4;
    event.line = 12;
    event.file = 1;
    const Json json = event_json(event, names(), 0);
    EXPECT_EQ(json["type"], "drop");
    EXPECT_EQ(json["reason"], "Policy denied");
    EXPECT_EQ(json["file"], "pod.bpf.c");
    EXPECT_EQ(json["line"], 12);
    EXPECT_FALSE(json.contains("sport"));
}

TEST(EventJson, VerdictNamesWhoseItIsAndTheRule) {
    flow_event event = tcp_event();
    event.type = EVENT_POLICY_VERDICT;
    event.subtype = POLICY_ALLOW;
    event.reason = TRACE_REASON_NEW;
    event.flags = EVENT_F_INGRESS;
    event.identity_dst = 301;
    event.rule_cookie = 4711;
    EventNames with_rules = names();
    with_rules.rule = [](std::uint32_t cookie) {
        return cookie == 4711 ? EventRule{.name = "CiliumNetworkPolicy default/web, spec.ingress[0]", .match = "L3-L4"}
                              : EventRule{.name = "", .match = "none"};
    };
    Json json = event_json(event, with_rules, 0);
    EXPECT_EQ(json["type"], "policy-verdict");
    EXPECT_EQ(json["action"], "allow");
    EXPECT_EQ(json["direction"], "ingress");
    EXPECT_EQ(json["local-endpoint"], 12);
    EXPECT_EQ(json["remote-identity"], 300);
    EXPECT_EQ(json["rule-cookie"], 4711);
    EXPECT_EQ(json["rule"], "CiliumNetworkPolicy default/web, spec.ingress[0]");
    EXPECT_EQ(json["match"], "L3-L4");
    EXPECT_FALSE(json["audited"]);
    EXPECT_FALSE(json.contains("observation-point"));
    // The same connection's reply, refused: still the policy of whom the connection went to, now the packet's source.
    std::swap(event.identity_src, event.identity_dst);
    std::swap(event.endpoint_src, event.endpoint_dst);
    event.subtype = POLICY_DENY;
    event.reason = TRACE_REASON_REPLY;
    event.rule_cookie = 1;
    json = event_json(event, with_rules, 0);
    EXPECT_EQ(json["action"], "deny");
    EXPECT_EQ(json["local-endpoint"], 12);
    EXPECT_EQ(json["remote-identity"], 300);
    EXPECT_EQ(json["match"], "none");
    EXPECT_FALSE(json.contains("rule"));
    event.subtype = POLICY_ALLOW;
    event.flags |= EVENT_F_AUDITED;
    json = event_json(event, names(), 0);
    EXPECT_EQ(json["action"], "audit");
    EXPECT_TRUE(json["audited"]);
    EXPECT_FALSE(json.contains("match"));
}

TEST(EventJson, NotIpHasNoAddresses) {
    flow_event event = tcp_event();
    event.type = EVENT_DROP;
    event.ethertype = 0x88CC;
    const Json json = event_json(event, names(), 0);
    EXPECT_FALSE(json.contains("src"));
    EXPECT_EQ(json["ethertype"], 0x88CC);
}

TEST(MonitorFilter, TypesAndEndpoints) {
    const flow_event event = tcp_event();
    EXPECT_TRUE(MonitorFilter{}.matches(event));
    EXPECT_FALSE((MonitorFilter{.types = {"drop"}, .from = {}, .to = {}, .related = {}}).matches(event));
    EXPECT_TRUE((MonitorFilter{.types = {"drop", "trace"}, .from = {}, .to = {12}, .related = {}}).matches(event));
    EXPECT_FALSE((MonitorFilter{.types = {}, .from = {12}, .to = {}, .related = {}}).matches(event));
    EXPECT_TRUE((MonitorFilter{.types = {}, .from = {}, .to = {}, .related = {12}}).matches(event));
    EXPECT_FALSE((MonitorFilter{.types = {}, .from = {}, .to = {}, .related = {13}}).matches(event));
}

class FakeClient : public HttpResponder {
public:
    void send(HttpResponse) override {}
    void send_head(int, const std::string&) override {}
    bool send_chunk(std::string data) override {
        received += data;
        return !gone;
    }
    void end() override { ended = true; }
    [[nodiscard]] std::size_t pending_bytes() const override { return pending; }
    [[nodiscard]] bool client_gone() const override { return gone; }
    void on_gone(std::function<void()>) override {}
    std::string received;
    std::size_t pending = 0;
    bool gone = false, ended = false;
};

class FakeOutput : public PushClient {
public:
    void send(std::string_view bytes) override { received += bytes; }
    [[nodiscard]] std::size_t pending_bytes() const override { return pending; }
    bool gone() override { return went; }
    void close() override { ended = true; }

    std::string received;
    std::size_t pending = 0;
    bool went = false, ended = false;
};

class Hub : public testing::Test {
protected:
    void turn() {
        loop_.post([this] { loop_.post([this] { loop_.stop(); }); });
        loop_.run();
    }
    EventLoop loop_;
    MonitorHub hub_{loop_, names()};
    std::shared_ptr<FakeClient> client_ = std::make_shared<FakeClient>();
};

TEST_F(Hub, NobodyListensNothingIsKept) {
    hub_.publish(tcp_event());
    hub_.subscribe({}, Json{{"type", "start"}}, client_);
    turn();
    EXPECT_EQ(client_->received, "{\"type\":\"start\"}\n");
}

TEST_F(Hub, SlowClientLosesEventsAndIsToldHowMany) {
    hub_.subscribe({}, Json{{"type", "start"}}, client_);
    client_->received.clear();
    client_->pending = 100U << 20;
    hub_.publish(tcp_event());
    turn();
    EXPECT_EQ(client_->received, "");
    client_->pending = 0;
    hub_.publish(tcp_event());
    turn();
    EXPECT_EQ(client_->received.find("{\"count\":1,\"type\":\"lost\"}\n"), 0U) << client_->received;
    EXPECT_NE(client_->received.find("\"type\":\"trace\""), std::string::npos);
}

TEST_F(Hub, GoneClientIsForgotten) {
    hub_.subscribe({}, Json::object(), client_);
    EXPECT_EQ(hub_.clients(), 1U);
    client_->gone = true;
    hub_.publish(tcp_event());
    turn();
    EXPECT_EQ(hub_.clients(), 0U);
}

TEST_F(Hub, ClientsOfCiliumsFormGetItBesideTheOthers) {
    const auto socket = std::make_shared<FakeOutput>();
    hub_.subscribe({}, Json{{"type", "start"}}, client_);
    EXPECT_FALSE(hub_.wants_notices());
    hub_.attach(socket);
    EXPECT_TRUE(hub_.wants_notices());
    EXPECT_EQ(socket->received, cilium_wire::start());
    client_->received.clear();
    socket->received.clear();
    hub_.publish(tcp_event());
    turn();
    EXPECT_EQ(socket->received, cilium_wire::message(tcp_event(), {}));
    EXPECT_NE(client_->received.find("\"type\":\"trace\""), std::string::npos);
    socket->received.clear();
    client_->received.clear();
    const AgentNotice notice{.type = AgentNotice::kPolicyUpdated, .text = "{}"};
    hub_.tell(notice);
    EXPECT_EQ(socket->received, cilium_wire::message(notice));
    EXPECT_EQ(client_->received, "");
    socket->went = true;
    hub_.publish(tcp_event());
    turn();
    EXPECT_EQ(hub_.clients(), 1U);
    EXPECT_FALSE(hub_.wants_notices());
}

TEST_F(Hub, VerdictsInCiliumsFormKnowTheirRule) {
    EventNames known = names();
    known.rule = [](std::uint32_t cookie) { return EventRule{.name = "", .match = "L4-Only", .deny = cookie == 5}; };
    MonitorHub hub(loop_, known);
    const auto socket = std::make_shared<FakeOutput>();
    hub.attach(socket);
    socket->received.clear();
    flow_event event = tcp_event();
    event.type = EVENT_POLICY_VERDICT;
    event.subtype = POLICY_DENY;
    event.rule_cookie = 5;
    hub.publish(event);
    turn();
    EXPECT_EQ(socket->received, cilium_wire::message(event, {.name = "", .match = "L4-Only", .deny = true}));
}

TEST_F(Hub, ReaderOfCiliumsFormThatStallsIsToldWhatItLost) {
    const auto socket = std::make_shared<FakeOutput>();
    hub_.attach(socket);
    socket->received.clear();
    socket->pending = (1U << 20) + 1;
    for (int i = 0; i < 3; ++i) hub_.publish(tcp_event());
    turn();
    hub_.tell({.type = AgentNotice::kPolicyUpdated, .text = "{}"});
    EXPECT_EQ(socket->received, "");
    socket->pending = 0;
    hub_.publish(tcp_event());
    turn();
    EXPECT_EQ(socket->received, cilium_wire::lost(4) + cilium_wire::message(tcp_event(), {}));
}

TEST_F(Hub, ReaderThatReadsAgainIsToldWhatItLostThoughNothingHappens) {
    const auto socket = std::make_shared<FakeOutput>();
    hub_.attach(socket);
    socket->received.clear();
    socket->pending = (1U << 20) + 1;
    hub_.publish(tcp_event());
    turn();
    socket->pending = 0;
    const auto end = loop_.after(std::chrono::milliseconds(1500), [this] { loop_.stop(); });
    loop_.run();
    EXPECT_EQ(socket->received, cilium_wire::lost(1));
}

TEST_F(Hub, ManyReadersThatStallShareWhatMayWait) {
    std::array<std::shared_ptr<FakeOutput>, 128> sockets;
    for (auto& socket : sockets) {
        socket = std::make_shared<FakeOutput>();
        hub_.attach(socket);
        socket->received.clear();
        socket->pending = (128U << 10) + 1;
    }
    sockets[0]->pending = 128U << 10;
    hub_.publish(tcp_event());
    turn();
    EXPECT_NE(sockets[0]->received, "");
    EXPECT_EQ(sockets[1]->received, "");
}

TEST_F(Hub, EndsItsClients) {
    const auto socket = std::make_shared<FakeOutput>();
    {
        MonitorHub hub(loop_, names());
        hub.attach(socket);
    }
    EXPECT_TRUE(socket->ended);
}

}  // namespace
}  // namespace axo
