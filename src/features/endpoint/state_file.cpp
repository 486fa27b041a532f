#include "features/endpoint/state_file.h"

#include <charconv>

#include "base/file.h"
#include "model/json.h"
#include "model/json_text.h"

namespace axo {

namespace {

constexpr int kVersion = 1;
constexpr std::string_view kKinds[] = {"pod", "host", "health"};

MacAddress read_mac(const JsonReader& reader, const char* key) {
    const std::string text = reader.string(key);
    if (text.empty()) return {};
    auto mac = MacAddress::parse(text);
    if (!mac) {
        reader.reject(key, "a MAC address");
        return {};
    }
    return *mac;
}

}  // namespace

std::string endpoint_to_state(const EndpointRow& endpoint) {
    Json json{{"version", kVersion},
              {"id", endpoint.id.value},
              {"kind", kKinds[static_cast<std::size_t>(endpoint.kind)]},
              {"ifindex", endpoint.link.value},
              {"parent-ifindex", endpoint.parent_link.value},
              {"mac", endpoint.mac.to_string()},
              {"host-mac", endpoint.host_mac.to_string()},
              {"netns-cookie", std::to_string(endpoint.netns_cookie)},
              {"arp-passthrough", endpoint.arp_passthrough},
              {"skip-source-check", endpoint.skip_source_check},
              {"external-ipam", endpoint.external_ipam},
              {"policy-audit", endpoint.policy_audit},
              {"identity", endpoint.identity.value},
              {"labels", endpoint.labels.to_strings()},
              {"info-labels", endpoint.info_labels.to_strings()}};
    put_nonempty(json, "container-id", endpoint.container_id);
    put_nonempty(json, "container-interface", endpoint.container_interface);
    put_nonempty(json, "container-netns", endpoint.container_netns);
    put_nonempty(json, "container-name", endpoint.container_name);
    put_nonempty(json, "docker-endpoint-id", endpoint.docker_endpoint_id);
    put_nonempty(json, "docker-network-id", endpoint.docker_network_id);
    put_nonempty(json, "k8s-namespace", endpoint.k8s_namespace);
    put_nonempty(json, "k8s-pod", endpoint.k8s_pod);
    put_nonempty(json, "k8s-uid", endpoint.k8s_uid);
    put_nonempty(json, "interface", endpoint.interface_name);
    put_nonempty(json, "ipv4", endpoint.ipv4);
    put_nonempty(json, "ipv6", endpoint.ipv6);
    put_nonempty(json, "ipv4-pool", endpoint.ipv4_pool);
    put_nonempty(json, "ipv6-pool", endpoint.ipv6_pool);
    return json_text(json, 1) + "\n";
}

Result<EndpointRow> endpoint_from_state(const std::string& text) {
    const Json json = Json::parse(text, nullptr, false);
    if (json.is_discarded()) return fail(Code::kDataLoss, "not valid JSON: torn or overwritten");
    const JsonReader reader(json, "endpoint state");
    EndpointRow endpoint;
    if (reader.integer("version", 0, 1000, 0) != kVersion) reader.reject("version", std::to_string(kVersion));
    endpoint.id = EndpointId(static_cast<std::uint16_t>(reader.integer("id", 1, 65535, 0)));
    reader.require("id", "1 to 65535");
    const std::string kind = reader.string("kind");
    bool known = false;
    for (std::size_t i = 0; i < std::size(kKinds); ++i) {
        if (kind == kKinds[i]) {
            endpoint.kind = static_cast<EndpointKind>(i);
            known = true;
        }
    }
    if (!known) reader.reject("kind", "pod, host, health");
    endpoint.link = IfIndex(static_cast<std::uint32_t>(reader.integer("ifindex", 0, UINT32_MAX)));
    endpoint.parent_link = IfIndex(static_cast<std::uint32_t>(reader.integer("parent-ifindex", 0, UINT32_MAX)));
    endpoint.mac = read_mac(reader, "mac");
    endpoint.host_mac = read_mac(reader, "host-mac");
    const std::string cookie = reader.string("netns-cookie", "0");
    if (std::from_chars(cookie.data(), cookie.data() + cookie.size(), endpoint.netns_cookie).ec != std::errc{}) {
        reader.reject("netns-cookie", "a decimal number");
    }
    endpoint.arp_passthrough = reader.boolean("arp-passthrough");
    endpoint.skip_source_check = reader.boolean("skip-source-check");
    endpoint.external_ipam = reader.boolean("external-ipam");
    endpoint.policy_audit = reader.boolean("policy-audit");
    endpoint.identity = IdentityId(static_cast<std::uint32_t>(reader.integer("identity", 0, 0xFFFFFFFF)));
    endpoint.labels = LabelSet::from_strings(reader.strings("labels"));
    endpoint.info_labels = LabelSet::from_strings(reader.strings("info-labels"));
    endpoint.container_id = reader.string("container-id");
    endpoint.container_interface = reader.string("container-interface");
    endpoint.container_netns = reader.string("container-netns");
    endpoint.container_name = reader.string("container-name");
    endpoint.docker_endpoint_id = reader.string("docker-endpoint-id");
    endpoint.docker_network_id = reader.string("docker-network-id");
    endpoint.k8s_namespace = reader.string("k8s-namespace");
    endpoint.k8s_pod = reader.string("k8s-pod");
    endpoint.k8s_uid = reader.string("k8s-uid");
    endpoint.interface_name = reader.string("interface");
    endpoint.ipv4 = reader.address("ipv4");
    endpoint.ipv6 = reader.address("ipv6");
    endpoint.ipv4_pool = reader.string("ipv4-pool");
    endpoint.ipv6_pool = reader.string("ipv6-pool");
    endpoint.state = EndpointState::kRestoring;
    TRY(reader.status());
    return endpoint;
}

std::filesystem::path endpoint_state_path(const std::filesystem::path& state_dir, EndpointId id) {
    return state_dir / id.to_string() / "ep_config.json";
}

StoredEndpoints read_endpoint_states(const std::filesystem::path& state_dir) {
    StoredEndpoints stored;
    std::error_code error;
    std::map<EndpointId, std::filesystem::path> found;
    for (const auto& entry : std::filesystem::directory_iterator(state_dir, error)) {
        const std::string name = entry.path().filename();
        std::uint16_t id = 0;
        const auto [end, status] = std::from_chars(name.data(), name.data() + name.size(), id);
        if (status != std::errc{} || end != name.data() + name.size() || id == 0) continue;
        found.emplace(EndpointId(id), entry.path() / "ep_config.json");
    }
    for (const auto& [id, path] : found) {
        auto text = read_file(path);
        if (!text) {
            stored.rejected.push_back({path, std::move(text).error()});
            continue;
        }
        auto endpoint = endpoint_from_state(*text);
        if (endpoint && endpoint->id != id) {
            endpoint = fail(Code::kDataLoss,
                            "says id " + endpoint->id.to_string() + ", but lies in the directory of " + id.to_string());
        }
        if (!endpoint) {
            stored.rejected.push_back({path, std::move(endpoint).error()});
            continue;
        }
        stored.endpoints.push_back(std::move(*endpoint));
    }
    return stored;
}

}  // namespace axo
