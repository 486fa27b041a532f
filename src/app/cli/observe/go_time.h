// Times and durations as Hubble's flags take them and its output prints them: Go's layouts by name. Pure. Thread: any.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "model/time.h"

namespace axo::cli {

enum class TimeLayout {
    kStampMilli,              // Jan _2 15:04:05.000
    kYearMonthDay,            // 2006-01-02
    kYearMonthDayHour,        // 2006-01-02T15Z
    kYearMonthDayHourMinute,  // 2006-01-02T15:04Z
    kRfc3339,
    kRfc3339Milli,
    kRfc3339Micro,
    kRfc3339Nano,
    kRfc1123Z,  // Mon, 02 Jan 2006 15:04:05 +0000
};

// Names without regard to case; those of none are StampMilli's, as in Hubble.
TimeLayout time_layout(std::string_view name);
// In UTC.
std::string format_layout(TimeLayout layout, std::int64_t seconds, std::int32_t nanos);
// "1h30m", "1.5s", "300ms" as Go's time.ParseDuration takes them.
Result<std::chrono::nanoseconds> parse_go_duration(std::string_view text);
// A duration before `now`, or a time in one of the layouts that name a date.
Result<WallTime> parse_moment(std::string_view text, WallTime now);

}  // namespace axo::cli
