// What the parts of Netlink share. Private to src/kernel.
#pragma once

#include "kernel/netlink.h"
#include "kernel/netlink_socket.h"

namespace axo {

struct Netlink::Impl {
    NetlinkSocket socket;
};

inline std::string link_text(IfIndex link) {
    return "link " + link.to_string();
}
inline int address_family(const IpAddress& address) {
    return address.is_v6() ? AF_INET6 : AF_INET;
}
// IPv6 is not there at all (disabled on the command line): its tables are empty, not broken.
inline bool family_absent(const Error& error) {
    return error.sys_errno == EAFNOSUPPORT || error.sys_errno == EOPNOTSUPP;
}

}  // namespace axo
