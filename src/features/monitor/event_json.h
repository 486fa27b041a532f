// One datapath event as the JSON line that GET /v1/monitor streams. Pure. Thread: any.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "features/monitor/types.h"

namespace axo {

// Names for numbers, answered by the agent's tables.
struct EventNames {
    std::function<std::string(std::uint32_t ifindex)> interface;
    std::function<std::vector<std::string>(std::uint32_t identity)> labels;
    std::function<std::string(const IpAddress& ip)> pod;  // "ns/name", "" when it is none
};

std::string_view event_type_text(std::uint8_t type);
std::string_view trace_point_text(std::uint8_t point);
std::string_view trace_reason_text(std::uint8_t reason);
// "SYN, ACK"
std::string tcp_flags_text(std::uint8_t flags);
// wall_offset_ns: what has to be added to the event's CLOCK_MONOTONIC to get the time of day.
Json event_json(const flow_event& event, const EventNames& names, std::int64_t wall_offset_ns);

}  // namespace axo
