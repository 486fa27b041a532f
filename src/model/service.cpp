#include "model/service.h"

#include <array>
#include <set>

#include "model/policy_selector.h"

namespace axo {
namespace {

constexpr std::array<std::string_view, 4> kTypeNames{"ClusterIP", "NodePort", "LoadBalancer", "ExternalName"};

Service::Type read_type(const JsonReader& spec) {
    const std::string text = spec.string("type", kTypeNames[0]);
    for (std::size_t i = 0; i < kTypeNames.size(); ++i) {
        if (text == kTypeNames[i]) return static_cast<Service::Type>(i);
    }
    spec.reject("type", "ClusterIP, NodePort, LoadBalancer, ExternalName");
    return Service::Type::kClusterIp;
}

Service::TrafficPolicy read_traffic_policy(const JsonReader& spec, std::string_view member) {
    const std::string text = spec.string(member);
    if (!text.empty() && text != "Cluster" && text != "Local") spec.reject(member, "Cluster, Local");
    return text == "Local" ? Service::TrafficPolicy::kLocal : Service::TrafficPolicy::kCluster;
}

ServicePort read_port(const JsonReader& item) {
    ServicePort port;
    port.name = item.string("name");
    port.protocol = item.string("protocol", "TCP");
    if (port.protocol != "TCP" && port.protocol != "UDP" && port.protocol != "SCTP") {
        item.reject("protocol", "TCP, UDP, SCTP");
    }
    item.require("port", "a number from 1 to 65535");
    port.port = static_cast<std::uint16_t>(item.integer("port", 1, 65535, 1));
    const JsonReader target = item.at("targetPort");
    if (!target.present() || (target.json().is_number_integer() && target.json() == 0)) {
        port.target.number = port.port;
    } else if (target.json().is_string()) {
        port.target.name = item.string("targetPort");
        if (!is_port_name(port.target.name)) item.reject("targetPort", kPortNameRule);
    } else {
        port.target.number = static_cast<std::uint16_t>(item.integer("targetPort", 1, 65535, 1));
    }
    port.node_port = static_cast<std::uint16_t>(item.integer("nodePort", 0, 65535));
    port.app_protocol = item.string("appProtocol");
    return port;
}

void read_ports(const JsonReader& spec, Service& service) {
    std::set<std::string> names;
    spec.each("ports", [&](const JsonReader& item) {
        service.ports.push_back(read_port(item));
        if (!names.insert(service.ports.back().name).second) {
            if (item.has("name")) {
                item.reject("name", "a name that no other port of the Service has");
            } else {
                item.require("name", "a name: the Service has several ports");
            }
        }
    });
}

std::vector<IpAddress> read_addresses(const JsonReader& object, std::string_view member) {
    std::vector<IpAddress> addresses;
    object.each(member, [&](const JsonReader& item) {
        auto ip = item.json().is_string() ? IpAddress::parse(item.json().get<std::string>())
                                          : Result<IpAddress>(fail(Code::kInvalidArgument, ""));
        if (ip) {
            addresses.push_back(*ip);
        } else {
            item.reject("", "an IPv4 or IPv6 address");
        }
    });
    return addresses;
}

void read_cluster_ips(const JsonReader& spec, Service& service) {
    service.headless = spec.string("clusterIP") == "None";
    for (const std::string& text : spec.strings("clusterIPs")) service.headless = service.headless || text == "None";
    if (service.headless) return;
    service.cluster_ips = read_addresses(spec, "clusterIPs");
    if (const IpAddress ip = spec.address("clusterIP"); ip && service.cluster_ips.empty()) {
        service.cluster_ips.push_back(ip);
    }
}

Json addresses_json(const std::vector<IpAddress>& addresses) {
    Json list = Json::array();
    for (const IpAddress& address : addresses) list.push_back(address.to_string());
    return list;
}

Json port_json(const ServicePort& port) {
    Json json = {{"port", port.port}, {"protocol", port.protocol}};
    put_nonempty(json, "name", port.name);
    put_nonempty(json, "appProtocol", port.app_protocol);
    if (port.target.number != 0) {
        json["targetPort"] = port.target.number;
    } else {
        json["targetPort"] = port.target.name;
    }
    if (port.node_port != 0) json["nodePort"] = port.node_port;
    return json;
}

}  // namespace

Result<Service> Service::parse(const Json& json) {
    const JsonReader object(json, std::string(kKind));
    TRY(require_kind(object, kKind));
    Service service;
    service.metadata = read_meta(object, kKind, Scope::kNamespaced);

    const JsonReader spec = object.at("spec");
    service.type = read_type(spec);
    read_ports(spec, service);
    service.selector = spec.string_map("selector");
    read_cluster_ips(spec, service);
    service.ip_families = spec.strings("ipFamilies");
    for (const std::string& family : service.ip_families) {
        if (family != "IPv4" && family != "IPv6") spec.reject("ipFamilies", "IPv4, IPv6");
    }
    service.ip_family_policy = spec.string("ipFamilyPolicy");
    service.external_ips = read_addresses(spec, "externalIPs");
    service.external_name = spec.string("externalName");
    const std::string affinity = spec.string("sessionAffinity", "None");
    if (affinity != "None" && affinity != "ClientIP" && !affinity.empty()) {
        spec.reject("sessionAffinity", "None, ClientIP");
    }
    service.client_ip_affinity = affinity == "ClientIP";
    service.affinity_timeout_seconds =
        static_cast<std::int32_t>(spec.at("sessionAffinityConfig")
                                      .at("clientIP")
                                      .integer("timeoutSeconds", 1, 86400, kDefaultAffinityTimeoutSeconds));
    service.external_traffic_policy = read_traffic_policy(spec, "externalTrafficPolicy");
    service.internal_traffic_policy = read_traffic_policy(spec, "internalTrafficPolicy");
    service.health_check_node_port = static_cast<std::uint16_t>(spec.integer("healthCheckNodePort", 0, 65535));
    service.publish_not_ready_addresses = spec.boolean("publishNotReadyAddresses");
    service.load_balancer_ip = spec.address("loadBalancerIP");
    for (const PolicyCidr& cidr : read_policy_cidrs(spec, "loadBalancerSourceRanges", BareAddress::kRefused)) {
        service.load_balancer_source_ranges.push_back(cidr.prefix);
    }
    service.load_balancer_class = spec.string("loadBalancerClass");
    service.allocate_node_ports = spec.boolean("allocateLoadBalancerNodePorts", true);
    service.traffic_distribution = spec.string("trafficDistribution");

    object.at("status").at("loadBalancer").each("ingress", [&](const JsonReader& item) {
        service.ingress.push_back({item.address("ip"), item.string("hostname"), item.string("ipMode")});
    });
    TRY(object.status());
    return service;
}

Json Service::to_json() const {
    Json json = object_json(kApiVersion, kKind, metadata);
    Json spec = {{"type", kTypeNames.at(static_cast<std::size_t>(type))}};
    Json port_list = Json::array();
    for (const ServicePort& port : ports) port_list.push_back(port_json(port));
    put_nonempty(spec, "ports", std::move(port_list));
    put_nonempty(spec, "selector", selector);
    if (headless) {
        spec["clusterIP"] = "None";
        spec["clusterIPs"] = {"None"};
    } else if (!cluster_ips.empty()) {
        spec["clusterIP"] = cluster_ips.front().to_string();
        spec["clusterIPs"] = addresses_json(cluster_ips);
    }
    put_nonempty(spec, "ipFamilies", ip_families);
    put_nonempty(spec, "ipFamilyPolicy", ip_family_policy);
    put_nonempty(spec, "externalIPs", addresses_json(external_ips));
    put_nonempty(spec, "externalName", external_name);
    if (client_ip_affinity) {
        spec["sessionAffinity"] = "ClientIP";
        spec["sessionAffinityConfig"] = {{"clientIP", {{"timeoutSeconds", affinity_timeout_seconds}}}};
    }
    if (external_traffic_policy == TrafficPolicy::kLocal) spec["externalTrafficPolicy"] = "Local";
    if (internal_traffic_policy == TrafficPolicy::kLocal) spec["internalTrafficPolicy"] = "Local";
    if (health_check_node_port != 0) spec["healthCheckNodePort"] = health_check_node_port;
    if (publish_not_ready_addresses) spec["publishNotReadyAddresses"] = true;
    put_nonempty(spec, "loadBalancerIP", load_balancer_ip);
    put_nonempty(spec, "loadBalancerSourceRanges", load_balancer_source_ranges);
    put_nonempty(spec, "loadBalancerClass", load_balancer_class);
    if (!allocate_node_ports) spec["allocateLoadBalancerNodePorts"] = false;
    put_nonempty(spec, "trafficDistribution", traffic_distribution);
    json["spec"] = std::move(spec);

    Json list = Json::array();
    for (const Ingress& point : ingress) {
        Json item = Json::object();
        put_nonempty(item, "ip", point.ip);
        put_nonempty(item, "hostname", point.hostname);
        put_nonempty(item, "ipMode", point.ip_mode);
        list.push_back(std::move(item));
    }
    if (!list.empty()) json["status"] = {{"loadBalancer", {{"ingress", std::move(list)}}}};
    return json;
}

}  // namespace axo
