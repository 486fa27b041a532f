// The modes of axoneme-traffic. Each returns when it is done; results go to standard output as JSON.
#pragma once

#include <cstdint>
#include <string>

#include "base/ip.h"
#include "base/result.h"

namespace axo::traffic {

// Echo and witness on `port` (TCP, UDP, and every ICMP echo request that arrives), plain 1-byte echo for rr and crr on
// port + 1. Both families. Prints "ready". Until SIGTERM.
Status serve(std::uint16_t port, int cpu);

// Standard input: a JSON list of {"to", "port", "from-port", "kind": tcp|udp|icmp|upload|download|closed, "bytes",
// "unconnected", "times", "expect-peer", "timeout-ms"}. Standard output: the same list with "ok", "error", "errno",
// "ms"; of the last success "peer" (we, as the server saw us), "server" (the server's own address and port) and
// "believed" (the server's, as our socket has it); of all of them "peers" and "servers" with how often. At most 16 at a
// time.
Status probe();

struct LoadOptions {
    IpAddress to;
    std::uint16_t port = 0;
    std::string protocol = "udp";  // udp, icmp
    int per_second = 500;
    std::size_t bytes = 64;
    int seconds = 0;  // 0: until SIGTERM
};
// Numbered datagrams; says how many came back, and the longest time without an answer.
Status load(const LoadOptions& options);
// One TCP connection that is used all the time; says whether it lived, and what was sent again.
Status stream(const LoadOptions& options);

struct RateOptions {
    IpAddress to;
    std::uint16_t port = 0;        // the server's base port
    std::string protocol = "tcp";  // of request_response: tcp, udp
    double seconds = 3;
    int cpu = -1;
};
Status request_response(const RateOptions& options);
Status connect_request_response(const RateOptions& options);
// One TCP connection on which the server sends what it can.
Status bulk(const RateOptions& options);

}  // namespace axo::traffic
