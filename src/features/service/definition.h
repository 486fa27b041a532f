// Services and EndpointSlices as far as this node serves them: compact, checked, without what nobody looks at.
// Thread: any (pure functions and values).
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "features/service/types.h"
#include "model/endpoint_slice.h"
#include "model/label_selector.h"
#include "model/service.h"

namespace axo::service {

struct EngineSettings {
    std::string node_name;
    bool ipv4 = true, ipv6 = true;
    bool node_ports = true;             // NodePort and LoadBalancer frontends
    bool external_ips = true;           // spec.externalIPs
    bool host_ports = true;             // of pods
    bool session_affinity = true;       // false: spec.sessionAffinity is reported and not kept
    bool maglev = false;                // bpf-lb-algorithm
    bool algorithm_annotation = false;  // bpf-lb-algorithm-annotation: Services may choose
    bool mode_annotation = false;       // bpf-lb-mode-annotation: Services may choose DSR
    bool dsr = false;                   // without an annotation
    bool external_cluster_ip = false;   // bpf-lb-external-clusterip
    bool service_topology = false;      // enable-service-topology: hints count for every Service
    bool source_ranges = true;          // enable-svc-source-range-check
    bool source_range_all_types = false;
    bool health_check_node_port = true;          // enable-health-check-nodeport
    bool health_check_load_balancer_ip = false;  // and at that port of the load balancer's addresses
    std::string proxy_name;                      // k8s-service-proxy-name
};

// A Service as far as it matters here.
struct Definition {
    struct Port {
        SharedText name;
        std::uint8_t protocol = 0;  // IPPROTO_*
        std::uint16_t port = 0, node_port = 0;
        friend bool operator==(const Port&, const Port&) = default;
    };
    std::shared_ptr<const ServiceInfo> info;  // never null
    std::string created;                      // creationTimestamp
    std::vector<Port> ports;
    // Of families that are served.
    std::vector<IpAddress> cluster_ips, ingress_ips, external_ips;
    bool cluster_ip_frontends = true, node_port_frontends = false;
    bool publish_not_ready = false;
    bool hints = false;   // topology hints count
    std::string problem;  // what of it cannot be served; the rest is
};

// What this node is, for services.
struct ServiceNode {
    std::string zone;                           // label topology.kubernetes.io/zone
    std::map<std::string, std::string> labels;  // for service.cilium.io/node and node-selector
    std::vector<IpAddress> addresses;           // at which its health check node ports answer; one of each family
    friend bool operator==(const ServiceNode&, const ServiceNode&) = default;
};
ServiceNode service_node(const std::map<std::string, std::string>& labels);

// Nothing: not ours (headless, ExternalName, another proxy's, not exposed on this node). An error refuses the whole
// Service, so that its previous version stays in force.
Result<std::optional<Definition>> define(const Service& service, const EngineSettings& settings,
                                         const ServiceNode& node);
// Whether define() looks at the node's labels.
bool depends_on_node(const Service& service);

// "a=b, !c, d in (e, f)", as kubectl takes it.
Result<LabelSelector> parse_label_selector(std::string_view text);

// IPPROTO_* of "TCP", "UDP", "SCTP".
std::uint8_t protocol_number(std::string_view name);

// An EndpointSlice as far as it matters here.
struct SliceData {
    struct Port {
        SharedText name;
        std::uint8_t protocol = 0;
        std::uint16_t port = 0;
        friend bool operator==(const Port&, const Port&) = default;
    };
    // Whose clients an endpoint should serve.
    struct Hints {
        std::vector<SharedText> zones, nodes;
        friend bool operator==(const Hints&, const Hints&) = default;
    };
    struct Endpoint {
        IpAddress address;
        bool ready = true, serving = true, terminating = false;
        SharedText node, zone;
        friend bool operator==(const Endpoint&, const Endpoint&) = default;
    };
    Family family = Family::kIpv4;
    std::vector<Port> ports;
    std::vector<Endpoint> endpoints;
    std::vector<Hints> hints;  // of each endpoint; empty: no endpoint has any
    friend bool operator==(const SliceData&, const SliceData&) = default;
};
SliceData slice_data(const EndpointSlice& slice);

}  // namespace axo::service
