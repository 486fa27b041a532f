// A datapath event as a flow: direction, reply and verdict by Hubble's rules. Pure. Thread: any.
#pragma once

#include "hubble/core/record.h"

namespace axo::hubble {

// Sets what follows from record.event alone.
void decode(FlowRecord& record);

// The local endpoint that an event is about; 0: none. Hubble calls it the event's source.
std::uint16_t observed_endpoint(const flow_event& event);

}  // namespace axo::hubble
