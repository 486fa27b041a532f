#include "features/endpoint/desired.h"

namespace axo {

std::string_view endpoint_state_text(EndpointState state) {
    switch (state) {
        case EndpointState::kWaitingForIdentity: return "waiting-for-identity";
        case EndpointState::kNotReady: return "not-ready";
        case EndpointState::kWaitingToRegenerate: return "waiting-to-regenerate";
        case EndpointState::kRegenerating: return "regenerating";
        case EndpointState::kRestoring: return "restoring";
        case EndpointState::kReady: return "ready";
        case EndpointState::kDisconnecting: return "disconnecting";
        case EndpointState::kDisconnected: return "disconnected";
        case EndpointState::kInvalid: return "invalid";
    }
    return "invalid";
}

bool in_datapath(const EndpointRow& endpoint) {
    if (endpoint.kind == EndpointKind::kHost || endpoint.link.value == 0 || endpoint.identity == identity::kUnknown)
        return false;
    switch (endpoint.state) {
        case EndpointState::kRegenerating:
        case EndpointState::kWaitingToRegenerate:
        case EndpointState::kRestoring:
        case EndpointState::kReady: return true;
        default: return false;
    }
}

std::map<IpAddress, LocalEndpoint> address_entries(const EndpointRow& endpoint) {
    std::map<IpAddress, LocalEndpoint> entries;
    if (!in_datapath(endpoint)) return entries;
    const LocalEndpoint entry{.id = endpoint.id,
                              .link = endpoint.link,
                              .parent_link = endpoint.parent_link,
                              .identity = endpoint.identity,
                              .mac = endpoint.mac,
                              .node_mac = endpoint.host_mac};
    if (endpoint.ipv4) entries.emplace(endpoint.ipv4, entry);
    if (endpoint.ipv6) entries.emplace(endpoint.ipv6, entry);
    return entries;
}

std::map<IpAddress, LocalEndpoint> host_address_entries(const std::set<IpAddress>& addresses) {
    std::map<IpAddress, LocalEndpoint> entries;
    for (const IpAddress& address : addresses) {
        if (address.is_loopback() || address.is_unspecified() || (address.is_v6() && address.is_link_local())) continue;
        LocalEndpoint host;
        host.host = true;
        entries.emplace(address, host);
    }
    return entries;
}

std::optional<DeviceEndpoint> device_entry(const EndpointRow& endpoint) {
    if (!in_datapath(endpoint)) return std::nullopt;
    return DeviceEndpoint{.id = endpoint.id,
                          .identity = endpoint.identity,
                          .ipv4 = endpoint.ipv4,
                          .ipv6 = endpoint.ipv6,
                          .mac = endpoint.mac,
                          .node_mac = endpoint.host_mac,
                          .skip_source_check = endpoint.skip_source_check,
                          .pass_arp = endpoint.arp_passthrough};
}

std::optional<CiliumEndpoint> published_endpoint(const EndpointRow& endpoint, const PublishedPod& pod,
                                                 const IpAddress& node_ip) {
    if (endpoint.kind != EndpointKind::kPod || endpoint.k8s_pod.empty()) return std::nullopt;
    if (endpoint.state == EndpointState::kDisconnecting || endpoint.state == EndpointState::kDisconnected ||
        endpoint.state == EndpointState::kInvalid || endpoint.identity == identity::kUnknown) {
        return std::nullopt;
    }
    CiliumEndpoint object;
    object.metadata.name = endpoint.k8s_pod;
    object.metadata.name_space = endpoint.k8s_namespace;
    for (const Label& label : endpoint.info_labels) {
        if (label.source == label_source::kK8s) object.metadata.labels.emplace(label.key, label.value);
    }
    if (!pod.uid.empty()) {
        OwnerReference owner;
        owner.api_version = "v1";
        owner.kind = "Pod";
        owner.name = endpoint.k8s_pod;
        owner.uid = pod.uid;
        object.metadata.owner_references.push_back(std::move(owner));
    }
    object.id = endpoint.id.value;
    // Passing states would only make others write and read the object more often.
    object.state = endpoint_state_text(EndpointState::kReady);
    object.service_account = pod.service_account;
    object.named_ports = pod.ports;
    object.identity = endpoint.identity;
    object.identity_labels = endpoint.labels.to_strings();
    object.external.cni_attachment_id = endpoint.cni_attachment_id();
    object.external.container_id = endpoint.container_id;
    object.external.container_name = endpoint.container_name;
    object.external.k8s_namespace = endpoint.k8s_namespace;
    object.external.k8s_pod_name = endpoint.k8s_pod;
    object.external.pod_name = endpoint.pod_name();
    object.addressing.push_back({endpoint.ipv4, endpoint.ipv6});
    object.node_ip = node_ip;
    return object;
}

}  // namespace axo
