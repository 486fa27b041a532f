// Before Linux 5.11 BPF maps count as locked memory of whoever makes them, afterwards as memory of its cgroup.
// Thread: any.
#pragma once

#include "base/result.h"
#include "kernel/features.h"

namespace axo {

bool maps_count_as_locked(const KernelFeatures& features);

// Takes this process's limit (RLIMIT_MEMLOCK) away where maps count against it. kPermissionDenied: it is limited, and
// the right to change that (CAP_SYS_RESOURCE) is missing.
Status lift_locked_memory_limit(const KernelFeatures& features);

}  // namespace axo
