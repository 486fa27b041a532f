#include "model/endpoint_slice.h"

namespace axo {
namespace {

EndpointSlice::Port read_port(const JsonReader& item) {
    EndpointSlice::Port port;
    port.name = item.string("name");
    port.protocol = item.string("protocol", "TCP");
    if (port.protocol != "TCP" && port.protocol != "UDP" && port.protocol != "SCTP") {
        item.reject("protocol", "TCP, UDP, SCTP");
    }
    port.port = static_cast<std::uint16_t>(item.integer("port", 1, 65535, 0));
    port.app_protocol = item.string("appProtocol");
    return port;
}

std::vector<std::string> read_hints(const JsonReader& hints, std::string_view member) {
    std::vector<std::string> names;
    hints.each(member, [&](const JsonReader& item) { names.push_back(item.string("name")); });
    return names;
}

void read_target(const JsonReader& target, EndpointSlice::Endpoint& endpoint) {
    endpoint.target_kind = target.string("kind");
    endpoint.target_namespace = target.string("namespace");
    endpoint.target_name = target.string("name");
}

EndpointSlice::Endpoint read_endpoint(const JsonReader& item, Family family) {
    EndpointSlice::Endpoint endpoint;
    item.each("addresses", [&](const JsonReader& element) {
        auto ip = element.json().is_string() ? IpAddress::parse(element.json().get<std::string>())
                                             : Result<IpAddress>(fail(Code::kInvalidArgument, ""));
        if (ip && ip->family() == family) {
            endpoint.addresses.push_back(*ip);
        } else {
            element.reject("", family == Family::kIpv4 ? "an IPv4 address" : "an IPv6 address");
        }
    });
    // Unknown means true, and whoever does not know of "serving" says it with "ready".
    const JsonReader conditions = item.at("conditions");
    endpoint.ready = conditions.boolean("ready", true);
    endpoint.serving = conditions.boolean("serving", endpoint.ready);
    endpoint.terminating = conditions.boolean("terminating");
    endpoint.hostname = item.string("hostname");
    const auto topology = item.string_map("topology");  // v1beta1
    const auto topology_value = [&](const char* key) {
        const auto found = topology.find(key);
        return found == topology.end() ? std::string() : found->second;
    };
    endpoint.node_name = item.string("nodeName", topology_value("kubernetes.io/hostname"));
    endpoint.zone = item.string("zone", topology_value("topology.kubernetes.io/zone"));
    endpoint.hint_zones = read_hints(item.at("hints"), "forZones");
    endpoint.hint_nodes = read_hints(item.at("hints"), "forNodes");
    read_target(item.at("targetRef"), endpoint);
    return endpoint;
}

Json hints_json(const std::vector<std::string>& names) {
    Json list = Json::array();
    for (const std::string& name : names) list.push_back({{"name", name}});
    return list;
}

Json endpoint_json(const EndpointSlice::Endpoint& endpoint) {
    Json json = Json::object();
    Json addresses = Json::array();
    for (const IpAddress& address : endpoint.addresses) addresses.push_back(address.to_string());
    json["addresses"] = std::move(addresses);
    json["conditions"] = {
        {"ready", endpoint.ready}, {"serving", endpoint.serving}, {"terminating", endpoint.terminating}};
    put_nonempty(json, "hostname", endpoint.hostname);
    put_nonempty(json, "nodeName", endpoint.node_name);
    put_nonempty(json, "zone", endpoint.zone);
    Json hints = Json::object();
    put_nonempty(hints, "forZones", hints_json(endpoint.hint_zones));
    put_nonempty(hints, "forNodes", hints_json(endpoint.hint_nodes));
    put_nonempty(json, "hints", std::move(hints));
    Json target = Json::object();
    put_nonempty(target, "kind", endpoint.target_kind);
    put_nonempty(target, "namespace", endpoint.target_namespace);
    put_nonempty(target, "name", endpoint.target_name);
    put_nonempty(json, "targetRef", std::move(target));
    return json;
}

}  // namespace

Result<EndpointSlice> EndpointSlice::parse(const Json& json) {
    const JsonReader object(json, std::string(kKind));
    TRY(require_kind(object, kKind));
    EndpointSlice slice;
    slice.metadata = read_meta(object, kKind, Scope::kNamespaced);
    const std::string type = object.string("addressType");
    if (type == "IPv6") {
        slice.family = Family::kIpv6;
    } else if (type == "FQDN") {
        slice.family = Family::kNone;
    } else if (type != "IPv4") {
        if (object.has("addressType")) object.reject("addressType", "IPv4, IPv6, FQDN");
        object.require("addressType", "IPv4, IPv6, FQDN");
    }
    if (slice.family != Family::kNone) {
        object.each("endpoints",
                    [&](const JsonReader& item) { slice.endpoints.push_back(read_endpoint(item, slice.family)); });
    }
    object.each("ports", [&](const JsonReader& item) { slice.ports.push_back(read_port(item)); });
    TRY(object.status());
    return slice;
}

Json EndpointSlice::to_json() const {
    Json json = object_json(kApiVersion, kKind, metadata);
    json["addressType"] = family == Family::kIpv4 ? "IPv4" : family == Family::kIpv6 ? "IPv6" : "FQDN";
    Json list = Json::array();
    for (const Endpoint& endpoint : endpoints) list.push_back(endpoint_json(endpoint));
    json["endpoints"] = std::move(list);
    Json port_list = Json::array();
    for (const Port& port : ports) {
        Json item = {{"protocol", port.protocol}};
        put_nonempty(item, "name", port.name);
        if (port.port != 0) item["port"] = port.port;
        put_nonempty(item, "appProtocol", port.app_protocol);
        port_list.push_back(std::move(item));
    }
    put_nonempty(json, "ports", std::move(port_list));
    return json;
}

std::string EndpointSlice::service_name() const {
    const auto found = metadata.labels.find(std::string(kServiceNameLabel));
    return found == metadata.labels.end() ? std::string() : found->second;
}

Result<std::vector<EndpointSlice>> parse_endpoints(const Json& json) {
    const JsonReader object(json, "Endpoints");
    TRY(require_kind(object, "Endpoints"));
    ObjectMeta meta = read_meta(object, "Endpoints", Scope::kNamespaced);
    meta.labels[std::string(EndpointSlice::kServiceNameLabel)] = meta.name;

    std::vector<EndpointSlice> slices;
    object.each("subsets", [&](const JsonReader& subset) {
        EndpointSlice v4, v6;
        subset.each("ports", [&](const JsonReader& item) { v4.ports.push_back(read_port(item)); });
        v4.metadata = v6.metadata = meta;
        v6.ports = v4.ports;
        v6.family = Family::kIpv6;
        const auto read_addresses = [&](std::string_view member, bool ready) {
            subset.each(member, [&](const JsonReader& item) {
                EndpointSlice::Endpoint endpoint;
                item.require("ip", "an IPv4 or IPv6 address");
                const IpAddress ip = item.address("ip");
                endpoint.addresses = {ip};
                endpoint.ready = endpoint.serving = ready;
                endpoint.hostname = item.string("hostname");
                endpoint.node_name = item.string("nodeName");
                read_target(item.at("targetRef"), endpoint);
                (ip.is_v6() ? v6 : v4).endpoints.push_back(std::move(endpoint));
            });
        };
        read_addresses("addresses", true);
        read_addresses("notReadyAddresses", false);
        for (EndpointSlice* slice : {&v4, &v6}) {
            if (!slice->endpoints.empty()) slices.push_back(std::move(*slice));
        }
    });
    TRY(object.status());
    return slices;
}

}  // namespace axo
