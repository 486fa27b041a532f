// What the routing feature works with: settings, nodes, next hops, wanted routes. Thread: any (values).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/types.h"

namespace axo {

struct RoutingSettings {
    bool ipv4 = true;
    bool ipv6 = false;
    bool tunnel = true;                      // routing-mode: tunnel; false: native
    bool auto_direct_node_routes = false;    // native only
    bool skip_unreachable = false;           // direct-routing-skip-unreachable
    std::uint32_t route_mtu = 0;             // of routes into the tunnel
    IfIndex host_device{};                   // cilium_host
    IpAddress router_ipv4{}, router_ipv6{};  // its addresses
    friend bool operator==(const RoutingSettings&, const RoutingSettings&) = default;
};

// A node as far as routes to its pods are concerned.
struct RoutingNode {
    std::string name{};
    bool local = false;
    std::vector<Prefix> pod_cidrs{};
    IpAddress ipv4{}, ipv6{};  // the addresses other nodes reach it by
};

// How the kernel would reach an address now. error: why it cannot ("there is none").
struct NextHop {
    IpAddress gateway{};  // unset: on link
    IfIndex link{};
    bool unicast = true;  // false: an address of this node, or a route that rejects
    std::string error{};
};

// A route of the main table, protocol kernel, default metric. Its key is the destination.
struct WantedRoute {
    IpAddress gateway{};  // unset: on link
    IfIndex link{};
    IpAddress source{};  // unset: the kernel's choice
    std::uint32_t mtu = 0;
    bool link_scope = false;
    friend bool operator==(const WantedRoute&, const WantedRoute&) = default;
};

}  // namespace axo
