// The wires of a sandbox: bridges and the gateway in the underlay, uplinks of nodes, the outside host, routes to pods.
//
// The underlay machine is switch and router in one: a bridge per L2 segment with the gateway's addresses on it. A
// node's uplink is eth0 with a default route through the gateway; the outside host is a machine behind the gateway.
// Nothing is created in the caller's network namespace. Thread: any one at a time.
#pragma once

#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "sandbox/spec.h"

namespace axo::sandbox {

// Bridges, gateway addresses, forwarding, and the outside host's link.
Status build_underlay(const ClusterSpec& spec, const std::string& underlay_netns, const std::string& outside_netns);
// A segment's bridge, when its first node comes later.
Status add_segment(const ClusterSpec& spec, const std::string& underlay_netns, int segment);
Status connect_node(const ClusterSpec& spec, const NodeSpec& node, const std::string& underlay_netns,
                    const std::string& node_netns);
// Also takes the gateway's routes through the node.
Status disconnect_node(const NodeSpec& node, const std::string& underlay_netns);
// Loopback up and the settings every container runtime leaves to the pod's namespace.
Status prepare_pod_netns(const std::string& pod_netns);

struct PodCidr {
    Prefix prefix;
    NodeSpec node;
};
// Makes the gateway's routes to pod CIDRs exactly these, as a fabric that nodes announce their pods to would have them.
// Returns how many routes changed.
Result<int> sync_pod_routes(const std::string& underlay_netns, const std::vector<PodCidr>& cidrs);

}  // namespace axo::sandbox
