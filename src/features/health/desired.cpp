#include "features/health/desired.h"

#include <cmath>

namespace axo {

NodeHealth probe_targets(const NodeRow& node, bool ipv4, bool ipv6, bool endpoints) {
    NodeHealth health;
    health.name = node.name;
    health.local = node.local;
    const auto add = [](std::vector<AddressHealth>& list, const IpAddress& ip) {
        if (ip) list.push_back({.ip = ip, .icmp = {}, .http = {}});
    };
    // A node without an address of an enabled family is still reached by its other one.
    const IpAddress v4 = node.node_ip(Family::kIpv4), v6 = node.node_ip(Family::kIpv6);
    if (ipv4 || !v6) add(health.host, v4);
    if (ipv6 || !v4) add(health.host, v6);
    if (endpoints) {
        if (ipv4) add(health.endpoint, node.health_ipv4);
        if (ipv6) add(health.endpoint, node.health_ipv6);
    }
    return health;
}

NodeHealth merge_results(NodeHealth targets, const NodeHealth& old) {
    const auto merge = [](std::vector<AddressHealth>& list, const std::vector<AddressHealth>& known) {
        for (AddressHealth& address : list) {
            for (const AddressHealth& before : known) {
                if (before.ip == address.ip) address = before;
            }
        }
    };
    merge(targets.host, old.host);
    merge(targets.endpoint, old.endpoint);
    return targets;
}

Duration probe_interval(std::size_t nodes, Duration base) {
    return std::chrono::duration_cast<Duration>(base *
                                                std::log1p(static_cast<double>(std::max<std::size_t>(nodes, 1))));
}

bool reachable(const NodeHealth& node) {
    const auto ok = [](const AddressHealth& address) { return address.ok(); };
    return !node.host.empty() && std::ranges::all_of(node.host, ok) && std::ranges::all_of(node.endpoint, ok);
}

}  // namespace axo
