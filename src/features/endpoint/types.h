// Rows of the endpoints table: the pods of this node, the node itself and its health endpoint.
// Thread: any (values).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/ip.h"
#include "base/types.h"
#include "model/labels.h"

namespace axo {

enum class EndpointKind : std::uint8_t { kPod, kHost, kHealth };

// Cilium's life cycle; text by endpoint_state_text.
enum class EndpointState : std::uint8_t {
    kWaitingForIdentity,
    kNotReady,
    kWaitingToRegenerate,
    kRegenerating,
    kRestoring,
    kReady,
    kDisconnecting,
    kDisconnected,
    kInvalid,
};

struct EndpointRow {
    EndpointId id;
    EndpointKind kind = EndpointKind::kPod;
    EndpointState state = EndpointState::kWaitingForIdentity;

    std::string container_id;
    std::string container_interface;  // "eth0": its name inside the pod
    std::string container_netns;      // path
    std::string docker_endpoint_id, docker_network_id, container_name;
    std::string k8s_namespace, k8s_pod, k8s_uid;
    std::string interface_name;  // of the host-side device
    IfIndex link, parent_link;
    MacAddress mac;       // the pod's interface
    MacAddress host_mac;  // the host-side device
    IpAddress ipv4, ipv6;
    std::string ipv4_pool, ipv6_pool;
    std::uint64_t netns_cookie = 0;  // 0: unknown

    // EndpointDatapathConfiguration
    bool arp_passthrough = false;
    bool skip_source_check = false;
    bool external_ipam = false;

    bool policy_audit = false;  // PolicyAuditMode: what policy denies is reported and passes

    IdentityId identity;
    LabelSet labels;       // security-relevant
    LabelSet info_labels;  // those that the label filter left out

    [[nodiscard]] std::string cni_attachment_id() const {
        return container_id.empty() ? std::string() : container_id + ":" + container_interface;
    }
    [[nodiscard]] std::string pod_name() const {
        return k8s_pod.empty() ? std::string() : k8s_namespace + "/" + k8s_pod;
    }
    friend bool operator==(const EndpointRow&, const EndpointRow&) = default;
};

std::string_view endpoint_state_text(EndpointState state);

}  // namespace axo
