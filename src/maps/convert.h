// Addresses and MACs between domain types and the structs of bpf/api. Thread: any (values).
#pragma once

#include <vector>

#include "base/ip.h"
#include "bpf/api/config.h"
#include "bpf/api/types.h"

namespace axo {

// An unset address becomes all zeroes.
axo_addr to_axo_addr(const IpAddress& address);
IpAddress from_axo_addr(const axo_addr& address, bool ipv6);
// AXO_FAMILY_*; 0 for an unset address.
std::uint8_t to_axo_family(const IpAddress& address);
axo_mac to_axo_mac(const MacAddress& mac);
MacAddress from_axo_mac(const axo_mac& mac);
// nodeport-addresses, at most NODE_PORT_PREFIXES; none: every address of a node serves NodePorts.
void write_node_port_addresses(lb_config& config, const std::vector<Prefix>& prefixes);

}  // namespace axo
