// YAML <-> JSON, with the types Kubernetes users expect.
//
// Plain scalars become booleans, integers, floats and null by YAML 1.2's core schema (a leading 0 is octal, as
// in file modes); quoted ones stay strings. Anchors and merge keys are resolved, a key given twice is an error.
// What is written reads back equal, also by YAML 1.1 parsers: "yes", "0123", "1e3" are quoted. Thread: any.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "model/json.h"

namespace axo {

// One document; without content: null. Errors begin with "line 7, column 3: ", lines counted from first_line.
Result<Json> parse_yaml(std::string_view text, int first_line = 1);
// Block style, two spaces, sequences not indented, members in alphabetical order; ends with a line break.
std::string to_yaml(const Json& value);

}  // namespace axo
