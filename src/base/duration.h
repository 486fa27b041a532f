// Go's duration syntax, as Cilium's options have it. Thread: any.
#pragma once

#include <chrono>
#include <string_view>

#include "base/result.h"

namespace axo {

// "1h2m3.5s", "100ms". Bare "0" is allowed. An error's message is what would have been accepted.
Result<std::chrono::nanoseconds> parse_duration(std::string_view text);

}  // namespace axo
