#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cerrno>

#include "kernel/netlink.h"
#include "kernel/netlink_socket.h"

namespace axo {

Result<NetlinkMonitor> NetlinkMonitor::open() {
    Fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
    if (!fd) return fail_errno("open netlink monitor");
    sockaddr_nl address{};
    address.nl_family = AF_NETLINK;
    for (const int group : {RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE,
                            RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_RULE}) {
        address.nl_groups |= 1U << (group - 1);
    }
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
        return fail_errno("subscribe to netlink notifications");
    }
    return NetlinkMonitor(std::move(fd));
}

NetlinkMonitor::Changes NetlinkMonitor::drain() {
    Changes changes;
    alignas(nlmsghdr) char buffer[32768];
    for (;;) {
        const ssize_t count = ::recv(socket_.get(), buffer, sizeof(buffer), MSG_TRUNC);
        if (count < 0) {
            if (errno == EINTR) continue;
            if (errno == EAGAIN) return changes;
            changes = {true, true, true, true};
            if (errno == ENOBUFS) continue;  // the queue overflowed; it can be read again
            return changes;
        }
        if (static_cast<std::size_t>(count) > sizeof(buffer)) {
            changes = {true, true, true, true};
            continue;
        }
        int left = static_cast<int>(count);
        for (auto* header = reinterpret_cast<nlmsghdr*>(buffer); nlmsg_ok(header, left);
             header = nlmsg_next(header, &left)) {
            switch (header->nlmsg_type) {
                case RTM_NEWLINK:
                case RTM_DELLINK: changes.links = true; break;
                case RTM_NEWADDR:
                case RTM_DELADDR: changes.addresses = true; break;
                case RTM_NEWROUTE:
                case RTM_DELROUTE: changes.routes = true; break;
                case RTM_NEWRULE:
                case RTM_DELRULE: changes.rules = true; break;
                default: break;
            }
        }
    }
}

}  // namespace axo
