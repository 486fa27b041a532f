// How the API names endpoints.
#include <charconv>

#include "features/endpoint/module.h"

namespace axo {

const EndpointRow* EndpointManager::find_kind(EndpointKind kind) const {
    for (const auto& [id, row] : table_.rows()) {
        if (row.kind == kind) return &row;
    }
    return nullptr;
}

const EndpointRow* EndpointManager::find_address(const IpAddress& address) const {
    if (!address) return nullptr;
    for (const auto& [id, row] : table_.rows()) {
        if (row.ipv4 == address || row.ipv6 == address) return &row;
    }
    return nullptr;
}

Result<EndpointId> EndpointManager::resolve(const std::string& reference) const {
    const auto number = [](const std::string& text) -> Result<EndpointId> {
        unsigned value = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        if (error != std::errc{} || end != text.data() + text.size() || value > 65535) {
            return fail(Code::kInvalidArgument, "endpoint id '" + text + "': accepted: 1 to 65535");
        }
        return EndpointId(static_cast<std::uint16_t>(value));
    };
    const auto search = [&](const auto& matches) -> Result<EndpointId> {
        for (const auto& [id, row] : table_.rows()) {
            if (matches(row)) return id;
        }
        return fail(Code::kNotFound, "endpoint " + reference + " does not exist");
    };
    const auto colon = reference.find(':');
    const std::string prefix = colon == std::string::npos ? "cilium-local" : reference.substr(0, colon);
    const std::string rest = colon == std::string::npos ? reference : reference.substr(colon + 1);
    if (prefix == "cilium-local") {
        TRY_ASSIGN(const EndpointId id, number(rest));
        if (table_.find(id) == nullptr) return fail(Code::kNotFound, "endpoint " + rest + " does not exist");
        return id;
    }
    if (prefix == "cni-attachment-id")
        return search([&](const EndpointRow& row) { return !rest.empty() && row.cni_attachment_id() == rest; });
    if (prefix == "container-id")
        return search([&](const EndpointRow& row) { return !rest.empty() && row.container_id == rest; });
    if (prefix == "container-name")
        return search([&](const EndpointRow& row) { return !rest.empty() && row.container_name == rest; });
    if (prefix == "docker-endpoint")
        return search([&](const EndpointRow& row) { return !rest.empty() && row.docker_endpoint_id == rest; });
    if (prefix == "cep-name")
        return search([&](const EndpointRow& row) { return !rest.empty() && row.pod_name() == rest; });
    if (prefix == "pod-name") {
        return search([&](const EndpointRow& row) {
            return !row.k8s_pod.empty() && row.k8s_namespace + ":" + row.k8s_pod == rest;
        });
    }
    if (prefix == "ipv4" || prefix == "ipv6") {
        const auto address = IpAddress::parse(rest);
        if (!address)
            return fail(Code::kInvalidArgument, "endpoint id '" + reference + "': " + address.error().message);
        return search([&](const EndpointRow& row) { return row.ipv4 == *address || row.ipv6 == *address; });
    }
    return fail(Code::kInvalidArgument,
                "endpoint id '" + reference + "': unknown prefix '" + prefix +
                    "'; accepted: cilium-local, cni-attachment-id, container-id, container-name, "
                    "docker-endpoint, cep-name, pod-name, ipv4, ipv6");
}

std::vector<EndpointLogEntry> EndpointManager::log(EndpointId id) const {
    const auto found = logs_.find(id);
    return found == logs_.end() ? std::vector<EndpointLogEntry>{}
                                : std::vector<EndpointLogEntry>(found->second.begin(), found->second.end());
}

}  // namespace axo
