// The health endpoint's network namespace: a pod of the agent's own, so that probes take the way pods' traffic takes.
//
//   <state-dir>/netns/health   [ cilium: health IPs, default route via the router IP ] ==veth== lxc_health (host)
//
// Idempotent: what an earlier agent made is taken over. Thread: the loop's only.
#pragma once

#include <string>

#include "base/fd.h"
#include "base/ip.h"
#include "base/result.h"
#include "base/types.h"

namespace axo {

struct HealthNamespaceSpec {
    std::string path;  // of the namespace's mount
    IpAddress ipv4, ipv6;
    IpAddress router_ipv4, router_ipv6;
    std::uint32_t device_mtu = 1500;
    std::uint32_t route_mtu = 0;  // of the default route; 0: the device's
};

struct HealthNamespace {
    IfIndex link;  // lxc_health
    MacAddress mac, host_mac;
    bool created = false;
};

inline constexpr const char* kHealthDevice = "lxc_health";
inline constexpr const char* kHealthPeer = "cilium";

Result<HealthNamespace> ensure_health_namespace(const HealthNamespaceSpec& spec);
Status remove_health_namespace(const std::string& path);
// A TCP socket listening inside on all addresses of the family.
Result<Fd> listen_in_namespace(const std::string& path, Family family, std::uint16_t port);

}  // namespace axo
