// What sockets remember of services (bpf/api/lb.h), as far as user space needs it: to end those of a backend that went.
//
// Thread: any one at a time.
#pragma once

#include <set>

#include "base/result.h"
#include "bpf/api/lb.h"
#include "kernel/bpf_map.h"
#include "maps/lb_map.h"

namespace axo {

class SocketMaps {
public:
    static Result<SocketMaps> open(const BpfPaths& paths);
    static Result<SocketMaps> wrap(RawBpfMap storage, RawBpfMap reverse4, RawBpfMap reverse6);

    // Whether any namespace may have a datagram socket that is connected to one of these; saves looking into all of
    // them.
    [[nodiscard]] Result<bool> may_have_datagrams(const std::set<LbAddress>& gone) const;
    // Ends the sockets of the calling thread's network namespace that are connected to one of these backends through a
    // service: they get ECONNABORTED. Sockets that were connected to the same address without a service stay. Returns
    // how many. kUnimplemented: the kernel has no CONFIG_INET_DIAG_DESTROY.
    Result<std::size_t> end_connections(const std::set<LbAddress>& gone) const;

private:
    // Of a datagram socket: the kernel does not show its storage.
    [[nodiscard]] bool used_service(std::uint64_t cookie, const IpAddress& backend, std::uint16_t port) const;

    RawBpfMap storage_;
    BpfMap<ipv4_revnat_tuple, ipv4_revnat_entry> reverse4_;
    BpfMap<ipv6_revnat_tuple, ipv6_revnat_entry> reverse6_;
};

}  // namespace axo
