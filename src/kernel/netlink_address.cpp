#include <linux/if_addr.h>
#include <linux/rtnetlink.h>

#include <cerrno>

#include "kernel/netlink_impl.h"

namespace axo {
namespace {

InterfaceAddress parse_address(const nlmsghdr* message) {
    const auto* header = static_cast<const ifaddrmsg*>(nlmsg_data(message));
    const Attributes<IFA_MAX> attributes(message, sizeof(ifaddrmsg));
    InterfaceAddress result;
    result.link = IfIndex(header->ifa_index);
    // On a point-to-point device IFA_ADDRESS is the other end.
    result.address = attributes.has(IFA_LOCAL) ? attributes.ip(IFA_LOCAL) : attributes.ip(IFA_ADDRESS);
    result.prefix_length = header->ifa_prefixlen;
    result.scope = header->ifa_scope;
    const auto flags = attributes.value<std::uint32_t>(IFA_FLAGS, header->ifa_flags);
    result.deprecated = (flags & IFA_F_DEPRECATED) != 0;
    result.tentative = (flags & IFA_F_TENTATIVE) != 0;
    return result;
}

ifaddrmsg address_header(IfIndex link, const IpAddress& address, int prefix_length) {
    ifaddrmsg header{};
    header.ifa_family = static_cast<std::uint8_t>(address_family(address));
    header.ifa_prefixlen = static_cast<std::uint8_t>(prefix_length);
    header.ifa_index = link.value;
    header.ifa_scope = address.is_loopback()     ? RT_SCOPE_HOST
                       : address.is_link_local() ? RT_SCOPE_LINK
                                                 : RT_SCOPE_UNIVERSE;
    return header;
}

}  // namespace

Result<std::vector<InterfaceAddress>> Netlink::addresses() {
    NetlinkMessage message(RTM_GETADDR, 0, ifaddrmsg{});
    std::vector<InterfaceAddress> all;
    TRY(impl_->socket.dump(
        message, "list addresses", [&] { all.clear(); },
        [&](const nlmsghdr* answer) {
            if (InterfaceAddress address = parse_address(answer); address.address) all.push_back(address);
        }));
    return all;
}

Status Netlink::add_address(IfIndex link, const Prefix& host_prefix_with_length, const IpAddress& address,
                            bool no_dad) {
    const std::string what = link_text(link) + ": add address " + address.to_string() + "/" +
                             std::to_string(host_prefix_with_length.length());
    if (!address || !host_prefix_with_length.contains(address)) {
        return fail(Code::kInvalidArgument, what + ": is not in prefix " + host_prefix_with_length.to_string());
    }
    NetlinkMessage message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE,
                           address_header(link, address, host_prefix_with_length.length()));
    message.put(IFA_LOCAL, address);
    message.put(IFA_ADDRESS, address);
    if (address.is_v6() && no_dad) message.put<std::uint32_t>(IFA_FLAGS, IFA_F_NODAD);
    return impl_->socket.execute(message, what);
}

Status Netlink::remove_address(IfIndex link, const IpAddress& address, int prefix_length) {
    NetlinkMessage message(RTM_DELADDR, 0, address_header(link, address, prefix_length));
    message.put(IFA_LOCAL, address);
    Status status = impl_->socket.execute(
        message, link_text(link) + ": remove address " + address.to_string() + "/" + std::to_string(prefix_length));
    if (!status && (status.error().sys_errno == EADDRNOTAVAIL || status.error().sys_errno == ENODEV)) return {};
    return status;
}

}  // namespace axo
