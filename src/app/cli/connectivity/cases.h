// The tests of `axoneme connectivity test`: named and meant as those of `cilium connectivity test`. Pure.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "app/cli/connectivity/cluster.h"

namespace axo::cli::connectivity {

// Who is there, and what the cluster can do.
struct World {
    std::string name_space;
    std::vector<Peer> clients;  // client and client2 on one node, client3 on another where there is one
    std::vector<Peer> echoes;   // echo-same-node beside client, echo-other-node
    std::vector<Peer> nodes;
    std::optional<Peer> outside;
    std::vector<Service> services;
    std::vector<Family> families;
    bool node_ports = false, host_ports = false;

    [[nodiscard]] const Peer& client(const std::string& name) const;
};

// One attempt: from a peer to an address, by a kind of traffic that axoneme-traffic probes.
struct Action {
    std::string scenario;  // "pod-to-pod"
    Peer from;
    Peer to;
    IpAddress address;
    std::uint16_t port = kPort;  // 0: ICMP
    std::string kind = "tcp";    // tcp, udp, icmp
    bool allowed = true;

    // "pod-to-pod/tcp-ipv4: ns/client (10.0.0.1) -> ns/echo-same-node (10.0.0.2:8080)"
    [[nodiscard]] std::string title(const std::string& name_space) const;
};

using Scenario = std::vector<Action> (*)(const World&);

std::vector<Action> pod_to_pod(const World& world);
std::vector<Action> client_to_client(const World& world);
std::vector<Action> pod_to_service(const World& world);
std::vector<Action> pod_to_host_port(const World& world);
std::vector<Action> pod_to_local_node_port(const World& world);
std::vector<Action> pod_to_remote_node_port(const World& world);
std::vector<Action> host_to_node_port(const World& world);
std::vector<Action> outside_to_node_port(const World& world);
std::vector<Action> pod_to_world(const World& world);
std::vector<Action> pod_to_host(const World& world);
std::vector<Action> host_to_pod(const World& world);
std::vector<Action> host_to_host(const World& world);

struct Case {
    std::string name;
    std::string policies;  // YAML; "$NAMESPACE", "$OUTSIDE" (CIDRs of the host outside) and "$BLOCKS" are replaced
    std::vector<Scenario> scenarios;
    std::function<bool(const Action&)> allowed;  // unset: everything is
    bool needs_outside = false;
    bool health = false;  // asks the agents instead of sending anything
};
const std::vector<Case>& cases();
std::string policies_of(const Case& test, const World& world);

}  // namespace axo::cli::connectivity
