// Nodes x settings x next hops -> routes (contracts 5.11). Pure.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "features/routing/types.h"

namespace axo {

struct RoutingPlan {
    std::map<Prefix, WantedRoute> routes;
    std::map<std::string, std::string> errors;   // by node name: why its pods get no route from here
    std::map<std::string, std::string> skipped;  // by node name: left to routes that exist already
};

// Addresses whose next hop the plan depends on.
std::vector<IpAddress> addresses_to_look_up(const RoutingSettings& settings, const std::vector<RoutingNode>& nodes);
// An error of one node leaves all others' routes as they are.
RoutingPlan plan_routes(const RoutingSettings& settings, const std::vector<RoutingNode>& nodes,
                        const std::map<IpAddress, NextHop>& next_hops);

}  // namespace axo
