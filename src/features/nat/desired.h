// Which addresses traffic leaves the node with, and which destinations are spared: pure functions.
// Thread: any (no state).
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "features/nat/types.h"
#include "maps/nat_map.h"

namespace axo::nat {

struct AddressSettings {
    bool ipv4 = true, ipv6 = true;
    std::string address_device;      // derive-masq-ip-addr-from-device; "": each device's own
    IpAddress node_ipv4, node_ipv6;  // preferred on the device that has them: what other nodes know this node by
};

// By the index of the way out. A device without a usable address of a family does not translate that family.
std::map<IfIndex, NatSource> source_addresses(const std::vector<Device>& devices, const std::vector<Device>& all,
                                              const AddressSettings& settings);

// YAML or JSON: nonMasqueradeCIDRs, masqLinkLocal, masqLinkLocalIPv6. Errors name the field, its value and what is
// accepted.
Result<IpMasqConfig> parse_ip_masq_config(std::string_view text);
// Without a file, or with an empty one: the ranges that are private, shared, for documentation or reserved.
const std::vector<Prefix>& default_non_masquerade_cidrs();
// The prefixes of families that are on, as they belong into cilium_ipmasq_*.
std::set<Prefix> spared_prefixes(const IpMasqConfig& config, bool ipv4, bool ipv6);

}  // namespace axo::nat
