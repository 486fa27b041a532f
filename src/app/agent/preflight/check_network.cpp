// Devices, MTU, the tunnel's port, and addresses that are there twice.
#include <linux/rtnetlink.h>

#include <algorithm>
#include <sstream>

#include "app/agent/preflight/findings.h"
#include "app/agent/service_plan.h"
#include "datapath/devices.h"

namespace axo::preflight {

namespace {

bool own_device(const std::string& name) {
    return is_base_device(name) || name.starts_with("lxc");
}

const Link* find_link(const NodeView& view, IfIndex index) {
    const auto found = std::ranges::find(view.network.links, index, &Link::index);
    return found == view.network.links.end() ? nullptr : &*found;
}

std::string device_of(const NodeView& view, IfIndex index) {
    const Link* link = find_link(view, index);
    return link == nullptr ? "device " + index.to_string() : link->name;
}

DatapathSettings planned(const Config& config, const NodeView& view) {
    DatapathSettings settings = config.datapath;
    if (!view.features) return settings;
    if (const auto plan = plan_services(config, *view.features)) settings.services = plan->programs;
    return settings;
}

Result<DatapathDecisions> decide(const Config& config, const NodeView& view) {
    DatapathSettings settings = planned(config, view);
    // Not known before an operator has spoken, and not looked at for this.
    settings.router_ipv4 = IpAddress::v4({169, 254, 0, 1});
    settings.router_ipv6 = IpAddress::parse("fe80::1").value();
    return decide_datapath(settings, *view.features, view.network);
}

void check_mtu(const Config& config, const DatapathDecisions& decisions, Findings& findings) {
    findings.checked("mtu");
    for (const NativeDevice& device : decisions.devices) {
        if (config.datapath.mtu > device.mtu)
            findings.error("mtu",
                           "mtu=" + std::to_string(config.datapath.mtu) + ", but " + device.name + " carries " +
                               std::to_string(device.mtu) + " bytes: larger packets would be lost",
                           "leave mtu=0 (the device's), or raise the device's: ip link set " + device.name + " mtu " +
                               std::to_string(config.datapath.mtu) + ", if the network behind it carries that");
    }
    if (config.ipv6 && decisions.route_mtu < 1280)
        findings.error("mtu",
                       "after the tunnel's headers " + std::to_string(decisions.route_mtu) +
                           " bytes are left for pods; IPv6 needs 1280",
                       "routing-mode=native, a larger MTU on the underlay, or enable-ipv6=false");
    const auto [small, large] = std::ranges::minmax(decisions.devices, {}, &NativeDevice::mtu);
    if (config.datapath.mtu == 0 && small.mtu != large.mtu)
        findings.info("mtu", "devices have different MTUs; pods get the smallest, " + std::to_string(small.mtu) +
                                 " of " + small.name + " (" + large.name + ": " + std::to_string(large.mtu) + ")");
}

void check_default_routes(const Config& config, const NodeView& view, Findings& findings) {
    if (!config.datapath.devices.empty()) return;
    for (const Family family : {Family::kIpv4, Family::kIpv6}) {
        std::map<std::uint32_t, std::set<std::string>> by_metric;
        for (const Route& route : view.network.routes) {
            if (route.destination.length() == 0 && route.destination.family() == family &&
                route.table == RT_TABLE_MAIN && route.type == RTN_UNICAST)
                by_metric[route.priority].insert(device_of(view, route.link));
        }
        if (by_metric.empty() || by_metric.begin()->second.size() < 2) continue;
        std::string names;
        for (const std::string& name : by_metric.begin()->second) names += (names.empty() ? "" : ", ") + name;
        findings.warning("devices",
                         "default routes of the same metric through " + names +
                             ": which address other nodes know this one by is a matter of chance",
                         "name the devices (devices=…) and the address (ipv4-node, ipv6-node), or give the routes "
                         "different metrics");
    }
}

void check_tunnel_port(const Config& config, const NodeView& view, Findings& findings) {
    if (!planned(config, view).tunnel_needed()) return;
    findings.checked("tunnel-port");
    const std::uint16_t port = config.datapath.tunnel_port;
    const std::string way_out = "tunnel-port=<another one> on all nodes";
    for (const auto& [device, taken] : view.tunnel_ports) {
        if (taken.port != port) continue;
        if (is_base_device(device)) return;  // made anew, if its protocol is another one
        findings.error("tunnel-port",
                       "UDP port " + std::to_string(port) + " is that of the " + (taken.geneve ? "Geneve" : "VXLAN") +
                           " device " + device,
                       way_out + ", or, if its owner is gone: ip link del " + device);
        return;
    }
    if (view.udp_ports.contains(port))
        findings.error("tunnel-port", "UDP port " + std::to_string(port) + " is taken by a process of this node",
                       way_out + ", or end the process (ss -ulpn sport = " + std::to_string(port) + ")");
}

}  // namespace

void check_network(const Config& config, const NodeView& view, Findings& findings) {
    check_tunnel_port(config, view, findings);
    if (!view.features) return;  // without them nothing can be decided
    findings.checked("devices");
    check_default_routes(config, view, findings);
    const auto decisions = decide(config, view);
    if (!decisions) {
        findings.error("devices", decisions.error().message, "as the message says");
        return;
    }
    for (const NativeDevice& device : decisions->devices) {
        const Link* link = find_link(view, device.link);
        if (link != nullptr && !link->up)
            findings.error("devices", "device " + device.name + " is down", "ip link set " + device.name + " up");
    }
    check_mtu(config, *decisions, findings);
}

std::string text_at(const Json& object, const Json::json_pointer& path) {
    return object.contains(path) && object[path].is_string() ? object[path].get<std::string>() : std::string();
}

namespace {

void add_cidr(const Config& config, const Json& text, std::set<Prefix>& all) {
    if (!text.is_string()) return;
    const auto prefix = Prefix::parse(text.get<std::string>());
    if (prefix && (prefix->family() == Family::kIpv4 ? config.ipv4 : config.ipv6)) all.insert(*prefix);
}

// What nodes have been given.
std::set<Prefix> node_pod_cidrs(const Config& config, const NodeView& view) {
    std::set<Prefix> all;
    const auto add_list = [&](const Json& object, const Json::json_pointer& path) {
        if (!object.contains(path) || !object[path].is_array()) return;
        for (const Json& text : object[path]) add_cidr(config, text, all);
    };
    if (!view.store) return all;
    for (const Json& node : view.store->cilium_nodes) add_list(node, "/spec/ipam/podCIDRs"_json_pointer);
    if (config.ipam == "kubernetes") {
        for (const Json& node : view.store->nodes) add_list(node, "/spec/podCIDRs"_json_pointer);
    }
    return all;
}

}  // namespace

std::vector<Prefix> cluster_pod_cidrs(const Config& config, const NodeView& view) {
    std::set<Prefix> all = node_pod_cidrs(config, view);
    if (config.ipam == "cluster-pool") {
        const auto pool = [&](const char* key, const char* fallback) {
            const auto given = config.given.find(key);
            // Without any, the operator's default counts only while no node has got its part of another one.
            if (given == config.given.end() && !all.empty()) return;
            std::string text = given == config.given.end() ? fallback : given->second;
            std::ranges::replace(text, ',', ' ');
            std::istringstream words(text);
            for (std::string word; words >> word;) add_cidr(config, Json(word), all);
        };
        const std::set<Prefix> of_nodes = all;
        pool("cluster-pool-ipv4-cidr", "10.0.0.0/8");
        if (of_nodes.empty() || config.given.contains("cluster-pool-ipv6-cidr"))
            pool("cluster-pool-ipv6-cidr", "fd00::/104");
    }
    return {all.begin(), all.end()};
}

namespace {

// is_pool: nodes get parts of it, these or others.
void check_pod_cidr(const Prefix& pods, bool is_pool, const NodeView& view, Findings& findings) {
    const auto found = [&](const std::string& what, const std::string& way_out) {
        if (is_pool) {
            findings.warning("cidr-overlap", what + "; it matters once a node is given that part", way_out);
        } else {
            findings.error("cidr-overlap", what, way_out);
        }
    };
    const std::string pool = "pod CIDR " + pods.to_string();
    const std::string other =
        "another pod CIDR (cluster-pool-ipv4-cidr, cluster-pool-ipv6-cidr, or the "
        "controller-manager's --cluster-cidr with ipam=kubernetes)";
    for (const InterfaceAddress& address : view.network.addresses) {
        const std::string device = device_of(view, address.link);
        if (own_device(device) || address.address.is_loopback() || !pods.contains(address.address)) continue;
        found(pool + " contains this node's address " + address.address.to_string() + " (" + device + ")", other);
    }
    for (const Route& route : view.network.routes) {
        if (route.destination.length() == 0 || route.type != RTN_UNICAST || route.table != RT_TABLE_MAIN) continue;
        const std::string device = device_of(view, route.link);
        // Routes to pods, ours or of the tool that routes natively, lie inside; an interface's own is told above.
        if (own_device(device) || !route.destination.overlaps(pods)) continue;
        const bool inside = pods.contains(route.destination);
        if (inside && route.gateway) continue;
        const bool own_network = std::ranges::any_of(view.network.addresses, [&](const InterfaceAddress& address) {
            return address.link == route.link && route.destination.contains(address.address) &&
                   pods.contains(address.address);
        });
        if (own_network) continue;
        findings.warning("cidr-overlap",
                         pool + " overlaps with the route " + route.destination.to_string() +
                             (route.gateway ? " via " + route.gateway->to_string() : "") + " dev " + device +
                             ": pods win, what is behind the route is not reached at these addresses",
                         other + ", or remove the route");
    }
    for (const IpAddress& server : view.nameservers) {
        if (pods.contains(server))
            found(pool + " contains the nameserver " + server.to_string() +
                      " of /etc/resolv.conf: the node could not resolve names",
                  other);
    }
    if (!view.store) return;
    for (const Json& service : view.store->services) {
        const std::string ip = text_at(service, "/spec/clusterIP"_json_pointer);
        const auto address = IpAddress::parse(ip);
        if (!address || !pods.contains(*address)) continue;
        found(pool + " contains the ClusterIP " + ip + " of Service " +
                  text_at(service, "/metadata/namespace"_json_pointer) + "/" +
                  text_at(service, "/metadata/name"_json_pointer),
              other + ", outside of the API server's --service-cluster-ip-range");
        break;  // the others of the range say the same
    }
}

}  // namespace

void check_addresses(const Config& config, const NodeView& view, Findings& findings) {
    findings.checked("cidr-overlap");
    const std::set<Prefix> of_nodes = node_pod_cidrs(config, view);
    for (const Prefix& pods : cluster_pod_cidrs(config, view))
        check_pod_cidr(pods, !of_nodes.contains(pods), view, findings);
}

}  // namespace axo::preflight
