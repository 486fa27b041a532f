// The relay against peers that stall, restart, lie about the time, are gone; clients that do not read; limits.
#include <gtest/gtest.h>
#include <health/health.grpc.pb.h>

#include <thread>

#include "hubble/relay/relay_fixture.h"
#include "hubble/relay/sort_buffer.h"

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

TEST_F(RelayTest, APeerThatDiesWhileItIsHeldUpEndsInOrder) {
    settings_.client_queue = 100;
    FakeNode& full = node("a");
    for (int i = 0; i < 20'000; ++i) full.add(seconds(1000) + i, std::string(200, 'x'));
    serve(1);
    const auto held_up = [&] {
        // It asks for no more while nobody takes what it has.
        const std::uint64_t flows = relay_->counts().flows;
        std::this_thread::sleep_for(300ms);
        return flows > 100 && relay_->counts().flows == flows;
    };
    for (const bool goes_on : {true, false}) {
        if (!goes_on) full.start();
        ASSERT_TRUE(eventually([&] { return pool_->states()["READY"] == 1; }));
        observer::GetFlowsRequest request;
        request.set_number(UINT64_MAX);
        auto query = relay_->query(request, [] {});
        ASSERT_TRUE(query);
        ASSERT_TRUE(eventually(held_up));
        full.stop();
        Got got;
        if (goes_on) {
            EXPECT_TRUE(eventually([&] {
                while (const auto bytes = (*query)->pop()) {
                    observer::GetFlowsResponse response;
                    EXPECT_TRUE(response.ParseFromString(*bytes));
                    take(got, response);
                }
                return (*query)->over();
            }));
            EXPECT_GT(got.uuids.size(), 100U);
            EXPECT_EQ(got.nodes[relay::NODE_ERROR], std::vector<std::string>{"a"});
        } else {
            (*query)->cancel();
        }
        query->reset();
        EXPECT_TRUE(eventually([&] { return relay_->counts().peer_streams == 0 && relay_->counts().requests == 0; }));
    }
}

TEST_F(RelayTest, StoppingWaitsForNobodyInTheProcess) {
    node("a");
    serve(1);
    observer::GetFlowsRequest request;
    request.set_follow(true);
    auto query = relay_->query(request, [] {});
    ASSERT_TRUE(query);
    ASSERT_TRUE(eventually([&] { return !nodes_[0]->requests().empty(); }));
    const auto begin = std::chrono::steady_clock::now();
    relay_->stop();
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 1500ms);
    relay_.reset();
    EXPECT_TRUE((*query)->over());
    EXPECT_FALSE((*query)->pop());
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

TEST_F(RelayTest, ANodeThatComesBackAtOnceIsFollowedAgain) {
    node("a");
    FakeNode& leaver = node("b");
    serve(2);
    bool removed = false, back = false;
    const Got got = follow([&](const Got& so_far) {
        // Between two looks at the list of peers, which are seconds apart.
        if (!back && so_far.nodes.contains(relay::NODE_GONE)) {
            back = true;
            peers_->add("b", leaver.address());
            leaver.add(seconds(1000), "again");
        } else if (!removed && so_far.nodes.contains(relay::NODE_CONNECTED)) {
            removed = true;
            peers_->remove("b");
        }
        return !so_far.uuids.empty();
    });
    EXPECT_EQ(got.uuids, std::vector<std::string>{"again"}) << got.status.error_message();
    EXPECT_EQ(got.nodes.at(relay::NODE_GONE), std::vector<std::string>{"b"});
    EXPECT_EQ(got.nodes.at(relay::NODE_CONNECTED), (std::vector<std::string>{"a", "b", "b"}));
    EXPECT_FALSE(got.nodes.contains(relay::NODE_ERROR)) << got.error;
}

TEST_F(RelayTest, APeerServiceMayTakeItsTimeToNamePeers) {
    settings_.names_by = 1s;
    for (const char* name : {"a", "b", "c"}) node(name);
    serve(3);
    peers_->stop();
    peers_ = std::make_unique<FakePeers>(settings_.peer_service);
    peers_->start();
    ASSERT_TRUE(eventually([&] { return peers_->streams() == 1; }));
    std::this_thread::sleep_for(1100ms);
    EXPECT_EQ(pool_->peers().size(), 3U);
    peers_->add("a", nodes_[0]->address());
    std::this_thread::sleep_for(300ms);
    EXPECT_EQ(pool_->peers().size(), 3U);
    peers_->add("b", nodes_[1]->address());
    ASSERT_TRUE(eventually([&] { return pool_->peers().size() != 3; }));
    const auto left = pool_->peers();
    ASSERT_EQ(left.size(), 2U);
    EXPECT_EQ(left[0]->name, "a");
    EXPECT_EQ(left[1]->name, "b");
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

}  // namespace
}  // namespace axo::relay_server
