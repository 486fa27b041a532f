// TCP's flags as Cilium and Hubble write them. Thread: any.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace axo {

// "SYN, ACK", in Cilium's order. flags: the header's byte (RFC 9293, 3.1).
inline std::string tcp_flags_text(std::uint8_t flags) {
    static constexpr std::pair<std::uint8_t, std::string_view> kFlags[] = {{0x02, "SYN"}, {0x10, "ACK"}, {0x04, "RST"},
                                                                           {0x01, "FIN"}, {0x08, "PSH"}, {0x20, "URG"},
                                                                           {0x40, "ECE"}, {0x80, "CWR"}};
    std::string text;
    for (const auto& [bit, name] : kFlags) {
        if ((flags & bit) == 0) continue;
        if (!text.empty()) text += ", ";
        text += name;
    }
    return text;
}

}  // namespace axo
