#include "model/time.h"

#include <cstdio>
#include <optional>

#include "model/json.h"

namespace axo {
namespace {

using namespace std::chrono;

std::string date_and_time(WallTime time, std::int64_t& nanoseconds_left) {
    const auto day = floor<days>(time);
    const year_month_day date(day);
    const auto since_midnight = duration_cast<nanoseconds>(time - day);
    const auto second_of_day = duration_cast<seconds>(since_midnight);
    nanoseconds_left = (since_midnight - second_of_day).count();
    const auto s = second_of_day.count();
    char text[64];
    std::snprintf(text, sizeof text, "%04d-%02u-%02uT%02d:%02d:%02d", static_cast<int>(date.year()),
                  static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), static_cast<int>(s / 3600),
                  static_cast<int>(s / 60 % 60), static_cast<int>(s % 60));
    return text;
}

std::optional<int> digits(std::string_view& text, int count) {
    int number = 0;
    if (text.size() < static_cast<std::size_t>(count)) return std::nullopt;
    for (int i = 0; i < count; ++i) {
        const char c = text[static_cast<std::size_t>(i)];
        if (c < '0' || c > '9') return std::nullopt;
        number = number * 10 + (c - '0');
    }
    text.remove_prefix(static_cast<std::size_t>(count));
    return number;
}

bool literal(std::string_view& text, char c) {
    if (text.empty() || text.front() != c) return false;
    text.remove_prefix(1);
    return true;
}

std::optional<WallTime> parse(std::string_view text) {
    const auto y = digits(text, 4);
    if (!y || !literal(text, '-')) return std::nullopt;
    const auto mo = digits(text, 2);
    if (!mo || !literal(text, '-')) return std::nullopt;
    const auto d = digits(text, 2);
    if (!d || !(literal(text, 'T') || literal(text, 't') || literal(text, ' '))) return std::nullopt;
    const auto h = digits(text, 2);
    if (!h || !literal(text, ':')) return std::nullopt;
    const auto mi = digits(text, 2);
    if (!mi || !literal(text, ':')) return std::nullopt;
    const auto s = digits(text, 2);
    if (!s || *h > 23 || *mi > 59 || *s > 60) return std::nullopt;
    const year_month_day date{year(*y), month(static_cast<unsigned>(*mo)), day(static_cast<unsigned>(*d))};
    if (!date.ok()) return std::nullopt;
    std::int64_t fraction = 0;
    if (literal(text, '.')) {
        std::int64_t scale = 100'000'000;
        bool any = false;
        while (!text.empty() && text.front() >= '0' && text.front() <= '9') {
            fraction += (text.front() - '0') * scale;
            scale /= 10;
            text.remove_prefix(1);
            any = true;
        }
        if (!any) return std::nullopt;
    }
    minutes offset{0};
    if (!literal(text, 'Z') && !literal(text, 'z')) {
        const bool minus = !text.empty() && text.front() == '-';
        if (!literal(text, '-') && !literal(text, '+')) return std::nullopt;
        const auto oh = digits(text, 2);
        if (!oh || !literal(text, ':')) return std::nullopt;
        const auto om = digits(text, 2);
        if (!om || *oh > 23 || *om > 59) return std::nullopt;
        offset = minutes(*oh * 60 + *om) * (minus ? -1 : 1);
    }
    if (!text.empty()) return std::nullopt;
    return time_point_cast<system_clock::duration>(sys_days(date) + hours(*h) + minutes(*mi) + seconds(*s) - offset +
                                                   nanoseconds(fraction));
}

}  // namespace

std::string format_time(WallTime time) {
    std::int64_t rest = 0;
    return date_and_time(time, rest) + "Z";
}

std::string format_time_micro(WallTime time) {
    std::int64_t rest = 0;
    std::string text = date_and_time(time, rest);
    char fraction[16];
    std::snprintf(fraction, sizeof fraction, ".%06dZ", static_cast<int>(rest / 1000));
    return text + fraction;
}

std::string format_time_nano(WallTime time) {
    std::int64_t rest = 0;
    std::string text = date_and_time(time, rest);
    if (rest != 0) {
        char fraction[16];
        std::snprintf(fraction, sizeof fraction, ".%09d", static_cast<int>(rest));
        text += fraction;
        while (text.back() == '0') text.pop_back();
    }
    return text + "Z";
}

Result<WallTime> parse_time(std::string_view text) {
    const auto parsed = parse(text);
    if (!parsed) {
        return fail(Code::kInvalidArgument,
                    "\"" + shortened_text(text, 60) + "\"; accepted: an RFC 3339 time such as 2026-01-02T03:04:05Z");
    }
    return *parsed;
}

}  // namespace axo
