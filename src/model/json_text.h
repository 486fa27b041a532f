// JSON text into values. Thread: any.
#pragma once

#include <string_view>

#include "base/result.h"
#include "model/json.h"

namespace axo {

// One document and nothing else, nested at most 500 levels deep, because printing and copying recurse. Syntax errors
// begin with "line 3, column 5: ".
Result<Json> parse_json(std::string_view text);

}  // namespace axo
