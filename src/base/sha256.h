// SHA-256 (FIPS 180-4) of short texts: interface names, delete-queue file names, label sets.
// Own code, because a crypto library would triple the CNI plugin. Not for secrets. Thread: any.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace axo {

std::array<std::uint8_t, 32> sha256(std::string_view data);
// 64 lower-case hex digits.
std::string sha256_hex(std::string_view data);
// A UUID (RFC 9562) that everybody makes of the same name.
std::string name_uuid(std::string_view name);

}  // namespace axo
