#include "features/node/config_sources.h"

#include <algorithm>

namespace axo {
namespace {

constexpr std::string_view kAnnotationPrefix = "config.cilium.io/";

// Of ConfigMap data, in Kubernetes and as a file name.
bool is_config_key(std::string_view key) {
    if (key.empty() || key.size() > 253 || key == "." || key.starts_with("..")) return false;
    return std::ranges::all_of(key, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
               c == '.';
    });
}

bool contains(const std::vector<std::string>& keys, const std::string& key) {
    return std::ranges::find(keys, key) != keys.end();
}

std::string bad_key(const std::string& where, const std::string& key) {
    return where + ": key \"" + key + "\" is left out; accepted: 1 to 253 of a-z, A-Z, 0-9, '-', '_' and '.'";
}

}  // namespace

std::string ConfigSource::to_string() const {
    switch (kind) {
        case Kind::kConfigMap: return "config-map:" + name_space + "/" + name;
        case Kind::kNodeConfigs: return "cilium-node-config:" + name_space + (name.empty() ? "" : "/" + name);
        case Kind::kNode: break;
    }
    return "node:" + name;
}

Result<ConfigSource> parse_config_source(std::string_view text, const std::string& name_space,
                                         const std::string& node) {
    const std::size_t colon = std::min(text.find(':'), text.size());
    const std::string_view kind = text.substr(0, colon);
    const std::string_view rest = text.substr(std::min(colon + 1, text.size()));
    const std::size_t slash = rest.find('/');
    const std::string before(rest.substr(0, slash == std::string_view::npos ? rest.size() : slash));
    const std::string after(slash == std::string_view::npos ? "" : rest.substr(slash + 1));
    if (kind == "config-map") {
        if (slash != std::string_view::npos) return ConfigSource{ConfigSource::Kind::kConfigMap, before, after};
        return ConfigSource{ConfigSource::Kind::kConfigMap, name_space, before.empty() ? "cilium-config" : before};
    }
    if (kind == "cilium-node-config")
        return ConfigSource{ConfigSource::Kind::kNodeConfigs, before.empty() ? name_space : before, after};
    if (kind == "node") return ConfigSource{ConfigSource::Kind::kNode, {}, before.empty() ? node : before};
    return fail(Code::kInvalidArgument, "source \"" + std::string(text) +
                                            "\"; accepted: config-map:[NAMESPACE/]NAME, "
                                            "cilium-node-config:NAMESPACE[/NAME], node:[NAME]");
}

ConfigLayer node_config_layer(const ConfigSource& source, const std::vector<CiliumNodeConfig>& configs,
                              const ObjectMeta* node) {
    std::map<std::string, const CiliumNodeConfig*> chosen;
    for (const CiliumNodeConfig& config : configs) {
        if (config.metadata.name_space != source.name_space || config.defaults.empty()) continue;
        const bool wanted = source.name.empty()
                                ? node != nullptr && config.node_selector && config.node_selector->matches(node->labels)
                                : config.metadata.name == source.name;
        if (wanted) chosen.emplace(config.metadata.name, &config);
    }
    ConfigLayer layer;
    for (const auto& [name, config] : chosen) {
        const std::string where = "cilium-node-config:" + source.name_space + "/" + name;
        layer.sources.push_back(where);
        for (const auto& [key, value] : config->defaults) {
            if (!is_config_key(key)) {
                layer.notes.push_back(bad_key(where, key));
                continue;
            }
            if (layer.values.contains(key))
                layer.notes.push_back(where + " overrides " + key + " of another CiliumNodeConfig");
            layer.values[key] = value;
        }
    }
    return layer;
}

ConfigLayer node_layer(const ConfigSource& source, const ObjectMeta& node) {
    ConfigLayer layer;
    for (const auto* members : {&node.labels, &node.annotations}) {
        for (const auto& [name, value] : *members) {
            if (!name.starts_with(kAnnotationPrefix)) continue;
            const std::string key = name.substr(kAnnotationPrefix.size());
            if (is_config_key(key))
                layer.values[key] = value;
            else
                layer.notes.push_back(bad_key(source.to_string(), key));
        }
    }
    if (!layer.values.empty()) layer.sources.push_back(source.to_string());
    return layer;
}

ConfigLayer merge_config(const std::vector<ConfigLayer>& layers, const ConfigRules& rules) {
    ConfigLayer merged;
    for (std::size_t i = 0; i < layers.size(); ++i) {
        const ConfigLayer& layer = layers[i];
        const std::string where = layer.sources.empty() ? "a source" : layer.sources.front();
        merged.notes.insert(merged.notes.end(), layer.notes.begin(), layer.notes.end());
        bool said = false;
        for (const auto& [key, value] : layer.values) {
            const bool may = i == 0 || (rules.allow.empty() ? !contains(rules.deny, key) : contains(rules.allow, key));
            if (!may) {
                merged.notes.push_back(where + ": " + key + " is left out: only the first source may set it");
                continue;
            }
            const auto known = merged.values.find(key);
            if (known != merged.values.end() && known->second != value)
                merged.notes.push_back(where + " overrides " + key);
            merged.values[key] = value;
            said = true;
        }
        if (said) merged.sources.insert(merged.sources.end(), layer.sources.begin(), layer.sources.end());
    }
    std::ranges::sort(merged.sources);
    std::string all;
    for (const std::string& source : merged.sources) all += (all.empty() ? "" : ",") + source;
    merged.values["config-sources"] = all;
    return merged;
}

}  // namespace axo
