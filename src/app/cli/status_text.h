// `status`: the text of a StatusResponse, line by line as Cilium's command lays it out. Pure.
#pragma once

#include <cstdint>
#include <string>

#include "app/cli/output/format.h"

namespace axo::cli {

struct StatusDetails {
    bool addresses = false;
    bool controllers = false;
    bool nodes = false;
    bool redirects = false;
    bool clusters = false;
    bool maps = false;
    bool kube_proxy = false;
    bool clock_source = false;
    bool axoneme = false;

    static StatusDetails all() { return {true, true, true, true, true, true, true, true, true}; }
};

// now: seconds since the epoch.
std::string status_text(const Json& status, const StatusDetails& details, std::int64_t now);
// "OK", or "error in <component>: …". One line.
std::string status_brief(const Json& status);
bool status_is_healthy(const Json& status);

// Our own part, printed after Cilium's lines: datapath, reconcilers, decisions, map memory, events.
std::string axoneme_status_text(const Json& axoneme, bool all_nodes);
// "Cluster health: 3/3 reachable (…)" and the nodes that are not (or all).
std::string cluster_health_text(const Json& status, bool all_nodes);

}  // namespace axo::cli
