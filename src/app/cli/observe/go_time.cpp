#include "app/cli/observe/go_time.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>

#include "base/duration.h"

namespace axo::cli {
namespace {

constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};

struct Named {
    std::string_view name;  // lower case
    TimeLayout layout;
};
constexpr Named kLayouts[] = {
    {"yearmonthday", TimeLayout::kYearMonthDay},
    {"yearmonthdayhour", TimeLayout::kYearMonthDayHour},
    {"yearmonthdayhourminute", TimeLayout::kYearMonthDayHourMinute},
    {"rfc3339", TimeLayout::kRfc3339},
    {"rfc3339milli", TimeLayout::kRfc3339Milli},
    {"rfc3339micro", TimeLayout::kRfc3339Micro},
    {"rfc3339nano", TimeLayout::kRfc3339Nano},
    {"rfc1123z", TimeLayout::kRfc1123Z},
};

// ".999" of Go: at most so many digits, without trailing zeros.
std::string fraction(std::int32_t nanos, std::size_t digits) {
    std::array<char, 16> buffer{};
    std::snprintf(buffer.data(), buffer.size(), ".%09d", nanos);
    std::string out(buffer.data(), digits + 1);
    while (out.back() == '0') out.pop_back();
    return out == "." ? "" : out;
}

std::optional<WallTime> parse_rfc1123z(std::string_view text) {
    std::tm parts{};
    const std::string copy(text);
    const char* rest = ::strptime(copy.c_str(), "%a, %d %b %Y %H:%M:%S %z", &parts);
    if (rest == nullptr || *rest != '\0') return std::nullopt;
    const long offset = parts.tm_gmtoff;
    return WallTime(std::chrono::seconds(::timegm(&parts) - offset));
}

}  // namespace

TimeLayout time_layout(std::string_view name) {
    std::string lower(name);
    std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    const auto* found = std::ranges::find(kLayouts, std::string_view(lower), &Named::name);
    return found == std::end(kLayouts) ? TimeLayout::kStampMilli : found->layout;
}

std::string format_layout(TimeLayout layout, std::int64_t seconds, std::int32_t nanos) {
    const std::time_t time = seconds;
    std::tm t{};
    ::gmtime_r(&time, &t);
    std::array<char, 80> b{};
    const auto print = [&](const char* format, auto... values) {
        std::snprintf(b.data(), b.size(), format, values...);
        return std::string(b.data());
    };
    const int year = t.tm_year + 1900, month = t.tm_mon + 1;
    switch (layout) {
        case TimeLayout::kStampMilli:
            return print("%s %2d %02d:%02d:%02d.%03d", kMonths[t.tm_mon], t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec,
                         nanos / 1'000'000);
        case TimeLayout::kYearMonthDay: return print("%04d-%02d-%02d", year, month, t.tm_mday);
        case TimeLayout::kYearMonthDayHour: return print("%04d-%02d-%02dT%02dZ", year, month, t.tm_mday, t.tm_hour);
        case TimeLayout::kYearMonthDayHourMinute:
            return print("%04d-%02d-%02dT%02d:%02dZ", year, month, t.tm_mday, t.tm_hour, t.tm_min);
        case TimeLayout::kRfc1123Z:
            return print("%s, %02d %s %04d %02d:%02d:%02d +0000", kDays[t.tm_wday], t.tm_mday, kMonths[t.tm_mon], year,
                         t.tm_hour, t.tm_min, t.tm_sec);
        default: break;
    }
    std::string out = print("%04d-%02d-%02dT%02d:%02d:%02d", year, month, t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec);
    if (layout == TimeLayout::kRfc3339Milli) out += fraction(nanos, 3);
    if (layout == TimeLayout::kRfc3339Micro) out += fraction(nanos, 6);
    if (layout == TimeLayout::kRfc3339Nano) out += fraction(nanos, 9);
    return out + "Z";
}

Result<std::chrono::nanoseconds> parse_go_duration(std::string_view text) {
    const bool negative = text.starts_with('-');
    const auto read = parse_duration(text.substr(negative || text.starts_with('+') ? 1 : 0));
    if (!read) return fail(Code::kInvalidArgument, "time: invalid duration \"" + std::string(text) + "\"");
    return negative ? -*read : *read;
}

Result<WallTime> parse_moment(std::string_view text, WallTime now) {
    if (const auto ago = parse_go_duration(text)) return now - std::chrono::duration_cast<WallTime::duration>(*ago);
    if (const auto time = parse_rfc1123z(text)) return *time;
    // The shorter layouts are RFC 3339 with the rest filled up: 2006-01-02, 2006-01-02T15Z, 2006-01-02T15:04Z.
    std::string full(text);
    if (full.size() == 10)
        full += "T00:00:00Z";
    else if (full.size() > 13 && full[10] == 'T' && full[13] != ':')
        full.insert(13, ":00:00");
    else if (full.size() > 16 && full[10] == 'T' && full[16] != ':')
        full.insert(16, ":00");
    if (const auto time = parse_time(full)) return *time;
    return fail(Code::kInvalidArgument, "failed to convert " + std::string(text) + " to time");
}

}  // namespace axo::cli
