// The part of Kubernetes' JSONPath templates that people use with `-o jsonpath=…`. Pure.
//
//   text{.a.b}  {$.a}  {.list[0]}  {.list[*].x}  {.list[1:3]}  {.a['odd.key']}  {..name}
//   {.list[?(@.state=="ready")].id}  {range .list[*]}{.id}{"\t"}{.state}{"\n"}{end}
//
// Values of one expression are separated by blanks; strings print bare, objects and lists as JSON.
// A path that leads nowhere prints nothing, as with kubectl's --allow-missing-template-keys.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace axo::cli {

Result<std::string> json_path(std::string_view expression, const nlohmann::ordered_json& document);

}  // namespace axo::cli
