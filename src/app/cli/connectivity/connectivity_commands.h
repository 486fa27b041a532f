// connectivity test, connectivity perf. See commands.h.
#pragma once

#include "app/cli/command_line.h"

namespace axo::cli {

void add_connectivity_commands(const Command& root);

}  // namespace axo::cli
