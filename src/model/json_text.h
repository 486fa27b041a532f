// JSON text into values, and back. Thread: any.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "model/json.h"

namespace axo {

// One document and nothing else, nested at most 500 levels deep, because printing and copying recurse. Syntax errors
// begin with "line 3, column 5: ".
Result<Json> parse_json(std::string_view text);

// What dump() prints, but never throws: invalid UTF-8 is replaced. Negative: all in one line.
std::string json_text(const Json& value, int indent = -1);

}  // namespace axo
