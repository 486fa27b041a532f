#include <linux/rtnetlink.h>

#include <cerrno>

#include "kernel/netlink_impl.h"

namespace axo {
namespace {

// What the kernel stores for an IPv6 route without a metric.
constexpr std::uint32_t kDefaultMetricV6 = 1024;

bool rejects(std::uint8_t type) {
    return type == RTN_BLACKHOLE || type == RTN_UNREACHABLE || type == RTN_PROHIBIT;
}

std::string route_text(const Route& route) {
    std::string text = "route " + route.destination.to_string();
    if (route.gateway) text += " via " + route.gateway->to_string();
    if (route.link.value != 0) text += " dev " + route.link.to_string();
    return text + " table " + std::to_string(route.table);
}

IpAddress unspecified(int family) {
    return family == AF_INET6 ? IpAddress::v6(std::array<std::uint8_t, 16>{}) : IpAddress::v4(0U);
}

// Appends the message's routes: one per next hop.
void parse_route(const nlmsghdr* message, std::vector<Route>& out) {
    const auto* header = static_cast<const rtmsg*>(nlmsg_data(message));
    if ((header->rtm_flags & RTM_F_CLONED) != 0) return;
    const Attributes<RTA_MAX> attributes(message, sizeof(rtmsg));
    Route route;
    route.table = attributes.value<std::uint32_t>(RTA_TABLE, header->rtm_table);
    if (route.table == RT_TABLE_LOCAL) return;
    const IpAddress destination = attributes.has(RTA_DST) ? attributes.ip(RTA_DST) : unspecified(header->rtm_family);
    route.destination = Prefix(destination, header->rtm_dst_len);
    route.link = IfIndex(attributes.value<std::uint32_t>(RTA_OIF));
    if (attributes.has(RTA_GATEWAY)) route.gateway = attributes.ip(RTA_GATEWAY);
    if (attributes.has(RTA_PREFSRC)) route.source = attributes.ip(RTA_PREFSRC);
    const Attributes<RTAX_MAX> metrics(attributes[RTA_METRICS]);
    route.mtu = metrics.value<std::uint32_t>(RTAX_MTU);
    route.protocol = header->rtm_protocol;
    route.scope = header->rtm_scope;
    route.type = header->rtm_type;
    route.priority = attributes.value<std::uint32_t>(RTA_PRIORITY);
    route.onlink = (header->rtm_flags & RTNH_F_ONLINK) != 0;

    const nlattr* multipath = attributes[RTA_MULTIPATH];
    if (multipath == nullptr) {
        out.push_back(as_listed(std::move(route)));
        return;
    }
    int left = nla_len(multipath);
    const auto* hop = static_cast<const rtnexthop*>(nla_data(multipath));
    while (left >= static_cast<int>(sizeof(rtnexthop)) && hop->rtnh_len >= sizeof(rtnexthop) && hop->rtnh_len <= left) {
        route.link = IfIndex(static_cast<std::uint32_t>(hop->rtnh_ifindex));
        route.onlink = (hop->rtnh_flags & RTNH_F_ONLINK) != 0;
        route.gateway.reset();
        const int length = hop->rtnh_len - static_cast<int>(sizeof(rtnexthop));
        if (const nlattr* gateway = nla_find(reinterpret_cast<const nlattr*>(RTNH_DATA(hop)), length, RTA_GATEWAY)) {
            route.gateway =
                nla_len(gateway) == 16 ? IpAddress::v6(nla_data(gateway)) : IpAddress::v4(nla_get_u32(gateway));
        }
        out.push_back(as_listed(route));
        left -= RTNH_ALIGN(hop->rtnh_len);
        hop = RTNH_NEXT(hop);
    }
}

rtmsg route_header(const Route& route) {
    rtmsg header{};
    header.rtm_family = static_cast<std::uint8_t>(address_family(route.destination.address()));
    header.rtm_dst_len = static_cast<std::uint8_t>(route.destination.length());
    header.rtm_table =
        route.table < 256 ? static_cast<std::uint8_t>(route.table) : static_cast<std::uint8_t>(RT_TABLE_UNSPEC);
    header.rtm_protocol = route.protocol;
    header.rtm_type = route.type;
    header.rtm_scope = route.scope;
    return header;
}

void put_identity(NetlinkMessage& message, const Route& route) {
    message.put(RTA_DST, route.destination.address());
    message.put(RTA_TABLE, route.table);
    if (!rejects(route.type)) {
        if (route.link.value != 0) message.put(RTA_OIF, route.link.value);
        if (route.gateway) message.put(RTA_GATEWAY, *route.gateway);
    }
    // For IPv6 a metric of 0 in a removal would match any.
    const std::uint32_t fallback = route.destination.family() == Family::kIpv6 ? kDefaultMetricV6 : 0;
    message.put(RTA_PRIORITY, route.priority != 0 ? route.priority : fallback);
}

Status check_route(const Route& route) {
    if (!route.destination) return fail(Code::kInvalidArgument, "route without a destination");
    const Family family = route.destination.family();
    if (route.gateway && route.gateway->family() != family) {
        return fail(Code::kInvalidArgument, route_text(route) + ": the gateway is of the other address family");
    }
    if (route.source && route.source->family() != family) {
        return fail(Code::kInvalidArgument,
                    route_text(route) + ": source " + route.source->to_string() + " is of the other address family");
    }
    return {};
}

}  // namespace

Route as_listed(Route route) {
    if (route.destination.family() == Family::kIpv6) {
        if (route.priority == kDefaultMetricV6) route.priority = 0;
        route.scope = RT_SCOPE_UNIVERSE;
    }
    if (rejects(route.type)) {
        route.link = IfIndex();  // the kernel says lo for IPv6
        route.gateway.reset();
    }
    return route;
}

Result<std::vector<Route>> Netlink::routes() {
    std::vector<Route> all;
    for (const int family : {AF_INET, AF_INET6}) {
        rtmsg header{};
        header.rtm_family = static_cast<std::uint8_t>(family);
        NetlinkMessage message(RTM_GETROUTE, 0, header);
        const std::size_t before = all.size();
        Status status = impl_->socket.dump(
            message, family == AF_INET ? "list IPv4 routes" : "list IPv6 routes", [&] { all.resize(before); },
            [&](const nlmsghdr* answer) {
                // Kernels without strict checking answer for all families.
                if (static_cast<const rtmsg*>(nlmsg_data(answer))->rtm_family == family) parse_route(answer, all);
            });
        if (!status && !family_absent(status.error())) return forward_error(std::move(status).error());
    }
    return all;
}

Status Netlink::put_route(const Route& route) {
    TRY(check_route(route));
    rtmsg header = route_header(route);
    if (route.onlink) header.rtm_flags |= RTNH_F_ONLINK;
    NetlinkMessage message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, header);
    put_identity(message, route);
    if (route.source) message.put(RTA_PREFSRC, *route.source);
    if (route.mtu != 0) message.nest(RTA_METRICS, [&] { message.put(RTAX_MTU, route.mtu); });
    return impl_->socket.execute(message, "put " + route_text(route));
}

Status Netlink::remove_route(const Route& route) {
    TRY(check_route(route));
    rtmsg header = route_header(route);
    header.rtm_scope = RT_SCOPE_NOWHERE;  // any
    NetlinkMessage message(RTM_DELROUTE, 0, header);
    put_identity(message, route);
    Status status = impl_->socket.execute(message, "remove " + route_text(route));
    // A table or a device that is not there has no such route either.
    if (!status && (status.error().sys_errno == ESRCH || status.error().sys_errno == ENOENT ||
                    status.error().sys_errno == ENODEV)) {
        return {};
    }
    return status;
}

Result<Netlink::Lookup> Netlink::lookup(const IpAddress& destination) {
    if (!destination) return fail(Code::kInvalidArgument, "route lookup without a destination");
    const std::string what = "look up the route to " + destination.to_string();
    rtmsg header{};
    header.rtm_family = static_cast<std::uint8_t>(address_family(destination));
    header.rtm_dst_len = static_cast<std::uint8_t>(destination.bits());
    NetlinkMessage message(RTM_GETROUTE, 0, header);
    message.put(RTA_DST, destination);
    Lookup result;
    int reject_errno = 0;
    Status status = impl_->socket.query(message, what, [&](const nlmsghdr* answer) {
        const Attributes<RTA_MAX> attributes(answer, sizeof(rtmsg));
        if (attributes.has(RTA_GATEWAY)) result.gateway = attributes.ip(RTA_GATEWAY);
        if (attributes.has(RTA_PREFSRC)) result.source = attributes.ip(RTA_PREFSRC);
        result.link = IfIndex(attributes.value<std::uint32_t>(RTA_OIF));
        result.type = static_cast<const rtmsg*>(nlmsg_data(answer))->rtm_type;
        reject_errno = -attributes.template value<rta_cacheinfo>(RTA_CACHEINFO).rta_error;
    });
    if (!status) reject_errno = status.error().sys_errno;
    switch (reject_errno) {
        case 0: break;
        case ENETUNREACH: return fail(Code::kNotFound, what + ": there is none");
        // fib_props of the kernel: how it reports a route that rejects.
        case EHOSTUNREACH: return Lookup{{}, {}, {}, RTN_UNREACHABLE};
        case EACCES: return Lookup{{}, {}, {}, RTN_PROHIBIT};
        case EINVAL: return Lookup{{}, {}, {}, RTN_BLACKHOLE};
        default: break;
    }
    if (!status) return forward_error(std::move(status).error());
    return result;
}

}  // namespace axo
