// preflight, cleanup. See commands.h.
#pragma once

#include "app/cli/command_line.h"

namespace axo::cli {

void add_node_upkeep_commands(const Command& root);

}  // namespace axo::cli
