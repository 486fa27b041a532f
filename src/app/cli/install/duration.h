// Durations as Go's programs take them. Thread: any.
#pragma once

#include <chrono>
#include <string>

#include "base/result.h"

namespace axo::cli::install {

// "5m0s", "90s", "1h"; a number alone are seconds. The error names the flag.
Result<std::chrono::seconds> parse_wait_duration(const std::string& flag, const std::string& text);

}  // namespace axo::cli::install
