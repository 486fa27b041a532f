// A node's configuration out of several sources, as Cilium's `build-config` makes it: pure functions.
//
// Sources are read in the order given, and a later one overrides an earlier one; what only the first may set is said by
// the lists of keys. Of several CiliumNodeConfigs that select the node, the one whose name sorts last wins.
//   config-map:[NAMESPACE/]NAME     data of a ConfigMap
//   cilium-node-config:NAMESPACE    spec.defaults of all CiliumNodeConfigs of the namespace that select the node;
//                                   with /NAME that one, whatever it selects
//   node:[NAME]                     labels and annotations config.cilium.io/KEY of a Node
// The key config-sources says which of them had anything to say. Thread: any.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/cilium_node_config.h"

namespace axo {

using ConfigValues = std::map<std::string, std::string>;

struct ConfigSource {
    enum class Kind { kConfigMap, kNodeConfigs, kNode };
    Kind kind = Kind::kConfigMap;
    std::string name_space;
    std::string name;

    // "config-map:kube-system/cilium-config"
    [[nodiscard]] std::string to_string() const;
    friend bool operator==(const ConfigSource&, const ConfigSource&) = default;
};
// Missing parts: ConfigMap cilium-config, this namespace, this node.
Result<ConfigSource> parse_config_source(std::string_view text, const std::string& name_space, const std::string& node);

struct ConfigLayer {
    ConfigValues values;
    std::vector<std::string> sources;  // where they are from; empty when there are none
    std::vector<std::string> notes;    // what was left out or overridden, and why
};
// configs: all of the namespace. node: nullptr when the source names one config.
ConfigLayer node_config_layer(const ConfigSource& source, const std::vector<CiliumNodeConfig>& configs,
                              const ObjectMeta* node);
ConfigLayer node_layer(const ConfigSource& source, const ObjectMeta& node);

struct ConfigRules {
    std::vector<std::string> allow;  // keys that a source after the first may set; empty: all …
    std::vector<std::string> deny;   // … but these
};
// One layer per source, in order. The result's sources are sorted; its values have config-sources.
ConfigLayer merge_config(const std::vector<ConfigLayer>& layers, const ConfigRules& rules);

}  // namespace axo
