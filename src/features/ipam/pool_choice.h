// Which pool a pod's address comes from (IPAM mode multi-pool), as Cilium 1.19 decides it:
//
//   1. annotation ipam.cilium.io/ipv4-pool or …/ipv6-pool, else …/ip-pool, of the pod; then of its namespace
//   2. the one CiliumPodIPPool with CIDRs of the family whose podSelector and namespaceSelector match. A pool without
//      selectors is never found this way; several are an error. Beside the pod's labels podSelector sees
//      io.kubernetes.pod.namespace and io.kubernetes.pod.name.
//   3. the default pool, unless ipam.cilium.io/require-pool-match is "true" for the pod or its namespace
//
// Pure. Thread: any.
#pragma once

#include <map>
#include <string>

#include "base/result.h"
#include "model/namespace.h"
#include "model/pod.h"
#include "model/pod_ip_pool.h"

namespace axo {

inline constexpr std::string_view kSkipMasqueradeAnnotation = "ipam.cilium.io/skip-masquerade";

// name_space: nullptr when there is no such object. pools: by name.
Result<std::string> choose_pool(Family family, const ObjectMeta& pod, const ObjectMeta* name_space,
                                const std::map<std::string, PodIpPool>& pools, const std::string& default_pool);

}  // namespace axo
