// EndpointSlice (discovery.k8s.io/v1, and v1beta1 when read) and Endpoints (v1), which is read into slices.
// Thread: any (values).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/meta.h"

namespace axo {

struct EndpointSlice {
    static constexpr std::string_view kApiVersion = "discovery.k8s.io/v1";
    static constexpr std::string_view kKind = "EndpointSlice";
    static constexpr std::string_view kServiceNameLabel = "kubernetes.io/service-name";

    struct Port {
        std::string name;
        std::string protocol = "TCP";
        std::uint16_t port = 0;  // 0: every port of the endpoint
        std::string app_protocol;
        friend bool operator==(const Port&, const Port&) = default;
    };
    struct Endpoint {
        std::vector<IpAddress> addresses;  // interchangeable ones of the same endpoint
        bool ready = true;                 // takes new connections
        bool serving = true;               // works, terminating or not
        bool terminating = false;
        std::string hostname;
        std::string node_name;
        std::string zone;
        std::vector<std::string> hint_zones;  // whose clients it should serve; empty: no hint
        std::vector<std::string> hint_nodes;
        std::string target_kind, target_namespace, target_name;  // the Pod behind it, if any
        friend bool operator==(const Endpoint&, const Endpoint&) = default;
    };

    ObjectMeta metadata;
    Family family = Family::kIpv4;  // kNone: addressType FQDN, whose endpoints are not kept
    std::vector<Endpoint> endpoints;
    std::vector<Port> ports;

    static Result<EndpointSlice> parse(const Json& json);
    [[nodiscard]] Json to_json() const;
    // "" when the slice belongs to no Service.
    [[nodiscard]] std::string service_name() const;
    friend bool operator==(const EndpointSlice&, const EndpointSlice&) = default;
};

// An Endpoints object as slices, one for each subset and family. They carry the object's metadata and its name as
// service-name label.
Result<std::vector<EndpointSlice>> parse_endpoints(const Json& json);

}  // namespace axo
