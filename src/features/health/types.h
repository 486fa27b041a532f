// What probing a node found. Thread: any (values).
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "base/ip.h"
#include "model/time.h"
#include "runtime/event_loop.h"

namespace axo {

struct ProbeResult {
    bool done = false;    // false: never probed
    std::string failure;  // "": it answered
    Duration latency{0};
    WallTime last_probed{};
    [[nodiscard]] bool ok() const { return done && failure.empty(); }
};

struct AddressHealth {
    IpAddress ip;
    ProbeResult icmp, http;
    [[nodiscard]] bool ok() const { return icmp.ok() && http.ok(); }
    [[nodiscard]] bool done() const { return icmp.done && http.done; }
};

// The first address of each list is the primary one.
struct NodeHealth {
    std::string name;
    bool local = false;
    std::vector<AddressHealth> host;
    std::vector<AddressHealth> endpoint;
};

}  // namespace axo
