// Pins and the file system that holds them.
#include <linux/bpf.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/vfs.h>

#include <cerrno>

#include "base/file.h"
#include "kernel/bpf_object.h"
#include "kernel/libbpf_log.h"

namespace axo {
namespace {

bool is_bpffs(const std::string& path) {
    struct statfs fs{};
    return ::statfs(path.c_str(), &fs) == 0 && static_cast<std::uint32_t>(fs.f_type) == BPF_FS_MAGIC;
}

}  // namespace

Status pin(int fd, const std::string& path) {
    const std::string parent = std::filesystem::path(path).parent_path().string();
    TRY(make_directories(parent));
    if (bpf_obj_pin(fd, path.c_str()) == 0) return {};
    const int err = errno;
    if (err != EEXIST && !is_bpffs(parent)) {
        return fail(Code::kFailedPrecondition, "pin " + path + ": " + parent + " is not on a BPF file system");
    }
    return fail_errno("pin " + path, err);
}

Result<Fd> open_pin(const std::string& path) {
    Fd fd(bpf_obj_get(path.c_str()));
    if (!fd) return fail_errno("open pin " + path);
    return fd;
}

Status ensure_bpffs(const std::string& directory) {
    TRY(make_directories(directory));
    if (is_bpffs(directory)) return {};
    if (::mount("bpffs", directory.c_str(), "bpf", 0, nullptr) != 0) {
        return fail_errno("mount a BPF file system at " + directory);
    }
    return {};
}

}  // namespace axo
