#include "features/health/namespace.h"

#include <algorithm>

#include "io/listen_socket.h"
#include "kernel/netlink.h"
#include "kernel/netns.h"

namespace axo {

namespace {

Status ensure_address(Netlink& inside, const std::vector<InterfaceAddress>& present, IfIndex link,
                      const IpAddress& wanted, Family family) {
    bool found = false;
    for (const InterfaceAddress& address : present) {
        if (address.link != link || address.address.family() != family ||
            (family == Family::kIpv6 && address.address.is_link_local()))
            continue;
        if (address.address == wanted) {
            found = true;
        } else {
            TRY(inside.remove_address(link, address.address, address.prefix_length));
        }
    }
    if (!wanted || found) return {};
    return inside.add_address(link, Prefix::host(wanted), wanted, true);
}

Status ensure_routes(Netlink& inside, const std::vector<Route>& present, IfIndex link, const IpAddress& router,
                     std::uint32_t mtu) {
    if (!router) return {};
    Route gateway{
        .destination = Prefix::host(router), .gateway = {}, .link = link, .source = {}, .protocol = 3, .scope = 253};
    // IPv6 knows no scopes.
    if (router.is_v6()) gateway.scope = 0;
    Route fallback{
        .destination = Prefix(router.is_v4() ? IpAddress::v4(0U) : IpAddress::v6(std::array<std::uint8_t, 16>{}), 0),
        .gateway = router,
        .link = link,
        .source = {},
        .mtu = mtu,
        .protocol = 3};
    for (const Route& wanted : {gateway, fallback}) {
        const bool there = std::ranges::any_of(present, [&](const Route& route) {
            return route.destination == wanted.destination && route.link == link && route.gateway == wanted.gateway &&
                   route.mtu == wanted.mtu;
        });
        if (!there) TRY(inside.put_route(wanted));
    }
    return {};
}

}  // namespace

Result<HealthNamespace> ensure_health_namespace(const HealthNamespaceSpec& spec) {
    HealthNamespace made;
    TRY(create_netns(spec.path));
    TRY_ASSIGN(Netlink host, Netlink::open());
    TRY_ASSIGN(Netlink inside, Netlink::open_in(spec.path));
    auto outer = host.link(kHealthDevice);
    auto inner = inside.link(kHealthPeer);
    if (!outer || !inner || outer->peer != inner->index) {
        // Half of a pair, or the pair of a namespace that is gone.
        TRY(host.remove_link(kHealthDevice));
        TRY(inside.remove_link(kHealthPeer));
        TRY_ASSIGN(const Fd netns, open_netns(spec.path));
        TRY(host.add_veth({.name = kHealthDevice,
                           .peer_name = kHealthPeer,
                           .mac = MacAddress::random(),
                           .peer_mac = MacAddress::random(),
                           .mtu = spec.device_mtu,
                           .peer_netns_fd = netns.get()}));
        TRY_ASSIGN(outer, host.link(kHealthDevice));
        TRY_ASSIGN(inner, inside.link(kHealthPeer));
        made.created = true;
        (void)write_sysctl(std::string("net.ipv4.conf.") + kHealthDevice + ".rp_filter", "0");
    }
    made.link = outer->index;
    made.mac = inner->mac;
    made.host_mac = outer->mac;
    if (outer->mtu != spec.device_mtu) TRY(host.set_mtu(outer->index, spec.device_mtu));
    if (inner->mtu != spec.device_mtu) TRY(inside.set_mtu(inner->index, spec.device_mtu));
    TRY_ASSIGN(const Link loopback, inside.link("lo"));
    if (!loopback.up) TRY(inside.set_up(loopback.index, true));
    if (spec.ipv6) {
        TRY_ASSIGN(const Fd netns, open_netns(spec.path));
        TRY(run_in_netns(netns.get(), []() -> Status {
            const std::string conf = std::string("net.ipv6.conf.") + kHealthPeer;
            // Nobody else is on this link; without the check the first probe is answered at once, not a second later.
            TRY(write_sysctl(conf + ".accept_dad", "0"));
            return write_sysctl(conf + ".disable_ipv6", "0");
        }));
    }
    if (!outer->up) TRY(host.set_up(outer->index, true));
    if (!inner->up) TRY(inside.set_up(inner->index, true));
    TRY_ASSIGN(const auto addresses, inside.addresses());
    TRY(ensure_address(inside, addresses, inner->index, spec.ipv4, Family::kIpv4));
    TRY(ensure_address(inside, addresses, inner->index, spec.ipv6, Family::kIpv6));
    TRY_ASSIGN(const auto routes, inside.routes());
    const std::uint32_t mtu = spec.route_mtu == spec.device_mtu ? 0 : spec.route_mtu;
    if (spec.ipv4) TRY(ensure_routes(inside, routes, inner->index, spec.router_ipv4, mtu));
    if (spec.ipv6) TRY(ensure_routes(inside, routes, inner->index, spec.router_ipv6, mtu));
    return made;
}

Status remove_health_namespace(const std::string& path) {
    TRY_ASSIGN(Netlink host, Netlink::open());
    TRY(host.remove_link(kHealthDevice));
    return remove_netns(path);
}

Result<Fd> listen_in_namespace(const std::string& path, Family family, std::uint16_t port) {
    TRY_ASSIGN(const Fd netns, open_netns(path));
    Fd listener;
    TRY(run_in_netns(netns.get(), [&]() -> Status {
        const IpAddress any =
            family == Family::kIpv4 ? IpAddress::v4(0U) : IpAddress::v6(std::array<std::uint8_t, 16>{});
        TRY_ASSIGN(listener, open_tcp_listener(any, port));
        return {};
    }));
    return listener;
}

}  // namespace axo
