// Which frontends exist and where they lead: a pure function of Services, their endpoints, this node and its host
// ports, computed anew only for what has changed.
//
// The rules are kube-proxy's, as far as both serve the same thing:
//  - an endpoint is usable when it is ready; terminating ones that still serve are used when nothing else is left;
//  - externalTrafficPolicy Local restricts traffic that comes from outside, internalTrafficPolicy Local that to the
//    ClusterIP; clients inside of the cluster reach external addresses under neither of both;
//  - topology hints count when every usable endpoint has one and one of them names this node or its zone.
// Of two Services that claim one address and port the older one has it: ClusterIPs before all others, then by
// creationTimestamp, then by name.
// Thread: one at a time.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/result.h"
#include "features/service/types.h"
#include "model/endpoint_slice.h"
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
    bool health_check_node_port = true;  // enable-health-check-nodeport
    std::string proxy_name;              // k8s-service-proxy-name
};

// A Service as far as it matters here.
struct Definition {
    struct Port {
        SharedText name;
        std::uint8_t protocol = 0;
        std::uint16_t port = 0, node_port = 0, target = 0;  // target 0: by name
        friend bool operator==(const Port&, const Port&) = default;
    };
    std::shared_ptr<const ServiceInfo> info;
    std::string created;  // creationTimestamp
    std::vector<Port> ports;
    std::vector<IpAddress> cluster_ips, ingress_ips, external_ips;  // of families that are served
    bool node_ports = false;
    bool publish_not_ready = false;
    bool hints = false;  // topology hints count
    // What cannot be served; the rest is.
    std::vector<Error> problems;
    friend bool operator==(const Definition&, const Definition&) = default;
};
bool operator==(const Error& a, const Error& b);

// What this node is, for services.
struct ServiceNode {
    std::string zone;                           // label topology.kubernetes.io/zone
    std::map<std::string, std::string> labels;  // for service.cilium.io/node and node-selector
    friend bool operator==(const ServiceNode&, const ServiceNode&) = default;
};

// Nothing: not ours (headless, ExternalName, another proxy's, exposed on other nodes only). An error refuses the whole
// Service, so that its previous version stays in force.
Result<std::optional<Definition>> define(const Service& service, const EngineSettings& settings,
                                         const ServiceNode& node);
// Whether define() looks at the node's labels.
bool depends_on_node(const Service& service);

// An EndpointSlice as far as it matters here.
struct SliceData {
    struct Port {
        SharedText name;
        std::uint8_t protocol = 0;
        std::uint16_t port = 0;
        friend bool operator==(const Port&, const Port&) = default;
    };
    struct Endpoint {
        IpAddress address;
        bool ready : 1 = true, serving : 1 = true, terminating : 1 = false;
        SharedText node, zone;
        std::vector<SharedText> hint_zones, hint_nodes;
        friend bool operator==(const Endpoint&, const Endpoint&) = default;
    };
    Family family = Family::kIpv4;
    std::vector<Port> ports;
    std::vector<Endpoint> endpoints;
    friend bool operator==(const SliceData&, const SliceData&) = default;
};
SliceData slice_data(const EndpointSlice& slice);

class ServiceEngine {
public:
    explicit ServiceEngine(EngineSettings settings) : settings_(std::move(settings)) {}

    void set_service(const ServiceName& name, Definition definition);
    void remove_service(const ServiceName& name);
    // Slices of an EndpointSlice, or those that an Endpoints object was read into: the latter count only for Services
    // that have none of the former.
    enum class SliceKind { kEndpointSlice, kEndpoints };
    void set_slices(const ServiceName& service, SliceKind kind, const std::string& object,
                    std::vector<SliceData> slices);
    void remove_slices(const ServiceName& service, SliceKind kind, const std::string& object);
    void set_zone(const std::string& zone);
    // Host ports of one pod; owner: "ns/pod". Empty: none any more.
    void set_host_ports(const std::string& owner, std::vector<HostPort> ports);
    // Addresses of nodes: no virtual address hides their other ports.
    void set_node_addresses(std::set<IpAddress> addresses);

    struct Changes {
        // What is told of each frontend is its latest state; ids are the caller's.
        std::vector<std::pair<FrontendKey, std::optional<FrontendRow>>> frontends;         // nullopt: gone
        std::vector<std::pair<IpAddress, std::optional<FrontendType>>> virtual_addresses;  // whose other ports refuse
        // where -> what is wrong; nullopt: nothing any more.
        std::vector<std::pair<std::string, std::optional<Error>>> problems;
        bool health_ports = false;
        [[nodiscard]] bool empty() const {
            return frontends.empty() && virtual_addresses.empty() && problems.empty() && !health_ports;
        }
    };
    [[nodiscard]] bool dirty() const { return !dirty_.empty(); }
    // Computes what has changed since the last call; of at most `limit` Services.
    Changes take_changes(std::size_t limit = SIZE_MAX);

    [[nodiscard]] const std::map<std::uint16_t, HealthPort>& health_ports() const { return health_ports_; }
    [[nodiscard]] bool knows(const ServiceName& name) const;
    [[nodiscard]] std::size_t services() const { return defined_; }

private:
    struct Slices {
        SliceKind kind;
        std::string object;
        std::vector<SliceData> data;
    };
    struct Wanted;
    struct State;
    struct Claimant;
    using Key = std::string;  // "ns/name", and "pod:ns/name" for host ports

    State& state(const ServiceName& name);
    void recompute(State& state, Changes& changes);

    EngineSettings settings_;
    std::unordered_map<Key, std::unique_ptr<State>> states_;
    std::unordered_set<Key> dirty_;
    std::map<std::uint16_t, HealthPort> health_ports_;
    std::size_t defined_ = 0;
};

}  // namespace axo::service
