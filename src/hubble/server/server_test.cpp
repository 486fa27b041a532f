// The server through Debian's gRPC client: what the stock client and relay speak.
#include <arpa/inet.h>
#include <axoneme/flow_counters.pb.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <health/health.grpc.pb.h>
#include <observer/observer.grpc.pb.h>
#include <peer/peer.grpc.pb.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "base/file.h"
#include "hubble/rpc/server.h"
#include "hubble/server/service.h"

namespace axo::hubble {
namespace {

using ::observer::GetFlowsRequest;
using ::observer::GetFlowsResponse;

class HubbleServer : public ::testing::Test {
protected:
    void SetUp() override {
        socket_ = "/tmp/axo-hubble-test-" + std::to_string(::getpid()) + ".sock";
        auto server = rpc::Server::start(make_methods({.observer = observer_,
                                                       .events = events_,
                                                       .peers = peers_,
                                                       .address = "10.0.0.1:4244",
                                                       .server_name = ""}),
                                         {.connections = 8, .calls = 4});
        ASSERT_TRUE(server) << server.error().message;
        server_ = std::move(*server);
        ASSERT_TRUE(server_->listen_unix(socket_, 0600));
        observer_.ring().set_wake([this] { server_->wake(); });
        events_.set_wake([this] { server_->wake(); });
        peers_.set_wake([this] { server_->wake(); });
        channel_ = grpc::CreateChannel("unix:" + socket_, grpc::InsecureChannelCredentials());
        observer_stub_ = ::observer::Observer::NewStub(channel_);
    }
    void TearDown() override { server_.reset(); }

    // Flows that are told apart by their source port.
    void flows(int first, int count, std::uint8_t type = EVENT_TRACE) {
        for (int i = first; i < first + count; ++i) {
            flow_event event{};
            event.type = type;
            event.subtype = type == EVENT_DROP ? 133 : 0;
            event.ethertype = 0x0800;
            event.proto = IPPROTO_TCP;
            event.sport = htons(static_cast<std::uint16_t>(i));
            event.dport = htons(80);
            event.packets = 3;
            event.bytes = 300;
            const auto now = std::chrono::steady_clock::now().time_since_epoch();
            event.time_ns = static_cast<std::uint64_t>(std::chrono::nanoseconds(now).count());
            observer_.observe(event);
        }
    }

    struct Answer {
        grpc::Status status;
        std::vector<int> ports;
        std::vector<GetFlowsResponse> all;
        std::uint64_t lost = 0;
    };
    Answer ask(const GetFlowsRequest& request) {
        grpc::ClientContext context;
        context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
        auto reader = observer_stub_->GetFlows(&context, request);
        Answer answer;
        GetFlowsResponse response;
        while (reader->Read(&response)) {
            if (response.has_flow()) answer.ports.push_back(static_cast<int>(response.flow().l4().tcp().source_port()));
            if (response.has_lost_events()) answer.lost += response.lost_events().num_events_lost();
            answer.all.push_back(response);
        }
        answer.status = reader->Finish();
        return answer;
    }

    std::string socket_;
    Observer observer_{
        {.cluster = "east", .node = "n1", .node_labels = {"zone=a"}, .version = "axoneme 1", .capacity = 1023},
        nullptr};
    AgentEvents events_;
    Peers peers_;
    std::unique_ptr<rpc::Server> server_;
    std::shared_ptr<grpc::Channel> channel_;
    std::unique_ptr<::observer::Observer::Stub> observer_stub_;
};

TEST_F(HubbleServer, AnswersTheLastTheFirstAndThoseOfATime) {
    flows(1, 10);
    GetFlowsRequest request;
    request.set_number(3);
    EXPECT_EQ(ask(request).ports, (std::vector<int>{8, 9, 10}));
    request.set_first(true);
    EXPECT_EQ(ask(request).ports, (std::vector<int>{1, 2, 3}));
    request.Clear();
    EXPECT_EQ(ask(request).ports.size(), 10U);
    const Answer all = ask(request);
    *request.mutable_since() = all.all[4].flow().time();
    EXPECT_EQ(ask(request).ports.front(), 5);
    *request.mutable_until() = all.all[6].flow().time();
    EXPECT_EQ(ask(request).ports, (std::vector<int>{5, 6, 7}));
    request.Clear();
    request.set_number(2);
    request.add_whitelist()->add_source_port("4");
    request.add_whitelist()->add_source_port("6");
    request.add_whitelist()->add_source_port("9");
    request.add_blacklist()->add_source_port("9");
    EXPECT_FALSE(ask(request).all[0].flow().has_extensions()) << "the stock client cannot print them";
    request.mutable_extensions()->PackFrom(::axoneme::FlowCounters());
    const Answer some = ask(request);
    EXPECT_EQ(some.ports, (std::vector<int>{4, 6}));
    EXPECT_EQ(some.all[0].node_name(), "east/n1");
    EXPECT_EQ(some.all[0].flow().node_labels(0), "zone=a");
    ::axoneme::FlowCounters counters;
    ASSERT_TRUE(some.all[0].flow().extensions().UnpackTo(&counters));
    EXPECT_EQ(counters.packets(), 3U);
    EXPECT_EQ(counters.bytes(), 300U);
}

TEST_F(HubbleServer, AFieldMaskLeavesTheRestOut) {
    flows(7, 1);
    GetFlowsRequest request;
    request.mutable_field_mask()->add_paths("l4.TCP.source_port");
    request.mutable_field_mask()->add_paths("verdict");
    const Answer answer = ask(request);
    EXPECT_EQ(answer.ports, (std::vector<int>{7}));
    EXPECT_EQ(answer.all[0].flow().l4().tcp().destination_port(), 0U);
    EXPECT_EQ(answer.all[0].flow().uuid(), "");
    EXPECT_EQ(answer.all[0].flow().verdict(), ::flow::FORWARDED);
    request.mutable_field_mask()->add_paths("no.such");
    const Answer bad = ask(request);
    EXPECT_EQ(bad.status.error_code(), grpc::INVALID_ARGUMENT);
    EXPECT_EQ(bad.status.error_message(), "field_mask: \"no.such\": flow.Flow has no such field");
}

TEST_F(HubbleServer, BadRequestsAreToldWhy) {
    GetFlowsRequest request;
    request.add_whitelist()->add_http_path("(\xc3\xa4");
    Answer answer = ask(request);
    EXPECT_EQ(answer.status.error_code(), grpc::INVALID_ARGUMENT);
    EXPECT_TRUE(
        answer.status.error_message().starts_with("whitelist[0].http_path: \"(\xc3\xa4\": no regular expression"))
        << answer.status.error_message();
    request.Clear();
    request.set_first(true);
    request.set_follow(true);
    EXPECT_EQ(ask(request).status.error_code(), grpc::INVALID_ARGUMENT);
    grpc::ClientContext context;
    ::observer::GetDebugEventsRequest nothing;
    auto reader = observer_stub_->GetDebugEvents(&context, nothing);
    ::observer::GetDebugEventsResponse event;
    EXPECT_FALSE(reader->Read(&event));
    EXPECT_TRUE(reader->Finish().ok());
}

TEST_F(HubbleServer, FollowersGetWhatComesAndLostEvents) {
    flows(1, 5);
    GetFlowsRequest request;
    request.set_follow(true);
    request.set_number(2);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    auto reader = observer_stub_->GetFlows(&context, request);
    std::vector<int> ports;
    GetFlowsResponse response;
    for (int i = 0; i < 2 && reader->Read(&response); ++i) ports.push_back(response.flow().l4().tcp().source_port());
    flows(6, 3);
    for (int i = 0; i < 3 && reader->Read(&response); ++i) ports.push_back(response.flow().l4().tcp().source_port());
    EXPECT_EQ(ports, (std::vector<int>{4, 5, 6, 7, 8}));
    observer_.report_lost(LostSource::kDatapathRing, 17);
    ASSERT_TRUE(reader->Read(&response));
    EXPECT_EQ(response.lost_events().num_events_lost(), 17U);
    EXPECT_EQ(response.lost_events().source(), ::flow::PERF_EVENT_RING_BUFFER);
    context.TryCancel();
}

// A client that does not read costs its place only; when it reads, each flow was delivered or is counted as lost.
TEST_F(HubbleServer, WhatASlowClientMissesIsCounted) {
    GetFlowsRequest request;
    request.set_follow(true);
    request.set_number(1);
    flows(1, 1);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    auto reader = observer_stub_->GetFlows(&context, request);
    GetFlowsResponse response;
    ASSERT_TRUE(reader->Read(&response));
    constexpr int kFlows = 50'000;
    for (int i = 0; i < kFlows; i += 500) {
        flows(i, 500);
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    flows(0, 1, EVENT_DROP);
    std::uint64_t seen = 0, lost = 0;
    ::flow::Verdict last = ::flow::VERDICT_UNKNOWN;
    while (seen + lost < kFlows + 1 && reader->Read(&response)) {
        if (response.has_flow()) {
            ++seen;
            last = response.flow().verdict();
        }
        if (response.has_lost_events()) {
            EXPECT_EQ(response.lost_events().source(), ::flow::HUBBLE_RING_BUFFER);
            lost += response.lost_events().num_events_lost();
        }
    }
    EXPECT_EQ(seen + lost, kFlows + 1U);
    EXPECT_EQ(last, ::flow::DROPPED) << "the last one arrives";
    EXPECT_EQ(observer_.status().lost_ring, lost);
    context.TryCancel();
}

TEST_F(HubbleServer, TooManyFollowersAreRefusedPolitely) {
    GetFlowsRequest request;
    request.set_follow(true);
    request.set_number(1);
    flows(1, 1);
    std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
    std::vector<std::unique_ptr<grpc::ClientReader<GetFlowsResponse>>> readers;
    GetFlowsResponse response;
    for (int i = 0; i < 4; ++i) {
        contexts.push_back(std::make_unique<grpc::ClientContext>());
        readers.push_back(observer_stub_->GetFlows(contexts.back().get(), request));
        ASSERT_TRUE(readers.back()->Read(&response));
    }
    EXPECT_EQ(ask(request).status.error_code(), grpc::RESOURCE_EXHAUSTED);
    contexts[0]->TryCancel();
    readers[0]->Finish();
    GetFlowsRequest one;
    one.set_number(1);
    Answer answer;
    for (int i = 0; i < 100; ++i) {
        answer = ask(one);
        if (answer.status.ok()) break;
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
    for (auto& context : contexts) context->TryCancel();
}

TEST_F(HubbleServer, SaysHowItIsAndWhoThereIs) {
    flows(1, 5);
    grpc::ClientContext a, b, c, d;
    ::observer::ServerStatusResponse status;
    ASSERT_TRUE(observer_stub_->ServerStatus(&a, {}, &status).ok());
    EXPECT_EQ(status.num_flows(), 5U);
    EXPECT_EQ(status.max_flows(), 1023U);
    EXPECT_EQ(status.seen_flows(), 5U);
    EXPECT_EQ(status.version(), "axoneme 1");
    EXPECT_TRUE(a.GetServerInitialMetadata().contains("hubble-server-version"));
    ::observer::GetNodesResponse nodes;
    ASSERT_TRUE(observer_stub_->GetNodes(&b, {}, &nodes).ok());
    EXPECT_EQ(nodes.nodes(0).name(), "east/n1");
    auto health = ::grpc::health::v1::Health::NewStub(channel_);
    ::grpc::health::v1::HealthCheckResponse healthy;
    ASSERT_TRUE(health->Check(&c, {}, &healthy).ok());
    EXPECT_EQ(healthy.status(), ::grpc::health::v1::HealthCheckResponse::SERVING);
    ::grpc::health::v1::HealthCheckRequest unknown;
    unknown.set_service("nobody.Knows");
    EXPECT_EQ(health->Check(&d, unknown, &healthy).error_code(), grpc::NOT_FOUND);
}

TEST_F(HubbleServer, PeersAreToldAsTheyChange) {
    peers_.set("east/n1", {"10.0.0.1:4244", "n1.east.hubble-grpc.cilium.io"});
    peers_.set("east/n2", {"10.0.0.2:4244", ""});
    auto stub = ::peer::Peer::NewStub(channel_);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    auto reader = stub->Notify(&context, {});
    ::peer::ChangeNotification change;
    ASSERT_TRUE(reader->Read(&change));
    EXPECT_EQ(change.name(), "east/n1");
    EXPECT_EQ(change.type(), ::peer::PEER_ADDED);
    EXPECT_EQ(change.tls().server_name(), "n1.east.hubble-grpc.cilium.io");
    ASSERT_TRUE(reader->Read(&change));
    EXPECT_FALSE(change.has_tls());
    peers_.set("east/n2", {"10.0.0.22:4244", ""});
    ASSERT_TRUE(reader->Read(&change));
    EXPECT_EQ(change.type(), ::peer::PEER_UPDATED);
    EXPECT_EQ(change.address(), "10.0.0.22:4244");
    peers_.remove("east/n1");
    ASSERT_TRUE(reader->Read(&change));
    EXPECT_EQ(change.type(), ::peer::PEER_DELETED);
    EXPECT_EQ(change.name(), "east/n1");
    context.TryCancel();
}

TEST_F(HubbleServer, AgentEventsAreKeptAndFollowed) {
    const auto add = [&](std::uint64_t id) {
        ::flow::AgentEvent event;
        event.set_type(::flow::ENDPOINT_CREATED);
        event.mutable_endpoint_update()->set_id(id);
        events_.add(event.SerializeAsString());
    };
    for (std::uint64_t i = 1; i <= 3; ++i) add(i);
    ::observer::GetAgentEventsRequest request;
    request.set_number(2);
    request.set_follow(true);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    auto reader = observer_stub_->GetAgentEvents(&context, request);
    ::observer::GetAgentEventsResponse event;
    for (std::uint64_t i = 2; i <= 3; ++i) {
        ASSERT_TRUE(reader->Read(&event));
        EXPECT_EQ(event.agent_event().endpoint_update().id(), i);
    }
    add(4);
    ASSERT_TRUE(reader->Read(&event));
    EXPECT_EQ(event.agent_event().endpoint_update().id(), 4U);
    EXPECT_EQ(event.node_name(), "east/n1");
    context.TryCancel();
}

TEST_F(HubbleServer, ARequestThatIsTooLargeIsToldSo) {
    GetFlowsRequest request;
    request.add_whitelist()->add_source_pod(std::string(5U << 20, 'x'));
    const Answer answer = ask(request);
    EXPECT_EQ(answer.status.error_code(), grpc::RESOURCE_EXHAUSTED);
    EXPECT_EQ(answer.status.error_message(), "the request is larger than 4 MiB");
    flows(1, 1);
    EXPECT_EQ(ask({}).ports.size(), 1U) << "the connection goes on";
}

TEST(AgentEventsTest, AreBoundedInNumberAndInBytes) {
    AgentEvents events(4, 1000);
    std::vector<AgentEvents::Entry> all;
    for (int i = 0; i < 6; ++i) events.add(std::string(10, 'a'));
    EXPECT_EQ(events.read(1, all), 7U);
    EXPECT_EQ(all.size(), 4U);
    for (int i = 0; i < 3; ++i) events.add(std::string(400, 'b'));
    all.clear();
    EXPECT_EQ(events.read(1, all), 10U);
    EXPECT_EQ(all.size(), 2U);
    events.add(std::string(5000, 'c'));
    all.clear();
    EXPECT_EQ(events.read(9, all), 11U);
    ASSERT_EQ(all.size(), 1U);
    EXPECT_EQ(all[0].event.size(), 5000U) << "the newest stays";
    events.add("d");
    all.clear();
    events.read(1, all);
    ASSERT_EQ(all.size(), 1U);
    EXPECT_EQ(all[0].event, "d");
    // What is made later counts by what it holds.
    int made = 0;
    for (int i = 0; i < 3; ++i) {
        events.add_later(400, [&made, i] {
            ++made;
            return "made " + std::to_string(i);
        });
    }
    EXPECT_EQ(made, 0);
    all.clear();
    events.read(1, all);
    ASSERT_EQ(all.size(), 2U);
    EXPECT_EQ(all[1].event, "made 2");
    EXPECT_EQ(made, 2);
}

std::string run(const std::string& command) {
    const int rc = std::system((command + " >/dev/null 2>&1").c_str());
    return rc == 0 ? "" : command;
}

std::string content(const std::filesystem::path& path) {
    return read_file(path).value_or("");
}

TEST_F(HubbleServer, OtherNodesNeedACertificateOfOursAndCertificatesMayChange) {
    const auto folder = std::filesystem::temp_directory_path() / ("axo-tls-" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder);
    const std::string at = folder.string() + "/", name = peer_server_name("east", "n.1");
    EXPECT_EQ(name, "n-1.east.hubble-grpc.cilium.io");
    const std::string key = "openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 ";
    for (const std::string ca : {"ca", "other"})
        ASSERT_EQ(run(key + "-x509 -subj /CN=" + ca + " -keyout " + at + ca + ".key -out " + at + ca + ".crt"), "");
    const auto sign = [&](const std::string& who, const std::string& ca) {
        EXPECT_EQ(run(key + "-subj /CN=" + who + " -keyout " + at + who + ".key -out " + at + who + ".csr"), "");
        EXPECT_EQ(run("printf 'subjectAltName=DNS:" + name + "' > " + at + "san && openssl x509 -req -in " + at + who +
                      ".csr -CA " + at + ca + ".crt -CAkey " + at + ca + ".key -CAcreateserial -days 2 -extfile " + at +
                      "san -out " + at + who + ".crt"),
                  "");
    };
    sign("server", "ca");
    sign("client", "ca");
    sign("stranger", "other");
    ASSERT_TRUE(server_->listen_tcp(IpAddress::parse("127.0.0.1").value(), 0, true));
    const auto load = [&](const std::string& who) {
        return rpc::load_tls(
            {.certificate = at + who + ".crt", .key = at + who + ".key", .client_cas = {at + "ca.crt"}});
    };
    server_->set_tls(load("server").value());
    flows(1, 3);
    const auto ask_as = [&](const std::string& who, const std::string& server_name, const std::string& ca) {
        grpc::SslCredentialsOptions options;
        options.pem_root_certs = content(at + ca + ".crt");
        if (!who.empty()) {
            options.pem_cert_chain = content(at + who + ".crt");
            options.pem_private_key = content(at + who + ".key");
        }
        grpc::ChannelArguments arguments;
        arguments.SetSslTargetNameOverride(server_name);
        auto channel = grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(server_->port()),
                                                 grpc::SslCredentials(options), arguments);
        auto stub = ::observer::Observer::NewStub(channel);
        grpc::ClientContext context;
        context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(5));
        ::observer::ServerStatusResponse status;
        return stub->ServerStatus(&context, {}, &status).ok();
    };
    EXPECT_TRUE(ask_as("client", name, "ca"));
    EXPECT_FALSE(ask_as("", name, "ca")) << "no certificate";
    EXPECT_FALSE(ask_as("stranger", name, "ca")) << "somebody else's";
    EXPECT_FALSE(ask_as("client", "n2.east.hubble-grpc.cilium.io", "ca")) << "another node's name";
    EXPECT_FALSE(ask_as("client", name, "other"));
    // A new certificate, of another CA, is what connections from now on get.
    sign("renewed", "other");
    server_->set_tls(load("renewed").value());
    EXPECT_TRUE(ask_as("client", name, "other"));
    EXPECT_FALSE(ask_as("client", name, "ca"));
    EXPECT_FALSE(load("nobody"));
    EXPECT_NE(load("nobody").error().message.find("nobody.crt"), std::string::npos);
    std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace axo::hubble
