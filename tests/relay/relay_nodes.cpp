// Agents that say what they are told to: for tests of what stands before the relay.
//
// Usage: relay_nodes FOLDER NODE…     Each NODE listens at FOLDER/<n>.sock; FOLDER/peers.sock names them all.
// Reads lines {"node": 0, "flow": {…}} (Flow as JSON, with its time), {"stop": 0}, {"start": 0}; ends with its input.
#include <axoneme/flow_counters.pb.h>
#include <google/protobuf/util/time_util.h>

#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "hubble/relay/fake_node.h"
#include "hubble/text/proto_json.h"

int main(int argc, char** argv) {
    using namespace axo::relay_server;
    if (argc < 3) {
        std::fprintf(stderr, "usage: relay_nodes FOLDER NODE…\n");
        return 2;
    }
    // What flows carry beyond Hubble's fields is found by its name only when it is linked.
    (void)axoneme::FlowCounters::descriptor();
    const std::string folder = argv[1];
    FakePeers peers("unix://" + folder + "/peers.sock");
    peers.start();
    std::vector<std::unique_ptr<FakeNode>> nodes;
    for (int at = 2; at < argc; ++at) {
        const std::string address = "unix://" + folder + "/" + std::to_string(at - 2) + ".sock";
        nodes.push_back(std::make_unique<FakeNode>(argv[at], address));
        nodes.back()->start();
        peers.add(argv[at], address);
    }
    std::puts("ready");
    std::fflush(stdout);
    for (std::string line; std::getline(std::cin, line);) {
        const auto said = nlohmann::json::parse(line, nullptr, false);
        if (said.is_discarded()) return 1;
        if (said.contains("stop")) nodes.at(said["stop"].get<std::size_t>())->stop();
        if (said.contains("start")) nodes.at(said["start"].get<std::size_t>())->start();
        if (!said.contains("flow")) continue;
        flow::Flow flow;
        if (const auto read = axo::parse_proto_json(said["flow"].dump(), axo::UnknownFields::kRefuse, flow); !read) {
            std::fprintf(stderr, "relay_nodes: %s\n", read.error().message.c_str());
            return 1;
        }
        const auto time = google::protobuf::util::TimeUtil::TimestampToNanoseconds(flow.time());
        nodes.at(said["node"].get<std::size_t>())->add(time, std::move(flow));
    }
    return 0;
}
