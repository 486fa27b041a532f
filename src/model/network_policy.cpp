#include "model/network_policy.h"

#include <algorithm>

namespace axo {
namespace {

PolicyCidrRule read_ip_block(const JsonReader& reader) {
    allow_only(reader, {"cidr", "except"});
    PolicyCidrRule block;
    auto cidr = parse_policy_cidr(reader.string("cidr"), BareAddress::kRefused);
    if (cidr) {
        block.cidr = std::move(*cidr);
    } else if (reader.has("cidr")) {
        reader.reject("cidr", "a CIDR such as 10.0.1.0/24 or fd00::/64");
    } else {
        reader.require("cidr", "a CIDR such as 10.0.1.0/24 or fd00::/64");
    }
    block.except = read_policy_cidrs(reader, "except", BareAddress::kRefused);
    if (!block.cidr) return block;
    std::size_t index = 0;
    reader.each("except", [&](const JsonReader& element) {
        if (index < block.except.size()) {
            const Prefix& except = block.except[index].prefix;
            if (!block.cidr->prefix.contains(except) || except == block.cidr->prefix) {
                element.reject("", "a CIDR that is a part of " + block.cidr->prefix.to_string());
            }
        }
        ++index;
    });
    return block;
}

NetworkPolicy::Peer read_peer(const JsonReader& item) {
    NetworkPolicy::Peer peer;
    if (!item.json().is_object()) {
        item.reject("", "an object with podSelector, namespaceSelector or ipBlock");
        return peer;
    }
    allow_only(item, {"podSelector", "namespaceSelector", "ipBlock"});
    if (item.has("podSelector")) {
        peer.pod_selector = read_policy_selector(item.at("podSelector"), SelectorKeys::kKubernetes);
    }
    if (item.has("namespaceSelector")) {
        peer.namespace_selector = read_policy_selector(item.at("namespaceSelector"), SelectorKeys::kKubernetes);
    }
    if (item.has("ipBlock")) peer.ip_block = read_ip_block(item.at("ipBlock"));
    if (peer.ip_block && (peer.pod_selector || peer.namespace_selector)) {
        item.reject("", "ipBlock without podSelector and namespaceSelector: a peer of its own");
    }
    if (!peer.ip_block && !peer.pod_selector && !peer.namespace_selector) {
        item.reject("", "at least one of podSelector, namespaceSelector and ipBlock");
    }
    return peer;
}

bool is_kubernetes_port_name(std::string_view name) {
    return is_port_name(name) && std::ranges::none_of(name, [](char c) { return c >= 'A' && c <= 'Z'; });
}

PolicyPort read_port(const JsonReader& item) {
    PolicyPort port;
    if (!item.json().is_object()) {
        item.reject("", "an object with port and protocol");
        return port;
    }
    allow_only(item, {"port", "endPort", "protocol"});
    port.protocol = item.string("protocol", "TCP");
    if (port.protocol != "TCP" && port.protocol != "UDP" && port.protocol != "SCTP") {
        item.reject("protocol", "TCP, UDP, SCTP");
    }
    const auto end_port = static_cast<int>(item.integer("endPort", 1, 65535, 0));
    if (!item.has("port")) {
        if (item.has("endPort")) item.reject("endPort", "no endPort without port");
        return port;
    }
    if (item.at("port").json().is_string()) {
        port.name = item.string("port");
        if (!is_kubernetes_port_name(port.name)) {
            item.reject("port", "a number from 1 to 65535 or " + std::string(kPortNameRule) + " and no capitals");
        }
        if (item.has("endPort")) item.reject("endPort", "no endPort: the port is given by name");
        return port;
    }
    port.first = static_cast<std::uint16_t>(item.integer("port", 1, 65535, 1));
    port.last = port.first;
    if (item.has("endPort")) {
        if (end_port < port.first) {
            item.reject("endPort", "a number from the port, " + std::to_string(port.first) + ", to 65535");
        }
        port.last = static_cast<std::uint16_t>(end_port);
    }
    return port;
}

std::vector<NetworkPolicy::Rule> read_rules(const JsonReader& spec, std::string_view member,
                                            std::string_view peers_member) {
    std::vector<NetworkPolicy::Rule> rules;
    spec.each(member, [&](const JsonReader& item) {
        NetworkPolicy::Rule rule;
        if (!item.json().is_object()) item.reject("", "an object");
        allow_only(item, {peers_member, "ports"});
        item.each(peers_member, [&](const JsonReader& peer) { rule.peers.push_back(read_peer(peer)); });
        item.each("ports", [&](const JsonReader& port) { rule.ports.push_back(read_port(port)); });
        rules.push_back(std::move(rule));
    });
    return rules;
}

}  // namespace

Result<NetworkPolicy> NetworkPolicy::parse(const Json& json) {
    const JsonReader object(json, std::string(kKind));
    TRY(require_kind(object, kKind));
    NetworkPolicy policy;
    policy.metadata = read_meta(object, kKind, Scope::kNamespaced);
    allow_only(object, {"apiVersion", "kind", "metadata", "spec", "status"});
    object.require("spec", "an object with podSelector");
    const JsonReader spec = object.at("spec");
    allow_only(spec, {"podSelector", "policyTypes", "ingress", "egress"});
    // Absent it is {}, every pod of the namespace: the API server's reading.
    policy.pod_selector = read_policy_selector(spec.at("podSelector"), SelectorKeys::kKubernetes);
    policy.ingress = read_rules(spec, "ingress", "from");
    policy.egress = read_rules(spec, "egress", "to");
    const std::vector<std::string> types = spec.strings("policyTypes");
    for (const std::string& type : types) {
        if (type != "Ingress" && type != "Egress") spec.reject("policyTypes", "Ingress, Egress");
        policy.affects_ingress = policy.affects_ingress || type == "Ingress";
        policy.affects_egress = policy.affects_egress || type == "Egress";
    }
    if (types.empty()) {
        policy.affects_ingress = true;
        policy.affects_egress = !policy.egress.empty();
    }
    TRY(object.status());
    return policy;
}

}  // namespace axo
