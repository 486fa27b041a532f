// Waiting until every node enforces a change of policies. Thread: main's; calls block.
#pragma once

#include <functional>

#include "app/cli/connectivity/cluster.h"

namespace axo::cli::connectivity {

// Makes the change; then every agent has to get to a later revision than before, and its endpoints to that: wait is
// called for each node, and returns when they are.
Status change_policies(TestCluster& cluster, const std::function<Status()>& make,
                       const std::function<Status(const Peer& node, const std::string& revision)>& wait);

}  // namespace axo::cli::connectivity
