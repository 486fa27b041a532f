// Peers and clients for measuring the relay: bench/relay_bench.py starts this beside axoneme-relay.
//
// Usage: relay_load FOLDER PEERS RATE SECONDS READERS SLOW
// Peers listen in FOLDER, at n<i>.sock, and are named at peers.sock; the relay is expected at relay.sock. RATE flows a
// second in all go out for SECONDS, while READERS clients follow and SLOW clients follow without reading. Prints one
// line of JSON.
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "hubble/relay/fake_node.h"

namespace {

using namespace axo::relay_server;
using Clock = std::chrono::steady_clock;

// What a flow between two pods looks like, some 700 bytes.
flow::Flow typical(int node, std::uint64_t number) {
    flow::Flow flow;
    flow.set_verdict(flow::FORWARDED);
    flow.mutable_ethernet()->set_source("0a:58:0a:00:01:05");
    flow.mutable_ethernet()->set_destination("0a:58:0a:00:01:01");
    flow.mutable_ip()->set_source("10.0." + std::to_string(node) + ".5");
    flow.mutable_ip()->set_destination("10.0.200.17");
    flow.mutable_ip()->set_ipversion(flow::IPv4);
    flow.mutable_l4()->mutable_tcp()->set_source_port(static_cast<std::uint32_t>(30000 + number % 20000));
    flow.mutable_l4()->mutable_tcp()->set_destination_port(8080);
    flow.mutable_l4()->mutable_tcp()->mutable_flags()->set_syn(true);
    for (auto* end : {flow.mutable_source(), flow.mutable_destination()}) {
        end->set_id(811);
        end->set_identity(28723);
        end->set_namespace_("shop");
        end->set_pod_name("checkout-7d4b9c6f5d-x2x7z");
        end->set_cluster_name("default");
        for (const char* label :
             {"k8s:app.kubernetes.io/name=checkout", "k8s:io.cilium.k8s.policy.cluster=default",
              "k8s:io.cilium.k8s.policy.serviceaccount=default", "k8s:io.kubernetes.pod.namespace=shop"})
            end->add_labels(label);
        auto* workload = end->add_workloads();
        workload->set_name("checkout");
        workload->set_kind("Deployment");
    }
    flow.set_type(flow::L3_L4);
    flow.set_node_name("default/n" + std::to_string(node));
    flow.mutable_event_type()->set_type(4);
    flow.set_traffic_direction(flow::EGRESS);
    flow.set_trace_observation_point(flow::TO_STACK);
    flow.mutable_is_reply();
    flow.set_summary("TCP Flags: SYN");
    return flow;
}

struct Client {
    explicit Client(const std::string& address) {
        grpc::ChannelArguments own;
        own.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
        stub = observer::Observer::NewStub(grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), own));
        observer::GetFlowsRequest request;
        request.set_follow(true);
        context.set_wait_for_ready(true);
        reader = stub->GetFlows(&context, request);
    }
    void count() {
        observer::GetFlowsResponse response;
        while (reader->Read(&response)) {
            if (response.has_flow()) flows.fetch_add(1);
            if (response.has_lost_events()) lost.fetch_add(response.lost_events().num_events_lost());
        }
    }
    std::unique_ptr<observer::Observer::Stub> stub;
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReader<observer::GetFlowsResponse>> reader;
    std::atomic<std::uint64_t> flows{0}, lost{0};
};

}  // namespace

int main(int argc, char** argv) {
    if (argc != 7) {
        std::fprintf(stderr, "usage: relay_load FOLDER PEERS RATE SECONDS READERS SLOW\n");
        return 2;
    }
    const std::string folder = argv[1];
    const int peers = std::atoi(argv[2]), rate = std::atoi(argv[3]), seconds = std::atoi(argv[4]);
    const int readers = std::atoi(argv[5]), slow = std::atoi(argv[6]);
    FakePeers names("unix://" + folder + "/peers.sock");
    std::vector<std::unique_ptr<FakeNode>> nodes;
    for (int i = 0; i < peers; ++i) {
        const std::string name = "n" + std::to_string(i);
        nodes.push_back(std::make_unique<FakeNode>("default/" + name, "unix://" + folder + "/" + name + ".sock"));
        nodes.back()->start();
        names.add("default/" + name, nodes.back()->address());
    }
    names.start();
    std::vector<std::unique_ptr<Client>> clients;
    for (int i = 0; i < readers + slow; ++i)
        clients.push_back(std::make_unique<Client>("unix://" + folder + "/relay.sock"));
    std::vector<std::thread> threads;
    for (int i = 0; i < readers; ++i) threads.emplace_back([&, i] { clients[static_cast<std::size_t>(i)]->count(); });
    // Until every client's streams are open at every peer.
    const auto open_by = Clock::now() + std::chrono::seconds(60);
    const auto all_open = [&] {
        for (const auto& node : nodes)
            if (node->requests().size() < clients.size()) return false;
        return true;
    };
    while (!all_open() && Clock::now() < open_by) std::this_thread::sleep_for(std::chrono::milliseconds(50));
    if (!all_open()) {
        std::fprintf(stderr, "relay_load: the relay has not asked every peer for every client within 60 s\n");
        std::_Exit(1);
    }
    std::fprintf(stderr, "sending\n");
    std::uint64_t sent = 0;
    const auto begin = Clock::now();
    for (auto now = begin; now - begin < std::chrono::seconds(seconds); now = Clock::now()) {
        const auto due = static_cast<std::uint64_t>(std::chrono::duration<double>(now - begin).count() * rate);
        for (; sent < due; ++sent) {
            const int node = static_cast<int>(sent % static_cast<std::uint64_t>(peers));
            const auto wall = std::chrono::system_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
            nodes[static_cast<std::size_t>(node)]->add(wall, typical(node, sent));
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    std::this_thread::sleep_for(std::chrono::seconds(3));  // what waits in the sort buffer
    std::uint64_t received = 0, lost = 0;
    for (int i = 0; i < readers; ++i) {
        received += clients[static_cast<std::size_t>(i)]->flows.load();
        lost += clients[static_cast<std::size_t>(i)]->lost.load();
    }
    std::printf("{\"sent\": %llu, \"received\": %llu, \"lost\": %llu, \"readers\": %d}\n",
                static_cast<unsigned long long>(sent), static_cast<unsigned long long>(received),
                static_cast<unsigned long long>(lost), readers);
    std::fflush(stdout);
    // Whoever measures reads the relay's figures now, with all streams still open.
    char line[16];
    [[maybe_unused]] const char* told = std::fgets(line, sizeof(line), stdin);
    for (const auto& client : clients) client->context.TryCancel();
    for (std::thread& thread : threads) thread.join();
    std::_Exit(0);
}
