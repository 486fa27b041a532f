// The sockets of a network namespace that are connected through a service, and ending them (NETLINK_SOCK_DIAG).
//
// Works in the calling thread's namespace. Thread: any; a dump takes about a millisecond per 10,000 sockets.
#pragma once

#include <cstdint>
#include <functional>

#include "base/ip.h"
#include "base/result.h"

namespace axo {

struct ConnectedSocket {
    std::uint8_t protocol = 0;  // IPPROTO_TCP, IPPROTO_UDP
    IpAddress peer;             // IPv4 also for an IPv6 socket that talks to it
    std::uint16_t peer_port = 0;
    std::uint16_t port = 0;
    std::uint64_t cookie = 0;
};

// Ends the connected sockets of a protocol that `wanted` names: they get ECONNABORTED. storage_fd: a map of socket
// storage; only sockets that have something in it are looked at; -1: all. The kernel tells of storage for TCP only.
// Returns how many were ended; one that is gone by itself meanwhile does not count. kUnimplemented: the kernel has no
// CONFIG_INET_DIAG_DESTROY.
Result<std::size_t> destroy_sockets(std::uint8_t protocol, int storage_fd,
                                    const std::function<bool(const ConnectedSocket&)>& wanted);
bool can_destroy_sockets();

}  // namespace axo
