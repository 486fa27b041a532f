// Service (v1). Thread: any (values).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "model/meta.h"

namespace axo {

// A port of a Service's target: a number, or the name of a container's port.
struct TargetPort {
    std::uint16_t number = 0;  // 0: by name
    std::string name;
    friend bool operator==(const TargetPort&, const TargetPort&) = default;
};

struct ServicePort {
    std::string name;  // "" when the Service has only one port
    std::string protocol = "TCP";
    std::uint16_t port = 0;
    TargetPort target;            // the port itself when not given
    std::uint16_t node_port = 0;  // 0: none
    std::string app_protocol;
    friend bool operator==(const ServicePort&, const ServicePort&) = default;
};

struct Service {
    static constexpr std::string_view kApiVersion = "v1";
    static constexpr std::string_view kKind = "Service";

    enum class Type { kClusterIp, kNodePort, kLoadBalancer, kExternalName };
    enum class TrafficPolicy { kCluster, kLocal };

    struct Ingress {  // status.loadBalancer.ingress
        IpAddress ip;
        std::string hostname;
        std::string ip_mode;  // VIP, Proxy; "" when not given
        friend bool operator==(const Ingress&, const Ingress&) = default;
    };

    ObjectMeta metadata;
    // spec
    Type type = Type::kClusterIp;
    std::vector<ServicePort> ports;
    std::map<std::string, std::string> selector;  // empty: somebody else maintains the endpoints
    bool headless = false;                        // clusterIP "None"
    std::vector<IpAddress> cluster_ips;           // empty: headless, ExternalName or not assigned yet
    std::vector<std::string> ip_families;         // IPv4, IPv6
    std::string ip_family_policy;                 // SingleStack, PreferDualStack, RequireDualStack
    std::vector<IpAddress> external_ips;
    std::string external_name;
    bool client_ip_affinity = false;  // sessionAffinity: ClientIP
    std::int32_t affinity_timeout_seconds = kDefaultAffinityTimeoutSeconds;
    TrafficPolicy external_traffic_policy = TrafficPolicy::kCluster;
    TrafficPolicy internal_traffic_policy = TrafficPolicy::kCluster;
    std::uint16_t health_check_node_port = 0;  // 0: none
    bool publish_not_ready_addresses = false;
    IpAddress load_balancer_ip;
    std::vector<Prefix> load_balancer_source_ranges;  // host bits cleared
    std::string load_balancer_class;
    bool allocate_node_ports = true;   // allocateLoadBalancerNodePorts
    std::string traffic_distribution;  // PreferClose, PreferSameZone, PreferSameNode
    // status
    std::vector<Ingress> ingress;

    static constexpr std::int32_t kDefaultAffinityTimeoutSeconds = 10800;

    static Result<Service> parse(const Json& json);
    [[nodiscard]] Json to_json() const;
    friend bool operator==(const Service&, const Service&) = default;
};

}  // namespace axo
