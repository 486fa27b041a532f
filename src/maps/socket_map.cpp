#include "maps/socket_map.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>

#include "kernel/socket_diag.h"

namespace axo {

Result<SocketMaps> SocketMaps::open(const BpfPaths& paths) {
    TRY_ASSIGN(RawBpfMap storage, RawBpfMap::open_pinned(paths.map(map_name::kLbSockets)));
    TRY_ASSIGN(RawBpfMap reverse4, RawBpfMap::open_pinned(paths.map(map_name::kReverseSk4)));
    TRY_ASSIGN(RawBpfMap reverse6, RawBpfMap::open_pinned(paths.map(map_name::kReverseSk6)));
    return wrap(std::move(storage), std::move(reverse4), std::move(reverse6));
}

Result<SocketMaps> SocketMaps::wrap(RawBpfMap storage, RawBpfMap reverse4, RawBpfMap reverse6) {
    SocketMaps maps;
    maps.storage_ = std::move(storage);
    TRY_ASSIGN(maps.reverse4_, (BpfMap<ipv4_revnat_tuple, ipv4_revnat_entry>::wrap(std::move(reverse4))));
    TRY_ASSIGN(maps.reverse6_, (BpfMap<ipv6_revnat_tuple, ipv6_revnat_entry>::wrap(std::move(reverse6))));
    return maps;
}

bool SocketMaps::used_service(std::uint64_t cookie, const IpAddress& backend, std::uint16_t port) const {
    if (backend.is_v4()) {
        ipv4_revnat_tuple key{};
        key.cookie = cookie;
        std::memcpy(&key.address, backend.bytes().data(), sizeof(key.address));
        key.port = htons(port);
        return reverse4_.get(key).has_value();
    }
    ipv6_revnat_tuple key{};
    key.cookie = cookie;
    std::memcpy(&key.address, backend.bytes().data(), sizeof(key.address));
    key.port = htons(port);
    return reverse6_.get(key).has_value();
}

Result<bool> SocketMaps::may_have_datagrams(const std::set<LbAddress>& gone) const {
    bool found = false;
    TRY(reverse4_.raw().for_each([&](const void* raw, const void*) {
        ipv4_revnat_tuple key;
        std::memcpy(&key, raw, sizeof(key));
        found = found || gone.contains({IpAddress::v4(key.address), ntohs(key.port), IPPROTO_UDP});
    }));
    if (found) return true;
    TRY(reverse6_.raw().for_each([&](const void* raw, const void*) {
        ipv6_revnat_tuple key;
        std::memcpy(&key, raw, sizeof(key));
        found = found || gone.contains({IpAddress::v6(key.address), ntohs(key.port), IPPROTO_UDP});
    }));
    return found;
}

Result<std::size_t> SocketMaps::end_connections(const std::set<LbAddress>& gone) const {
    std::size_t ended = 0;
    for (const std::uint8_t protocol : {IPPROTO_TCP, IPPROTO_UDP}) {
        if (std::ranges::none_of(gone, [=](const LbAddress& backend) { return backend.protocol == protocol; }))
            continue;
        const bool datagrams = protocol == IPPROTO_UDP;
        TRY_ASSIGN(const std::size_t count,
                   destroy_sockets(protocol, datagrams ? -1 : storage_.fd(), [&](const ConnectedSocket& socket) {
                       return gone.contains({socket.peer, socket.peer_port, protocol}) &&
                              (!datagrams || used_service(socket.cookie, socket.peer, socket.peer_port));
                   }));
        ended += count;
    }
    return ended;
}

}  // namespace axo
