// CiliumNode (cilium.io/v2): what the agents and the operator tell each other about a node. Thread: any (values).
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "model/meta.h"

namespace axo {

struct NodeAddress {
    std::string type;  // InternalIP, ExternalIP, CiliumInternalIP
    IpAddress ip;

    friend bool operator==(const NodeAddress&, const NodeAddress&) = default;
};

namespace node_address {
inline constexpr std::string_view kInternalIp = "InternalIP";
inline constexpr std::string_view kExternalIp = "ExternalIP";
inline constexpr std::string_view kCiliumInternalIp = "CiliumInternalIP";  // the router IP
}  // namespace node_address

// spec.ipam.pools (IPAM mode multi-pool): how many addresses the node's agent wants of a pool, and what it has.
struct PoolRequest {
    std::string pool;
    std::uint64_t ipv4 = 0;  // addresses, those in use included
    std::uint64_t ipv6 = 0;

    friend bool operator==(const PoolRequest&, const PoolRequest&) = default;
};
struct PoolAllocation {
    std::string pool;
    std::vector<Prefix> cidrs;

    friend bool operator==(const PoolAllocation&, const PoolAllocation&) = default;
};

// Pools without CIDRs go as well.
void take_away(std::vector<PoolAllocation>& allocated, const std::set<Prefix>& cidrs);

struct CiliumNode {
    static constexpr std::string_view kApiVersion = "cilium.io/v2";
    static constexpr std::string_view kKind = "CiliumNode";
    // "true" keeps the operator from removing the object.
    static constexpr std::string_view kDoNotGcAnnotation = "cilium.io/do-not-gc";
    static constexpr std::string_view kWireguardKeyAnnotation = "network.cilium.io/wg-pub-key";

    ObjectMeta metadata;
    // spec
    std::string boot_id;
    std::string instance_id;
    std::uint32_t node_identity = 0;  // 0: not set
    std::vector<NodeAddress> addresses;
    int encryption_key = 0;
    IpAddress health_ipv4;
    IpAddress health_ipv6;
    IpAddress ingress_ipv4;
    IpAddress ingress_ipv6;
    std::vector<Prefix> pod_cidrs;                // spec.ipam.podCIDRs, both families, in the order written
    std::vector<PoolRequest> pools_requested;     // the agent's
    std::vector<PoolAllocation> pools_allocated;  // the operator adds, the agent takes away
    // status.ipam.operator-status.error: why the operator could not assign pod CIDRs; "" when it could.
    std::string operator_error;

    static Result<CiliumNode> parse(const Json& json);
    [[nodiscard]] Json to_json() const;

    // The first address of that type and family; unset when there is none.
    [[nodiscard]] IpAddress address(std::string_view type, Family family) const;
    [[nodiscard]] bool has_address(const IpAddress& ip) const;
    // podCIDRs and, after them, the CIDRs of all pools.
    [[nodiscard]] std::vector<Prefix> all_pod_cidrs() const;

    friend bool operator==(const CiliumNode&, const CiliumNode&) = default;
};

}  // namespace axo
