// What the datapath and the cluster should be told about an endpoint, as pure functions of its row.
// Thread: any (no state).
#pragma once

#include <map>
#include <optional>
#include <set>

#include "features/endpoint/types.h"
#include "maps/endpoint_map.h"
#include "model/cilium_endpoint.h"

namespace axo {

// Only an endpoint with a device and an identity is in the maps.
bool in_datapath(const EndpointRow& endpoint);
// cilium_lxc: one entry per address.
std::map<IpAddress, LocalEndpoint> address_entries(const EndpointRow& endpoint);
// cilium_lxc, flag HOST: addresses of the node itself. Loopback and IPv6 link-local addresses are not reachable for
// pods.
std::map<IpAddress, LocalEndpoint> host_address_entries(const std::set<IpAddress>& addresses);
// cilium_lxc_dev.
std::optional<DeviceEndpoint> device_entry(const EndpointRow& endpoint);

struct PublishedPod {
    std::string uid;  // of the Pod object; "": unknown
    std::string service_account;
    std::vector<NamedPort> ports;
};
// The CiliumEndpoint of a pod; nothing for endpoints that are not pods or not to be seen by others yet.
std::optional<CiliumEndpoint> published_endpoint(const EndpointRow& endpoint, const PublishedPod& pod,
                                                 const IpAddress& node_ip);

}  // namespace axo
