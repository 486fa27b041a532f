// The version of all programs. Thread: any.
#pragma once

namespace axo {
inline constexpr const char* kVersion = "0.1.0";
}
