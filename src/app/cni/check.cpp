// CHECK: the agent's endpoint is healthy, and the pod still has the interface, addresses and routes that ADD gave.
#include "app/cni/commands.h"
#include "app/cni/pod_interface.h"
#include "kernel/netlink.h"

namespace axo::cni {
namespace {

std::unexpected<CniError> differs(const std::string& what) {
    return refuse(ErrorCode::kInternal, "the pod's network is not as ADD left it: " + what);
}

// What prevResult says about this interface: its MAC and addresses.
struct Expected {
    std::string mac;
    std::vector<ResultIp> ips;
};

Expected expected_of(const AddResult& previous, const std::string& ifname) {
    Expected expected;
    for (std::size_t i = 0; i < previous.interfaces.size(); ++i) {
        const ResultInterface& interface = previous.interfaces[i];
        if (interface.sandbox.empty() || interface.name != ifname) continue;
        expected.mac = interface.mac;
        for (const ResultIp& ip : previous.ips) {
            if (ip.interface == i) expected.ips.push_back(ip);
        }
    }
    return expected;
}

Done check_addresses(Netlink& pod, const Link& link, const std::vector<ResultIp>& ips) {
    const auto present = pod.addresses();
    if (!present) return refuse(ErrorCode::kIo, "reading the pod's addresses", present.error());
    for (const ResultIp& ip : ips) {
        const bool found = std::any_of(present->begin(), present->end(), [&](const InterfaceAddress& a) {
            return a.link == link.index && a.address == ip.address && a.prefix_length == ip.prefix_length;
        });
        if (!found)
            return differs("address " + ip.address.to_string() + "/" + std::to_string(ip.prefix_length) +
                           " is missing on " + link.name);
    }
    return {};
}

Done check_routes(Netlink& pod, const Link& link, const std::vector<ResultRoute>& routes) {
    const auto present = pod.routes();
    if (!present) return refuse(ErrorCode::kIo, "reading the pod's routes", present.error());
    for (const ResultRoute& route : routes) {
        const bool found = std::any_of(present->begin(), present->end(), [&](const Route& r) {
            return r.link == link.index && r.destination == route.destination &&
                   r.gateway.value_or(IpAddress()) == route.gateway;
        });
        if (!found) {
            return differs("route to " + route.destination.to_string() +
                           (route.gateway ? " via " + route.gateway.to_string() : "") + " is missing");
        }
    }
    return {};
}

}  // namespace

Outcome<std::string> run_check(const Session& session) {
    const Request& request = session.request;
    TRY_ASSIGN(Agent agent, Agent::connect(session.socket_path, session.patience, session.call_timeout));
    TRY_ASSIGN(const std::string health, agent.endpoint_health(request.attachment));
    if (health == "Failure") {
        return refuse(ErrorCode::kAgentUnhealthy, "the endpoint is unhealthy in the agent",
                      "axoneme endpoint health shows why");
    }
    TRY_ASSIGN(const PodNamespace pod, PodNamespace::open(request.netns));
    auto netlink = Netlink::open_in(pod.path());
    if (!netlink) return refuse(ErrorCode::kIo, "netlink in " + pod.path(), netlink.error());
    const auto link = netlink->link(request.attachment.ifname);
    if (!link) return differs("interface " + request.attachment.ifname + " is missing");
    const Expected expected = expected_of(*request.conf.previous, request.attachment.ifname);
    if (!link->up) return differs("interface " + link->name + " is down");
    if (!expected.mac.empty() && link->mac.to_string() != expected.mac) {
        return differs("interface " + link->name + " has MAC address " + link->mac.to_string() + " instead of " +
                       expected.mac);
    }
    TRY(check_addresses(*netlink, *link, expected.ips));
    TRY(check_routes(*netlink, *link, request.conf.previous->routes));
    return std::string();
}

}  // namespace axo::cni
