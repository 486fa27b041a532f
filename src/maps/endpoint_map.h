// cilium_lxc and cilium_lxc_dev: which addresses are local, and which endpoint is behind a device.
#pragma once

#include <map>
#include <string>

#include "base/ip.h"
#include "base/types.h"
#include "bpf/api/endpoint.h"
#include "kernel/bpf_map.h"

namespace axo {

// A local endpoint as the datapath sees it. host: an address of the node itself, everything else zero.
struct LocalEndpoint {
    bool host = false;
    EndpointId id{};
    IfIndex link{};
    IfIndex parent_link{};
    IdentityId identity{};
    MacAddress mac{};
    MacAddress node_mac{};
    friend bool operator==(const LocalEndpoint&, const LocalEndpoint&) = default;
};

class EndpointMap {
public:
    static Result<EndpointMap> open(const std::string& pin_path);
    // A map of the same layout that nobody else sees; for tests.
    static Result<EndpointMap> create_private(std::uint32_t max_entries);
    Result<std::map<IpAddress, LocalEndpoint>> list() const;
    Status put(const IpAddress& address, const LocalEndpoint& endpoint) const;
    Status remove(const IpAddress& address) const;
    // "id=811   sec_id=28723 flags=0x0000 ifindex=13  mac=… nodemac=… parent_ifindex=0" or "(localhost)"
    static std::string print(const LocalEndpoint& endpoint);
    static std::string print_key(const IpAddress& address);  // "10.0.0.63:0"

    static endpoint_key encode_key(const IpAddress& address);
    static IpAddress decode_key(const endpoint_key& key);
    static endpoint_info encode(const LocalEndpoint& endpoint);
    static LocalEndpoint decode(const endpoint_info& value);

private:
    explicit EndpointMap(BpfMap<endpoint_key, endpoint_info> map) : map_(std::move(map)) {}
    BpfMap<endpoint_key, endpoint_info> map_;
};

struct DeviceEndpoint {
    EndpointId id{};
    IdentityId identity{};
    IpAddress ipv4{};  // unset: none
    IpAddress ipv6{};
    MacAddress mac{};
    MacAddress node_mac{};
    bool skip_source_check = false;
    bool pass_arp = false;
    friend bool operator==(const DeviceEndpoint&, const DeviceEndpoint&) = default;
};

class EndpointDeviceMap {
public:
    static Result<EndpointDeviceMap> open(const std::string& pin_path);
    static Result<EndpointDeviceMap> create_private(std::uint32_t max_entries);
    Result<std::map<IfIndex, DeviceEndpoint>> list() const;
    Status put(IfIndex link, const DeviceEndpoint& endpoint) const;
    Status remove(IfIndex link) const;

    static endpoint_device encode(const DeviceEndpoint& endpoint);
    static DeviceEndpoint decode(const endpoint_device& value);

private:
    explicit EndpointDeviceMap(BpfMap<std::uint32_t, endpoint_device> map) : map_(std::move(map)) {}
    BpfMap<std::uint32_t, endpoint_device> map_;
};

}  // namespace axo
