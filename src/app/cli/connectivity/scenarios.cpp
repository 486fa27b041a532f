#include <algorithm>

#include "app/cli/connectivity/cases.h"

namespace axo::cli::connectivity {

namespace {

constexpr const char* kReachable[] = {"tcp", "udp"};

std::string family_name(Family family) {
    return family == Family::kIpv6 ? "ipv6" : "ipv4";
}

void add(const World& world, std::vector<Action>& actions, Action action) {
    for (const Family family : world.families) {
        action.address = action.to.address(family);
        if (action.address && action.from.address(family)) actions.push_back(action);
    }
}

// From every client (or only the first) to a port that every node has.
void to_nodes(const World& world, const std::string& scenario, const Peer& from, std::uint16_t port,
              const std::function<bool(const Peer&)>& wanted, std::vector<Action>& actions) {
    for (const Peer& node : world.nodes) {
        if (wanted(node)) add(world, actions, {.scenario = scenario, .from = from, .to = node, .port = port});
    }
}

}  // namespace

IpAddress Peer::address(Family family) const {
    const auto found = std::ranges::find(addresses, family, &IpAddress::family);
    return found == addresses.end() ? IpAddress{} : *found;
}

const Peer& World::client(const std::string& name) const {
    return *std::ranges::find(clients, name, &Peer::name);
}

std::string Action::title(const std::string& name_space) const {
    const auto full = [&](const Peer& peer) {
        return peer.kind == Peer::Kind::kPod ? name_space + "/" + peer.name : peer.name;
    };
    std::string target = address.to_string();
    if (port != 0) target = (address.is_v6() ? "[" + target + "]" : target) + ":" + std::to_string(port);
    return scenario + "/" + kind + "-" + family_name(address.family()) + ": " + full(from) + " (" +
           from.address(address.family()).to_string() + ") -> " + full(to) + " (" + target + ")";
}

std::vector<Action> pod_to_pod(const World& world) {
    std::vector<Action> actions;
    for (const Peer& client : world.clients) {
        for (const Peer& echo : world.echoes) {
            for (const char* kind : kReachable)
                add(world, actions, {.scenario = "pod-to-pod", .from = client, .to = echo, .kind = kind});
        }
    }
    return actions;
}

std::vector<Action> client_to_client(const World& world) {
    std::vector<Action> actions;
    for (const Peer& from : world.clients) {
        for (const Peer& to : world.clients) {
            if (from.name != to.name)
                add(world, actions,
                    {.scenario = "client-to-client", .from = from, .to = to, .port = 0, .kind = "icmp"});
        }
    }
    return actions;
}

std::vector<Action> pod_to_service(const World& world) {
    std::vector<Action> actions;
    for (const Peer& client : world.clients) {
        for (const Service& service : world.services)
            add(world, actions,
                {.scenario = "pod-to-service",
                 .from = client,
                 .to = {.name = service.name, .addresses = service.addresses}});
    }
    return actions;
}

std::vector<Action> pod_to_host_port(const World& world) {
    std::vector<Action> actions;
    if (!world.host_ports) return actions;
    for (const Peer& client : world.clients) {
        for (const Peer& echo : world.echoes)
            to_nodes(
                world, "pod-to-hostport", client, echo.host_port,
                [&echo](const Peer& node) { return node.name == echo.node; }, actions);
    }
    return actions;
}

std::vector<Action> pod_to_local_node_port(const World& world) {
    std::vector<Action> actions;
    if (!world.node_ports) return actions;
    for (const Peer& client : world.clients) {
        for (const Service& service : world.services)
            to_nodes(
                world, "pod-to-local-nodeport", client, service.node_port,
                [&client](const Peer& node) { return node.name == client.node; }, actions);
    }
    return actions;
}

std::vector<Action> pod_to_remote_node_port(const World& world) {
    std::vector<Action> actions;
    if (!world.node_ports) return actions;
    for (const Peer& client : world.clients) {
        for (const Service& service : world.services)
            to_nodes(
                world, "pod-to-remote-nodeport", client, service.node_port,
                [&client](const Peer& node) { return node.name != client.node; }, actions);
    }
    return actions;
}

std::vector<Action> host_to_node_port(const World& world) {
    std::vector<Action> actions;
    if (!world.node_ports) return actions;
    for (const Service& service : world.services)
        to_nodes(
            world, "host-to-nodeport", world.nodes.front(), service.node_port, [](const Peer&) { return true; },
            actions);
    return actions;
}

std::vector<Action> outside_to_node_port(const World& world) {
    std::vector<Action> actions;
    if (!world.node_ports || !world.outside) return actions;
    for (const Service& service : world.services)
        to_nodes(
            world, "outside-to-nodeport", *world.outside, service.node_port, [](const Peer&) { return true; }, actions);
    return actions;
}

std::vector<Action> pod_to_world(const World& world) {
    std::vector<Action> actions;
    if (!world.outside) return actions;
    for (const Peer& client : world.clients)
        add(world, actions, {.scenario = "pod-to-world", .from = client, .to = *world.outside});
    return actions;
}

std::vector<Action> pod_to_host(const World& world) {
    std::vector<Action> actions;
    for (const Peer& client : world.clients) {
        for (const Peer& node : world.nodes)
            add(world, actions, {.scenario = "pod-to-host", .from = client, .to = node, .port = 0, .kind = "icmp"});
    }
    return actions;
}

std::vector<Action> host_to_pod(const World& world) {
    std::vector<Action> actions;
    for (const Peer& node : world.nodes) {
        for (const Peer& echo : world.echoes)
            add(world, actions, {.scenario = "host-to-pod", .from = node, .to = echo});
    }
    return actions;
}

std::vector<Action> host_to_host(const World& world) {
    std::vector<Action> actions;
    for (const Peer& from : world.nodes) {
        for (const Peer& to : world.nodes) {
            if (from.name != to.name)
                add(world, actions, {.scenario = "host-to-host", .from = from, .to = to, .port = 0, .kind = "icmp"});
        }
    }
    return actions;
}

}  // namespace axo::cli::connectivity
