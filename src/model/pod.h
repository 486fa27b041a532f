// Pod (v1), as far as networking needs it. Thread: any (values).
#pragma once

#include <string>
#include <vector>

#include "model/cilium_endpoint.h"
#include "model/labels.h"
#include "model/meta.h"
#include "model/namespace.h"

namespace axo {

// A port of the node that leads to a port of the pod.
struct PodHostPort {
    std::uint16_t port = 0;  // hostPort
    IpAddress address;       // hostIP; unset: every address of the node
    std::uint16_t container_port = 0;
    std::string protocol;  // TCP, UDP, SCTP

    friend bool operator==(const PodHostPort&, const PodHostPort&) = default;
};

struct Pod {
    static constexpr std::string_view kApiVersion = "v1";
    static constexpr std::string_view kKind = "Pod";

    ObjectMeta metadata;
    // spec
    std::string node_name;  // "" until scheduled
    bool host_network = false;
    std::string service_account;
    std::vector<std::string> container_names;
    std::vector<NamedPort> ports;         // of all containers, only those with a name
    std::vector<PodHostPort> host_ports;  // of all containers
    // status
    std::string phase;  // Pending, Running, Succeeded, Failed, Unknown; "" when nobody has written it
    IpAddress host_ip;
    std::vector<IpAddress> pod_ips;

    static Result<Pod> parse(const Json& json);
    [[nodiscard]] Json to_json() const;
    // It has ended for good: its addresses are no longer its own.
    [[nodiscard]] bool finished() const { return phase == "Succeeded" || phase == "Failed"; }

    friend bool operator==(const Pod&, const Pod&) = default;
};

// All labels of the pod with source k8s: its own, its namespace's (io.cilium.k8s.namespace.labels.*), and
// the derived io.kubernetes.pod.namespace, io.cilium.k8s.policy.cluster and …policy.serviceaccount, which a
// pod cannot set itself. Before the label filter. name_space: nullptr while the Namespace object is missing.
LabelSet pod_labels(const Pod& pod, const Namespace* name_space, std::string_view cluster_name);

}  // namespace axo
