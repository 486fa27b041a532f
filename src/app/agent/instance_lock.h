// One agent per state directory: an exclusive lock on <state-dir>/cilium.pid, held for the process's life.
// Thread: main's.
#pragma once

#include <filesystem>

#include "base/fd.h"
#include "base/result.h"

namespace axo {

// kAlreadyExists names the process that holds it.
Result<Fd> lock_instance(const std::filesystem::path& state_dir);

}  // namespace axo
