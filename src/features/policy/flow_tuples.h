// Flows that the datapath has seen, as questions to the policy (diff.h). Pure. Thread: any.
#pragma once

#include <optional>
#include <vector>

#include "bpf/api/event.h"
#include "features/policy/diff.h"
#include "maps/flow_map.h"

namespace axo::policy {

// What an entry of the flow table asks, in the direction in which its connection was opened: about both its ends,
// behind a service about the backend and its port, and about the frontend where the node's own policy decides there,
// too. Nothing for the second entry of a translated connection. host: the node's own endpoint, where it has a policy.
std::vector<FlowTuple> tuples_of(const FlowRow& row, std::optional<EndpointId> host);

// The same of a packet that a policy has denied.
FlowTuple tuple_of(const flow_event& event);

}  // namespace axo::policy
