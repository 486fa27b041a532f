// One agent per state directory and per BPF file system: exclusive locks on <state-dir>/cilium.pid and on the BPF root
// itself, held for the process's life.
// Thread: main's.
#pragma once

#include <filesystem>

#include "base/fd.h"
#include "base/result.h"

namespace axo {

// kAlreadyExists names the process that holds it.
Result<Fd> lock_instance(const std::filesystem::path& state_dir);
// Two agents with state directories of their own would take each other's maps, links and devices. Where there is no
// such folder yet there is nothing to share either: an empty descriptor.
Result<Fd> lock_bpf_root(const std::filesystem::path& bpf_root);

}  // namespace axo
