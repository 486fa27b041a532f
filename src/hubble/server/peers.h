// The cluster's nodes as Hubble's relay is told of them: fed by the control loop, read by clients. Thread: any.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <string>

namespace axo::hubble {

struct Peer {
    std::string address;      // "10.0.0.1:4244", "[fd00::1]:4244"
    std::string server_name;  // of its certificate; empty: no TLS
    friend bool operator==(const Peer&, const Peer&) = default;
};

class Peers {
public:
    using Map = std::map<std::string, Peer>;  // by "cluster/node"
    void set(const std::string& name, Peer peer);
    void remove(const std::string& name);
    [[nodiscard]] std::uint64_t version() const;
    [[nodiscard]] Map all(std::uint64_t& version) const;
    // Runs when something has changed, on the thread that changed it.
    void set_wake(std::function<void()> wake);

private:
    void changed();
    mutable std::mutex mutex_;
    Map peers_;
    std::uint64_t version_ = 1;
    std::function<void()> wake_;
};

// "node-1.cluster.hubble-grpc.cilium.io": what a node's certificate is for.
std::string peer_server_name(const std::string& cluster, const std::string& node);

}  // namespace axo::hubble
