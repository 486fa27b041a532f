// What another set of policies would change for flows that have been seen. Pure. Thread: one per engine.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "base/ip.h"
#include "features/policy/desired.h"

namespace axo::policy {

struct FlowTuple {
    // Endpoints of this node; a side that is elsewhere is not judged.
    std::optional<EndpointId> source, destination;
    IdentityId source_identity, destination_identity;
    // Where given: sides outside the cluster are told apart by each engine's own prefixes.
    std::optional<IpAddress> source_address, destination_address;
    std::uint8_t protocol = 6;
    std::uint16_t port = 0;  // destination port, or ICMP type
    friend bool operator==(const FlowTuple&, const FlowTuple&) = default;
};

struct Difference {
    FlowTuple flow;
    bool allowed_after = false;  // before: the opposite
    // Which side decides: newly denied flows, the one that denies; newly allowed ones, the one that denied.
    Direction direction = Direction::kEgress;
    RuleInfo before, after;  // what decides on that side
};

// Gives prefixes that have no identity yet a made-up one, so that an engine with new CIDR rules can be asked about
// addresses in them. Only for engines that nothing is written to the datapath from.
void assume_identities(PolicyEngine& engine);

// Flows whose verdict differs. Both engines answer as of their last changes().
std::vector<Difference> compare(const PolicyEngine& before, const PolicyEngine& after,
                                std::span<const FlowTuple> flows);

}  // namespace axo::policy
