// What the agent did, as Hubble's agent events. Thread: any.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "features/endpoint/types.h"
#include "features/ipcache/types.h"
#include "features/service/types.h"
#include "hubble/server/agent_events.h"

namespace axo::hubble_events {

void started(hubble::AgentEvents& events);
void policy_changed(hubble::AgentEvents& events, bool removed, const std::vector<std::string>& labels,
                    std::uint64_t revision, std::int64_t rules);
void endpoint_made(hubble::AgentEvents& events, const EndpointRow& endpoint);
void endpoint_gone(hubble::AgentEvents& events, const EndpointRow& endpoint);
// error: "": its policy is in force.
void endpoint_regenerated(hubble::AgentEvents& events, const EndpointRow& endpoint, const std::string& error);
// now: nullptr: nobody has the prefix any more.
void ipcache_changed(hubble::AgentEvents& events, const Prefix& prefix, const IpcacheRow* now);
void service_upserted(hubble::AgentEvents& events, const service::FrontendKey& key, const service::FrontendRow& row);
void service_deleted(hubble::AgentEvents& events, std::uint32_t id);

}  // namespace axo::hubble_events
