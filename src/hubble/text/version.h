// What the parts of Hubble call themselves. Thread: any (constants).
#pragma once

#include <string_view>

namespace axo {

inline constexpr std::string_view kHubbleVersion = "0.1.0";

}  // namespace axo
