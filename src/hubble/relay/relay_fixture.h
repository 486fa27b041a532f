// A relay over agents that are made up, for tests. Thread: the test's.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "hubble/relay/fake_node.h"
#include "hubble/relay/service.h"

namespace axo::relay_server {

class RelayFixture : public testing::Test {
protected:
    void SetUp() override {
        ASSERT_NE(::mkdtemp(folder_.data()), nullptr);
        settings_.peer_service = "unix://" + folder_ + "/peers.sock";
        settings_.retry_timeout = std::chrono::seconds(1);
        settings_.dial_timeout = std::chrono::seconds(2);
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
    }
    template <class Condition>
    static bool eventually(Condition condition, std::chrono::milliseconds within = std::chrono::seconds(20)) {
        const auto until = std::chrono::steady_clock::now() + within;
        while (!condition()) {
            if (std::chrono::steady_clock::now() > until) return false;
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
        }
        return true;
    }

    std::string folder_ = "/tmp/axo-relay-XXXXXX", address_;
    RelaySettings settings_;
    std::unique_ptr<FakePeers> peers_;
    std::vector<std::unique_ptr<FakeNode>> nodes_;
    std::unique_ptr<PeerPool> pool_;
    std::unique_ptr<RelayService> relay_;
};

// With a client of it.
class RelayTest : public RelayFixture {
protected:
    void SetUp() override {
        RelayFixture::SetUp();
        settings_.sort_buffer_wait = std::chrono::milliseconds(300);
        settings_.stall_timeout = std::chrono::milliseconds(1500);
    }
    void serve(std::size_t count) {
        ASSERT_NO_FATAL_FAILURE(RelayFixture::serve(count));
        channel_ = grpc::CreateChannel(address_, grpc::InsecureChannelCredentials());
        stub_ = observer::Observer::NewStub(channel_);
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
        context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
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
        context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(40));
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

    std::shared_ptr<grpc::Channel> channel_;
    std::unique_ptr<observer::Observer::Stub> stub_;
};

}  // namespace axo::relay_server
