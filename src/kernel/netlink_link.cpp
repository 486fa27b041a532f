// Links: reading them and changing their settings. Creation is in netlink_device.cpp.
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <cerrno>

#include "kernel/netlink_impl.h"
#include "kernel/netlink_link.h"

namespace axo {
namespace {

constexpr std::size_t kInterfaceNameMax = IFNAMSIZ - 1;
constexpr std::size_t kAlternativeNameMax = 127;  // ALTIFNAMSIZ - 1

NetlinkMessage get_link_message(int flags) {
    NetlinkMessage message(RTM_GETLINK, flags, ifinfomsg{});
    message.put<std::uint32_t>(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    return message;
}

NetlinkMessage change_link_message(IfIndex link) {
    ifinfomsg header{};
    header.ifi_index = static_cast<int>(link.value);
    return {RTM_NEWLINK, 0, header};
}

}  // namespace

LinkDetails parse_link(const nlmsghdr* message) {
    const auto* header = static_cast<const ifinfomsg*>(nlmsg_data(message));
    const Attributes<IFLA_MAX> attributes(message, sizeof(ifinfomsg));
    LinkDetails details;
    Link& link = details.link;
    link.index = IfIndex(static_cast<std::uint32_t>(header->ifi_index));
    link.up = (header->ifi_flags & IFF_UP) != 0;
    link.loopback = (header->ifi_flags & IFF_LOOPBACK) != 0;
    link.name = attributes.text(IFLA_IFNAME);
    link.mac = attributes.mac(IFLA_ADDRESS);
    link.mtu = attributes.value<std::uint32_t>(IFLA_MTU);
    link.master = IfIndex(attributes.value<std::uint32_t>(IFLA_MASTER));
    link.gso_max_size = attributes.value<std::uint32_t>(IFLA_GSO_MAX_SIZE);
    link.gro_max_size = attributes.value<std::uint32_t>(IFLA_GRO_MAX_SIZE);
    details.tx_queue_length = attributes.value<std::uint32_t>(IFLA_TXQLEN);
    details.peer_elsewhere = attributes.has(IFLA_LINK_NETNSID);
    const Attributes<IFLA_ALT_IFNAME> properties(attributes[IFLA_PROP_LIST]);
    link.alternative_name = properties.text(IFLA_ALT_IFNAME);
    const Attributes<IFLA_INFO_MAX> info(attributes[IFLA_LINKINFO]);
    link.kind = info.text(IFLA_INFO_KIND);
    if (link.kind == "veth") link.peer = IfIndex(attributes.value<std::uint32_t>(IFLA_LINK));
    if (link.kind == "vxlan") {
        const Attributes<IFLA_VXLAN_MAX> vxlan(info[IFLA_INFO_DATA]);
        details.tunnel_port = ntohs(vxlan.value<std::uint16_t>(IFLA_VXLAN_PORT));
        details.tunnel_external = vxlan.value<std::uint8_t>(IFLA_VXLAN_COLLECT_METADATA) != 0;
        const auto range = vxlan.value<ifla_vxlan_port_range>(IFLA_VXLAN_PORT_RANGE);
        details.vxlan_source_low = ntohs(range.low);
        details.vxlan_source_high = ntohs(range.high);
    }
    if (link.kind == "geneve") {
        const Attributes<IFLA_GENEVE_MAX> geneve(info[IFLA_INFO_DATA]);
        details.tunnel_port = ntohs(geneve.value<std::uint16_t>(IFLA_GENEVE_PORT));
        details.tunnel_external = geneve.has(IFLA_GENEVE_COLLECT_METADATA);  // a flag without a value
    }
    return details;
}

Result<LinkDetails> get_link(NetlinkSocket& socket, const std::string& name) {
    if (name.empty() || name.size() > kAlternativeNameMax) {
        return fail(Code::kInvalidArgument, "link name \"" + name + "\": must have 1 to 15 characters");
    }
    NetlinkMessage message = get_link_message(0);
    message.put(name.size() > kInterfaceNameMax ? IFLA_ALT_IFNAME : IFLA_IFNAME, name);
    LinkDetails details;
    TRY(socket.query(message, "link " + name, [&](const nlmsghdr* answer) { details = parse_link(answer); }));
    return details;
}

Result<std::vector<Link>> Netlink::links() {
    NetlinkMessage message = get_link_message(NLM_F_DUMP);
    std::vector<Link> all;
    TRY(impl_->socket.dump(
        message, "list links", [&] { all.clear(); },
        [&](const nlmsghdr* answer) { all.push_back(parse_link(answer).link); }));
    return all;
}

Result<Link> Netlink::link(const std::string& name) {
    TRY_ASSIGN(LinkDetails details, get_link(impl_->socket, name));
    return std::move(details.link);
}

Result<Link> Netlink::link(IfIndex index) {
    ifinfomsg header{};
    header.ifi_index = static_cast<int>(index.value);
    NetlinkMessage message(RTM_GETLINK, 0, header);
    message.put<std::uint32_t>(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    Link link;
    TRY(impl_->socket.query(message, link_text(index),
                            [&](const nlmsghdr* answer) { link = parse_link(answer).link; }));
    return link;
}

Status Netlink::remove_link(const std::string& name) {
    NetlinkMessage message(RTM_DELLINK, 0, ifinfomsg{});
    message.put(name.size() > kInterfaceNameMax ? IFLA_ALT_IFNAME : IFLA_IFNAME, name);
    Status status = impl_->socket.execute(message, "remove link " + name);
    if (!status && status.error().sys_errno == ENODEV) return {};
    return status;
}

Status Netlink::set_up(IfIndex link, bool up) {
    ifinfomsg header{};
    header.ifi_index = static_cast<int>(link.value);
    header.ifi_flags = up ? IFF_UP : 0;
    header.ifi_change = IFF_UP;
    NetlinkMessage message(RTM_NEWLINK, 0, header);
    return impl_->socket.execute(message, link_text(link) + (up ? ": set up" : ": set down"));
}

Status Netlink::set_mtu(IfIndex link, std::uint32_t mtu) {
    NetlinkMessage message = change_link_message(link);
    message.put(IFLA_MTU, mtu);
    return impl_->socket.execute(message, link_text(link) + ": set MTU " + std::to_string(mtu));
}

Status Netlink::set_mac(IfIndex link, const MacAddress& mac) {
    NetlinkMessage message = change_link_message(link);
    message.put(IFLA_ADDRESS, mac);
    return impl_->socket.execute(message, link_text(link) + ": set MAC address " + mac.to_string());
}

Status Netlink::set_master(IfIndex link, IfIndex master) {
    NetlinkMessage message = change_link_message(link);
    message.put(IFLA_MASTER, master.value);
    return impl_->socket.execute(message, link_text(link) + ": set master " + master.to_string());
}

Status Netlink::move_to_netns(IfIndex link, int netns_fd) {
    NetlinkMessage message = change_link_message(link);
    message.put(IFLA_NET_NS_FD, netns_fd);
    return impl_->socket.execute(message, link_text(link) + ": move to another network namespace");
}

Status Netlink::rename(IfIndex link, const std::string& name) {
    const std::string what = link_text(link) + ": rename to " + name;
    if (name.empty() || name.size() > kInterfaceNameMax) {
        return fail(Code::kInvalidArgument, what + ": a name has 1 to 15 characters");
    }
    auto request = [&] {
        NetlinkMessage message = change_link_message(link);
        message.put(IFLA_IFNAME, name);
        return impl_->socket.execute(message, what);
    };
    Status status = request();
    if (status || status.error().sys_errno != EBUSY) return status;
    // Before 6.2 a device must be down for this.
    TRY(set_up(link, false));
    status = request();
    TRY(set_up(link, true));
    return status;
}

Status Netlink::set_alternative_name(IfIndex link, const std::string& name) {
    const std::string what = link_text(link) + ": add alternative name " + name;
    if (name.empty() || name.size() > kAlternativeNameMax) {
        return fail(Code::kInvalidArgument, what + ": an alternative name has 1 to 127 characters");
    }
    ifinfomsg header{};
    header.ifi_index = static_cast<int>(link.value);
    NetlinkMessage message(RTM_NEWLINKPROP, NLM_F_CREATE | NLM_F_EXCL | NLM_F_APPEND, header);
    message.nest(IFLA_PROP_LIST, [&] { message.put(IFLA_ALT_IFNAME, name); });
    Status status = impl_->socket.execute(message, what);
    if (!status && status.error().sys_errno == EEXIST) {
        auto holder = get_link(impl_->socket, name);
        if (holder && holder->link.index == link) return {};
    }
    return status;
}

}  // namespace axo
