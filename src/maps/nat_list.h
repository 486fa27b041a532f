// Translated connections as `bpf nat list` prints them. They are entries of the flow table: one rewrites what the
// opener sends, one the replies (bpf/api/flow.h). Thread: any (no state).
#pragma once

#include <cstdint>
#include <string>

#include "maps/flow_map.h"

namespace axo {

// Packets of one direction are rewritten.
bool is_translated(const FlowRow& row);
// "TCP OUT 10.0.0.63:40000 -> 8.8.8.8:53 XLATE_SRC 192.168.122.233:40000 Created=27sec ago NeedsCT=0"; replies are IN,
// with XLATE_DST. Where both ends are rewritten, both are named. row: one that is translated.
std::string nat_line(const FlowRow& row, std::uint32_t now_tick);

}  // namespace axo
