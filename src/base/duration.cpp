#include "base/duration.h"

#include <cctype>
#include <cmath>
#include <cstdint>
#include <cstdlib>

namespace axo {
namespace {

// 1,500,000 with 6 digits: "1.5".
std::string decimal(std::uint64_t value, int digits) {
    std::string text = std::to_string(value);
    if (text.size() <= static_cast<std::size_t>(digits))
        text.insert(0, static_cast<std::size_t>(digits) + 1 - text.size(), '0');
    text.insert(text.size() - static_cast<std::size_t>(digits), 1, '.');
    text.erase(text.find_last_not_of('0') + 1);
    if (text.ends_with('.')) text.pop_back();
    return text;
}

}  // namespace

Result<std::chrono::nanoseconds> parse_duration(std::string_view text) {
    const auto bad = [] { return fail(Code::kInvalidArgument, "a duration, e.g. 500ms, 5s or 1m30s"); };
    if (text == "0") return std::chrono::nanoseconds{0};
    if (text.empty()) return bad();
    double total = 0;
    while (!text.empty()) {
        std::size_t used = 0;
        while (used < text.size() && (std::isdigit(static_cast<unsigned char>(text[used])) != 0 || text[used] == '.'))
            ++used;
        if (used == 0) return bad();
        const std::string digits(text.substr(0, used));
        char* end = nullptr;
        const double number = std::strtod(digits.c_str(), &end);
        if (*end != '\0') return bad();
        text.remove_prefix(used);
        double unit = 0;
        std::size_t width = 1;
        if (text.starts_with("ns")) {
            unit = 1, width = 2;
        } else if (text.starts_with("us")) {
            unit = 1e3, width = 2;
        } else if (text.starts_with("µs") || text.starts_with("μs")) {  // the sign, and the letter
            unit = 1e3, width = 3;
        } else if (text.starts_with("ms")) {
            unit = 1e6, width = 2;
        } else if (text.starts_with("s")) {
            unit = 1e9;
        } else if (text.starts_with("m")) {
            unit = 60e9;
        } else if (text.starts_with("h")) {
            unit = 3600e9;
        } else {
            return bad();
        }
        text.remove_prefix(width);
        total += number * unit;
    }
    if (total > 9e18) return bad();
    return std::chrono::nanoseconds{std::llround(total)};
}

std::string duration_text(std::chrono::nanoseconds duration) {
    const bool negative = duration.count() < 0;
    const auto ns =
        negative ? -static_cast<std::uint64_t>(duration.count()) : static_cast<std::uint64_t>(duration.count());
    std::string text = negative ? "-" : "";
    if (ns == 0) return "0s";
    if (ns < 1'000) return text + std::to_string(ns) + "ns";
    if (ns < 1'000'000) return text + decimal(ns, 3) + "µs";
    if (ns < 1'000'000'000) return text + decimal(ns, 6) + "ms";
    const std::uint64_t minutes = ns / 60'000'000'000;
    if (minutes >= 60) text += std::to_string(minutes / 60) + "h";
    if (minutes >= 1) text += std::to_string(minutes % 60) + "m";
    return text + decimal(ns % 60'000'000'000, 9) + "s";
}

}  // namespace axo
