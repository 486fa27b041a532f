// Settings x kernel features x the node's network -> decisions, each with its reason. Pure.
#pragma once

#include <vector>

#include "datapath/datapath.h"
#include "kernel/netlink.h"

namespace axo {

// What decisions are made from, as read from one network namespace.
struct NodeNetwork {
    std::vector<Link> links{};
    std::vector<InterfaceAddress> addresses{};
    std::vector<Route> routes{};
};

Result<NodeNetwork> read_node_network(Netlink& netlink);
// before: what was decided last; the node keeps the addresses that it is known by while it has them.
Result<DatapathDecisions> decide_datapath(const DatapathSettings& settings, const KernelFeatures& features,
                                          const NodeNetwork& network, const DatapathDecisions* before = nullptr);
// Bytes of outer headers in front of a tunnelled packet.
std::uint32_t tunnel_overhead(bool underlay_ipv6);

}  // namespace axo
