// Rows of the ipcache: which identity is behind a prefix, and on which node it lives. Thread: any (values).
#pragma once

#include <cstdint>
#include <string>

#include "base/ip.h"
#include "base/types.h"

namespace axo {

// Who says so. Of several claims to a prefix the highest source wins.
enum class IpcacheSource : std::uint8_t {
    kGenerated,       // world, pod CIDRs
    kCustomResource,  // CiliumNode, CiliumEndpoint
    kLocal,           // this node and its endpoints
};

struct IpcacheRow {
    IdentityId identity;
    IpAddress host_ip{};       // of the node it lives on; unset: outside the cluster
    bool tunnel = false;       // there is a tunnel to host_ip
    bool skip_tunnel = false;  // not the way to it, but for what DSR sends on
    IpcacheSource source = IpcacheSource::kGenerated;
    std::string k8s_namespace{}, name{};
    friend bool operator==(const IpcacheRow&, const IpcacheRow&) = default;
};

// A pod of another node, as its CiliumEndpoint tells.
struct RemoteEndpoint {
    std::string k8s_namespace{}, name{};
    IdentityId identity;
    IpAddress node_ip;
    IpAddress ipv4, ipv6;
    friend bool operator==(const RemoteEndpoint&, const RemoteEndpoint&) = default;
};

inline const char* ipcache_source_text(IpcacheSource source) {
    switch (source) {
        case IpcacheSource::kGenerated: return "generated";
        case IpcacheSource::kCustomResource: return "custom-resource";
        case IpcacheSource::kLocal: return "local";
    }
    return "unspec";
}

}  // namespace axo
