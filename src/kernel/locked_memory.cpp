#include "kernel/locked_memory.h"

#include <sys/resource.h>

#include <cstdio>

namespace axo {

bool maps_count_as_locked(const KernelFeatures& features) {
    int major = 0, minor = 0;
    return std::sscanf(features.release.c_str(), "%d.%d", &major, &minor) == 2 &&
           (major < 5 || (major == 5 && minor < 11));
}

Status lift_locked_memory_limit(const KernelFeatures& features) {
    rlimit limit{};
    if (!maps_count_as_locked(features) || ::getrlimit(RLIMIT_MEMLOCK, &limit) != 0) return {};
    if (limit.rlim_cur == RLIM_INFINITY) return {};
    const rlim_t had = limit.rlim_cur;
    limit = {RLIM_INFINITY, RLIM_INFINITY};
    if (::setrlimit(RLIMIT_MEMLOCK, &limit) == 0) return {};
    return fail(Code::kPermissionDenied,
                "kernel " + features.release + " counts BPF maps as locked memory, of which this process may have " +
                    std::to_string(had >> 10) +
                    " KiB (RLIMIT_MEMLOCK), and it may not raise that: grant it CAP_SYS_RESOURCE "
                    "(securityContext.capabilities.ciliumAgent), or start it with LimitMEMLOCK=infinity, or run "
                    "kernel 5.11 or newer");
}

}  // namespace axo
