// A Kubernetes cluster as connectivity tests see it: pods of the agents' own image, which has axoneme-traffic; programs
// are run in pods by the API server (exec), on nodes in the agents' pods. Thread: main's; calls block.
#pragma once

#include "app/cli/connectivity/cluster.h"
#include "app/cli/install/api.h"

namespace axo::cli::connectivity {

// agents: the namespace where Axoneme is. kFailedPrecondition: it is not, or no agent is ready.
Result<std::unique_ptr<TestCluster>> open_kubernetes(std::unique_ptr<install::Api> api, const std::string& agents,
                                                     const std::string& name_space);

}  // namespace axo::cli::connectivity
