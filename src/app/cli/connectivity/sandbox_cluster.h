// A sandbox cluster (docs/sandbox.md) as connectivity tests see it. Thread: single-threaded programs (functions fork).
#pragma once

#include "app/cli/connectivity/cluster.h"

namespace axo::cli::connectivity {

Result<std::unique_ptr<TestCluster>> open_sandbox(const std::string& name, const std::string& name_space);

}  // namespace axo::cli::connectivity
