// The control plane's part in services: what this node is, and which of its ports lead to pods.
#include <linux/rtnetlink.h>

#include "app/agent/control_plane.h"
#include "app/agent/reserved_ports.h"

namespace axo {

Status ControlPlane::start_services() {
    const BpfPaths& paths = config_.datapath.paths;
    TRY_ASSIGN(NatAddressMap addresses, NatAddressMap::open(paths.map(map_name::kNatAddresses)));
    TRY_ASSIGN(IpMasqMap prefixes, IpMasqMap::open(paths));
    const ServiceSettings& programs = plan_.programs;
    const DatapathDecisions& decisions = datapath_->decisions();
    nat_ = std::make_unique<nat::NatModule>(
        loop_, controllers_,
        nat::ModuleSettings{.addresses = {.ipv4 = config_.ipv4,
                                          .ipv6 = config_.ipv6,
                                          .address_device = config_.masquerade.address_device,
                                          .node_ipv4 = decisions.node_ipv4,
                                          .node_ipv6 = decisions.node_ipv6},
                            .translate = programs.masquerade4 || programs.masquerade6 || programs.node_port,
                            .ip_masq_agent = config_.masquerade.ip_masq_agent,
                            .ip_masq_file = config_.masquerade.ip_masq_agent_file},
        std::move(addresses), std::move(prefixes), rejections_.verdicts());
    start_nat_rules();
    TRY(start_nat_stats());
    protect_node_port_range();
    TRY_ASSIGN(services_, AgentServices::create(loop_, controllers_, *store_, config_, plan_, *datapath_,
                                                {.verdicts = rejections_.verdicts(),
                                                 .pod_namespaces =
                                                     [this] {
                                                         std::vector<std::string> paths;
                                                         for (const auto& [id, endpoint] : endpoints_->table().rows()) {
                                                             if (!endpoint.container_netns.empty())
                                                                 paths.push_back(endpoint.container_netns);
                                                         }
                                                         return paths;
                                                     },
                                                 .synced = [this] { check_ready(); }}));
    update_service_nodes();
    if (programs.xdp_prefilter) {
        TRY_ASSIGN(PrefilterMaps sources, PrefilterMaps::open(paths));
        prefilter_ = std::make_unique<Prefilter>(std::move(sources),
                                                 Prefilter::Families{.ipv4 = config_.ipv4, .ipv6 = config_.ipv6});
    }
    return {};
}

Status ControlPlane::start_nat_stats() {
    const ServiceSettings& programs = plan_.programs;
    const MasqueradeConfig& masquerade = config_.masquerade;
    if (!(programs.masquerade4 || programs.masquerade6 || programs.node_port) || masquerade.stats_interval.count() == 0)
        return {};
    const BpfPaths& paths = config_.datapath.paths;
    TRY_ASSIGN(FlowMaps flows, FlowMaps::open(config_.ipv4 ? paths.map(map_name::kFlows4) : "",
                                              config_.ipv6 ? paths.map(map_name::kFlows6) : ""));
    std::vector<nat::NatStats::FailureCounter> failures;
    const auto add = [&](const char* family, const char* map) -> Status {
        TRY_ASSIGN(NatRetriesMap opened, NatRetriesMap::open(paths.map(map)));
        const auto retries = std::make_shared<NatRetriesMap>(std::move(opened));
        failures.push_back({family, [retries]() -> Result<std::uint64_t> {
                                TRY_ASSIGN(const std::vector<std::uint64_t> counts, retries->read());
                                return counts.empty() ? 0 : counts.back();
                            }});
        return {};
    };
    if (config_.ipv4) TRY(add("IPv4", map_name::kNatRetries4));
    if (config_.ipv6) TRY(add("IPv6", map_name::kNatRetries6));
    nat_stats_ = std::make_unique<nat::NatStats>(
        loop_, controllers_,
        nat::NatStats::Settings{.range = {.low = programs.nat_port_low, .high = programs.nat_port_high},
                                .entries = masquerade.stats_entries,
                                .interval = masquerade.stats_interval},
        std::make_shared<FlowMaps>(std::move(flows)), std::move(failures));
    return {};
}

// Without it services work, but for an own connection that happens to take a NodePort.
void ControlPlane::protect_node_port_range() {
    if (!plan_.node_port) return;
    const PortBounds ports{.low = plan_.programs.node_port_low, .high = plan_.programs.node_port_high};
    const auto done = protect_node_ports(ports, config_.services.auto_protect_port_range);
    if (!done) {
        log_.error("NodePorts are not protected from the node's own connections", {done.error()});
    } else if (*done == NodePortProtection::kAdded) {
        log_.info("Added the NodePorts to net.ipv4.ip_local_reserved_ports",
                  {{"ports", std::to_string(ports.low) + "-" + std::to_string(ports.high)}});
    }
}

void ControlPlane::start_nat_rules() {
    const MasqueradeConfig& masquerade = config_.masquerade;
    if (!masquerade.install_rules) return;
    netfilter_ = std::make_unique<nat::Netfilter>(
        loop_, controllers_,
        nat::Netfilter::Options{.ipv4 = config_.ipv4,
                                .ipv6 = config_.ipv6,
                                .rules = {.masquerade4 = config_.ipv4 && masquerade.ipv4 && !masquerade.bpf,
                                          .masquerade6 = config_.ipv6 && masquerade.ipv6 && !masquerade.bpf,
                                          .random_fully = masquerade.random_fully,
                                          .out_interfaces = masquerade.out_interfaces,
                                          .to_route_source = masquerade.to_route_source,
                                          .native_cidr4 = config_.native_cidr4,
                                          .native_cidr6 = config_.native_cidr6,
                                          .no_conntrack = masquerade.no_conntrack,
                                          .feeder_rules = masquerade.feeder_rules,
                                          .prepend = masquerade.prepend},
                                .proxy_adapter = config_.services.proxy_adapter,
                                .lock_timeout = masquerade.lock_timeout});
}

void ControlPlane::update_nat_rules() {
    if (!netfilter_) return;
    nat::RuleState state;
    state.pod_cidrs = node_state_.pod_cidrs;
    std::set<IpAddress> nodes;
    for (const auto& [name, row] : nodes_->table().rows()) {
        for (const NodeAddress& address : row.addresses) nodes.insert(address.ip);
    }
    state.node_addresses.assign(nodes.begin(), nodes.end());
    state.all_nodes = nodes_->table().initialized();
    if (config_.masquerade.to_route_source) {
        const auto routes = netlink_->routes();
        for (const Route& route : routes ? *routes : std::vector<Route>{}) {
            const auto link = netlink_->link(route.link);
            if (!link || !route.source || route.table != RT_TABLE_MAIN || link->name.starts_with("cilium_")) continue;
            state.routes.push_back({route.destination, link->name, *route.source});
        }
        // The most particular one decides.
        std::ranges::stable_sort(state.routes, std::greater<>{},
                                 [](const nat::SourceRoute& route) { return route.destination.length(); });
    }
    netfilter_->set_state(std::move(state));
}

// Zone and labels of this node, addresses of all: no virtual address hides their ports.
void ControlPlane::update_service_nodes() {
    if (!services_) return;
    service::ServiceNode node;
    if (node_labels_) {
        for (const Label& label : *node_labels_) node.labels.emplace(label.key, label.value);
    } else if (nodes_->own()) {
        node.labels = nodes_->own()->metadata.labels;
    }
    if (const auto zone = node.labels.find("topology.kubernetes.io/zone"); zone != node.labels.end())
        node.zone = zone->second;
    for (const IpAddress& ip : {datapath_->decisions().node_ipv4, datapath_->decisions().node_ipv6}) {
        if (ip) node.addresses.push_back(ip);
    }
    services_->module().set_node(std::move(node));
    std::set<IpAddress> addresses;
    for (const auto& [name, row] : nodes_->table().rows()) {
        for (const NodeAddress& address : row.addresses) addresses.insert(address.ip);
    }
    addresses.insert(host_addresses_.begin(), host_addresses_.end());
    services_->module().set_node_addresses(std::move(addresses));
    update_nat_rules();
}

// What leaves by a native device gets one of its addresses.
void ControlPlane::update_ways_out(const std::vector<InterfaceAddress>& addresses) {
    const auto links = netlink_->links();
    if (!links) {
        log_.warn("Unable to read the node's devices", {links.error()});
        return;
    }
    std::vector<nat::Device> all, ways_out;
    for (const Link& link : *links) {
        nat::Device device{.name = link.name, .link = link.index, .addresses = {}};
        for (const InterfaceAddress& address : addresses) {
            if (address.link == link.index && !address.deprecated && !address.tentative)
                device.addresses.push_back(address.address);
        }
        const auto& native = datapath_->decisions().devices;
        if (std::ranges::find(native, link.index, &NativeDevice::link) != native.end()) ways_out.push_back(device);
        all.push_back(std::move(device));
    }
    nat_->set_devices(ways_out, all);
}

// The pod's endpoint appeared, changed or goes: what its hostPorts lead to. Another endpoint of the same pod keeps them
// (the pod was made anew before the old one was taken down).
void ControlPlane::update_host_ports(const EndpointRow& endpoint) {
    if (endpoint.k8s_pod.empty() || !plan_.host_port) return;
    std::vector<service::HostPort> ports;
    const auto info = pods_->find({endpoint.k8s_namespace, endpoint.k8s_pod});
    if (info && !info->host_ports.empty()) {
        for (const auto& [id, row] : endpoints_->table().rows()) {
            if (row.pod_name() != endpoint.pod_name() || row.state == EndpointState::kDisconnecting) continue;
            ports = host_ports(info->host_ports, row);
        }
    }
    services_->module().set_host_ports(endpoint.pod_name(), std::move(ports));
}

}  // namespace axo
