// Services as this node serves them: frontends, and the backends that each of them leads to.
//
// Rows of the frontends table. A Service's port has a frontend for each address (and scope) that it is reached under;
// frontends that lead to the same backends share one Selection. Thread: any (values).
#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "maps/lb_map.h"
#include "model/service_name.h"

namespace axo::service {

// A string that many rows have (of nodes, zones, ports), in a string's place: equal ones are stored once, for good.
class SharedText {
public:
    SharedText() = default;
    SharedText(std::string_view text);                                           // NOLINT(google-explicit-constructor)
    SharedText(const std::string& text) : SharedText(std::string_view(text)) {}  // NOLINT(google-explicit-constructor)
    [[nodiscard]] const std::string& str() const;
    [[nodiscard]] bool empty() const { return number_ == 0; }
    friend bool operator==(SharedText, SharedText) = default;

private:
    std::uint32_t number_ = 0;  // from 1, in the order of their appearance; half a pointer, in every endpoint twice
};

using axo::ServiceName;

enum class FrontendType : std::uint8_t {
    kClusterIp,
    kNodePort,
    kLoadBalancer,
    kExternalIp,
    kHostPort,
    kLocalRedirect,
};
// As `service list` and the API print it: "ClusterIP", "ExternalIPs", …
std::string_view type_name(FrontendType type);

// Key of the table; LB_SCOPE_INTERNAL only where a frontend has two scopes.
using FrontendKey = LbFrontend;

enum class BackendState : std::uint8_t {
    kActive = LB_BACKEND_ACTIVE,
    kTerminating = LB_BACKEND_TERMINATING,
    kQuarantined = LB_BACKEND_QUARANTINED,
    kMaintenance = LB_BACKEND_MAINTENANCE,
};
// "active", "terminating", "quarantined", "maintenance"
std::string_view state_name(BackendState state);

struct Backend {
    LbAddress address;
    BackendState state = BackendState::kActive;
    bool local = false;        // on this node
    std::uint16_t weight = 1;  // 0: gets no new connections. Only Maglev tells weights apart
    SharedText node, zone;
    friend bool operator==(const Backend&, const Backend&) = default;
};

// What a frontend leads to. Those that new connections may be given to come first, ordered by address; then those that
// only keep the connections they have.
struct Selection {
    std::vector<Backend> backends;
    std::uint32_t usable = 0;  // of backends, from the first
    friend bool operator==(const Selection&, const Selection&) = default;
};

// What all frontends of a Service have in common.
struct ServiceInfo {
    ServiceName name;
    bool external_local = false;         // externalTrafficPolicy: Local
    bool internal_local = false;         // internalTrafficPolicy: Local
    std::uint32_t affinity_seconds = 0;  // sessionAffinity: ClientIP; 0: none
    std::uint16_t health_check_node_port = 0;
    bool maglev = false;  // the algorithm of its frontends that are reached from outside
    bool dsr = false;     // service.cilium.io/forwarding-mode: dsr, where services may say so
    bool source_ranges_deny = false;
    std::vector<Prefix> source_ranges;
    friend bool operator==(const ServiceInfo&, const ServiceInfo&) = default;
};

struct FrontendRow {
    FrontendType type = FrontendType::kClusterIp;
    std::uint16_t id = 0;     // rev_nat_index, "ID" of `service list`; 0: not in the maps (yet, or see error)
    SharedText port_name;     // of the Service's port
    bool two_scopes = false;  // this is one of two, for traffic from outside and from inside of the cluster
    bool local_only = false;  // a traffic policy restricts it to backends of this node
    bool source_ranges = false;
    bool maglev = false;
    std::shared_ptr<const ServiceInfo> service;  // never null
    std::shared_ptr<const Selection> selection;  // never null
    friend bool operator==(const FrontendRow&, const FrontendRow&) = default;
};

// A port of this node that leads to a pod of it (hostPort).
struct HostPort {
    std::uint16_t port = 0;
    std::uint8_t protocol = 0;    // IPPROTO_*
    IpAddress address;            // hostIP; unset: every address of the node
    std::uint16_t pod_port = 0;   // containerPort
    std::vector<IpAddress> pods;  // the pod's addresses
    friend bool operator==(const HostPort&, const HostPort&) = default;
};

// What a health check node port answers.
struct HealthPort {
    ServiceName service;
    std::uint32_t local_endpoints = 0;  // active ones on this node
    friend bool operator==(const HealthPort&, const HealthPort&) = default;
};

}  // namespace axo::service
