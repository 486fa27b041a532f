// What a UDP flow's two directions have come to, once the flow has ended: nothing in a packet says that it is the last
// one, so the collector tells it, which finds out. TCP's ends are told by the packets that close. Thread: any.
#pragma once

#include <cstdint>
#include <functional>

#include "bpf/api/event.h"
#include "maps/flow_map.h"

namespace axo {

// Calls tell for each direction with more packets than the one that its beginning was told with. now_ns:
// CLOCK_MONOTONIC. Not of translated connections: their two entries know each other's packets under other addresses.
void tell_end(const FlowRow& row, std::uint64_t now_ns, const std::function<void(const flow_event&)>& tell);

}  // namespace axo
