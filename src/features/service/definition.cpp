#include "features/service/definition.h"

#include <netinet/in.h>

#include <algorithm>
#include <set>

namespace axo::service {
namespace {

constexpr const char* kProxyNameLabel = "service.kubernetes.io/service-proxy-name";
constexpr const char* kHeadlessLabel = "service.kubernetes.io/headless";
constexpr const char* kTypeAnnotation = "service.cilium.io/type";
constexpr const char* kNodeAnnotation = "service.cilium.io/node";
constexpr const char* kNodeSelectorAnnotation = "service.cilium.io/node-selector";
constexpr const char* kAlgorithmAnnotation = "service.cilium.io/lb-algorithm";
constexpr const char* kModeAnnotation = "service.cilium.io/forwarding-mode";
constexpr const char* kSourceRangesAnnotation = "service.cilium.io/src-ranges-policy";
constexpr const char* kTopologyAnnotation = "service.kubernetes.io/topology-mode";
constexpr const char* kTopologyHintsAnnotation = "service.kubernetes.io/topology-aware-hints";
constexpr const char* kZoneLabel = "topology.kubernetes.io/zone";

const std::string* find(const std::map<std::string, std::string>& entries, const std::string& key) {
    const auto found = entries.find(key);
    return found == entries.end() ? nullptr : &found->second;
}

std::string_view trim(std::string_view text) {
    while (text.starts_with(' ')) text.remove_prefix(1);
    while (text.ends_with(' ')) text.remove_suffix(1);
    return text;
}

std::vector<std::string> split(std::string_view text) {
    std::vector<std::string> parts;
    for (;;) {
        const std::size_t comma = text.find(',');
        parts.emplace_back(trim(text.substr(0, comma)));
        if (comma == std::string_view::npos) return parts;
        text.remove_prefix(comma + 1);
    }
}

// Like split, but a comma between parentheses is part of its requirement.
std::vector<std::string_view> requirements(std::string_view text) {
    std::vector<std::string_view> parts;
    std::size_t begin = 0;
    bool inside = false;
    for (std::size_t i = 0; i <= text.size(); ++i) {
        if (i < text.size() && text[i] == '(') inside = true;
        if (i < text.size() && text[i] == ')') inside = false;
        if (i < text.size() && (text[i] != ',' || inside)) continue;
        parts.push_back(trim(text.substr(begin, i - begin)));
        begin = i + 1;
    }
    return parts;
}

std::string annotation_error(const char* name, std::string_view value, std::string_view accepted) {
    return "metadata.annotations[" + std::string(name) + "]: \"" + std::string(value) +
           "\": accepted: " + std::string(accepted);
}

struct Exposure {
    bool cluster_ip = true, node_port = true, load_balancer = true;
};

Result<Exposure> exposure(const Service& service) {
    const std::string* types = find(service.metadata.annotations, kTypeAnnotation);
    if (types == nullptr) return Exposure{};
    Exposure result{false, false, false};
    for (const std::string& type : split(*types)) {
        if (type == "ClusterIP") {
            result.cluster_ip = true;
        } else if (type == "NodePort") {
            result.node_port = true;
        } else if (type == "LoadBalancer") {
            result.load_balancer = true;
        } else {
            return fail(Code::kInvalidArgument,
                        annotation_error(kTypeAnnotation, *types, "a list of ClusterIP, NodePort, LoadBalancer"));
        }
    }
    return result;
}

Result<bool> exposed_here(const Service& service, const ServiceNode& node) {
    const auto& annotations = service.metadata.annotations;
    if (const std::string* text = find(annotations, kNodeSelectorAnnotation)) {
        const auto selector = parse_label_selector(*text);
        if (!selector) {
            return fail(Code::kInvalidArgument, annotation_error(kNodeSelectorAnnotation, *text,
                                                                 "a label selector: " + selector.error().message));
        }
        return selector->matches(node.labels);
    }
    if (const std::string* wanted = find(annotations, kNodeAnnotation)) {
        const std::string* label = find(node.labels, kNodeAnnotation);
        return label != nullptr && *label == *wanted;
    }
    return true;
}

// Collects what is wrong with parts of a Service.
class Problems {
public:
    void add(const std::string& text) { text_ += (text_.empty() ? "" : "; ") + text; }
    [[nodiscard]] std::string take() { return std::move(text_); }

private:
    std::string text_;
};

class AddressFilter {
public:
    AddressFilter(const EngineSettings& settings, Problems& problems) : settings_(settings), problems_(problems) {}

    void take(const IpAddress& ip, const std::string& path, std::vector<IpAddress>& into) {
        const bool served = ip.is_v6() ? settings_.ipv6 : settings_.ipv4;
        if (!served) {
            problems_.add(path + ": \"" + ip.to_string() + "\": " + (ip.is_v6() ? "IPv6" : "IPv4") +
                          " is disabled in this cluster; accepted: addresses of the other family");
        } else if (ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || ip.is_link_local()) {
            problems_.add(path + ": \"" + ip.to_string() + "\": accepted: an address that can be routed");
        } else if (std::ranges::find(into, ip) == into.end()) {
            into.push_back(ip);
        }
    }

private:
    const EngineSettings& settings_;
    Problems& problems_;
};

// One of two words; nullopt: neither is given, or the value is none of them, which is reported.
std::optional<bool> choice(const Service& service, const char* annotation, const char* yes, const char* no,
                           Problems& problems) {
    const std::string* value = find(service.metadata.annotations, annotation);
    if (value == nullptr) return std::nullopt;
    if (*value == yes) return true;
    if (*value == no) return false;
    problems.add(annotation_error(annotation, *value, std::string(yes) + ", " + no));
    return std::nullopt;
}

bool wants_hints(const Service& service, const EngineSettings& settings) {
    if (settings.service_topology) return true;
    const std::string& distribution = service.traffic_distribution;
    if (distribution == "PreferClose" || distribution == "PreferSameZone" || distribution == "PreferSameNode")
        return true;
    const std::string* mode = find(service.metadata.annotations, kTopologyHintsAnnotation);
    if (mode == nullptr) mode = find(service.metadata.annotations, kTopologyAnnotation);
    return mode != nullptr && !mode->empty() && *mode != "disabled" && *mode != "Disabled";
}

void read_ports(const Service& service, Definition& definition, Problems& problems) {
    std::set<std::pair<std::uint8_t, std::uint16_t>> seen;
    for (std::size_t i = 0; i < service.ports.size(); ++i) {
        const ServicePort& port = service.ports[i];
        const std::uint8_t protocol = protocol_number(port.protocol);
        if (!seen.emplace(protocol, port.port).second) {
            problems.add("spec.ports[" + std::to_string(i) + "].port: " + std::to_string(port.port) + "/" +
                         port.protocol + " is another port's of the same Service; accepted: a port that is named once");
            continue;
        }
        definition.ports.push_back(
            {.name = port.name, .protocol = protocol, .port = port.port, .node_port = port.node_port});
    }
}

}  // namespace

std::uint8_t protocol_number(std::string_view name) {
    return name == "UDP" ? IPPROTO_UDP : name == "SCTP" ? IPPROTO_SCTP : IPPROTO_TCP;
}

ServiceNode service_node(const std::map<std::string, std::string>& labels) {
    const std::string* zone = find(labels, kZoneLabel);
    return {.zone = zone == nullptr ? "" : *zone, .labels = labels};
}

Result<LabelSelector> parse_label_selector(std::string_view text) {
    LabelSelector selector;
    const auto is_key = [](std::string_view key) {
        return !key.empty() && key.find_first_of(" ()!=") == std::string_view::npos;
    };
    for (const std::string_view part : requirements(text)) {
        LabelSelector::Requirement requirement;
        std::string_view key = part;
        if (const std::size_t open = part.find('('); open != std::string_view::npos) {
            if (!part.ends_with(')'))
                return fail(Code::kInvalidArgument, "\"" + std::string(part) + "\" is not closed");
            requirement.values = split(part.substr(open + 1, part.size() - open - 2));
            const std::string_view head = trim(part.substr(0, open));
            const std::size_t space = head.rfind(' ');
            const std::string_view op = space == std::string_view::npos ? "" : head.substr(space + 1);
            if (op != "in" && op != "notin")
                return fail(Code::kInvalidArgument, "\"" + std::string(part) + "\" is no KEY in (VALUE, …)");
            key = trim(head.substr(0, space));
            requirement.op = op == "in" ? "In" : "NotIn";
        } else if (const std::size_t equals = part.find('='); equals != std::string_view::npos) {
            const bool differs = equals > 0 && part[equals - 1] == '!';
            key = trim(part.substr(0, differs ? equals - 1 : equals));
            std::string_view value = part.substr(equals + 1);
            if (value.starts_with('=')) value.remove_prefix(1);
            requirement.op = differs ? "NotIn" : "In";
            requirement.values = {std::string(trim(value))};
        } else if (part.starts_with('!')) {
            key = trim(part.substr(1));
            requirement.op = "DoesNotExist";
        } else {
            requirement.op = "Exists";
        }
        if (!is_key(key)) return fail(Code::kInvalidArgument, "\"" + std::string(part) + "\" names no label");
        requirement.key = key;
        selector.match_expressions.push_back(std::move(requirement));
    }
    return selector;
}

bool depends_on_node(const Service& service) {
    return service.metadata.annotations.contains(kNodeAnnotation) ||
           service.metadata.annotations.contains(kNodeSelectorAnnotation);
}

Result<std::optional<Definition>> define(const Service& service, const EngineSettings& settings,
                                         const ServiceNode& node) {
    const std::string* proxy = find(service.metadata.labels, kProxyNameLabel);
    if (settings.proxy_name.empty() ? proxy != nullptr : proxy == nullptr || *proxy != settings.proxy_name)
        return std::nullopt;
    if (service.type == Service::Type::kExternalName || service.headless || service.cluster_ips.empty() ||
        service.metadata.labels.contains(kHeadlessLabel)) {
        return std::nullopt;
    }
    TRY_ASSIGN(const Exposure exposed, exposure(service));
    TRY_ASSIGN(const bool here, exposed_here(service, node));
    if (!here) return std::nullopt;

    Problems problems;
    Definition definition;
    ServiceInfo info;
    info.name = {service.metadata.name_space, service.metadata.name};
    const bool load_balancer = service.type == Service::Type::kLoadBalancer;
    const bool external = load_balancer || service.type == Service::Type::kNodePort || !service.external_ips.empty();
    info.external_local = external && service.external_traffic_policy == Service::TrafficPolicy::kLocal;
    info.internal_local = service.internal_traffic_policy == Service::TrafficPolicy::kLocal;
    if (service.client_ip_affinity) {
        if (settings.session_affinity) {
            info.affinity_seconds = static_cast<std::uint32_t>(service.affinity_timeout_seconds);
        } else {
            problems.add(
                "spec.sessionAffinity: \"ClientIP\": session affinity is disabled in this cluster; "
                "accepted: None");
        }
    }
    if (load_balancer && info.external_local && settings.health_check_node_port)
        info.health_check_node_port = service.health_check_node_port;
    if (settings.algorithm_annotation) {
        info.maglev = choice(service, kAlgorithmAnnotation, "maglev", "random", problems).value_or(settings.maglev);
    } else {
        info.maglev = settings.maglev;
    }
    if (settings.mode_annotation) {
        info.dsr = choice(service, kModeAnnotation, "dsr", "snat", problems).value_or(settings.dsr);
    } else {
        info.dsr = settings.dsr;
    }
    if (settings.source_ranges && load_balancer) {
        info.source_ranges = service.load_balancer_source_ranges;
        std::ranges::sort(info.source_ranges);
        info.source_ranges_deny = !info.source_ranges.empty() &&
                                  choice(service, kSourceRangesAnnotation, "deny", "allow", problems).value_or(false);
    }

    definition.created = service.metadata.creation_timestamp;
    read_ports(service, definition, problems);
    AddressFilter filter(settings, problems);
    for (std::size_t i = 0; i < service.cluster_ips.size(); ++i)
        filter.take(service.cluster_ips[i], "spec.clusterIPs[" + std::to_string(i) + "]", definition.cluster_ips);
    if (settings.external_ips) {
        for (std::size_t i = 0; i < service.external_ips.size(); ++i)
            filter.take(service.external_ips[i], "spec.externalIPs[" + std::to_string(i) + "]",
                        definition.external_ips);
    }
    if (load_balancer && exposed.load_balancer && settings.node_ports) {
        for (std::size_t i = 0; i < service.ingress.size(); ++i) {
            const Service::Ingress& ingress = service.ingress[i];
            if (!ingress.ip || ingress.ip_mode == "Proxy") continue;
            filter.take(ingress.ip, "status.loadBalancer.ingress[" + std::to_string(i) + "].ip",
                        definition.ingress_ips);
        }
    }
    definition.cluster_ip_frontends = exposed.cluster_ip;
    definition.node_port_frontends =
        settings.node_ports && exposed.node_port && (load_balancer || service.type == Service::Type::kNodePort);
    definition.publish_not_ready = service.publish_not_ready_addresses;
    definition.hints = wants_hints(service, settings);
    definition.problem = problems.take();
    definition.info = std::make_shared<const ServiceInfo>(std::move(info));
    definition.ports.shrink_to_fit();
    definition.cluster_ips.shrink_to_fit();
    return definition;
}

SliceData slice_data(const EndpointSlice& slice) {
    SliceData data;
    data.family = slice.family;
    data.ports.reserve(slice.ports.size());
    for (const EndpointSlice::Port& port : slice.ports)
        data.ports.push_back({.name = port.name, .protocol = protocol_number(port.protocol), .port = port.port});
    data.endpoints.reserve(slice.endpoints.size());
    const bool hinted = std::ranges::any_of(slice.endpoints, [](const EndpointSlice::Endpoint& one) {
        return !one.hint_zones.empty() || !one.hint_nodes.empty();
    });
    if (hinted) data.hints.reserve(slice.endpoints.size());
    for (const EndpointSlice::Endpoint& endpoint : slice.endpoints) {
        if (endpoint.addresses.empty()) continue;
        // Further addresses are the same endpoint's, and nobody may rely on them.
        SliceData::Endpoint& to = data.endpoints.emplace_back();
        to.address = endpoint.addresses.front();
        to.ready = endpoint.ready;
        to.serving = endpoint.serving;
        to.terminating = endpoint.terminating;
        to.node = endpoint.node_name;
        to.zone = endpoint.zone;
        if (!hinted) continue;
        data.hints.push_back({.zones = {endpoint.hint_zones.begin(), endpoint.hint_zones.end()},
                              .nodes = {endpoint.hint_nodes.begin(), endpoint.hint_nodes.end()}});
    }
    return data;
}

}  // namespace axo::service
