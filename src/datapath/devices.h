// The datapath's own devices: cilium_host and cilium_net, the tunnel's, and the sysctls they need.
#pragma once

#include "datapath/decide.h"

namespace axo {

inline constexpr const char* kHostDevice = "cilium_host";
inline constexpr const char* kNetDevice = "cilium_net";
inline constexpr const char* kVxlanDevice = "cilium_vxlan";
inline constexpr const char* kGeneveDevice = "cilium_geneve";

constexpr const char* tunnel_device(TunnelProtocol protocol) {
    return protocol == TunnelProtocol::kVxlan ? kVxlanDevice : kGeneveDevice;
}

// One of the above, whatever the settings are now.
bool is_base_device(std::string_view name);

struct BaseDevices {
    Link host;
    Link net;
    std::optional<Link> tunnel{};  // where one is needed
    std::size_t created = 0;
    std::size_t changed = 0;  // sysctls, addresses, flags: everything else that had to be written
};

// Makes the devices of the calling thread's namespace as they should be. Reads first and writes only what differs:
// a second call changes nothing. `network` is what read_node_network returned just before.
Result<BaseDevices> ensure_base_devices(Netlink& netlink, const NodeNetwork& network, const DatapathSettings& settings,
                                        const DatapathDecisions& decisions);
Status remove_base_devices(Netlink& netlink);

}  // namespace axo
