// JSON values as YAML, block style, as `-o yaml` prints them. Pure.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace axo::cli {

std::string to_yaml(const nlohmann::ordered_json& value);

}  // namespace axo::cli
