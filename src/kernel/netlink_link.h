// Links with what only creation needs to know. Private to src/kernel.
#pragma once

#include "kernel/netlink.h"
#include "kernel/netlink_socket.h"

namespace axo {

struct LinkDetails {
    Link link;
    std::uint32_t tx_queue_length = 0;
    bool peer_elsewhere = false;    // veth: the other end is in another namespace
    std::uint16_t tunnel_port = 0;  // vxlan, geneve
    bool tunnel_external = false;   // addresses and identities are each packet's own
    std::uint16_t vxlan_source_low = 0;
    std::uint16_t vxlan_source_high = 0;
};

LinkDetails parse_link(const nlmsghdr* message);
// By name or alternative name.
Result<LinkDetails> get_link(NetlinkSocket& socket, const std::string& name);

}  // namespace axo
