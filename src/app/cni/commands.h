// The CNI commands, one file each. Each returns what goes to standard output, or the error that does.
// Thread: one; they block.
#pragma once

#include <chrono>
#include <string>

#include "app/cni/agent.h"
#include "app/cni/protocol.h"

namespace axo::cni {

struct Session {
    Request request;
    std::string socket_path = "/var/run/cilium/cilium.sock";
    // How long to wait for an agent that does not answer yet. Runtimes give up after minutes.
    std::chrono::milliseconds patience{30'000};
    // Of one call; the agent bounds what it does itself.
    std::chrono::milliseconds call_timeout{60'000};
    // DEL: of connecting and of the batch delete, before the removal is queued.
    std::chrono::milliseconds delete_patience{1'500};
    // DEL: for an agent that replays the queue, three times 5 s.
    std::chrono::milliseconds queue_patience{15'000};

    // Where the agent keeps its socket: also the place of the delete queue and of the default log.
    [[nodiscard]] std::string run_directory() const;
};

Outcome<std::string> run_add(const Session& session);
Outcome<std::string> run_del(const Session& session);
Outcome<std::string> run_check(const Session& session);
Outcome<std::string> run_gc(const Session& session);
Outcome<std::string> run_status(const Session& session);

// Tells the agent to forget the container, or leaves that for its next start. Used by DEL and by an ADD
// that does not know whether its endpoint was made. True: an endpoint was there.
Outcome<bool> remove_or_queue(const Session& session, const std::string& container_id);

}  // namespace axo::cni
