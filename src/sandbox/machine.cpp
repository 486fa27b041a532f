#include "sandbox/machine.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sstream>

#include "base/fd.h"
#include "base/file.h"
#include "kernel/mounts.h"
#include "kernel/netns.h"

namespace axo::sandbox {
namespace {

namespace fs = std::filesystem;

Status mount_at(const char* source, const std::string& target, const char* type, unsigned long flags,
                const std::string& options = {}) {
    if (::mount(source, target.c_str(), type, flags, options.c_str()) != 0) {
        return fail_errno(std::string("mounting ") + (type != nullptr ? type : source) + " at " + target);
    }
    return {};
}

bool is_below(const std::string& path, const std::string& folder) {
    return path == folder || path.starts_with(folder + "/");
}

// Layers a writable, private folder over one of the host's, so that the host's stays as it is.
Status overlay(const std::string& folder, const fs::path& scratch) {
    std::string name = folder;
    std::ranges::replace(name, '/', '_');
    const fs::path upper = scratch / (name + ".upper"), work = scratch / (name + ".work");
    TRY(make_directories(upper));
    TRY(make_directories(work));
    return mount_at("overlay", folder, "overlay", 0,
                    "lowerdir=" + folder + ",upperdir=" + upper.string() + ",workdir=" + work.string());
}

// In the new mount namespace: everything a node has for itself.
Status build_node_view(const Machine& machine, const NodeMounts& mounts) {
    TRY(mount_at("none", "/", nullptr, MS_REC | MS_PRIVATE));
    const Fd store(::open_tree(AT_FDCWD, mounts.store.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
    if (!store) return fail_errno("open_tree " + mounts.store.string());
    // The copied mount table holds other machines' namespaces; kept, they would outlive their owners.
    auto table = mount_table();
    for (auto entry = table.rbegin(); entry != table.rend(); ++entry) {
        if (entry->type == "nsfs" || is_below(entry->point, mounts.sandbox_root))
            ::umount2(entry->point.c_str(), MNT_DETACH);
    }
    ::umount2("/sys", MNT_DETACH);  // the caller's shows the caller's devices
    TRY(mount_at("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC));
    TRY(mount_at("bpf", "/sys/fs/bpf", "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700"));
    TRY(mount_at("cgroup2", "/sys/fs/cgroup", "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC));

    TRY(mount_at("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=256m"));
    struct stat info{};
    if (::lstat("/var/run", &info) == 0 && !S_ISLNK(info.st_mode)) TRY(mount_at("/run", "/var/run", nullptr, MS_BIND));
    for (const char* folder : {"/run/netns", "/run/lock", "/run/cilium/cgroupv2", "/run/.layers"})
        TRY(make_directories(folder));
    TRY(mount_at("cgroup2", "/run/cilium/cgroupv2", "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC));
    // A shared parent lets ip-netns(8) and container runtimes pin namespaces below.
    TRY(mount_at("/run/netns", "/run/netns", nullptr, MS_BIND));

    TRY(mount_at("tmpfs", "/run/.layers", "tmpfs", 0, "mode=0700,size=256m"));
    for (const char* folder : {"/etc", "/opt", "/var/lib"}) TRY(overlay(folder, "/run/.layers"));
    ::umount2("/run/.layers", MNT_DETACH);  // the overlays keep it alive
    ::rmdir("/run/.layers");

    for (const char* folder : {"/etc/cni/net.d", "/opt/cni/bin", "/var/lib/cilium", kStoreInNode})
        TRY(make_directories(folder));
    if (::move_mount(store.get(), "", AT_FDCWD, kStoreInNode, MOVE_MOUNT_F_EMPTY_PATH) != 0) {
        return fail_errno(std::string("mounting the store at ") + kStoreInNode);
    }
    std::error_code error;
    fs::create_symlink(mounts.cni_plugin, "/opt/cni/bin/cilium-cni", error);
    if (error) return fail(Code::kInternal, "linking /opt/cni/bin/cilium-cni: " + error.message());
    if (::sethostname(machine.host_name.data(), machine.host_name.size()) != 0) return fail_errno("sethostname");
    return {};
}

Status join_cgroup(const fs::path& cgroup) {
    return write_in_place(cgroup / "cgroup.procs", "0");
}

Status join(const fs::path& pin, int type) {
    const Fd fd(::open(pin.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) return fail_errno("open " + pin.string());
    if (::setns(fd.get(), type) != 0) return fail_errno("entering " + pin.string());
    return {};
}

constexpr std::pair<const char*, int> kNodeNamespaces[] = {
    {"cgroup", CLONE_NEWCGROUP}, {"uts", CLONE_NEWUTS}, {"net", CLONE_NEWNET}, {"mnt", CLONE_NEWNS}};

}  // namespace

bool Machine::has_own_mounts() const {
    return fs::exists(pins / "mnt");
}

Status create_node_machine(const Machine& machine, const NodeMounts& mounts) {
    TRY(make_directories(machine.pins));
    TRY(make_directories(machine.cgroup));
    for (const auto& [name, type] : kNodeNamespaces) TRY(write_atomic(machine.pins / name, ""));

    // The child makes and fills the namespaces; this process pins them while the child waits for the word to end.
    int to_child[2], to_parent[2];
    if (::pipe2(to_child, O_CLOEXEC) != 0 || ::pipe2(to_parent, O_CLOEXEC) != 0) return fail_errno("pipe2");
    Fd child_reads(to_child[0]), parent_writes(to_child[1]), parent_reads(to_parent[0]), child_writes(to_parent[1]);
    const pid_t child = ::fork();
    if (child < 0) return fail_errno("fork");
    if (child == 0) {
        parent_writes.reset();
        const auto work = [&]() -> Status {
            TRY(join_cgroup(mounts.cgroup_root));  // becomes the root of the new cgroup namespace
            if (::unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWCGROUP) != 0)
                return fail_errno("unshare");
            return build_node_view(machine, mounts);
        };
        const Status status = work();
        const std::string answer = status ? "+" : "-" + status.error().message;
        if (::write(child_writes.get(), answer.data(), answer.size()) < 0) ::_exit(1);
        char byte;
        ::_exit(::read(child_reads.get(), &byte, 1) < 0 ? 1 : 0);
    }
    child_writes.reset();
    char buffer[1024];
    const ssize_t n = ::read(parent_reads.get(), buffer, sizeof buffer);
    const std::string answer(buffer, n > 0 ? static_cast<std::size_t>(n) : 0);
    Status status;
    if (answer == "+") {
        for (const auto& [name, type] : kNodeNamespaces) {
            const std::string source = "/proc/" + std::to_string(child) + "/ns/" + name;
            if (status) status = mount_at(source.c_str(), machine.pins / name, nullptr, MS_BIND);
        }
    } else {
        status = fail(Code::kInternal, "preparing machine " + machine.host_name + ": " +
                                           (answer.empty() ? "the helper process died" : answer.substr(1)));
    }
    parent_writes.reset();
    int ignored = 0;
    while (::waitpid(child, &ignored, 0) < 0 && errno == EINTR) {
    }
    return status;
}

Status create_plain_machine(const Machine& machine) {
    TRY(make_directories(machine.pins));
    TRY(make_directories(machine.cgroup));
    return create_netns(machine.net());
}

Status enter(const Machine& machine) {
    TRY(join_cgroup(machine.cgroup));
    if (machine.has_own_mounts()) {
        for (const auto& [name, type] : kNodeNamespaces) TRY(join(machine.pins / name, type));
        if (::chdir("/") != 0) return fail_errno("chdir /");
        return {};
    }
    TRY(join(machine.net(), CLONE_NEWNET));
    if (::unshare(CLONE_NEWNS | CLONE_NEWUTS) != 0) return fail_errno("unshare");
    TRY(mount_at("none", "/", nullptr, MS_REC | MS_SLAVE));
    TRY(mount_at("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC));
    if (::sethostname(machine.host_name.data(), machine.host_name.size()) != 0) return fail_errno("sethostname");
    return {};
}

Result<fs::path> cgroup2_mount() {
    for (const auto& entry : mount_table()) {
        if (entry.type == "cgroup2") return fs::path(entry.point);
    }
    return fail(Code::kFailedPrecondition,
                "no cgroup v2 hierarchy is mounted; mount one: mount -t cgroup2 none /sys/fs/cgroup");
}

namespace {

Status kill_members(const fs::path& cgroup, const std::vector<fs::path>& folders) {
    std::error_code error;
    if (fs::exists(cgroup / "cgroup.kill", error)) return write_in_place(cgroup / "cgroup.kill", "1");
    // Before 5.14: one by one, until none has started another in between.
    for (int round = 0; round < 100; ++round) {
        bool found = false;
        for (const auto& folder : folders) {
            std::istringstream members(read_file((folder / "cgroup.procs").string()).value_or(""));
            for (pid_t pid = 0; members >> pid;) {
                found = true;
                ::kill(pid, SIGKILL);
            }
        }
        if (!found) return {};
        ::poll(nullptr, 0, 10);
    }
    return fail(Code::kDeadlineExceeded, "processes in " + cgroup.string() + " do not end when killed");
}

}  // namespace

Status destroy_cgroup(const fs::path& cgroup) {
    std::error_code error;
    if (!fs::exists(cgroup, error)) return {};
    std::vector<fs::path> folders{cgroup};
    for (auto entry = fs::recursive_directory_iterator(cgroup, error); entry != fs::recursive_directory_iterator();
         entry.increment(error)) {
        if (entry->is_directory(error)) folders.push_back(entry->path());
    }
    TRY(kill_members(cgroup, folders));
    std::ranges::sort(folders, std::ranges::greater{}, [](const fs::path& path) { return path.native().size(); });
    for (const auto& folder : folders) {
        // Killed processes leave their cgroup when they have been torn down, a moment later.
        for (int attempt = 0; ::rmdir(folder.c_str()) != 0 && errno != ENOENT; ++attempt) {
            if (errno != EBUSY || attempt == 1000) return fail_errno("removing " + folder.string());
            ::poll(nullptr, 0, 5);
        }
    }
    return {};
}

std::vector<std::string> mounts_below(const fs::path& path) {
    std::vector<std::string> points;
    for (const auto& entry : mount_table()) {
        if (is_below(entry.point, path.string())) points.push_back(entry.point);
    }
    std::ranges::reverse(points);
    return points;
}

}  // namespace axo::sandbox
