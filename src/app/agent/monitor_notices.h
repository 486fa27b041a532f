// Hubble's agent events as Cilium's monitor tells them. Pure. Thread: any.
#pragma once

#include <optional>
#include <string>

#include "features/monitor/cilium_wire.h"

namespace axo {

// agent_event: flow.AgentEvent on the wire. Nothing: Cilium 1.19's monitor does not tell such events (of services).
std::optional<AgentNotice> monitor_notice(const std::string& agent_event);

}  // namespace axo
