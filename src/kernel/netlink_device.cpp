// Creation of virtual devices.
#include <arpa/inet.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>

#include <cerrno>

#include "kernel/netlink_impl.h"
#include "kernel/netlink_link.h"
#include "kernel/netns.h"

namespace axo {
namespace {

struct DeviceSettings {
    MacAddress mac;
    std::uint32_t mtu = 0;
    std::uint32_t tx_queue_length = 0;
    std::uint32_t gso_max_size = 0;
    std::uint32_t gro_max_size = 0;
};

void put_settings(NetlinkMessage& message, const std::string& name, const DeviceSettings& settings) {
    message.put(IFLA_IFNAME, name);
    if (!settings.mac.is_zero()) message.put(IFLA_ADDRESS, settings.mac);
    if (settings.mtu != 0) message.put(IFLA_MTU, settings.mtu);
    if (settings.tx_queue_length != 0) message.put(IFLA_TXQLEN, settings.tx_queue_length);
    if (settings.gso_max_size != 0) message.put(IFLA_GSO_MAX_SIZE, settings.gso_max_size);
    if (settings.gro_max_size != 0) message.put(IFLA_GRO_MAX_SIZE, settings.gro_max_size);
}

Status check_name(const std::string& kind, const std::string& name) {
    if (!name.empty() && name.size() < IFNAMSIZ) return {};
    return fail(Code::kInvalidArgument, "add " + kind + " \"" + name + "\": a device name has 1 to 15 characters");
}

std::unexpected<Error> differs(const std::string& name, const std::string& what) {
    return fail(Code::kAlreadyExists, "link " + name + " exists already " + what);
}

// Settings that can change on a living device are brought to what is asked for; unset ones stay.
Status converge(NetlinkSocket& socket, const LinkDetails& present, const DeviceSettings& wanted) {
    DeviceSettings change;
    if (!wanted.mac.is_zero() && wanted.mac != present.link.mac) change.mac = wanted.mac;
    if (wanted.mtu != 0 && wanted.mtu != present.link.mtu) change.mtu = wanted.mtu;
    if (wanted.tx_queue_length != 0 && wanted.tx_queue_length != present.tx_queue_length) {
        change.tx_queue_length = wanted.tx_queue_length;
    }
    if (wanted.gso_max_size != 0 && wanted.gso_max_size != present.link.gso_max_size) {
        change.gso_max_size = wanted.gso_max_size;
    }
    if (wanted.gro_max_size != 0 && wanted.gro_max_size != present.link.gro_max_size) {
        change.gro_max_size = wanted.gro_max_size;
    }
    if (change.mac.is_zero() && change.mtu == 0 && change.tx_queue_length == 0 && change.gso_max_size == 0 &&
        change.gro_max_size == 0) {
        return {};
    }
    ifinfomsg header{};
    header.ifi_index = static_cast<int>(present.link.index.value);
    NetlinkMessage message(RTM_NEWLINK, 0, header);
    put_settings(message, present.link.name, change);
    return socket.execute(message, "change link " + present.link.name);
}

Result<LinkDetails> existing_of_kind(NetlinkSocket& socket, const std::string& name, const std::string& kind) {
    TRY_ASSIGN(LinkDetails present, get_link(socket, name));
    if (present.link.kind != kind) {
        return differs(name, "as " + (present.link.kind.empty() ? "a device" : present.link.kind) + ", wanted " + kind);
    }
    return present;
}

Status check_tunnel(const LinkDetails& present, std::uint16_t port) {
    if (!present.tunnel_external) return differs(present.link.name, "without collect-metadata mode");
    if (present.tunnel_port == port) return {};
    return differs(present.link.name,
                   "with port " + std::to_string(present.tunnel_port) + ", wanted " + std::to_string(port));
}

}  // namespace

Status Netlink::add_veth(const VethSpec& spec) {
    TRY(check_name("veth", spec.name));
    TRY(check_name("veth peer", spec.peer_name));
    const DeviceSettings near{spec.mac, spec.mtu, spec.tx_queue_length, spec.gso_max_size, spec.gro_max_size};
    const DeviceSettings far{spec.peer_mac, spec.mtu, spec.tx_queue_length, spec.gso_max_size, spec.gro_max_size};
    NetlinkMessage message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, ifinfomsg{});
    put_settings(message, spec.name, near);
    message.nest(IFLA_LINKINFO, [&] {
        message.put(IFLA_INFO_KIND, std::string("veth"));
        message.nest(IFLA_INFO_DATA, [&] {
            message.nest(VETH_INFO_PEER, [&] {
                message.append(ifinfomsg{});
                put_settings(message, spec.peer_name, far);
                if (spec.peer_netns_fd >= 0) message.put(IFLA_NET_NS_FD, spec.peer_netns_fd);
            });
        });
    });
    Status status = impl_->socket.execute(message, "add veth " + spec.name + " with peer " + spec.peer_name);
    if (status || status.error().sys_errno != EEXIST || spec.exclusive) return status;

    auto present = existing_of_kind(impl_->socket, spec.name, "veth");
    if (!present && present.error().sys_errno == ENODEV) return status;  // only the peer's name is taken
    if (!present) return forward_error(std::move(present).error());
    auto adopt_peer = [&](NetlinkSocket& socket) -> Status {
        auto peer = get_link(socket, spec.peer_name);
        if (!peer || peer->link.kind != "veth" || peer->link.index != present->link.peer ||
            peer->link.peer != present->link.index) {
            return differs(spec.name, "with another peer than " + spec.peer_name);
        }
        return converge(socket, *peer, far);
    };
    if (spec.peer_netns_fd < 0) {
        TRY(adopt_peer(impl_->socket));
    } else {
        TRY(run_in_netns(spec.peer_netns_fd, [&]() -> Status {
            TRY_ASSIGN(NetlinkSocket socket, NetlinkSocket::open());
            return adopt_peer(socket);
        }));
    }
    return converge(impl_->socket, *present, near);
}

Status Netlink::add_vxlan(const VxlanSpec& spec) {
    TRY(check_name("vxlan", spec.name));
    const DeviceSettings settings{spec.mac, spec.mtu, 0, 0, 0};
    const bool has_range = spec.source_port_low != 0 || spec.source_port_high != 0;
    if (has_range && spec.source_port_low >= spec.source_port_high) {
        return fail(Code::kInvalidArgument, "add vxlan " + spec.name + ": source port range " +
                                                std::to_string(spec.source_port_low) + "-" +
                                                std::to_string(spec.source_port_high) + " is empty");
    }
    NetlinkMessage message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, ifinfomsg{});
    put_settings(message, spec.name, settings);
    message.nest(IFLA_LINKINFO, [&] {
        message.put(IFLA_INFO_KIND, std::string("vxlan"));
        message.nest(IFLA_INFO_DATA, [&] {
            message.put<std::uint8_t>(IFLA_VXLAN_COLLECT_METADATA, 1);
            message.put<std::uint16_t>(IFLA_VXLAN_PORT, htons(spec.port));
            message.put<std::uint8_t>(IFLA_VXLAN_LEARNING, 0);
            message.put<std::uint8_t>(IFLA_VXLAN_UDP_CSUM, 0);
            message.put<std::uint8_t>(IFLA_VXLAN_UDP_ZERO_CSUM6_TX, 1);
            message.put<std::uint8_t>(IFLA_VXLAN_UDP_ZERO_CSUM6_RX, 1);
            if (has_range) {
                const ifla_vxlan_port_range range{htons(spec.source_port_low), htons(spec.source_port_high)};
                message.put_bytes(IFLA_VXLAN_PORT_RANGE, &range, sizeof(range));
            }
        });
    });
    Status status = impl_->socket.execute(message, "add vxlan " + spec.name + " port " + std::to_string(spec.port));
    if (status || status.error().sys_errno != EEXIST) return status;

    auto present = existing_of_kind(impl_->socket, spec.name, "vxlan");
    // The kernel also says EEXIST when another device of this namespace has the port.
    if (!present && present.error().sys_errno == ENODEV) return status;
    if (!present) return forward_error(std::move(present).error());
    TRY(check_tunnel(*present, spec.port));
    if (has_range &&
        (present->vxlan_source_low != spec.source_port_low || present->vxlan_source_high != spec.source_port_high)) {
        return differs(spec.name, "with source ports " + std::to_string(present->vxlan_source_low) + "-" +
                                      std::to_string(present->vxlan_source_high));
    }
    return converge(impl_->socket, *present, settings);
}

Status Netlink::add_geneve(const GeneveSpec& spec) {
    TRY(check_name("geneve", spec.name));
    const DeviceSettings settings{spec.mac, spec.mtu, 0, 0, 0};
    NetlinkMessage message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, ifinfomsg{});
    put_settings(message, spec.name, settings);
    message.nest(IFLA_LINKINFO, [&] {
        message.put(IFLA_INFO_KIND, std::string("geneve"));
        message.nest(IFLA_INFO_DATA, [&] {
            message.put_bytes(IFLA_GENEVE_COLLECT_METADATA, nullptr, 0);
            message.put<std::uint16_t>(IFLA_GENEVE_PORT, htons(spec.port));
            message.put<std::uint8_t>(IFLA_GENEVE_UDP_ZERO_CSUM6_RX, 1);
        });
    });
    Status status = impl_->socket.execute(message, "add geneve " + spec.name + " port " + std::to_string(spec.port));
    if (status || status.error().sys_errno != EEXIST) return status;

    TRY_ASSIGN(const LinkDetails present, existing_of_kind(impl_->socket, spec.name, "geneve"));
    TRY(check_tunnel(present, spec.port));
    return converge(impl_->socket, present, settings);
}

Status Netlink::add_bridge(const std::string& name) {
    TRY(check_name("bridge", name));
    NetlinkMessage message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, ifinfomsg{});
    message.put(IFLA_IFNAME, name);
    message.nest(IFLA_LINKINFO, [&] { message.put(IFLA_INFO_KIND, std::string("bridge")); });
    Status status = impl_->socket.execute(message, "add bridge " + name);
    if (status || status.error().sys_errno != EEXIST) return status;
    TRY(existing_of_kind(impl_->socket, name, "bridge"));
    return {};
}

}  // namespace axo
