#include "model/cilium_endpoint.h"

#include <algorithm>
#include <array>
#include <limits>

namespace axo {
namespace {

constexpr std::array<std::string_view, 10> kStates = {
    "creating",      "waiting-for-identity", "not-ready", "waiting-to-regenerate", "regenerating", "restoring", "ready",
    "disconnecting", "disconnected",         "invalid"};

CiliumEndpoint::PolicyDirection read_direction(const JsonReader& reader) {
    return {reader.boolean("enforcing"), reader.string("state")};
}

Json direction_json(const CiliumEndpoint::PolicyDirection& direction) {
    if (direction == CiliumEndpoint::PolicyDirection{}) return {};
    Json json = {{"enforcing", direction.enforcing}};
    put_nonempty(json, "state", direction.state);
    return json;
}

}  // namespace

std::vector<EndpointAddressPair> read_addressing(const JsonReader& networking) {
    std::vector<EndpointAddressPair> addressing;
    networking.each("addressing", [&](const JsonReader& item) {
        EndpointAddressPair pair{item.address("ipv4"), item.address("ipv6")};
        if (pair.ipv4 && !pair.ipv4.is_v4()) item.reject("ipv4", "an IPv4 address");
        if (pair.ipv6 && !pair.ipv6.is_v6()) item.reject("ipv6", "an IPv6 address");
        addressing.push_back(pair);
    });
    return addressing;
}

std::vector<NamedPort> read_named_ports(const JsonReader& parent) {
    std::vector<NamedPort> ports;
    parent.each("named-ports", [&](const JsonReader& item) {
        ports.push_back(
            {item.string("name"), static_cast<std::uint16_t>(item.integer("port", 0, 65535)), item.string("protocol")});
    });
    return ports;
}

Json networking_json(const std::vector<EndpointAddressPair>& addressing, const IpAddress& node_ip) {
    Json networking = Json::object();
    Json pairs = Json::array();
    for (const EndpointAddressPair& pair : addressing) {
        Json item = Json::object();
        put_nonempty(item, "ipv4", pair.ipv4);
        put_nonempty(item, "ipv6", pair.ipv6);
        pairs.push_back(std::move(item));
    }
    put_nonempty(networking, "addressing", std::move(pairs));
    put_nonempty(networking, "node", node_ip);
    return networking;
}

Json named_ports_json(const std::vector<NamedPort>& ports) {
    Json list = Json::array();
    for (const NamedPort& port : ports)
        list.push_back({{"name", port.name}, {"port", port.port}, {"protocol", port.protocol}});
    return list;
}

Result<CiliumEndpoint> CiliumEndpoint::parse(const Json& json) {
    const JsonReader object(json, "CiliumEndpoint");
    TRY(require_kind(object, kKind));
    CiliumEndpoint endpoint;
    endpoint.metadata = read_meta(object, kKind, Scope::kNamespaced);

    const JsonReader status = object.at("status");
    endpoint.id = static_cast<std::uint16_t>(status.integer("id", 0, std::numeric_limits<std::uint16_t>::max()));
    endpoint.state = status.string("state");
    if (!endpoint.state.empty() && std::ranges::find(kStates, endpoint.state) == kStates.end()) {
        std::string accepted;
        for (const std::string_view state : kStates) accepted += (accepted.empty() ? "" : ", ") + std::string(state);
        status.reject("state", accepted);
    }
    endpoint.service_account = status.string("service-account");
    const JsonReader identity = status.at("identity");
    endpoint.identity =
        IdentityId{static_cast<std::uint32_t>(identity.integer("id", 0, std::numeric_limits<std::uint32_t>::max()))};
    endpoint.identity_labels = identity.strings("labels");

    const JsonReader external = status.at("external-identifiers");
    endpoint.external = {external.string("cni-attachment-id"), external.string("container-id"),
                         external.string("container-name"),    external.string("k8s-namespace"),
                         external.string("k8s-pod-name"),      external.string("pod-name")};
    endpoint.named_ports = read_named_ports(status);

    const JsonReader networking = status.at("networking");
    endpoint.addressing = read_addressing(networking);
    endpoint.node_ip = networking.address("node");
    endpoint.encryption_key = static_cast<int>(status.at("encryption").integer("key", 0, 255));
    endpoint.ingress = read_direction(status.at("policy").at("ingress"));
    endpoint.egress = read_direction(status.at("policy").at("egress"));

    TRY(object.status());
    return endpoint;
}

Json CiliumEndpoint::to_json() const {
    Json json = object_json(kApiVersion, kKind, metadata);
    Json status = Json::object();
    if (id != 0) status["id"] = id;
    put_nonempty(status, "state", state);
    put_nonempty(status, "service-account", service_account);
    if (identity.value != 0) {
        Json item = {{"id", identity.value}};
        put_nonempty(item, "labels", identity_labels);
        status["identity"] = std::move(item);
    }
    Json ids = Json::object();
    put_nonempty(ids, "cni-attachment-id", external.cni_attachment_id);
    put_nonempty(ids, "container-id", external.container_id);
    put_nonempty(ids, "container-name", external.container_name);
    put_nonempty(ids, "k8s-namespace", external.k8s_namespace);
    put_nonempty(ids, "k8s-pod-name", external.k8s_pod_name);
    put_nonempty(ids, "pod-name", external.pod_name);
    put_nonempty(status, "external-identifiers", std::move(ids));

    put_nonempty(status, "named-ports", named_ports_json(named_ports));
    put_nonempty(status, "networking", networking_json(addressing, node_ip));
    if (encryption_key != 0) status["encryption"] = {{"key", encryption_key}};

    Json policy = Json::object();
    put_nonempty(policy, "ingress", direction_json(ingress));
    put_nonempty(policy, "egress", direction_json(egress));
    put_nonempty(status, "policy", std::move(policy));
    put_nonempty(json, "status", std::move(status));
    return json;
}

std::vector<IpAddress> CiliumEndpoint::ips() const {
    std::vector<IpAddress> all;
    for (const EndpointAddressPair& pair : addressing) {
        if (pair.ipv4) all.push_back(pair.ipv4);
        if (pair.ipv6) all.push_back(pair.ipv6);
    }
    return all;
}

}  // namespace axo
