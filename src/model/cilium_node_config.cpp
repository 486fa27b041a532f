#include "model/cilium_node_config.h"

namespace axo {

Result<CiliumNodeConfig> CiliumNodeConfig::parse(const Json& json) {
    const JsonReader object(json, "CiliumNodeConfig");
    TRY(require_kind(object, kKind));
    CiliumNodeConfig config;
    config.metadata = read_meta(object, kKind, Scope::kNamespaced);
    const JsonReader spec = object.at("spec");
    if (spec.has("nodeSelector")) config.node_selector = LabelSelector::read(spec.at("nodeSelector"));
    config.defaults = spec.string_map("defaults");
    TRY(object.status());
    return config;
}

Json CiliumNodeConfig::to_json() const {
    Json json = object_json(kApiVersion, kKind, metadata);
    Json spec = Json::object();
    if (node_selector) spec["nodeSelector"] = node_selector->to_json();
    put_nonempty(spec, "defaults", defaults);
    json["spec"] = std::move(spec);
    return json;
}

}  // namespace axo
