// CiliumEndpointSlice (cilium.io/v2alpha1): what agents need to know of many endpoints of one namespace, in one object
// that the operator writes. Thread: any (values).
#pragma once

#include <string>
#include <vector>

#include "model/cilium_endpoint.h"

namespace axo {

struct CiliumEndpointSlice {
    static constexpr std::string_view kApiVersion = "cilium.io/v2alpha1";
    static constexpr std::string_view kKind = "CiliumEndpointSlice";

    struct Endpoint {
        std::string name;
        IdentityId identity;
        std::string service_account;
        std::vector<EndpointAddressPair> addressing;
        IpAddress node_ip;
        int encryption_key = 0;
        std::vector<NamedPort> named_ports;

        friend bool operator==(const Endpoint&, const Endpoint&) = default;
    };

    ObjectMeta metadata;
    std::string name_space;  // of all its endpoints; the slice itself has none
    std::vector<Endpoint> endpoints;

    static Result<CiliumEndpointSlice> parse(const Json& json);
    [[nodiscard]] Json to_json() const;
    static Endpoint endpoint_of(const CiliumEndpoint& endpoint);

    friend bool operator==(const CiliumEndpointSlice&, const CiliumEndpointSlice&) = default;
};

}  // namespace axo
