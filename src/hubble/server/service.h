// The methods that an agent answers: observer.Observer, peer.Peer, grpc.health.v1.Health. Thread: the server's only.
#pragma once

#include "hubble/core/observer.h"
#include "hubble/rpc/connection.h"
#include "hubble/server/agent_events.h"
#include "hubble/server/history.h"
#include "hubble/server/peers.h"

namespace axo::hubble {

// What the methods answer from; outlives the server. history: may be null.
struct Sources {
    Observer& observer;
    AgentEvents& events;
    Peers& peers;
    const History* history = nullptr;
    std::string address;      // where this agent listens for other nodes; empty: nowhere
    std::string server_name;  // of its certificate; empty: no TLS
};

rpc::Methods make_methods(const Sources& sources);

}  // namespace axo::hubble
