#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

#include <cerrno>

#include "kernel/netlink_impl.h"

namespace axo {
namespace {

std::string neighbour_text(const Neighbour& neighbour) {
    return "neighbour " + neighbour.address.to_string() + " on " + link_text(neighbour.link);
}

ndmsg neighbour_header(const Neighbour& neighbour) {
    ndmsg header{};
    header.ndm_family = static_cast<std::uint8_t>(address_family(neighbour.address));
    header.ndm_ifindex = static_cast<int>(neighbour.link.value);
    return header;
}

}  // namespace

Result<std::vector<Neighbour>> Netlink::neighbours() {
    std::vector<Neighbour> all;
    for (const int family : {AF_INET, AF_INET6}) {
        ndmsg header{};
        header.ndm_family = static_cast<std::uint8_t>(family);
        NetlinkMessage message(RTM_GETNEIGH, 0, header);
        const std::size_t before = all.size();
        Status status = impl_->socket.dump(
            message, "list neighbours", [&] { all.resize(before); },
            [&](const nlmsghdr* answer) {
                const auto* entry = static_cast<const ndmsg*>(nlmsg_data(answer));
                const Attributes<NDA_MAX> attributes(answer, sizeof(ndmsg));
                // NOARP entries are multicast addresses; an entry without an address is not resolved.
                if (entry->ndm_family != family || (entry->ndm_state & NUD_NOARP) != 0 || !attributes.has(NDA_LLADDR)) {
                    return;
                }
                all.push_back({IfIndex(static_cast<std::uint32_t>(entry->ndm_ifindex)), attributes.ip(NDA_DST),
                               attributes.mac(NDA_LLADDR), (entry->ndm_state & NUD_PERMANENT) != 0});
            });
        if (!status && !family_absent(status.error())) return forward_error(std::move(status).error());
    }
    return all;
}

Status Netlink::put_neighbour(const Neighbour& neighbour) {
    ndmsg header = neighbour_header(neighbour);
    header.ndm_state = neighbour.permanent ? NUD_PERMANENT : NUD_REACHABLE;
    NetlinkMessage message(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, header);
    message.put(NDA_DST, neighbour.address);
    message.put(NDA_LLADDR, neighbour.mac);
    return impl_->socket.execute(message, "put " + neighbour_text(neighbour));
}

Status Netlink::remove_neighbour(const Neighbour& neighbour) {
    NetlinkMessage message(RTM_DELNEIGH, 0, neighbour_header(neighbour));
    message.put(NDA_DST, neighbour.address);
    Status status = impl_->socket.execute(message, "remove " + neighbour_text(neighbour));
    if (!status && (status.error().sys_errno == ENOENT || status.error().sys_errno == ENODEV)) return {};
    return status;
}

}  // namespace axo
