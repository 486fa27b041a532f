// A datapath event as a flow: direction, reply and verdict by Hubble's rules. Pure. Thread: any.
#pragma once

#include "hubble/core/record.h"

namespace axo::hubble {

// Sets what follows from record.event alone.
void decode(FlowRecord& record);

}  // namespace axo::hubble
