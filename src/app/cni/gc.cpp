// GC: removes the attachments that the runtime no longer knows. STATUS: whether ADD would work now.
#include <set>

#include "app/cni/commands.h"
#include "base/log.h"
#include "kernel/netlink.h"

namespace axo::cni {

Outcome<std::string> run_gc(const Session& session) {
    const Logger log("cilium-cni");
    const std::set<Attachment> valid(session.request.conf.valid_attachments->begin(),
                                     session.request.conf.valid_attachments->end());
    TRY_ASSIGN(Agent agent, Agent::connect(session.socket_path, session.patience, session.call_timeout));
    TRY_ASSIGN(const std::vector<KnownEndpoint> known, agent.endpoints());
    auto host = Netlink::open();
    if (!host) return refuse(ErrorCode::kIo, "netlink on the node", host.error());

    std::string failed;
    std::size_t failures = 0;
    for (const KnownEndpoint& endpoint : known) {
        if (valid.contains(endpoint.attachment)) continue;
        log.info("Removing an attachment that the runtime does not know",
                 {{"containerID", endpoint.attachment.container_id},
                  {"ifName", endpoint.attachment.ifname},
                  {"endpointID", endpoint.id}});
        // The specification wants all to be tried, and the failures told.
        auto known_to_agent = agent.remove_endpoint(endpoint.attachment);
        if (!known_to_agent) {
            failed +=
                (failures++ == 0 ? "" : "; ") + endpoint.attachment.key() + ": " + known_to_agent.error().error.message;
            continue;
        }
        if (*known_to_agent) continue;  // the agent removes the interface
        const std::string interface = endpoint.attachment.host_interface();
        if (auto removed = host->remove_link(interface); !removed) {
            failed += (failures++ == 0 ? "" : "; ") + interface + ": " + removed.error().message;
        }
    }
    if (failures != 0)
        return refuse(ErrorCode::kTryAgainLater,
                      "GC: " + std::to_string(failures) + " attachments could not be removed", failed);
    return std::string();
}

Outcome<std::string> run_status(const Session& session) {
    auto agent = Agent::connect(session.socket_path, std::chrono::milliseconds(0), session.call_timeout);
    auto health = agent ? agent->health() : std::unexpected(agent.error());
    if (!health) return refuse(ErrorCode::kNotAvailable, health.error().message, health.error().details);
    if (!health->empty()) return refuse(ErrorCode::kNotAvailable, *health, "axoneme status shows more");
    return std::string();
}

}  // namespace axo::cni
