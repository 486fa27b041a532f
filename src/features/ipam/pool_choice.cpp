#include "features/ipam/pool_choice.h"

#include "features/ipam/address_math.h"

namespace axo {
namespace {

std::string annotation(const ObjectMeta& object, const std::string& key) {
    const auto found = object.annotations.find(key);
    return found == object.annotations.end() ? std::string() : found->second;
}

std::string named_pool(const ObjectMeta& object, Family family) {
    const std::string own =
        annotation(object, family == Family::kIpv4 ? "ipam.cilium.io/ipv4-pool" : "ipam.cilium.io/ipv6-pool");
    return own.empty() ? annotation(object, "ipam.cilium.io/ip-pool") : own;
}

}  // namespace

Result<std::string> choose_pool(Family family, const ObjectMeta& pod, const ObjectMeta* name_space,
                                const std::map<std::string, PodIpPool>& pools, const std::string& default_pool) {
    if (std::string named = named_pool(pod, family); !named.empty()) return named;
    if (name_space != nullptr) {
        if (std::string named = named_pool(*name_space, family); !named.empty()) return named;
    }
    std::map<std::string, std::string> labels = pod.labels;
    labels["io.kubernetes.pod.namespace"] = pod.name_space;
    labels["io.kubernetes.pod.name"] = pod.name;
    static const std::map<std::string, std::string> kNone;
    std::string found, several;
    for (const auto& [name, pool] : pools) {
        if (!(family == Family::kIpv4 ? pool.ipv4 : pool.ipv6)) continue;
        if (!pool.pod_selector && !pool.namespace_selector) continue;
        if (pool.pod_selector && !pool.pod_selector->matches(labels)) continue;
        if (pool.namespace_selector &&
            !pool.namespace_selector->matches(name_space == nullptr ? kNone : name_space->labels))
            continue;
        several += (several.empty() ? "" : ", ") + name;
        if (!found.empty()) continue;
        found = name;
    }
    if (several != found) {
        return fail(Code::kFailedPrecondition,
                    "multiple CiliumPodIPPools match pod " + pod.full_name() + " (" + std::string(family_name(family)) +
                        "): " + several +
                        "; accepted: one whose podSelector and namespaceSelector match, or annotation "
                        "ipam.cilium.io/ip-pool");
    }
    if (!found.empty()) return found;
    for (const ObjectMeta* object : {&pod, name_space}) {
        if (object == nullptr || annotation(*object, "ipam.cilium.io/require-pool-match") != "true") continue;
        return fail(Code::kFailedPrecondition, "no matching CiliumPodIPPool for pod " + pod.full_name() + " (" +
                                                   std::string(family_name(family)) +
                                                   "), and the require-pool-match annotation is set on its " +
                                                   (object == &pod ? "own" : "namespace's") + " object");
    }
    return default_pool;
}

}  // namespace axo
