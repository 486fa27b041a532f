#include "base/base64.h"

namespace axo {

namespace {

int value_of(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == '+') return 62;
    return c == '/' ? 63 : -1;
}

}  // namespace

Result<std::vector<std::uint8_t>> base64_decode(std::string_view text) {
    const auto refuse = [&] { return fail(Code::kInvalidArgument, "'" + std::string(text) + "' is not base64"); };
    if (text.size() % 4 != 0) return refuse();
    std::string_view digits = text;
    for (int i = 0; i < 2 && digits.ends_with('='); ++i) digits.remove_suffix(1);
    std::vector<std::uint8_t> bytes;
    std::uint32_t bits = 0;
    int count = 0;
    for (const char c : digits) {
        const int value = value_of(c);
        if (value < 0) return refuse();
        bits = bits << 6 | static_cast<std::uint32_t>(value);
        count += 6;
        if (count < 8) continue;
        count -= 8;
        bytes.push_back(static_cast<std::uint8_t>(bits >> count));
        bits &= (1U << count) - 1;
    }
    if (bits != 0) return refuse();
    return bytes;
}

}  // namespace axo
