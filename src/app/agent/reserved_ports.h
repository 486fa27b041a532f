// NodePorts are kept from being picked as the source ports of the node's own connections: such a connection's replies
// would be taken for requests to the service.
// Thread: any. Both of the calling thread's network namespace.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace axo {

struct PortBounds {
    std::uint16_t low = 0, high = 0;  // both included
};

// What net.ipv4.ip_local_reserved_ports has to be: `reserved` ("8472,30000-30100") and the node ports; "": they are in
// it, or outside of net.ipv4.ip_local_port_range ("32768\t60999") and never picked. kInvalidArgument: not such text.
// kFailedPrecondition: no port would be left.
Result<std::string> with_node_ports(const std::string& reserved, const std::string& ephemeral, PortBounds node_ports);

enum class NodePortProtection {
    kNotNeeded,  // or there already
    kAdded,
};
// write: false only looks. kFailedPrecondition: needed and not there, for the given reason.
Result<NodePortProtection> protect_node_ports(PortBounds node_ports, bool write);

}  // namespace axo
