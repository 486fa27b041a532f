#include "kernel/cgroup_link.h"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/fd.h"
#include "base/file.h"
#include "kernel/pinned_link.h"

namespace axo {

Status ensure_cgroup2(const std::string& directory) {
    TRY(make_directories(directory));
    struct statfs file_system{};
    if (::statfs(directory.c_str(), &file_system) != 0) return fail_errno("look at " + directory);
    if (file_system.f_type == CGROUP2_SUPER_MAGIC) return {};
    if (::mount("none", directory.c_str(), "cgroup2", 0, nullptr) != 0)
        return fail_errno("mount a cgroup v2 hierarchy at " + directory);
    return {};
}

Result<AttachOutcome> attach_cgroup(const CgroupAttachment& attachment) {
    const std::string what = "program " + attachment.program_name + " on cgroup " + attachment.cgroup;
    const Fd cgroup(::open(attachment.cgroup.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!cgroup) return fail_errno("attach " + what);
    struct statfs file_system{};
    struct stat directory{};
    if (::fstatfs(cgroup.get(), &file_system) != 0 || ::fstat(cgroup.get(), &directory) != 0)
        return fail_errno("attach " + what);
    if (file_system.f_type != CGROUP2_SUPER_MAGIC) {
        return fail(Code::kFailedPrecondition, "attach " + what + ": it is not a directory of a cgroup v2 hierarchy");
    }
    return attach_pinned({
        .what = what,
        .pin_path = attachment.pin_path,
        .program_fd = attachment.program_fd,
        .is_same_place =
            [&](const bpf_link_info& info) {
                // A cgroup's id is its inode number.
                return info.type == BPF_LINK_TYPE_CGROUP && info.cgroup.cgroup_id == directory.st_ino &&
                       info.cgroup.attach_type == static_cast<std::uint32_t>(attachment.attach_type);
            },
        .create =
            [&] {
                return bpf_link_create(attachment.program_fd, cgroup.get(),
                                       static_cast<bpf_attach_type>(attachment.attach_type), nullptr);
            },
    });
}

Status detach_cgroup(const std::string& pin_path) {
    return detach_pinned("link " + pin_path, pin_path);
}

}  // namespace axo
