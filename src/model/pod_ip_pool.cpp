#include "model/pod_ip_pool.h"

namespace axo {
namespace {

std::optional<PodIpPool::FamilyPool> read_family(const JsonReader& spec, std::string_view key, Family family) {
    const JsonReader reader = spec.at(key);
    if (!reader.present()) return std::nullopt;
    const int bits = family == Family::kIpv4 ? 32 : 128;
    PodIpPool::FamilyPool pool;
    pool.cidrs = reader.cidrs("cidrs");
    reader.require("maskSize", "a prefix length from 1 to " + std::to_string(bits));
    pool.mask_size = static_cast<int>(reader.integer("maskSize", 1, bits));
    if (pool.cidrs.empty()) reader.reject("cidrs", "at least one CIDR");
    for (const Prefix& cidr : pool.cidrs) {
        if (cidr.family() != family) reader.reject("cidrs", "CIDRs of family " + std::string(key) + " only");
        if (cidr.length() > pool.mask_size) {
            reader.reject("maskSize", "a prefix length not shorter than that of " + cidr.to_string());
        }
    }
    return pool;
}

Json family_json(const PodIpPool::FamilyPool& pool) {
    Json json = {{"maskSize", pool.mask_size}};
    put_nonempty(json, "cidrs", pool.cidrs);
    return json;
}

}  // namespace

Result<PodIpPool> PodIpPool::parse(const Json& json) {
    const JsonReader object(json, "CiliumPodIPPool");
    TRY(require_kind(object, kKind));
    PodIpPool pool;
    pool.metadata = read_meta(object, kKind, Scope::kCluster);
    const JsonReader spec = object.at("spec");
    pool.ipv4 = read_family(spec, "ipv4", Family::kIpv4);
    pool.ipv6 = read_family(spec, "ipv6", Family::kIpv6);
    if (spec.has("podSelector")) pool.pod_selector = LabelSelector::read(spec.at("podSelector"));
    if (spec.has("namespaceSelector")) pool.namespace_selector = LabelSelector::read(spec.at("namespaceSelector"));
    if (!pool.ipv4 && !pool.ipv6) object.reject("spec", "ipv4, ipv6 or both with cidrs and maskSize");
    TRY(object.status());
    return pool;
}

Json PodIpPool::to_json() const {
    Json json = object_json(kApiVersion, kKind, metadata);
    Json spec = Json::object();
    if (ipv4) spec["ipv4"] = family_json(*ipv4);
    if (ipv6) spec["ipv6"] = family_json(*ipv6);
    if (pod_selector) spec["podSelector"] = pod_selector->to_json();
    if (namespace_selector) spec["namespaceSelector"] = namespace_selector->to_json();
    json["spec"] = std::move(spec);
    return json;
}

}  // namespace axo
