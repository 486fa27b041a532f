#include "model/cilium_endpoint_slice.h"

#include <limits>

namespace axo {

Result<CiliumEndpointSlice> CiliumEndpointSlice::parse(const Json& json) {
    const JsonReader object(json, "CiliumEndpointSlice");
    TRY(require_kind(object, kKind));
    CiliumEndpointSlice slice;
    slice.metadata = read_meta(object, kKind, Scope::kCluster);
    slice.name_space = object.string("namespace", "default");
    object.each("endpoints", [&](const JsonReader& item) {
        Endpoint endpoint;
        item.require("name", "the name of a pod");
        endpoint.name = item.string("name");
        endpoint.identity =
            IdentityId{static_cast<std::uint32_t>(item.integer("id", 0, std::numeric_limits<std::uint32_t>::max()))};
        endpoint.service_account = item.string("service-account");
        const JsonReader networking = item.at("networking");
        endpoint.addressing = read_addressing(networking);
        endpoint.node_ip = networking.address("node");
        endpoint.encryption_key = static_cast<int>(item.at("encryption").integer("key", 0, 255));
        endpoint.named_ports = read_named_ports(item);
        slice.endpoints.push_back(std::move(endpoint));
    });
    TRY(object.status());
    return slice;
}

Json CiliumEndpointSlice::to_json() const {
    Json json = object_json(kApiVersion, kKind, metadata);
    put_nonempty(json, "namespace", name_space);
    json["endpoints"] = Json::array();
    for (const Endpoint& endpoint : endpoints) {
        Json item{{"name", endpoint.name}};
        if (endpoint.identity.value != 0) item["id"] = endpoint.identity.value;
        put_nonempty(item, "service-account", endpoint.service_account);
        put_nonempty(item, "networking", networking_json(endpoint.addressing, endpoint.node_ip));
        if (endpoint.encryption_key != 0) item["encryption"] = {{"key", endpoint.encryption_key}};
        put_nonempty(item, "named-ports", named_ports_json(endpoint.named_ports));
        json["endpoints"].push_back(std::move(item));
    }
    return json;
}

CiliumEndpointSlice::Endpoint CiliumEndpointSlice::endpoint_of(const CiliumEndpoint& endpoint) {
    return {.name = endpoint.metadata.name,
            .identity = endpoint.identity,
            .service_account = endpoint.service_account,
            .addressing = endpoint.addressing,
            .node_ip = endpoint.node_ip,
            .encryption_key = endpoint.encryption_key,
            .named_ports = endpoint.named_ports};
}

}  // namespace axo
