#include "model/cilium_node.h"

#include <algorithm>
#include <limits>

namespace axo {
namespace {

void read_pools(const JsonReader& pools, CiliumNode& node) {
    constexpr std::int64_t kMaxAddresses = std::numeric_limits<std::int32_t>::max();
    pools.each("requested", [&](const JsonReader& item) {
        const JsonReader needed = item.at("needed");
        item.require("pool", "the name of a CiliumPodIPPool");
        node.pools_requested.push_back({item.string("pool"),
                                        static_cast<std::uint64_t>(needed.integer("ipv4-addrs", 0, kMaxAddresses)),
                                        static_cast<std::uint64_t>(needed.integer("ipv6-addrs", 0, kMaxAddresses))});
    });
    pools.each("allocated", [&](const JsonReader& item) {
        item.require("pool", "the name of a CiliumPodIPPool");
        node.pools_allocated.push_back({item.string("pool"), item.cidrs("cidrs")});
    });
}

Json pools_json(const CiliumNode& node) {
    Json requested = Json::array();
    for (const PoolRequest& request : node.pools_requested) {
        Json needed = Json::object();
        if (request.ipv4 != 0) needed["ipv4-addrs"] = request.ipv4;
        if (request.ipv6 != 0) needed["ipv6-addrs"] = request.ipv6;
        requested.push_back({{"pool", request.pool}, {"needed", std::move(needed)}});
    }
    Json allocated = Json::array();
    for (const PoolAllocation& allocation : node.pools_allocated) {
        Json item{{"pool", allocation.pool}};
        put_nonempty(item, "cidrs", allocation.cidrs);
        allocated.push_back(std::move(item));
    }
    Json pools = Json::object();
    put_nonempty(pools, "requested", std::move(requested));
    put_nonempty(pools, "allocated", std::move(allocated));
    return pools;
}

}  // namespace

void take_away(std::vector<PoolAllocation>& allocated, const std::set<Prefix>& cidrs) {
    for (PoolAllocation& allocation : allocated)
        std::erase_if(allocation.cidrs, [&](const Prefix& cidr) { return cidrs.contains(cidr); });
    std::erase_if(allocated, [](const PoolAllocation& allocation) { return allocation.cidrs.empty(); });
}

Result<CiliumNode> CiliumNode::parse(const Json& json) {
    const JsonReader object(json, "CiliumNode");
    TRY(require_kind(object, kKind));
    CiliumNode node;
    node.metadata = read_meta(object, kKind, Scope::kCluster);

    const JsonReader spec = object.at("spec");
    node.boot_id = spec.string("bootid");
    node.instance_id = spec.string("instance-id");
    node.node_identity =
        static_cast<std::uint32_t>(spec.integer("nodeidentity", 0, std::numeric_limits<std::uint32_t>::max()));
    spec.each("addresses", [&](const JsonReader& item) {
        NodeAddress address{item.string("type"), item.address("ip")};
        item.require("ip", "an IPv4 or IPv6 address");
        node.addresses.push_back(std::move(address));
    });
    node.encryption_key = static_cast<int>(spec.at("encryption").integer("key", 0, 255));
    const JsonReader health = spec.at("health");
    node.health_ipv4 = health.address("ipv4");
    node.health_ipv6 = health.address("ipv6");
    const JsonReader ingress = spec.at("ingress");
    node.ingress_ipv4 = ingress.address("ipv4");
    node.ingress_ipv6 = ingress.address("ipv6");
    node.pod_cidrs = spec.at("ipam").cidrs("podCIDRs");
    read_pools(spec.at("ipam").at("pools"), node);
    node.operator_error = object.at("status").at("ipam").at("operator-status").string("error");

    TRY(object.status());
    return node;
}

Json CiliumNode::to_json() const {
    Json json = object_json(kApiVersion, kKind, metadata);
    Json spec = Json::object();
    put_nonempty(spec, "bootid", boot_id);
    put_nonempty(spec, "instance-id", instance_id);
    if (node_identity != 0) spec["nodeidentity"] = node_identity;
    Json list = Json::array();
    for (const NodeAddress& address : addresses)
        list.push_back({{"type", address.type}, {"ip", address.ip.to_string()}});
    put_nonempty(spec, "addresses", std::move(list));
    if (encryption_key != 0) spec["encryption"] = {{"key", encryption_key}};
    Json health = Json::object();
    put_nonempty(health, "ipv4", health_ipv4);
    put_nonempty(health, "ipv6", health_ipv6);
    put_nonempty(spec, "health", std::move(health));
    Json ingress = Json::object();
    put_nonempty(ingress, "ipv4", ingress_ipv4);
    put_nonempty(ingress, "ipv6", ingress_ipv6);
    put_nonempty(spec, "ingress", std::move(ingress));
    Json ipam = Json::object();
    put_nonempty(ipam, "podCIDRs", pod_cidrs);
    put_nonempty(ipam, "pools", pools_json(*this));
    put_nonempty(spec, "ipam", std::move(ipam));
    json["spec"] = std::move(spec);
    if (!operator_error.empty()) json["status"] = {{"ipam", {{"operator-status", {{"error", operator_error}}}}}};
    return json;
}

IpAddress CiliumNode::address(std::string_view type, Family family) const {
    for (const NodeAddress& address : addresses) {
        if (address.type == type && address.ip.family() == family) return address.ip;
    }
    return {};
}

bool CiliumNode::has_address(const IpAddress& ip) const {
    return std::ranges::any_of(addresses, [&](const NodeAddress& address) { return address.ip == ip; });
}

std::vector<Prefix> CiliumNode::all_pod_cidrs() const {
    std::vector<Prefix> all = pod_cidrs;
    for (const PoolAllocation& allocation : pools_allocated)
        all.insert(all.end(), allocation.cidrs.begin(), allocation.cidrs.end());
    return all;
}

}  // namespace axo
