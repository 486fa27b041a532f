// CiliumNode (cilium.io/v2): what the agents and the operator tell each other about a node. Thread: any (values).
#pragma once

#include <cstdint>
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
    std::vector<Prefix> pod_cidrs;  // spec.ipam.podCIDRs, both families, in the order written
    // status.ipam.operator-status.error: why the operator could not assign pod CIDRs; "" when it could.
    std::string operator_error;

    static Result<CiliumNode> parse(const Json& json);
    [[nodiscard]] Json to_json() const;

    // The first address of that type and family; unset when there is none.
    [[nodiscard]] IpAddress address(std::string_view type, Family family) const;
    [[nodiscard]] bool has_address(const IpAddress& ip) const;
    [[nodiscard]] std::vector<Prefix> pod_cidrs_of(Family family) const;

    friend bool operator==(const CiliumNode&, const CiliumNode&) = default;
};

}  // namespace axo
