#include "kernel/socket_diag.h"

#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <vector>

#include "kernel/netlink_socket.h"

namespace axo {
namespace {

// enum of include/net/tcp_states.h, which UDP's sockets share: connected ones are ESTABLISHED.
constexpr std::uint32_t kEstablished = 1U << 1;
constexpr std::uint32_t kTcpConnected = kEstablished | 1U << 2 | 1U << 4 | 1U << 5 | 1U << 8 | 1U << 9 | 1U << 11;

IpAddress address_of(std::uint8_t family, const __be32* words) {
    if (family == AF_INET) return IpAddress::v4(words[0]);
    if (words[0] == 0 && words[1] == 0 && words[2] == htonl(0xffff)) return IpAddress::v4(words[3]);
    return IpAddress::v6(words);
}

bool has_storage(const nlmsghdr* message) {
    const Attributes<INET_DIAG_SK_BPF_STORAGES> attributes(message, sizeof(inet_diag_msg));
    const Attributes<SK_DIAG_BPF_STORAGE> storages(attributes[INET_DIAG_SK_BPF_STORAGES]);
    return storages.has(SK_DIAG_BPF_STORAGE);
}

}  // namespace

bool can_destroy_sockets() {
    auto netlink = NetlinkSocket::open(NETLINK_SOCK_DIAG);
    if (!netlink) return false;
    // Nobody's socket: the kernel that can says ENOENT.
    inet_diag_req_v2 request{};
    request.sdiag_family = AF_INET;
    request.sdiag_protocol = IPPROTO_UDP;
    request.idiag_states = ~0U;
    request.id.idiag_cookie[0] = request.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
    NetlinkMessage message(SOCK_DESTROY, 0, request);
    const Status status = netlink->execute(message, "end a socket");
    return status || status.error().sys_errno == ENOENT;
}

Result<std::size_t> destroy_sockets(std::uint8_t protocol, int storage_fd,
                                    const std::function<bool(const ConnectedSocket&)>& wanted) {
    TRY_ASSIGN(NetlinkSocket netlink, NetlinkSocket::open(NETLINK_SOCK_DIAG));
    std::vector<inet_diag_msg> found;
    for (const int family : {AF_INET, AF_INET6}) {
        std::vector<inet_diag_msg> of_family;
        inet_diag_req_v2 request{};
        request.sdiag_family = static_cast<std::uint8_t>(family);
        request.sdiag_protocol = protocol;
        request.idiag_states = protocol == IPPROTO_TCP ? kTcpConnected : kEstablished;
        NetlinkMessage message(SOCK_DIAG_BY_FAMILY, 0, request);
        if (storage_fd >= 0)
            message.nest(INET_DIAG_REQ_SK_BPF_STORAGES,
                         [&] { message.put(SK_DIAG_BPF_STORAGE_REQ_MAP_FD, static_cast<std::uint32_t>(storage_fd)); });
        TRY(netlink.dump(
            message, "list sockets", [&] { of_family.clear(); },
            [&](const nlmsghdr* answer) {
                if (answer->nlmsg_type != SOCK_DIAG_BY_FAMILY || (storage_fd >= 0 && !has_storage(answer))) return;
                const auto& socket = *static_cast<const inet_diag_msg*>(nlmsg_data(answer));
                if (wanted({.protocol = protocol,
                            .peer = address_of(socket.idiag_family, socket.id.idiag_dst),
                            .peer_port = ntohs(socket.id.idiag_dport),
                            .port = ntohs(socket.id.idiag_sport),
                            .cookie = static_cast<std::uint64_t>(socket.id.idiag_cookie[1]) << 32 |
                                      socket.id.idiag_cookie[0]})) {
                    of_family.push_back(socket);
                }
            }));
        found.insert(found.end(), of_family.begin(), of_family.end());
    }
    std::size_t ended = 0;
    for (const inet_diag_msg& socket : found) {
        inet_diag_req_v2 request{};
        request.sdiag_family = socket.idiag_family;
        request.sdiag_protocol = protocol;
        request.idiag_states = ~0U;
        request.id = socket.id;  // its cookie included: no other socket can be meant
        NetlinkMessage message(SOCK_DESTROY, 0, request);
        const Status status = netlink.execute(message, "end a socket");
        if (status) {
            ++ended;
        } else if (status.error().sys_errno == EOPNOTSUPP) {
            return fail(Code::kUnimplemented, "the kernel cannot end sockets (CONFIG_INET_DIAG_DESTROY)");
        } else if (status.error().sys_errno != ENOENT) {
            return forward_error(status.error());
        }
    }
    return ended;
}

}  // namespace axo
