// Which pins below a BPF root are ours; for an uninstall that lists them first. Thread: any.
#pragma once

#include <string>
#include <vector>

#include "maps/paths.h"

namespace axo {

// Sorted paths; those of other settings and of maps set aside included.
std::vector<std::string> list_pins(const BpfPaths& paths);

}  // namespace axo
