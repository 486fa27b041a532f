#include "model/node.h"

namespace axo {

Result<Node> Node::parse(const Json& json) {
    const JsonReader object(json, "Node");
    TRY(require_kind(object, kKind));
    Node node;
    node.metadata = read_meta(object, kKind, Scope::kCluster);

    const JsonReader spec = object.at("spec");
    node.pod_cidrs = spec.cidrs("podCIDRs");
    if (const std::string single = spec.string("podCIDR"); !single.empty() && node.pod_cidrs.empty()) {
        auto parsed = Prefix::parse_cidr(single);
        if (parsed)
            node.pod_cidrs.push_back(*parsed);
        else
            spec.reject("podCIDR", "a CIDR without host bits such as 10.0.1.0/24");
    }
    node.provider_id = spec.string("providerID");
    spec.each("taints", [&](const JsonReader& item) {
        node.taints.push_back({item.string("key"), item.string("value"), item.string("effect")});
    });
    object.at("status").each("addresses", [&](const JsonReader& item) {
        const std::string type = item.string("type");
        if (type != node_address::kInternalIp && type != node_address::kExternalIp) return;  // Hostname, InternalDNS
        const IpAddress ip = item.address("address");
        if (ip) node.addresses.push_back({type, ip});
    });

    TRY(object.status());
    return node;
}

Json Node::to_json() const {
    Json json = object_json(kApiVersion, kKind, metadata);
    Json spec = Json::object();
    put_nonempty(spec, "podCIDRs", pod_cidrs);
    if (!pod_cidrs.empty()) spec["podCIDR"] = pod_cidrs.front().to_string();
    put_nonempty(spec, "providerID", provider_id);
    Json list = Json::array();
    for (const Taint& taint : taints) {
        Json item = {{"key", taint.key}, {"effect", taint.effect}};
        put_nonempty(item, "value", taint.value);
        list.push_back(std::move(item));
    }
    put_nonempty(spec, "taints", std::move(list));
    json["spec"] = std::move(spec);
    Json all = Json::array();
    for (const NodeAddress& address : addresses)
        all.push_back({{"type", address.type}, {"address", address.ip.to_string()}});
    if (!all.empty()) json["status"] = {{"addresses", std::move(all)}};
    return json;
}

}  // namespace axo
