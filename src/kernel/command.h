// Running another program and waiting for it: for tools whose format is the interface, like iptables-restore.
// Thread: any; blocks.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "base/result.h"

namespace axo {

struct CommandOutput {
    int exit_status = 0;
    std::string out, err;
};

// argv[0] is looked for in PATH; kNotFound when there is no such program. Ends it after the timeout (kUnavailable).
// An exit status other than 0 is for the caller to judge.
Result<CommandOutput> run_command(const std::vector<std::string>& argv, const std::string& input,
                                  std::chrono::milliseconds timeout);

}  // namespace axo
