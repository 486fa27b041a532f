#include "features/routing/desired.h"

#include <algorithm>

namespace axo {
namespace {

bool family_on(const RoutingSettings& settings, Family family) {
    return family == Family::kIpv6 ? settings.ipv6 : settings.ipv4;
}

const IpAddress& router_of(const RoutingSettings& settings, Family family) {
    return family == Family::kIpv6 ? settings.router_ipv6 : settings.router_ipv4;
}

const IpAddress& node_address(const RoutingNode& node, Family family) {
    return family == Family::kIpv6 ? node.ipv6 : node.ipv4;
}

bool routes_directly(const RoutingSettings& settings) {
    return !settings.tunnel && settings.auto_direct_node_routes;
}

class Planner {
public:
    Planner(const RoutingSettings& settings, const std::map<IpAddress, NextHop>& next_hops)
        : settings_(settings), next_hops_(next_hops) {}

    RoutingPlan run(std::vector<const RoutingNode*> nodes) {
        // The local node first: its range wins over whoever claims it too. Then by name, so that all nodes agree.
        std::ranges::sort(nodes, [](const RoutingNode* a, const RoutingNode* b) {
            return a->local != b->local ? a->local : a->name < b->name;
        });
        for (const Family family : {Family::kIpv4, Family::kIpv6}) {
            const IpAddress& router = router_of(settings_, family);
            if (!family_on(settings_, family) || !router || settings_.host_device.value == 0) continue;
            plan_.routes[Prefix::host(router)] = {.link = settings_.host_device, .link_scope = family == Family::kIpv4};
        }
        for (const RoutingNode* node : nodes) {
            for (const Prefix& cidr : node->pod_cidrs) {
                if (family_on(settings_, cidr.family())) add(*node, cidr);
            }
        }
        return std::move(plan_);
    }

private:
    void add(const RoutingNode& node, const Prefix& cidr) {
        // Those that are there overlap nobody, so one around this stands just before it, and the first inside just
        // behind.
        const auto next = owners_.lower_bound(cidr);
        auto other = next == owners_.begin() ? owners_.end() : std::prev(next);
        if (other == owners_.end() || !other->first.overlaps(cidr)) other = next;
        if (other != owners_.end() && other->first.overlaps(cidr)) {
            return reject(node, "pod CIDR " + cidr.to_string() + " overlaps " + other->first.to_string() + " of node " +
                                    std::string(other->second) + ": pod CIDRs of nodes must not overlap");
        }
        owners_.emplace_hint(next, cidr, node.name);
        if (node.local) {
            via_host_device(cidr, 0);
        } else if (settings_.tunnel) {
            via_host_device(cidr, settings_.route_mtu);
        } else if (settings_.auto_direct_node_routes) {
            direct(node, cidr);
        }
    }

    void via_host_device(const Prefix& cidr, std::uint32_t mtu) {
        const IpAddress& router = router_of(settings_, cidr.family());
        if (!router || settings_.host_device.value == 0 || cidr == Prefix::host(router)) return;
        WantedRoute route{.link = settings_.host_device, .source = router, .mtu = mtu};
        if (router.is_v4()) route.gateway = router;
        plan_.routes[cidr] = route;
    }

    void direct(const RoutingNode& node, const Prefix& cidr) {
        const IpAddress& address = node_address(node, cidr.family());
        if (!address) {
            return reject(node, "it has pod CIDR " + cidr.to_string() + " but no " +
                                    (cidr.family() == Family::kIpv6 ? "IPv6" : "IPv4") +
                                    " InternalIP to route it to (CiliumNode spec.addresses)");
        }
        const auto found = next_hops_.find(address);
        if (found == next_hops_.end())
            return reject(node, "no route to its address " + address.to_string() + " is known yet");
        const NextHop& hop = found->second;
        if (!hop.error.empty())
            return reject(node, "no route to its address " + address.to_string() + ": " + hop.error);
        if (!hop.unicast) {
            return reject(node, "its address " + address.to_string() +
                                    " is not reachable as another host: it is local, or a "
                                    "route of this node rejects it");
        }
        if (hop.gateway) {
            const std::string behind =
                "address " + address.to_string() + " is behind gateway " + hop.gateway.to_string();
            if (settings_.skip_unreachable) {
                plan_.skipped[node.name] = behind;
            } else {
                reject(node, behind +
                                 ": with auto-direct-node-routes all nodes must share the same L2 network; set "
                                 "direct-routing-skip-unreachable=true to leave such nodes to other routes");
            }
            return;
        }
        plan_.routes[cidr] = {.gateway = address, .link = hop.link};
    }

    void reject(const RoutingNode& node, const std::string& why) {
        std::string& text = plan_.errors[node.name];
        text += (text.empty() ? "node " + node.name + ": " : "; ") + why;
    }

    const RoutingSettings& settings_;
    const std::map<IpAddress, NextHop>& next_hops_;
    RoutingPlan plan_;
    std::map<Prefix, std::string_view> owners_;  // names stand in the nodes
};

}  // namespace

std::vector<IpAddress> addresses_to_look_up(const RoutingSettings& settings, const std::vector<RoutingNode>& nodes) {
    std::vector<IpAddress> addresses;
    if (!routes_directly(settings)) return addresses;
    for (const RoutingNode& node : nodes) {
        if (node.local) continue;
        for (const Prefix& cidr : node.pod_cidrs) {
            const IpAddress& address = node_address(node, cidr.family());
            if (family_on(settings, cidr.family()) && address) addresses.push_back(address);
        }
    }
    std::ranges::sort(addresses);
    addresses.erase(std::ranges::unique(addresses).begin(), addresses.end());
    return addresses;
}

RoutingPlan plan_routes(const RoutingSettings& settings, const std::vector<RoutingNode>& nodes,
                        const std::map<IpAddress, NextHop>& next_hops) {
    std::vector<const RoutingNode*> pointers;
    pointers.reserve(nodes.size());
    for (const RoutingNode& node : nodes) pointers.push_back(&node);
    return Planner(settings, next_hops).run(std::move(pointers));
}

}  // namespace axo
