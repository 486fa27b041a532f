#include "model/pod.h"

#include <algorithm>
#include <array>

namespace axo {

Result<Pod> Pod::parse(const Json& json) {
    const JsonReader object(json, "Pod");
    TRY(require_kind(object, kKind));
    Pod pod;
    pod.metadata = read_meta(object, kKind, Scope::kNamespaced);

    const JsonReader spec = object.at("spec");
    pod.node_name = spec.string("nodeName");
    pod.host_network = spec.boolean("hostNetwork");
    pod.service_account = spec.string("serviceAccountName", spec.string("serviceAccount"));
    spec.each("containers", [&](const JsonReader& container) {
        pod.container_names.push_back(container.string("name"));
        container.each("ports", [&](const JsonReader& item) {
            NamedPort port{item.string("name"), static_cast<std::uint16_t>(item.integer("containerPort", 1, 65535)),
                           item.string("protocol", "TCP")};
            if (port.protocol != "TCP" && port.protocol != "UDP" && port.protocol != "SCTP") {
                item.reject("protocol", "TCP, UDP, SCTP");
            }
            const auto host_port = static_cast<std::uint16_t>(item.integer("hostPort", 0, 65535));
            if (host_port != 0) pod.host_ports.push_back({host_port, item.address("hostIP"), port.port, port.protocol});
            if (!port.name.empty()) pod.ports.push_back(std::move(port));
        });
    });

    const JsonReader status = object.at("status");
    constexpr std::array<std::string_view, 5> kPhases = {"Pending", "Running", "Succeeded", "Failed", "Unknown"};
    pod.phase = status.string("phase");
    if (!pod.phase.empty() && std::ranges::find(kPhases, pod.phase) == kPhases.end()) {
        status.reject("phase", "Pending, Running, Succeeded, Failed, Unknown");
    }
    pod.host_ip = status.address("hostIP");
    status.each("podIPs", [&](const JsonReader& item) {
        if (const IpAddress ip = item.address("ip")) pod.pod_ips.push_back(ip);
    });
    if (const IpAddress ip = status.address("podIP"); ip && pod.pod_ips.empty()) pod.pod_ips.push_back(ip);

    TRY(object.status());
    return pod;
}

Json Pod::to_json() const {
    Json json = object_json(kApiVersion, kKind, metadata);
    Json spec = Json::object();
    put_nonempty(spec, "nodeName", node_name);
    if (host_network) spec["hostNetwork"] = true;
    put_nonempty(spec, "serviceAccountName", service_account);
    Json containers = Json::array();
    for (const std::string& name : container_names) containers.push_back({{"name", name}});
    if (!ports.empty() || !host_ports.empty()) {
        if (containers.empty()) containers.push_back({{"name", "pod"}});
        for (const NamedPort& port : ports) {
            containers[0]["ports"].push_back(
                {{"name", port.name}, {"containerPort", port.port}, {"protocol", port.protocol}});
        }
        for (const PodHostPort& port : host_ports) {
            Json item{{"containerPort", port.container_port}, {"hostPort", port.port}, {"protocol", port.protocol}};
            if (port.address) item["hostIP"] = port.address.to_string();
            containers[0]["ports"].push_back(std::move(item));
        }
    }
    put_nonempty(spec, "containers", std::move(containers));
    json["spec"] = std::move(spec);

    Json status = Json::object();
    put_nonempty(status, "phase", phase);
    put_nonempty(status, "hostIP", host_ip);
    if (!pod_ips.empty()) {
        status["podIP"] = pod_ips.front().to_string();
        for (const IpAddress& ip : pod_ips) status["podIPs"].push_back({{"ip", ip.to_string()}});
    }
    put_nonempty(json, "status", std::move(status));
    return json;
}

LabelSet pod_labels(const Pod& pod, const Namespace* name_space, std::string_view cluster_name) {
    LabelSet labels;
    const auto add = [&labels](std::string key, std::string value) {
        labels.insert({std::string(label_source::kK8s), std::move(key), std::move(value)});
    };
    std::string namespace_prefix(label_key::kNamespaceLabels);
    namespace_prefix += '.';
    for (const auto& [key, value] : pod.metadata.labels) {
        const bool derived = key.starts_with(namespace_prefix) || key == label_key::kPodNamespace ||
                             key == label_key::kCluster || key == label_key::kServiceAccount;
        if (!derived) add(key, value);
    }
    if (name_space != nullptr) {
        for (const auto& [key, value] : name_space->metadata.labels) add(namespace_prefix + key, value);
    }
    add(std::string(label_key::kPodNamespace), pod.metadata.name_space);
    add(std::string(label_key::kCluster), std::string(cluster_name));
    if (!pod.service_account.empty()) add(std::string(label_key::kServiceAccount), pod.service_account);
    return labels;
}

}  // namespace axo
