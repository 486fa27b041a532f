// What this kernel can do, probed once at start by trying; decisions are made from Config x Features
// in one place and printed with their reason. Thread: any (immutable).
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace axo {

struct KernelFeatures {
    std::string release;  // "6.18.44"
    bool jit = false;
    bool ring_buffer = false;        // 5.8; required
    bool tcx = false;                // 6.6
    bool redirect_neigh = false;     // 5.10
    bool redirect_peer = false;      // 5.10
    bool ktime_coarse = false;       // 5.11
    bool fib_skip_neigh = false;     // 6.3
    bool adjust_room_decap = false;  // 6.3
    bool batch_lookup = false;       // 5.6
    bool netns_cookie = false;       // 5.14 as socket option
    bool ipv6 = false;               // compiled in and not disabled
    bool vxlan = false;
    bool geneve = false;
    bool socket_lb = false;       // programs at sockets of a cgroup (5.8: getpeername)
    bool set_retval = false;      // of programs at sockets, 6.1
    bool socket_destroy = false;  // CONFIG_INET_DIAG_DESTROY
    bool xdp = false;             // XDP links, 5.9

    struct Missing {
        std::string feature;
        std::string needed_for;
        std::string kernel;  // first version that has it
        bool required = false;
    };
    [[nodiscard]] std::vector<Missing> missing() const;
};

Result<KernelFeatures> probe_kernel_features();

}  // namespace axo
