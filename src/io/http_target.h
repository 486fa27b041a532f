// The target of a request line, decoded. Thread: any.
#pragma once

#include <string_view>

#include "io/http.h"

namespace axo {

// Sets path and query; a name given several times becomes one value joined by commas. False for what is no valid
// target: bad escapes, a NUL byte, neither a path nor "*".
bool decode_target(std::string_view target, HttpRequest& request);

}  // namespace axo
