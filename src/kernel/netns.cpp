#include "kernel/netns.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/file.h"
#include "kernel/procfs.h"

namespace axo {
namespace {

// "self" would be the thread group leader, which may be in another namespace than the caller.
constexpr const char* kThreadNetns = "/proc/thread-self/ns/net";

bool is_netns_file(const std::string& path) {
    struct statfs fs{};
    return ::statfs(path.c_str(), &fs) == 0 && fs.f_type == NSFS_MAGIC;
}

// Returns the calling thread to the namespace it was constructed in.
class NetnsGuard {
public:
    static Result<NetnsGuard> remember() {
        Fd fd(::open(kThreadNetns, O_RDONLY | O_CLOEXEC));
        if (!fd) return fail_errno(std::string("open ") + kThreadNetns);
        return NetnsGuard(std::move(fd));
    }
    NetnsGuard(NetnsGuard&&) = default;
    ~NetnsGuard() {
        if (!original_) return;
        if (::setns(original_.get(), CLONE_NEWNET) != 0) {
            std::fprintf(stderr, "cannot return to the original network namespace: %s\n", std::strerror(errno));
            std::abort();
        }
    }

private:
    explicit NetnsGuard(Fd original) : original_(std::move(original)) {}
    Fd original_;
};

}  // namespace

Status create_netns(const std::string& path) {
    if (is_netns_file(path)) return {};
    const auto parent = std::filesystem::path(path).parent_path();
    TRY(make_directories(parent));
    {
        // A left-over file without a mount (crash, reboot on a persistent /run) is mounted over.
        const Fd file(::open(path.c_str(), O_RDONLY | O_CREAT | O_CLOEXEC, 0444));
        if (!file) return fail_errno("create " + path);
    }
    auto bind = [&]() -> Status {
        TRY_ASSIGN(const NetnsGuard guard, NetnsGuard::remember());
        if (::unshare(CLONE_NEWNET) != 0) return fail_errno("create network namespace " + path);
        if (::mount(kThreadNetns, path.c_str(), nullptr, MS_BIND, nullptr) != 0) {
            return fail_errno("mount network namespace at " + path);
        }
        return {};
    };
    if (Status status = bind(); !status) {
        ::unlink(path.c_str());
        return status;
    }
    return {};
}

Status remove_netns(const std::string& path) {
    while (is_netns_file(path)) {  // mounts may be stacked when two creators raced
        if (::umount2(path.c_str(), MNT_DETACH) != 0) return fail_errno("unmount " + path);
    }
    struct stat info{};
    if (::lstat(path.c_str(), &info) != 0) {
        if (errno == ENOENT) return {};
        return fail_errno("stat " + path);
    }
    if (!S_ISREG(info.st_mode) || info.st_size != 0) {
        return fail(Code::kFailedPrecondition, "remove network namespace " + path + ": is not a namespace mount");
    }
    return remove_file(path);
}

Result<Fd> open_netns(const std::string& path) {
    Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) return fail_errno("open network namespace " + path);
    struct statfs fs{};
    if (::fstatfs(fd.get(), &fs) != 0 || fs.f_type != NSFS_MAGIC) {
        return fail(Code::kInvalidArgument, "open network namespace " + path + ": is not a namespace");
    }
    return fd;
}

Status run_in_netns(int netns_fd, const std::function<Status()>& work) {
    TRY_ASSIGN(const NetnsGuard guard, NetnsGuard::remember());
    if (::setns(netns_fd, CLONE_NEWNET) != 0) return fail_errno("enter network namespace");
    return work();
}

Result<std::uint64_t> netns_cookie(int netns_fd) {
    std::uint64_t cookie = 0;
    TRY(run_in_netns(netns_fd, [&]() -> Status {
        const Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        if (!socket) return fail_errno("open socket");
        socklen_t length = sizeof(cookie);
        if (::getsockopt(socket.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length) != 0) {
            if (errno != ENOPROTOOPT) return fail_errno("read SO_NETNS_COOKIE");
            cookie = 0;
        }
        return {};
    }));
    return cookie;
}

namespace {

std::string& sysctl_root() {
    static std::string root = "/proc/sys/";
    return root;
}

std::string sysctl_path(const std::string& key) {
    std::string path = key;
    for (char& c : path) {
        if (c == '.') {
            c = '/';
        } else if (c == '/') {
            c = '.';
        }
    }
    // /proc/sys/net shows the namespace of the task that opens it, unlike /proc/net.
    return sysctl_root() + path;
}

}  // namespace

void set_procfs(const std::filesystem::path& path) {
    sysctl_root() = path / "sys/";
}

Result<std::string> read_sysctl(const std::string& key) {
    auto content = read_file(sysctl_path(key));
    if (!content) return forward_error(std::move(content).error().with_context("sysctl " + key));
    while (!content->empty() && (content->back() == '\n' || content->back() == ' ')) content->pop_back();
    return content;
}

Status write_sysctl(const std::string& key, const std::string& value) {
    // Some writes have side effects even when nothing changes (flushed route caches, one notification per device).
    if (auto current = read_sysctl(key); current && *current == value) return {};
    if (Status status = write_in_place(sysctl_path(key), value); !status) {
        return forward_error(std::move(status).error().with_context("sysctl " + key + " = " + value));
    }
    return {};
}

}  // namespace axo
