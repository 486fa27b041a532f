#include "model/cilium_identity.h"

#include <charconv>

namespace axo {
namespace {

constexpr std::uint32_t kMaxId = 0xffffff;  // 24 bits: what a tunnel key can carry

std::uint32_t number(std::string_view name) {
    std::uint32_t value = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), value);
    const bool whole = error == std::errc() && end == name.data() + name.size();
    return whole && value <= kMaxId && name.front() != '0' ? value : 0;
}

// What Kubernetes accepts as the value of an object's label.
bool legal_label_value(std::string_view value) {
    if (value.empty()) return true;
    const auto alphanumeric = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    };
    if (value.size() > 63 || !alphanumeric(value.front()) || !alphanumeric(value.back())) return false;
    for (const char c : value) {
        if (!alphanumeric(c) && c != '-' && c != '_' && c != '.') return false;
    }
    return true;
}

}  // namespace

CiliumIdentity CiliumIdentity::make(IdentityId id, const LabelSet& labels) {
    CiliumIdentity identity;
    identity.metadata.name = id.to_string();
    identity.security_labels = labels;
    for (const Label& label : labels) {
        if (label.source == label_source::kK8s && legal_label_value(label.value)) {
            identity.metadata.labels.emplace(label.key, label.value);
        }
    }
    return identity;
}

Result<CiliumIdentity> CiliumIdentity::parse(const Json& json) {
    const JsonReader object(json, "CiliumIdentity");
    TRY(require_kind(object, kKind));
    CiliumIdentity identity;
    identity.metadata = read_meta(object, kKind, Scope::kCluster);
    if (!identity.metadata.name.empty() && number(identity.metadata.name) == 0) {
        object.at("metadata").reject("name", "the identity's number, 1 to " + std::to_string(kMaxId));
    }
    object.require("security-labels", "an object such as {\"k8s:app\": \"web\"}");
    identity.security_labels = LabelSet::from_security_labels(object.string_map("security-labels"));
    TRY(object.status());
    return identity;
}

Json CiliumIdentity::to_json() const {
    Json json = object_json(kApiVersion, kKind, metadata);
    json["security-labels"] = security_labels.to_security_labels();
    return json;
}

IdentityId CiliumIdentity::id() const {
    return IdentityId{number(metadata.name)};
}

}  // namespace axo
