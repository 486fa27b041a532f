// ICMP echo and HTTP GET probes, any number at a time, without blocking.
//
// Everything runs on the control loop: raw ICMP sockets, and TCP connections in one epoll set whose
// descriptor the loop watches. Thread: the loop's only.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/ip.h"
#include "base/result.h"
#include "runtime/event_loop.h"

namespace axo {

class Prober {
public:
    // failure "": it answered after `latency`.
    using Done = std::function<void(const std::string& failure, Duration latency)>;

    static Result<std::unique_ptr<Prober>> create(EventLoop& loop, bool ipv4, bool ipv6);
    virtual ~Prober() = default;  // outstanding probes end without a call
    virtual void icmp(const IpAddress& address, Duration timeout, Done done) = 0;
    // GET path; any 2xx is an answer.
    virtual void http(const IpAddress& address, std::uint16_t port, const std::string& path, Duration timeout,
                      Done done) = 0;
};

}  // namespace axo
