// A link held by its pin: what attaching to devices and to cgroups has in common. Private to src/kernel.
#pragma once

#include <linux/bpf.h>

#include <functional>
#include <optional>
#include <string>

#include "base/result.h"
#include "kernel/bpf_link.h"

namespace axo {

struct PinnedLink {
    std::string what;  // "program cil_from_container on lxc1 ingress": for errors
    std::string pin_path;
    int program_fd = -1;
    std::function<bool(const bpf_link_info&)> is_same_place;  // the link is attached where it is wanted
    std::function<int()> create;                              // a new link's descriptor, or -1 with errno
};

// Adopts the pinned link, updates it in place, or makes another one where it is gone or somewhere else.
Result<AttachOutcome> attach_pinned(const PinnedLink& wanted);
// Absent: success. At once, even if a tool holds the link open.
Status detach_pinned(const std::string& what, const std::string& pin_path);
// Nothing when there is no such pin.
Result<std::optional<bpf_link_info>> pinned_link_info(const std::string& pin_path);

}  // namespace axo
