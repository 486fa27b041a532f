// GetFlows: which flows, from where on, until when, as one call that is asked for its next message.
//
// It holds a place, not flows: a client that reads slowly is overtaken by the ring and told how much it has missed.
// Thread: the server's only.
#pragma once

#include <observer/observer.pb.h>

#include "hubble/core/observer.h"
#include "hubble/rpc/call.h"
#include "hubble/server/filter.h"
#include "hubble/server/history.h"

namespace axo::hubble {

// context: of this node. history: may be null.
Result<std::unique_ptr<rpc::Call>> query_flows(std::string_view request, Observer& observer, const History* history);

FlowContext flow_context(const Observer& observer);

}  // namespace axo::hubble
