// Go's duration syntax, as Cilium's options have it. Thread: any.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "base/result.h"

namespace axo {

// "1h2m3.5s", "100ms". Bare "0" is allowed. An error's message is what would have been accepted.
Result<std::chrono::nanoseconds> parse_duration(std::string_view text);

// As Go's Duration.String() prints it: "1h0m0.5s", "1.234ms", "12.5µs", "0s".
std::string duration_text(std::chrono::nanoseconds duration);

}  // namespace axo
