// The agents of the cluster: learned from the Peer service, each with a connection that is kept up.
//
//   own thread: Notify stream -> peers, again after an interruption
//
// Thread: any.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/security/credentials.h>

#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/log.h"
#include "base/result.h"
#include "hubble/relay/settings.h"

namespace grpc {
class ClientContext;
}

namespace axo::relay_server {

struct Peer {
    std::string name;     // "cluster/node", or "node"
    std::string address;  // "10.0.0.1:4244", "unix:///…"
    std::string server_name;
    bool tls = false;
    std::shared_ptr<grpc::Channel> channel;

    // Not known to be unreachable: a connection that is being made counts, as in Hubble.
    [[nodiscard]] bool available() const;
};
using PeerRef = std::shared_ptr<const Peer>;

class PeerPool {
public:
    static Result<std::unique_ptr<PeerPool>> create(const RelaySettings& settings);
    ~PeerPool();
    PeerPool(const PeerPool&) = delete;
    PeerPool& operator=(const PeerPool&) = delete;

    void start();
    void stop();
    // By name. Those that left while nobody listened are dropped here, so it is to be asked now and then.
    [[nodiscard]] std::vector<PeerRef> peers();
    // Whether the Peer service is being listened to.
    [[nodiscard]] bool service_connected() const { return connected_.load(std::memory_order_relaxed); }
    // How many connections are in which state, by gRPC's words: "READY" …
    [[nodiscard]] std::map<std::string, std::size_t> states();

private:
    using Clock = std::chrono::steady_clock;
    PeerPool(RelaySettings settings, std::shared_ptr<grpc::ChannelCredentials> credentials);
    void run();
    // One life of the Notify stream; true when something came.
    bool listen();
    [[nodiscard]] std::shared_ptr<grpc::Channel> open(const std::string& address, const std::string& server_name,
                                                      bool tls) const;
    void upsert(const std::string& name, const std::string& address, bool tls, const std::string& server_name);
    void remove(const std::string& name);
    bool sleep(std::chrono::milliseconds time);

    const RelaySettings settings_;
    const std::shared_ptr<grpc::ChannelCredentials> credentials_;
    const Logger log_{"hubble-relay"};
    mutable std::mutex mutex_;
    std::condition_variable stop_changed_;
    bool stopping_ = false;
    grpc::ClientContext* call_ = nullptr;  // of the stream that is open
    struct Known {
        PeerRef peer;
        std::uint64_t seen = 0;  // the stream that named it last
    };
    std::map<std::string, Known> peers_;
    std::uint64_t generation_ = 0;                  // of the stream
    std::optional<Clock::time_point> named_since_;  // when it named the first, while peers_ may hold others' peers
    std::atomic<bool> connected_{false};
    std::thread thread_;
};

}  // namespace axo::relay_server
