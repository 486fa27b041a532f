// What the relay is told. Names and presets are hubble-relay's. Thread: any (values).
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace axo::relay_server {

struct TlsSettings {
    bool enabled = false;
    std::string certificate, key;     // of ours
    std::vector<std::string> others;  // authorities that the other side's certificate has to come from
};

struct RelaySettings {
    std::string cluster_name = "default";
    std::string peer_service = "unix:///var/run/cilium/hubble.sock";
    std::chrono::milliseconds dial_timeout{5000};
    std::chrono::milliseconds retry_timeout{30000};
    std::size_t sort_buffer_length = 100;
    std::chrono::milliseconds sort_buffer_wait{1000};
    TlsSettings server, client;

    // Limits of our own. One request opens a stream to every peer; all of them together may open so many.
    std::size_t max_requests = 1000;
    std::size_t max_peer_streams = 4000;
    // Messages that wait for one client. What comes on top of them while it does not read is lost, and told.
    std::size_t client_queue = 2048;
    std::size_t client_queue_bytes = 1U << 20;
    // Peers that the Peer service has not named so long after it named the first have left while nobody listened.
    std::chrono::milliseconds names_by{5000};
    // How long a peer may keep silent that is asked for what it has.
    std::chrono::milliseconds stall_timeout{30000};
};

}  // namespace axo::relay_server
