// Attaching programs to a cgroup, for the sockets of all processes in it and below, by pinned links (Linux 5.7).
//
// A link is updated in place, without a moment in which no program runs, and leaves room for the programs of others.
// Thread: any one at a time.
#pragma once

#include <string>

#include "base/result.h"
#include "kernel/bpf_link.h"

namespace axo {

struct CgroupAttachment {
    std::string cgroup;  // directory in a cgroup v2 hierarchy
    std::string program_name;
    int program_fd = -1;
    int attach_type = -1;  // enum bpf_attach_type
    std::string pin_path;
};

// Mounts a cgroup v2 hierarchy at the directory (parents are made) unless there is one.
Status ensure_cgroup2(const std::string& directory);
// Idempotent. kNotFound: there is no such directory; kFailedPrecondition: it is not one of cgroup v2.
Result<AttachOutcome> attach_cgroup(const CgroupAttachment& attachment);
// Absent: success.
Status detach_cgroup(const std::string& pin_path);

}  // namespace axo
