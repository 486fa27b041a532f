// The relay against peers that stall, restart, lie about the time, are gone; clients that do not read; limits; TLS.
#include <gtest/gtest.h>
#include <health/health.grpc.pb.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <thread>

#include "base/file.h"
#include "hubble/relay/fake_node.h"
#include "hubble/relay/service.h"
#include "hubble/relay/sort_buffer.h"
#include "hubble/relay/tls.h"

namespace axo::relay_server {
namespace {

using namespace std::chrono_literals;

std::int64_t seconds(std::int64_t s) {
    return s * 1'000'000'000;
}

TEST(SortBuffer, OrdersWithinItsBounds) {
    SortBuffer buffer(3, 1s);
    const auto t0 = SortBuffer::Clock::time_point() + 100s;
    std::vector<std::string> out;
    for (const auto& [time, text] : {std::pair{5, "e"}, {3, "c"}, {4, "d"}}) buffer.push({time, text}, t0, out);
    EXPECT_TRUE(out.empty());
    buffer.push({1, "a"}, t0 + 500ms, out);
    EXPECT_EQ(out, std::vector<std::string>{"a"});
    out.clear();
    buffer.drain(t0 + 999ms, out);
    EXPECT_TRUE(out.empty());
    buffer.drain(t0 + 1s, out);
    EXPECT_EQ(out, (std::vector<std::string>{"c", "d", "e"}));
    out.clear();
    // A clock that runs a day ahead keeps nobody waiting, its own messages neither.
    buffer.push({seconds(86400), "future"}, t0 + 2s, out);
    buffer.push({7, "now"}, t0 + 2s, out);
    buffer.drain(t0 + 3s, out);
    EXPECT_EQ(out, (std::vector<std::string>{"now", "future"}));
    out.clear();
    buffer.push({9, "x"}, t0 + 3s, out);
    buffer.push({9, "y"}, t0 + 3s, out);
    buffer.finish(out);
    EXPECT_EQ(out, (std::vector<std::string>{"x", "y"}));
}

TEST(ResponseTime, IsReadFromTheBytes) {
    observer::GetFlowsResponse response;
    response.mutable_flow()->set_uuid("u");
    response.set_node_name("n");
    EXPECT_EQ(response_time(response.SerializeAsString()), 0);
    response.mutable_time()->set_seconds(3);
    response.mutable_time()->set_nanos(4);
    EXPECT_EQ(response_time(response.SerializeAsString()), seconds(3) + 4);
    EXPECT_EQ(response_time("\xff\xff"), 0);
    response.mutable_time()->set_seconds(INT64_MAX);
    EXPECT_EQ(response_time(response.SerializeAsString()), 0);
}

class RelayTest : public testing::Test {
protected:
    void SetUp() override {
        ASSERT_NE(::mkdtemp(folder_.data()), nullptr);
        settings_.peer_service = "unix://" + folder_ + "/peers.sock";
        settings_.sort_buffer_wait = 300ms;
        settings_.retry_timeout = 1s;
        settings_.dial_timeout = 2s;
        settings_.stall_timeout = 1500ms;
        peers_ = std::make_unique<FakePeers>(settings_.peer_service);
        peers_->start();
    }
    void TearDown() override {
        relay_.reset();
        pool_.reset();
        nodes_.clear();
        peers_.reset();
        std::filesystem::remove_all(folder_);
    }
    FakeNode& node(const std::string& name) {
        nodes_.push_back(std::make_unique<FakeNode>(name, "unix://" + folder_ + "/" + name + ".sock"));
        nodes_.back()->start();
        peers_->add(name, nodes_.back()->address());
        return *nodes_.back();
    }
    // Serves when `count` peers are connected to.
    void serve(std::size_t count) {
        auto pool = PeerPool::create(settings_);
        ASSERT_TRUE(pool) << pool.error().message;
        pool_ = std::move(*pool);
        relay_ = std::make_unique<RelayService>(settings_, *pool_, "relay-1");
        address_ = "unix://" + folder_ + "/relay.sock";
        const auto port = relay_->listen(settings_.server.enabled ? "127.0.0.1:0" : address_, "");
        ASSERT_TRUE(port) << port.error().message;
        if (settings_.server.enabled) address_ = "127.0.0.1:" + std::to_string(*port);
        pool_->start();
        ASSERT_TRUE(eventually([&] { return pool_->states()["READY"] >= count; }));
        channel_ = grpc::CreateChannel(address_, grpc::InsecureChannelCredentials());
        stub_ = observer::Observer::NewStub(channel_);
    }
    template <class Condition>
    static bool eventually(Condition condition, std::chrono::milliseconds within = 20s) {
        const auto until = std::chrono::steady_clock::now() + within;
        while (!condition()) {
            if (std::chrono::steady_clock::now() > until) return false;
            std::this_thread::sleep_for(20ms);
        }
        return true;
    }
    struct Got {
        std::vector<std::string> uuids;
        std::map<relay::NodeState, std::vector<std::string>> nodes;
        std::uint64_t lost = 0;
        std::string error;
        grpc::Status status;
    };
    static void take(Got& got, const observer::GetFlowsResponse& response) {
        if (response.has_flow()) got.uuids.push_back(response.flow().uuid());
        if (response.has_lost_events()) got.lost += response.lost_events().num_events_lost();
        if (!response.has_node_status()) return;
        auto& names = got.nodes[response.node_status().state_change()];
        names.insert(names.end(), response.node_status().node_names().begin(),
                     response.node_status().node_names().end());
        if (!response.node_status().message().empty()) got.error = response.node_status().message();
    }
    Got all_flows() {
        Got got;
        grpc::ClientContext context;
        context.set_deadline(std::chrono::system_clock::now() + 30s);
        observer::GetFlowsRequest request;
        request.set_number(UINT64_MAX);
        const auto reader = stub_->GetFlows(&context, request);
        observer::GetFlowsResponse response;
        while (reader->Read(&response)) take(got, response);
        got.status = reader->Finish();
        return got;
    }
    // Follows until `enough`.
    template <class Enough>
    Got follow(Enough enough, std::function<void()> begun = nullptr) {
        Got got;
        grpc::ClientContext context;
        context.set_deadline(std::chrono::system_clock::now() + 40s);
        observer::GetFlowsRequest request;
        request.set_follow(true);
        const auto reader = stub_->GetFlows(&context, request);
        observer::GetFlowsResponse response;
        while (!enough(got) && reader->Read(&response)) {
            take(got, response);
            if (begun) std::exchange(begun, nullptr)();
        }
        context.TryCancel();
        got.status = reader->Finish();
        return got;
    }

    std::string folder_ = "/tmp/axo-relay-XXXXXX", address_;
    RelaySettings settings_;
    std::unique_ptr<FakePeers> peers_;
    std::vector<std::unique_ptr<FakeNode>> nodes_;
    std::unique_ptr<PeerPool> pool_;
    std::unique_ptr<RelayService> relay_;
    std::shared_ptr<grpc::Channel> channel_;
    std::unique_ptr<observer::Observer::Stub> stub_;
};

TEST_F(RelayTest, MergesByTimeAndSumsUp) {
    for (const char* name : {"a", "b", "c"}) node(name);
    for (int i = 0; i < 30; ++i) nodes_[static_cast<std::size_t>(i % 3)]->add(seconds(1000 + i), std::to_string(i));
    serve(3);
    const Got got = all_flows();
    EXPECT_TRUE(got.status.ok()) << got.status.error_message();
    std::vector<std::string> expected;
    for (int i = 0; i < 30; ++i) expected.push_back(std::to_string(i));
    EXPECT_EQ(got.uuids, expected);
    EXPECT_EQ(got.nodes.at(relay::NODE_CONNECTED), (std::vector<std::string>{"a", "b", "c"}));

    grpc::ClientContext status_context, nodes_context, namespaces_context, events_context;
    observer::ServerStatusResponse status;
    ASSERT_TRUE(stub_->ServerStatus(&status_context, {}, &status).ok());
    EXPECT_EQ(status.num_flows(), 30U);
    EXPECT_EQ(status.max_flows(), 3U * 4095);
    EXPECT_EQ(status.uptime_ns(), 1'000'000'000U);
    EXPECT_EQ(status.num_connected_nodes().value(), 3U);
    EXPECT_EQ(status.num_unavailable_nodes().value(), 0U);
    observer::GetNodesResponse nodes;
    ASSERT_TRUE(stub_->GetNodes(&nodes_context, {}, &nodes).ok());
    ASSERT_EQ(nodes.nodes_size(), 3);
    EXPECT_EQ(nodes.nodes(1).name(), "b");
    EXPECT_EQ(nodes.nodes(1).version(), "b");
    EXPECT_EQ(nodes.nodes(1).state(), relay::NODE_CONNECTED);
    observer::GetNamespacesResponse namespaces;
    ASSERT_TRUE(stub_->GetNamespaces(&namespaces_context, {}, &namespaces).ok());
    EXPECT_EQ(namespaces.namespaces_size(), 4);  // "shared" once
    const auto events = stub_->GetAgentEvents(&events_context, {});
    EXPECT_EQ(events->Finish().error_code(), grpc::StatusCode::UNIMPLEMENTED);
    grpc::ClientContext health_context;
    grpc::health::v1::HealthCheckResponse health;
    EXPECT_TRUE(eventually([&] {
        grpc::ClientContext context;
        return grpc::health::v1::Health::NewStub(channel_)->Check(&context, {}, &health).ok() &&
               health.status() == grpc::health::v1::HealthCheckResponse::SERVING;
    }));
}

TEST_F(RelayTest, NamesNodesThatCannotBeReached) {
    node("a").add(seconds(1), "one");
    peers_->add("dead", "unix://" + folder_ + "/nobody.sock");
    serve(1);
    ASSERT_TRUE(eventually([&] { return pool_->states()["TRANSIENT_FAILURE"] == 1; }));
    const Got got = all_flows();
    EXPECT_EQ(got.uuids, std::vector<std::string>{"one"});
    EXPECT_EQ(got.nodes.at(relay::NODE_UNAVAILABLE), std::vector<std::string>{"dead"});
    grpc::ClientContext context;
    observer::ServerStatusResponse status;
    ASSERT_TRUE(stub_->ServerStatus(&context, {}, &status).ok());
    EXPECT_EQ(status.num_unavailable_nodes().value(), 1U);
    EXPECT_EQ(status.unavailable_nodes(0), "dead");
}

TEST_F(RelayTest, APeerThatStallsHoldsNobodyUp) {
    node("a").add(seconds(1), "one");
    FakeNode& stalled = node("b");
    stalled.add(seconds(2), "two");
    serve(2);
    stalled.stall(true);
    const auto begin = std::chrono::steady_clock::now();
    const Got got = all_flows();
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 15s);
    EXPECT_TRUE(got.status.ok());
    EXPECT_EQ(got.uuids, std::vector<std::string>{"one"});
    ASSERT_TRUE(got.nodes.contains(relay::NODE_ERROR));
    EXPECT_EQ(got.nodes.at(relay::NODE_ERROR), std::vector<std::string>{"b"});
    EXPECT_EQ(got.error, "no answer for 1 s");
    grpc::ClientContext context;
    observer::ServerStatusResponse status;
    ASSERT_TRUE(stub_->ServerStatus(&context, {}, &status).ok());
    EXPECT_EQ(status.num_unavailable_nodes().value(), 1U);
}

TEST_F(RelayTest, APeerThatRestartsIsFollowedAgain) {
    FakeNode& restarted = node("a");
    node("b");
    serve(2);
    std::thread script;
    const Got got = follow([](const Got& so_far) { return so_far.uuids.size() >= 2; },
                           [&] {
                               script = std::thread([&] {
                                   restarted.add(seconds(1000), "before");
                                   std::this_thread::sleep_for(1s);
                                   restarted.stop();
                                   std::this_thread::sleep_for(500ms);
                                   restarted.start();
                                   std::this_thread::sleep_for(200ms);
                                   restarted.add(seconds(1001), "after");
                               });
                           });
    script.join();
    ASSERT_GE(got.uuids.size(), 2U) << got.status.error_message();
    EXPECT_EQ(got.uuids.front(), "before");
    // The second request goes on where the first ended.
    const auto requests = restarted.requests();
    ASSERT_GE(requests.size(), 2U);
    EXPECT_FALSE(requests.front().has_since());
    EXPECT_EQ(requests.back().since().seconds(), 1000);
    EXPECT_EQ(requests.back().since().nanos(), 1);
}

TEST_F(RelayTest, AClockThatIsWrongDisordersItsOwnFlowsOnly) {
    FakeNode& liar = node("a");
    FakeNode& honest = node("b");
    serve(2);
    std::thread script;
    const Got got = follow([](const Got& so_far) { return so_far.uuids.size() >= 6; },
                           [&] {
                               script = std::thread([&] {
                                   for (int i = 0; i < 3; ++i) {
                                       liar.add(seconds(8'000'000'000) + i, "lie" + std::to_string(i));
                                       honest.add(seconds(1000 + i), "true" + std::to_string(i));
                                   }
                               });
                           });
    script.join();
    std::vector<std::string> honest_order, liar_order;
    for (const std::string& uuid : got.uuids) (uuid.starts_with("lie") ? liar_order : honest_order).push_back(uuid);
    EXPECT_EQ(honest_order, (std::vector<std::string>{"true0", "true1", "true2"}));
    EXPECT_EQ(liar_order, (std::vector<std::string>{"lie0", "lie1", "lie2"}));
}

TEST_F(RelayTest, AClientThatDoesNotReadLosesAndIsTold) {
    constexpr std::uint64_t kFlows = 30'000;
    settings_.client_queue = 200;
    FakeNode& busy = node("a");
    serve(1);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + 60s);
    observer::GetFlowsRequest request;
    request.set_follow(true);
    const auto reader = stub_->GetFlows(&context, request);
    const std::string padding(400, 'x');
    for (std::uint64_t i = 0; i < kFlows; ++i) busy.add(seconds(1000) + static_cast<std::int64_t>(i), padding);
    ASSERT_TRUE(eventually([&] { return relay_->counts().flows.load() >= kFlows; }, 40s));
    EXPECT_GT(relay_->counts().lost.load(), 0U);
    Got got;
    observer::GetFlowsResponse response;
    while (got.uuids.size() + got.lost < kFlows && reader->Read(&response)) take(got, response);
    context.TryCancel();
    (void)reader->Finish();
    EXPECT_EQ(got.uuids.size() + got.lost, kFlows);
    EXPECT_EQ(got.lost, relay_->counts().lost.load());
}

TEST_F(RelayTest, AClientThatDoesNotReadWhatThereIsLosesNothing) {
    settings_.client_queue = 100;
    FakeNode& full = node("a");
    for (int i = 0; i < 5000; ++i) full.add(seconds(1000) + i, std::string(200, 'x'));
    serve(1);
    grpc::ClientContext context;
    observer::GetFlowsRequest request;
    request.set_number(UINT64_MAX);
    const auto reader = stub_->GetFlows(&context, request);
    std::this_thread::sleep_for(2s);  // longer than a peer may stall: it is we who hold it up
    Got got;
    observer::GetFlowsResponse response;
    while (reader->Read(&response)) take(got, response);
    EXPECT_TRUE(reader->Finish().ok());
    EXPECT_EQ(got.uuids.size(), 5000U);
    EXPECT_EQ(got.lost, 0U);
    EXPECT_FALSE(got.nodes.contains(relay::NODE_ERROR)) << got.error;
}

TEST_F(RelayTest, RefusesMoreThanItsLimits) {
    settings_.max_requests = 20;
    node("a");
    serve(1);
    constexpr int kRequests = 10'000;
    std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
    std::vector<std::unique_ptr<grpc::ClientReader<observer::GetFlowsResponse>>> readers;
    observer::GetFlowsRequest request;
    request.set_follow(true);
    const auto ask = [&] {
        contexts.push_back(std::make_unique<grpc::ClientContext>());
        readers.push_back(stub_->GetFlows(contexts.back().get(), request));
    };
    for (int i = 0; i < 20; ++i) ask();
    ASSERT_TRUE(eventually([&] { return relay_->counts().requests.load() == 20; }));
    for (int i = 20; i < kRequests; ++i) ask();
    for (int i = 20; i < kRequests; ++i) {
        observer::GetFlowsResponse response;
        EXPECT_FALSE(readers[static_cast<std::size_t>(i)]->Read(&response));
        const grpc::Status status = readers[static_cast<std::size_t>(i)]->Finish();
        EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
        EXPECT_NE(status.error_message().find("max-flow-requests: 20"), std::string::npos);
    }
    EXPECT_EQ(relay_->counts().refused.load(), static_cast<std::uint64_t>(kRequests - 20));
    EXPECT_EQ(relay_->counts().requests.load(), 20U);
    for (int i = 0; i < 20; ++i) {
        contexts[static_cast<std::size_t>(i)]->TryCancel();
        (void)readers[static_cast<std::size_t>(i)]->Finish();
    }
    EXPECT_TRUE(
        eventually([&] { return relay_->counts().requests.load() == 0 && relay_->counts().peer_streams.load() == 0; }));
    EXPECT_TRUE(all_flows().status.ok());
}

TEST_F(RelayTest, NodesComeAndGoWithinAStream) {
    node("a");
    serve(1);
    std::thread script;
    const Got got =
        follow([](const Got& so_far) { return so_far.nodes.contains(relay::NODE_GONE); },
               [&] {
                   script = std::thread([&] {
                       node("b").add(seconds(1000), "of b");
                       eventually([&] { return pool_->peers().size() == 2 && !nodes_.back()->requests().empty(); });
                       peers_->remove("b");
                   });
               });
    script.join();
    EXPECT_EQ(got.nodes.at(relay::NODE_CONNECTED), (std::vector<std::string>{"a", "b"}));
    EXPECT_EQ(got.nodes.at(relay::NODE_GONE), std::vector<std::string>{"b"});
}

TEST_F(RelayTest, PeersThatLeftWhileNobodyListenedAreForgotten) {
    node("a");
    node("b");
    serve(2);
    peers_->stop();
    peers_ = std::make_unique<FakePeers>(settings_.peer_service);
    peers_->add("a", nodes_[0]->address());
    peers_->start();
    EXPECT_TRUE(eventually([&] { return pool_->peers().size() == 1; }, 30s));
}

// A certificate authority and what it signed.
class RelayTlsTest : public RelayTest {
protected:
    void SetUp() override {
        RelayTest::SetUp();
        make_ca("ca");
        make("node", "ca", "a.default.hubble-grpc.cilium.io");
        make("relay", "ca", "ui.hubble-relay.cilium.io");
        make("client", "ca", "client");
        make_ca("other");
        make("stranger", "other", "client");
    }
    void run(const std::string& command) { ASSERT_EQ(std::system((command + " 2>/dev/null").c_str()), 0) << command; }
    [[nodiscard]] std::string file(const std::string& name) const { return folder_ + "/" + name; }
    void make_ca(const std::string& name) {
        run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=" + name +
            " -keyout " + file(name + ".key") + " -out " + file(name + ".crt"));
    }
    void make(const std::string& name, const std::string& ca, const std::string& dns) {
        run("openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=" + name + " -keyout " +
            file(name + ".key") + " -out " + file(name + ".csr"));
        ASSERT_TRUE(write_atomic(file(name + ".ext"), "subjectAltName=DNS:" + dns + "\n"));
        run("openssl x509 -req -days 2 -in " + file(name + ".csr") + " -CA " + file(ca + ".crt") + " -CAkey " +
            file(ca + ".key") + " -CAcreateserial -extfile " + file(name + ".ext") + " -out " + file(name + ".crt"));
    }
    [[nodiscard]] TlsSettings tls(const std::string& name, const std::string& ca) const {
        return {.enabled = true,
                .certificate = file(name + ".crt"),
                .key = file(name + ".key"),
                .others = {file(ca + ".crt")}};
    }
    // Asks the relay as a client with this certificate.
    grpc::Status ask(const std::string& name, const std::string& server_name) {
        auto credentials = grpc::SslCredentials({.pem_root_certs = *read_file(file("ca.crt")),
                                                 .pem_private_key = *read_file(file(name + ".key")),
                                                 .pem_cert_chain = *read_file(file(name + ".crt"))});
        grpc::ChannelArguments arguments;
        arguments.SetSslTargetNameOverride(server_name);
        channel_ = grpc::CreateCustomChannel(address_, credentials, arguments);
        stub_ = observer::Observer::NewStub(channel_);
        grpc::ClientContext context;
        context.set_deadline(std::chrono::system_clock::now() + 10s);
        observer::ServerStatusResponse status;
        return stub_->ServerStatus(&context, {}, &status);
    }
};

TEST_F(RelayTlsTest, BothWays) {
    settings_.client = tls("client", "ca");
    settings_.server = tls("relay", "ca");
    nodes_.push_back(std::make_unique<FakeNode>("a", "127.0.0.1:0"));
    nodes_[0]->start(*server_credentials(tls("node", "ca")));
    nodes_[0]->add(seconds(1), "one");
    peers_->add("a", nodes_[0]->address(), tls_server_name("a", "default"));
    peers_->add("liar", nodes_[0]->address(), tls_server_name("liar", "default"));
    serve(1);
    EXPECT_TRUE(ask("client", "ui.hubble-relay.cilium.io").ok());
    const Got got = all_flows();
    EXPECT_EQ(got.uuids, std::vector<std::string>{"one"});
    // A peer whose certificate is of another name is no peer.
    EXPECT_TRUE(eventually([&] { return pool_->states()["TRANSIENT_FAILURE"] == 1; }));
    EXPECT_FALSE(ask("stranger", "ui.hubble-relay.cilium.io").ok());
    EXPECT_FALSE(ask("client", "another.hubble-relay.cilium.io").ok());
}

TEST_F(RelayTlsTest, BadFilesAreNamed) {
    TlsSettings missing = tls("client", "ca");
    missing.key = file("nothing.key");
    EXPECT_NE(channel_credentials(missing).error().message.find("nothing.key"), std::string::npos);
    TlsSettings swapped = tls("client", "ca");
    std::swap(swapped.key, swapped.certificate);
    EXPECT_NE(server_credentials(swapped).error().message.find("holds no PEM"), std::string::npos);
    EXPECT_EQ(tls_server_name("k8s.1", "my.cluster"), "k8s-1.my-cluster.hubble-grpc.cilium.io");
}

}  // namespace
}  // namespace axo::relay_server
