// The agent's JSON bodies, read and written.
#include "app/cni/agent.h"

namespace axo::cni {
namespace {

using nlohmann::json;

const json& member(const json& object, const char* key) {
    static const json kNothing;
    if (!object.is_object()) return kNothing;
    const auto it = object.find(key);
    return it == object.end() ? kNothing : *it;
}

std::string text(const json& object, const char* key) {
    const json& value = member(object, key);
    return value.is_string() ? value.get<std::string>() : std::string();
}

std::uint32_t number(const json& object, const char* key) {
    const json& value = member(object, key);
    return value.is_number_unsigned() ? value.get<std::uint32_t>() : 0;
}

std::unexpected<CniError> bad_answer(const std::string& what) {
    return refuse(ErrorCode::kInternal, "the agent's answer is not understood: " + what);
}

Outcome<FamilyLease> parse_family(const json& answer, const char* family) {
    FamilyLease lease;
    const json& pair = member(answer, "address");
    const std::string address = text(pair, family);
    if (address.empty()) return lease;
    const auto parsed = IpAddress::parse(address);
    if (!parsed)
        return bad_answer("POST /v1/ipam: address." + std::string(family) + " \"" + address + "\" is not an address");
    lease.address = *parsed;
    const json& details = member(answer, family);
    lease.expiration_uuid = text(pair, (std::string(family) + "-expiration-uuid").c_str());
    if (lease.expiration_uuid.empty()) lease.expiration_uuid = text(details, "expiration-uuid");
    lease.pool = text(pair, (std::string(family) + "-pool-name").c_str());
    lease.skip_masquerade = member(details, "skip-masquerade") == true;
    const std::string gateway = text(member(member(answer, "host-addressing"), family), "ip");
    const auto parsed_gateway = IpAddress::parse(gateway);
    if (!parsed_gateway || parsed_gateway->family() != lease.address.family()) {
        return bad_answer("POST /v1/ipam: host-addressing." + std::string(family) + ".ip \"" + gateway +
                          "\" is no gateway for " + address);
    }
    lease.gateway = *parsed_gateway;
    return lease;
}

// An agent in a container sees the host's /var/run/netns below its own run directory; one that runs
// beside us sees the path we were given.
std::string netns_path_for_agent(const std::string& path) {
    static const std::string kMounted = "/var/run/cilium/netns";
    std::error_code ignored;
    if (!std::filesystem::is_directory(kMounted, ignored)) return path;
    return kMounted + "/" + std::filesystem::path(path).filename().string();
}

}  // namespace

Outcome<AgentConfig> parse_agent_config(const std::string& body) {
    const json answer = json::parse(body, nullptr, false);
    const json& status = member(answer, "status");
    if (!status.is_object()) return bad_answer("GET /v1/config: no \"status\"");
    AgentConfig config;
    config.device_mtu = number(status, "deviceMTU");
    config.route_mtu = number(status, "routeMTU");
    config.gso_max_size = number(status, "GSOMaxSize");
    config.gro_max_size = number(status, "GROMaxSize");
    config.ipam_mode = text(status, "ipam-mode");
    config.datapath_mode = text(status, "datapathMode");
    config.reserved_ports = text(status, "ipLocalReservedPorts");
    config.path_mtu_discovery = text(status, "packetizationLayerPMTUDMode");
    return config;
}

Outcome<Lease> parse_lease(const std::string& body) {
    const json answer = json::parse(body, nullptr, false);
    Lease lease;
    TRY_ASSIGN(lease.v4, parse_family(answer, "ipv4"));
    TRY_ASSIGN(lease.v6, parse_family(answer, "ipv6"));
    if (!lease.v4.address && !lease.v6.address) return bad_answer("POST /v1/ipam: neither an IPv4 nor an IPv6 address");
    return lease;
}

std::string removal_request(const std::string& container_id) {
    return json{{"container-id", container_id}}.dump();
}

std::string endpoint_request(const PodEndpoint& endpoint) {
    json addressing = json::object();
    auto add_family = [&](const std::string& family, const FamilyLease& lease) {
        if (!lease.address) return;
        addressing[family] = lease.address.to_string();
        if (!lease.expiration_uuid.empty()) addressing[family + "-expiration-uuid"] = lease.expiration_uuid;
        if (!lease.pool.empty()) addressing[family + "-pool-name"] = lease.pool;
    };
    add_family("ipv4", endpoint.lease.v4);
    add_family("ipv6", endpoint.lease.v6);
    json request = {{"container-id", endpoint.attachment.container_id},
                    {"container-interface-name", endpoint.attachment.ifname},
                    {"container-netns-path", netns_path_for_agent(endpoint.netns)},
                    {"interface-name", endpoint.host_interface},
                    {"interface-index", endpoint.host_index},
                    {"mac", endpoint.mac.to_string()},
                    {"host-mac", endpoint.host_mac.to_string()},
                    {"netns-cookie", std::to_string(endpoint.netns_cookie)},
                    {"addressing", std::move(addressing)},
                    {"state", "waiting-for-identity"},
                    {"sync-build-endpoint", true},
                    {"labels", nullptr},
                    {"datapath-configuration", json::object()}};
    if (!endpoint.pod.name.empty()) {
        request["k8s-pod-name"] = endpoint.pod.name;
        request["k8s-namespace"] = endpoint.pod.name_space;
    }
    if (!endpoint.pod.uid.empty()) request["k8s-uid"] = endpoint.pod.uid;
    json properties = json::object();
    if (endpoint.lease.v4.skip_masquerade) properties["property-skip-masquerade-v4"] = true;
    if (endpoint.lease.v6.skip_masquerade) properties["property-skip-masquerade-v6"] = true;
    request["properties"] = std::move(properties);
    return request.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::vector<KnownEndpoint> parse_endpoints(const std::string& body) {
    std::vector<KnownEndpoint> known;
    const json list = json::parse(body, nullptr, false);
    if (!list.is_array()) return known;
    for (const json& endpoint : list) {
        const json& status = member(endpoint, "status");
        const json& identifiers = member(status, "external-identifiers");
        KnownEndpoint entry;
        entry.id = number(endpoint, "id");
        entry.attachment.container_id = text(identifiers, "container-id");
        const std::string attachment_id = text(identifiers, "cni-attachment-id");
        // The interface follows the last colon: container ids hold none.
        if (const std::size_t colon = attachment_id.rfind(':'); colon != std::string::npos) {
            entry.attachment = {attachment_id.substr(0, colon), attachment_id.substr(colon + 1)};
        }
        // Endpoints that no runtime asked for (the host's, the health endpoint) have no attachment.
        if (entry.attachment.container_id.empty() || entry.attachment.ifname.empty()) continue;
        entry.host_interface = text(member(status, "networking"), "interface-name");
        known.push_back(std::move(entry));
    }
    return known;
}

}  // namespace axo::cni
