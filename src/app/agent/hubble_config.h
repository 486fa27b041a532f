// Hubble's part of the agent's configuration. Thread: any (values).
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/ip.h"
#include "hubble/server/exporter.h"
#include "hubble/server/history_store.h"

namespace axo {

struct HubbleConfig {
    bool enabled = false;  // enable-hubble
    bool dns = true;       // hubble-observe-dns
    bool tls = true;       // hubble-disable-tls
    bool prefer_ipv6 = false;
    std::filesystem::path socket_path;        // default <state-dir>/hubble.sock
    std::vector<IpAddress> listen_addresses;  // hubble-listen-address; empty: only the socket
    std::uint16_t listen_port = 0;
    std::filesystem::path dns_state;  // where names that pods were answered are kept for the next start
    std::size_t capacity = 4095;      // hubble-event-buffer-capacity
    std::filesystem::path certificate, key;
    std::vector<std::filesystem::path> client_cas;
    hubble::HistorySettings history;  // path empty: none is kept
    hubble::ExportSettings exported;  // path empty: nothing is exported
    std::filesystem::path flow_logs;  // hubble-flowlogs-config-path
    std::string metrics;              // hubble-metrics; empty: none
    std::vector<IpAddress> metrics_addresses{IpAddress::v4(0U),
                                             IpAddress::v6(std::array<std::uint8_t, 16>{})};  // hubble-metrics-server
    std::uint16_t metrics_port = 9965;
};

}  // namespace axo
