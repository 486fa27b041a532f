#include "app/agent/instance_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/file.h"

namespace axo {

namespace {

// False: somebody else holds it.
Result<bool> try_lock(const Fd& file, const std::filesystem::path& path) {
    // A process that was just killed holds its locks for some milliseconds more.
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(500);
    while (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR) return fail_errno("lock " + path.string());
        if (std::chrono::steady_clock::now() >= deadline) return false;
        ::usleep(2000);
    }
    return true;
}

}  // namespace

Result<Fd> lock_instance(const std::filesystem::path& state_dir) {
    TRY(make_directories(state_dir));
    const std::filesystem::path path = state_dir / "cilium.pid";
    Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    if (!file) return fail_errno("open " + path.string());
    TRY_ASSIGN(const bool locked, try_lock(file, path));
    if (!locked) {
        std::string pid = read_file(path).value_or("");
        while (!pid.empty() && (pid.back() == '\n' || pid.back() == ' ')) pid.pop_back();
        return fail(Code::kAlreadyExists, "another agent (process " + (pid.empty() ? "unknown" : pid) +
                                              ") is running with state directory " + state_dir.string() +
                                              ": stop it, or give this one another --state-dir");
    }
    const std::string pid = std::to_string(::getpid()) + "\n";
    if (::ftruncate(file.get(), 0) != 0 || ::pwrite(file.get(), pid.data(), pid.size(), 0) < 0)
        return fail_errno("write " + path.string());
    return file;
}

Result<Fd> lock_bpf_root(const std::filesystem::path& bpf_root) {
    Fd folder(::open(bpf_root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!folder) {
        if (errno == ENOENT) return Fd();
        return fail_errno("open " + bpf_root.string());
    }
    TRY_ASSIGN(const bool locked, try_lock(folder, bpf_root));
    if (!locked) {
        return fail(Code::kAlreadyExists, "another agent, with another state directory, uses the BPF file system " +
                                              bpf_root.string() + ": stop it first; a node has one agent");
    }
    return folder;
}

}  // namespace axo
