// RFC 3339 timestamps, as Kubernetes objects carry them. Thread: any.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "base/result.h"

namespace axo {

using WallTime = std::chrono::system_clock::time_point;

// "2026-01-02T03:04:05Z": metav1.Time, e.g. creationTimestamp.
std::string format_time(WallTime time);
// "2026-01-02T03:04:05.000000Z": metav1.MicroTime, e.g. of a Lease.
std::string format_time_micro(WallTime time);
// "2026-01-02T03:04:05.123456789Z" without trailing zeros: Go's RFC3339Nano, e.g. of annotations.
std::string format_time_nano(WallTime time);
// Any number of fraction digits (kept to nanoseconds), 'Z' or a numeric offset.
Result<WallTime> parse_time(std::string_view text);

}  // namespace axo
