// The relay's gRPC face: observer.Observer over all peers. Events of single agents (agent events, debug events) are not
// passed on, as with Hubble's relay. Thread: any; gRPC's threads call it.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "hubble/relay/pool.h"
#include "hubble/relay/query.h"
#include "hubble/relay/settings.h"

namespace grpc {
class Server;
}

namespace axo::relay_server {

class RelayService {
public:
    // pool outlives the service. node_name: what the relay calls itself in events.
    RelayService(const RelaySettings& settings, PeerPool& pool, std::string node_name);
    ~RelayService();
    RelayService(const RelayService&) = delete;
    RelayService& operator=(const RelayService&) = delete;

    // Listens; "host:port", ":port", "unix:///path". health_address: a second port for probes, without TLS; may be
    // empty. Returns the port that gRPC listens on (0 for unix sockets).
    Result<int> listen(const std::string& address, const std::string& health_address);
    void stop();

    // A GetFlows request for somebody in this process (the web API), under the same limits. wake as in FlowQuery.
    Result<std::shared_ptr<FlowQuery>> query(observer::GetFlowsRequest request, std::function<void()> wake);
    [[nodiscard]] const QueryCounts& counts() const;
    [[nodiscard]] PeerPool& pool();

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace axo::relay_server
