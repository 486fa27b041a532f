// One datapath event as the JSON line that GET /v1/monitor streams. Pure. Thread: any.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "features/monitor/types.h"

namespace axo {

// What a policy decided by.
struct EventRule {
    std::string name{};   // "CiliumNetworkPolicy default/web, spec.ingress[0]"
    std::string match{};  // Cilium's word for what the rule looks at: "L3-L4", "L4-Only", "all" …; of no rule: "none"
    bool deny = false;    // a rule that denies, not the lack of one that allows
};

// Whose policy a verdict or a drop is of (of other drops: on whose side it happened), and who is at the other end: not
// always the packet's source and destination, since a connection's replies are judged as it was opened.
struct PolicySide {
    std::uint16_t endpoint = 0;
    std::uint32_t remote_identity = 0;
    bool reply = false;
};
PolicySide policy_side(const flow_event& event);
// Cilium's number of EventRule::match; 0: none.
std::uint8_t match_number(std::string_view match);

// Names for numbers, answered by the agent's tables.
struct EventNames {
    std::function<std::string(std::uint32_t ifindex)> interface;
    std::function<std::vector<std::string>(std::uint32_t identity)> labels;
    std::function<std::string(const IpAddress& ip)> pod;  // "ns/name", "" when it is none
    // Of verdicts and of drops by policy. May be empty: then only the cookie is shown.
    std::function<EventRule(std::uint32_t cookie)> rule{};
};

std::string_view event_type_text(std::uint8_t type);
std::string_view trace_point_text(std::uint8_t point);
std::string_view trace_reason_text(std::uint8_t reason);
// "allow", "deny", "redirect", "audit" of a policy verdict.
std::string_view verdict_text(const flow_event& event);
// wall_offset_ns: what has to be added to the event's CLOCK_MONOTONIC to get the time of day.
Json event_json(const flow_event& event, const EventNames& names, std::int64_t wall_offset_ns);

}  // namespace axo
