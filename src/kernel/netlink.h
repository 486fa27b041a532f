// Links, addresses, routes, rules and neighbours of one network namespace, through libnl.
//
// A Netlink object is bound to the namespace it was opened in for its whole life, whatever the
// thread's namespace later is. Operations are idempotent: creating what is equal and removing what
// is absent succeed. Errors name the object. Thread: any one at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/ip.h"
#include "base/result.h"
#include "base/types.h"

namespace axo {

struct Link {
    IfIndex index;
    std::string name;
    std::string alternative_name;  // the first one, "" if none
    std::string kind;              // "veth", "vxlan", "geneve", "bridge", "" for physical
    MacAddress mac;
    std::uint32_t mtu = 0;
    bool up = false;
    bool loopback = false;
    IfIndex peer;    // veth: interface index of the other end in its namespace; 0 otherwise
    IfIndex master;  // 0: none
    std::uint32_t gso_max_size = 0;
    std::uint32_t gro_max_size = 0;
};

struct InterfaceAddress {
    IfIndex link;
    IpAddress address;
    int prefix_length = 0;
    std::uint8_t scope = 0;  // RT_SCOPE_*
    bool deprecated = false;
    bool tentative = false;
    friend bool operator==(const InterfaceAddress&, const InterfaceAddress&) = default;
};

struct Route {
    Prefix destination;  // length 0: default route
    std::optional<IpAddress> gateway;
    IfIndex link;
    std::optional<IpAddress> source;  // preferred source address
    std::uint32_t mtu = 0;            // 0: the device's
    std::uint32_t table = 254;        // RT_TABLE_MAIN
    std::uint8_t protocol = 2;        // RTPROT_KERNEL, as Cilium marks its routes
    std::uint8_t scope = 0;           // RT_SCOPE_UNIVERSE; RT_SCOPE_LINK = 253
    std::uint8_t type = 1;            // RTN_UNICAST
    std::uint32_t priority = 0;       // metric; IPv6 reads 1024 for 0, reported as 0 here
    bool onlink = false;
    friend bool operator==(const Route&, const Route&) = default;
};

// The route as routes() reports it once it was put: compare with this form. For IPv6 the kernel
// keeps no scope; types that reject have no device and no gateway.
Route as_listed(Route route);

// Rules that select by nothing but a firewall mark (mask 0: by nothing).
struct Rule {
    std::uint32_t priority = 0;
    Family family = Family::kIpv4;
    std::uint32_t mark = 0;
    std::uint32_t mask = 0;
    std::uint32_t table = 0;
    friend bool operator==(const Rule&, const Rule&) = default;
};

struct Neighbour {
    IfIndex link;
    IpAddress address;
    MacAddress mac;
    bool permanent = false;
};

class Netlink {
public:
    // In the calling thread's current network namespace.
    static Result<Netlink> open();
    // In the namespace of the given path (/var/run/netns/x, /proc/1/ns/net); the thread's own is left as it is.
    static Result<Netlink> open_in(const std::string& netns_path);
    Netlink(Netlink&&) noexcept;
    Netlink& operator=(Netlink&&) noexcept;
    ~Netlink();

    Result<std::vector<Link>> links();
    Result<Link> link(const std::string& name);  // or alternative name
    Result<Link> link(IfIndex index);

    struct VethSpec {
        std::string name;
        std::string peer_name;
        MacAddress mac;  // zero: the kernel's choice
        MacAddress peer_mac;
        std::uint32_t mtu = 0;
        std::uint32_t tx_queue_length = 1000;
        std::uint32_t gso_max_size = 0;  // 0: the kernel's default
        std::uint32_t gro_max_size = 0;
        int peer_netns_fd = -1;  // -1: here
        bool exclusive = false;  // an existing pair is kAlreadyExists, for callers that undo what they made
    };
    // A pair that exists is adopted: MAC addresses, MTU and sizes are changed to what is asked for;
    // a device of another kind or with another peer is kAlreadyExists. Likewise for add_vxlan and add_geneve.
    Status add_veth(const VethSpec& spec);
    struct VxlanSpec {
        std::string name;
        std::uint16_t port = 8472;
        std::uint32_t mtu = 0;
        MacAddress mac;
        std::uint16_t source_port_low = 0;  // 0: the kernel's range
        std::uint16_t source_port_high = 0;
    };
    // A collect-metadata ("external") device with UDP checksums off over IPv4 and zero checksums accepted over IPv6.
    Status add_vxlan(const VxlanSpec& spec);
    struct GeneveSpec {
        std::string name;
        std::uint16_t port = 6081;
        std::uint32_t mtu = 0;
        MacAddress mac;
    };
    Status add_geneve(const GeneveSpec& spec);  // likewise
    Status add_bridge(const std::string& name);
    Status remove_link(const std::string& name);
    Status set_up(IfIndex link, bool up);
    Status set_mtu(IfIndex link, std::uint32_t mtu);
    Status set_mac(IfIndex link, const MacAddress& mac);
    Status set_master(IfIndex link, IfIndex master);
    Status move_to_netns(IfIndex link, int netns_fd);
    Status rename(IfIndex link, const std::string& name);
    Status set_alternative_name(IfIndex link, const std::string& name);

    Result<std::vector<InterfaceAddress>> addresses();
    // no_dad: IPv6 without duplicate address detection.
    Status add_address(IfIndex link, const Prefix& host_prefix_with_length, const IpAddress& address,
                       bool no_dad = true);
    Status remove_address(IfIndex link, const IpAddress& address, int prefix_length);

    // Both families, all tables but local (255), without cached routes; multipath routes appear once per next hop.
    Result<std::vector<Route>> routes();
    Status put_route(const Route& route);  // replaces the route of the same destination, table and priority
    // Removes the route that agrees in destination, table, priority, type, protocol and, where given, gateway and
    // device. The kernel takes IPv4's priority 0 as "any".
    Status remove_route(const Route& route);
    // What `ip route get` answers: gateway and device for a destination. No route: kNotFound.
    struct Lookup {
        std::optional<IpAddress> gateway;
        IfIndex link;
        std::optional<IpAddress> source;
        std::uint8_t type = 1;  // RTN_*
    };
    Result<Lookup> lookup(const IpAddress& destination);

    // Rules that Rule cannot express (other selectors or actions) are left out.
    Result<std::vector<Rule>> rules();
    Status put_rule(const Rule& rule);
    Status remove_rule(const Rule& rule);

    // Resolved and permanent entries.
    Result<std::vector<Neighbour>> neighbours();
    Status put_neighbour(const Neighbour& neighbour);
    Status remove_neighbour(const Neighbour& neighbour);

private:
    struct Impl;
    explicit Netlink(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

// Change notifications (RTNLGRP_LINK, IPV4/6_IFADDR, IPV4/6_ROUTE, IPV4/6_RULE) of one namespace.
// Readable fd for a loop; drain() tells what kinds of objects changed. An overflow of the kernel's
// queue counts as "everything changed".
class NetlinkMonitor {
public:
    struct Changes {
        bool links = false;
        bool addresses = false;
        bool routes = false;
        bool rules = false;
    };
    static Result<NetlinkMonitor> open();
    [[nodiscard]] int fd() const { return socket_.get(); }
    Changes drain();

private:
    explicit NetlinkMonitor(Fd socket) : socket_(std::move(socket)) {}
    Fd socket_;
};

}  // namespace axo
