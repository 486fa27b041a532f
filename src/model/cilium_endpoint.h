// CiliumEndpoint (cilium.io/v2): one pod's endpoint, published by its agent for the others. Thread: any (values).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/types.h"
#include "model/labels.h"
#include "model/meta.h"

namespace axo {

struct EndpointAddressPair {
    IpAddress ipv4;  // unset: none of this family
    IpAddress ipv6;

    friend bool operator==(const EndpointAddressPair&, const EndpointAddressPair&) = default;
};

struct NamedPort {
    std::string name;
    std::uint16_t port = 0;
    std::string protocol;  // TCP, UDP, SCTP

    friend bool operator==(const NamedPort&, const NamedPort&) = default;
};

struct CiliumEndpoint {
    static constexpr std::string_view kApiVersion = "cilium.io/v2";
    static constexpr std::string_view kKind = "CiliumEndpoint";

    struct ExternalIdentifiers {
        std::string cni_attachment_id;
        std::string container_id;
        std::string container_name;
        std::string k8s_namespace;
        std::string k8s_pod_name;
        std::string pod_name;  // "ns/name"

        friend bool operator==(const ExternalIdentifiers&, const ExternalIdentifiers&) = default;
    };
    struct PolicyDirection {
        bool enforcing = false;
        std::string state;  // enforcing, non-enforcing, disabled; "": not written

        friend bool operator==(const PolicyDirection&, const PolicyDirection&) = default;
    };

    ObjectMeta metadata;
    // status
    std::uint16_t id = 0;
    std::string state;  // creating, waiting-for-identity, …, ready: contracts of the CRD
    std::string service_account;
    IdentityId identity;  // 0: none yet
    std::vector<std::string> identity_labels;
    ExternalIdentifiers external;
    std::vector<NamedPort> named_ports;
    std::vector<EndpointAddressPair> addressing;
    IpAddress node_ip;  // status.networking.node
    int encryption_key = 0;
    PolicyDirection ingress;
    PolicyDirection egress;

    static Result<CiliumEndpoint> parse(const Json& json);
    [[nodiscard]] Json to_json() const;
    // All addresses of the pod, IPv4 and IPv6.
    [[nodiscard]] std::vector<IpAddress> ips() const;

    friend bool operator==(const CiliumEndpoint&, const CiliumEndpoint&) = default;
};

// Parts that CiliumEndpointSlice has as well. networking: {"addressing": […], "node": …}.
std::vector<EndpointAddressPair> read_addressing(const JsonReader& networking);
std::vector<NamedPort> read_named_ports(const JsonReader& parent);  // member named-ports
Json networking_json(const std::vector<EndpointAddressPair>& addressing, const IpAddress& node_ip);
Json named_ports_json(const std::vector<NamedPort>& ports);

}  // namespace axo
