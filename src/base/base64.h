// Base64 (RFC 4648, with padding). Thread: any.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace axo {

std::string base64_encode(std::string_view bytes);
// kInvalidArgument for other characters, a length that is no multiple of four, and bits that no byte holds.
Result<std::vector<std::uint8_t>> base64_decode(std::string_view text);

}  // namespace axo
