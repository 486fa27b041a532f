// Which addresses to probe, and how often. Pure. Thread: any.
#pragma once

#include "features/health/types.h"
#include "features/node/types.h"

namespace axo {

// The node's and its health endpoint's addresses, IPv4 first. Families that are off are left out.
NodeHealth probe_targets(const NodeRow& node, bool ipv4, bool ipv6, bool endpoints);
// Results of addresses that are still probed are kept.
NodeHealth merge_results(NodeHealth targets, const NodeHealth& old);
// Cilium's scaling: the more nodes, the rarer, so that the probes of a whole cluster grow slowly.
Duration probe_interval(std::size_t nodes, Duration base = std::chrono::seconds(10));
// Whether every probe of the node that was made was answered; nodes never probed count as unreachable.
bool reachable(const NodeHealth& node);

}  // namespace axo
