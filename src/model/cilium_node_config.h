// CiliumNodeConfig (cilium.io/v2): configuration of the nodes that a selector chooses. Thread: any (values).
#pragma once

#include <map>
#include <optional>
#include <string>

#include "model/label_selector.h"
#include "model/meta.h"

namespace axo {

struct CiliumNodeConfig {
    static constexpr std::string_view kApiVersion = "cilium.io/v2";
    static constexpr std::string_view kKind = "CiliumNodeConfig";

    ObjectMeta metadata;
    // spec
    std::optional<LabelSelector> node_selector;   // of Node labels; without one it applies to no node
    std::map<std::string, std::string> defaults;  // flags of the agent

    static Result<CiliumNodeConfig> parse(const Json& json);
    [[nodiscard]] Json to_json() const;
    friend bool operator==(const CiliumNodeConfig&, const CiliumNodeConfig&) = default;
};

}  // namespace axo
