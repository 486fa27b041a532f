// Rows and settings of address translation. Thread: any (values).
#pragma once

#include <string>
#include <vector>

#include "base/ip.h"
#include "base/types.h"

namespace axo::nat {

// A device that leads out of the node, with its addresses in the kernel's order: primary ones first.
struct Device {
    std::string name;
    IfIndex link;
    std::vector<IpAddress> addresses;
    friend bool operator==(const Device&, const Device&) = default;
};

// The file of ip-masq-agent.
struct IpMasqConfig {
    std::vector<Prefix> non_masquerade_cidrs;
    bool masquerade_link_local4 = false, masquerade_link_local6 = false;
    friend bool operator==(const IpMasqConfig&, const IpMasqConfig&) = default;
};

}  // namespace axo::nat
