// Hubble's words for the numbers of a flow. Thread: any.
#pragma once

#include <string>
#include <string_view>

#include "hubble/core/record.h"

namespace axo::hubble {

std::string_view verdict_name(Verdict verdict);               // "FORWARDED"
std::string_view drop_reason_name(std::uint32_t reason);      // "POLICY_DENIED"
std::string_view observation_point_name(std::uint8_t point);  // "to-endpoint"
std::string_view lost_source_name(LostSource source);         // "HUBBLE_RING_BUFFER"
std::string icmp_name(const FlowRecord& record);              // "EchoRequest"

}  // namespace axo::hubble
