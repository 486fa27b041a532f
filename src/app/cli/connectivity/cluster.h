// What `axoneme connectivity` needs of a cluster: pods where it asks for them, and programs run in them.
// Implemented for the sandbox (sandbox_cluster.h); tests have one of their own. Thread: main's; calls block.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "app/cli/output/format.h"
#include "base/ip.h"
#include "base/result.h"

namespace axo::cli::connectivity {

inline constexpr std::uint16_t kPort = 8080;  // of every server

// Somebody who sends or answers.
struct Peer {
    enum class Kind { kPod, kNode, kOutside };
    Kind kind = Kind::kPod;
    std::string name{};
    std::string node{};  // where a pod is; a node's own name
    std::vector<IpAddress> addresses{};
    std::uint16_t host_port = 0;

    [[nodiscard]] IpAddress address(Family family) const;
};

struct PodRequest {
    std::string name, node;
    std::map<std::string, std::string> labels;
    bool serves = false;          // answers on kPort, TCP and UDP, under the name "http-8080"
    std::uint16_t host_port = 0;  // also at this port of its node; 0: not
};

struct ServiceRequest {
    std::string name;
    std::vector<Peer> backends;
    std::uint16_t node_port = 0;  // 0: none
};
struct Service {
    std::string name;
    std::vector<IpAddress> addresses;  // its ClusterIPs
    std::uint16_t node_port = 0;
    std::string node;  // where its backends are
};

class TestCluster {
public:
    virtual ~TestCluster() = default;
    [[nodiscard]] virtual std::string name() const = 0;
    virtual Result<std::vector<Peer>> nodes() = 0;
    // A host that is not of the cluster, where there is one.
    virtual std::optional<Peer> outside() = 0;
    // In the test's namespace. Returns when all are ready, in the order asked for.
    virtual Result<std::vector<Peer>> deploy(const std::vector<PodRequest>& pods) = 0;
    // Whoever is not a pod answers on kPort, too.
    virtual Status serve(const Peer& peer) = 0;
    virtual Result<std::vector<Service>> expose(const std::vector<ServiceRequest>& services) = 0;
    // Policies, as YAML. Return when every node enforces the change.
    virtual Status apply(const std::string& yaml) = 0;
    virtual Status remove(const std::string& yaml) = 0;
    // Runs axoneme-traffic at the peer; its standard output.
    virtual Result<std::string> run(const Peer& where, const std::vector<std::string>& arguments,
                                    const std::string& input, std::chrono::milliseconds limit) = 0;
    // The answer of a node's agent to `axoneme <words> -o json`.
    virtual Result<Json> ask_agent(const Peer& node, const std::vector<std::string>& words) = 0;
    // Pods, services, policies and servers of the test; what is not there is success.
    virtual Status clean() = 0;
};

}  // namespace axo::cli::connectivity
