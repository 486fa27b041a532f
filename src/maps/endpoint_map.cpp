#include "maps/endpoint_map.h"

#include <cstdio>
#include <cstring>

#include "maps/convert.h"
#include "maps/private_map.h"

namespace axo {

Result<EndpointMap> EndpointMap::open(const std::string& pin_path) {
    TRY_ASSIGN(auto map, (BpfMap<endpoint_key, endpoint_info>::open_pinned(pin_path)));
    return EndpointMap(std::move(map));
}

Result<EndpointMap> EndpointMap::create_private(std::uint32_t max_entries) {
    TRY_ASSIGN(RawBpfMap raw, create_private_map({.name = "cilium_lxc",
                                                  .key_size = sizeof(endpoint_key),
                                                  .value_size = sizeof(endpoint_info),
                                                  .max_entries = max_entries,
                                                  .flags = BPF_F_NO_PREALLOC}));
    TRY_ASSIGN(auto map, (BpfMap<endpoint_key, endpoint_info>::wrap(std::move(raw))));
    return EndpointMap(std::move(map));
}

endpoint_key EndpointMap::encode_key(const IpAddress& address) {
    endpoint_key key{};
    key.addr = to_axo_addr(address);
    key.family = to_axo_family(address);
    return key;
}

IpAddress EndpointMap::decode_key(const endpoint_key& key) {
    return from_axo_addr(key.addr, key.family == AXO_FAMILY_IPV6);
}

endpoint_info EndpointMap::encode(const LocalEndpoint& endpoint) {
    endpoint_info value{};
    if (endpoint.host) {
        value.flags = ENDPOINT_F_HOST;
        return value;
    }
    value.ifindex = endpoint.link.value;
    value.lxc_id = endpoint.id.value;
    value.mac = to_axo_mac(endpoint.mac);
    value.node_mac = to_axo_mac(endpoint.node_mac);
    value.sec_id = endpoint.identity.value;
    value.parent_ifindex = endpoint.parent_link.value;
    return value;
}

LocalEndpoint EndpointMap::decode(const endpoint_info& value) {
    LocalEndpoint endpoint;
    endpoint.host = (value.flags & ENDPOINT_F_HOST) != 0;
    endpoint.id = EndpointId(value.lxc_id);
    endpoint.link = IfIndex(value.ifindex);
    endpoint.parent_link = IfIndex(value.parent_ifindex);
    endpoint.identity = IdentityId(value.sec_id);
    endpoint.mac = from_axo_mac(value.mac);
    endpoint.node_mac = from_axo_mac(value.node_mac);
    return endpoint;
}

Result<std::map<IpAddress, LocalEndpoint>> EndpointMap::list() const {
    TRY_ASSIGN(const auto entries, map_.entries());
    std::map<IpAddress, LocalEndpoint> all;
    for (const auto& [key, value] : entries) all.emplace(decode_key(key), decode(value));
    return all;
}

Status EndpointMap::put(const IpAddress& address, const LocalEndpoint& endpoint) const {
    return map_.put(encode_key(address), encode(endpoint));
}

Status EndpointMap::remove(const IpAddress& address) const {
    return map_.remove(encode_key(address));
}

std::string EndpointMap::print(const LocalEndpoint& endpoint) {
    if (endpoint.host) return "(localhost)";
    char text[192] = {};
    std::snprintf(
        text, sizeof(text), "id=%-5u sec_id=%-5u flags=0x%04X ifindex=%-3u mac=%s nodemac=%s parent_ifindex=%-3u",
        endpoint.id.value, endpoint.identity.value, 0U, endpoint.link.value, endpoint.mac.to_upper_string().c_str(),
        endpoint.node_mac.to_upper_string().c_str(), endpoint.parent_link.value);
    return text;
}

std::string EndpointMap::print_key(const IpAddress& address) {
    return address.to_string() + ":0";
}

Result<EndpointDeviceMap> EndpointDeviceMap::open(const std::string& pin_path) {
    TRY_ASSIGN(auto map, (BpfMap<std::uint32_t, endpoint_device>::open_pinned(pin_path)));
    return EndpointDeviceMap(std::move(map));
}

Result<EndpointDeviceMap> EndpointDeviceMap::create_private(std::uint32_t max_entries) {
    TRY_ASSIGN(RawBpfMap raw, create_private_map({.name = "cilium_lxc_dev",
                                                  .key_size = sizeof(std::uint32_t),
                                                  .value_size = sizeof(endpoint_device),
                                                  .max_entries = max_entries,
                                                  .flags = BPF_F_NO_PREALLOC}));
    TRY_ASSIGN(auto map, (BpfMap<std::uint32_t, endpoint_device>::wrap(std::move(raw))));
    return EndpointDeviceMap(std::move(map));
}

endpoint_device EndpointDeviceMap::encode(const DeviceEndpoint& endpoint) {
    endpoint_device value{};
    if (endpoint.ipv4.is_v4()) value.ip4 = endpoint.ipv4.v4_network_order();
    if (endpoint.ipv6.is_v6()) std::memcpy(value.ip6, endpoint.ipv6.bytes().data(), sizeof(value.ip6));
    value.sec_id = endpoint.identity.value;
    value.lxc_id = endpoint.id.value;
    if (endpoint.skip_source_check) value.flags |= ENDPOINT_DEV_F_NO_SIP_CHECK;
    if (endpoint.pass_arp) value.flags |= ENDPOINT_DEV_F_ARP_PASS;
    value.mac = to_axo_mac(endpoint.mac);
    value.node_mac = to_axo_mac(endpoint.node_mac);
    return value;
}

DeviceEndpoint EndpointDeviceMap::decode(const endpoint_device& value) {
    DeviceEndpoint endpoint;
    endpoint.id = EndpointId(value.lxc_id);
    endpoint.identity = IdentityId(value.sec_id);
    if (value.ip4 != 0) endpoint.ipv4 = IpAddress::v4(value.ip4);
    if (const IpAddress ipv6 = IpAddress::v6(static_cast<const void*>(value.ip6)); !ipv6.is_unspecified())
        endpoint.ipv6 = ipv6;
    endpoint.mac = from_axo_mac(value.mac);
    endpoint.node_mac = from_axo_mac(value.node_mac);
    endpoint.skip_source_check = (value.flags & ENDPOINT_DEV_F_NO_SIP_CHECK) != 0;
    endpoint.pass_arp = (value.flags & ENDPOINT_DEV_F_ARP_PASS) != 0;
    return endpoint;
}

Result<std::map<IfIndex, DeviceEndpoint>> EndpointDeviceMap::list() const {
    TRY_ASSIGN(const auto entries, map_.entries());
    std::map<IfIndex, DeviceEndpoint> all;
    for (const auto& [key, value] : entries) all.emplace(IfIndex(key), decode(value));
    return all;
}

Status EndpointDeviceMap::put(IfIndex link, const DeviceEndpoint& endpoint) const {
    return map_.put(link.value, encode(endpoint));
}

Status EndpointDeviceMap::remove(IfIndex link) const {
    return map_.remove(link.value);
}

}  // namespace axo
