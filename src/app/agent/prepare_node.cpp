#include "app/agent/prepare_node.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/log.h"
#include "kernel/bpf_object.h"
#include "kernel/cgroup_link.h"
#include "kernel/mounts.h"

namespace axo {

namespace {

const Logger& log() {
    static const Logger logger("prepare-node");
    return logger;
}

struct Argument {
    std::string_view name;
    std::filesystem::path NodePreparation::* field;
};
constexpr Argument kArguments[] = {
    {"host-proc", &NodePreparation::host_proc},   {"cgroup-root", &NodePreparation::cgroup_root},
    {"bpf-root", &NodePreparation::bpf_root},     {"sysctl-dir", &NodePreparation::sysctl_dir},
    {"cni-plugin", &NodePreparation::cni_plugin}, {"cni-bin-dir", &NodePreparation::cni_bin_dir},
};

Status enter(const std::filesystem::path& proc, const char* name, int type) {
    const std::filesystem::path path = proc / "1/ns" / name;
    const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd && errno == ENOENT)
        return fail(Code::kNotFound, path.string() +
                                         ": absent; accepted: a mount of the node's /proc, and a kernel with " + name +
                                         " namespaces");
    if (!fd) return fail_errno("open " + path.string() + " (needs CAP_SYS_PTRACE)");
    if (::setns(fd.get(), type) != 0)
        return fail_errno("enter " + path.string() + " (needs CAP_SYS_ADMIN, CAP_SYS_CHROOT)");
    return {};
}

// systemd sets rp_filter of every new device; pods' traffic comes in through devices that its sources are not routed
// to. The kernel takes the larger of all.rp_filter and the device's.
constexpr std::string_view kSysctls =
    "# Written by Axoneme: reverse path filters do not know where pods are.\n"
    "-net.ipv4.conf.lxc*.rp_filter = 0\n"
    "-net.ipv4.conf.cilium_*.rp_filter = 0\n"
    "net.ipv4.conf.all.rp_filter = 0\n";

Status write_if_different(const std::filesystem::path& path, std::string_view content, mode_t mode) {
    struct stat present{};
    const auto current = read_file(path);
    if (current && *current == content && ::stat(path.c_str(), &present) == 0 && (present.st_mode & 07777U) == mode)
        return {};
    TRY(write_atomic(path, content, mode));
    log().info("Wrote", {{"path", path.string()}});
    return {};
}

constexpr const char* kSysctlFile = "99-zzz-override_cilium.conf";

// Whether the file system there was mounted by ensure_cgroup2 or ensure_bpffs: nobody else names the source so.
bool is_our_mount(const std::filesystem::path& point, const std::string& kind) {
    const std::string source = kind == "bpf" ? "bpffs" : "none";
    bool ours = false;
    for (const Mount& mount : mount_table()) {
        if (mount.point == point) ours = mount.type == kind && mount.source == source;
    }
    return ours;
}

// Kernels with CONFIG_BPF_PRELOAD put two files into every BPF file system.
bool holds_pins(const std::filesystem::path& bpffs) {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(bpffs, error)) {
        if (entry.path().filename() != "maps.debug" && entry.path().filename() != "progs.debug") return true;
    }
    return false;
}

Status unmount(const std::filesystem::path& point, const std::string& kind) {
    if (!is_our_mount(point, kind)) return {};
    if (kind == "bpf" && holds_pins(point)) return {};
    if (::umount2(point.c_str(), MNT_DETACH) != 0) return fail_errno("unmount " + point.string());
    log().info("Unmounted", {{"path", point.string()}});
    // Directories that were made for it; those that hold something stay.
    for (std::filesystem::path at = point; at.has_relative_path() && ::rmdir(at.c_str()) == 0; at = at.parent_path()) {
    }
    return {};
}

Status remove_if_same(const std::filesystem::path& path, std::string_view content) {
    const auto present = read_file(path);
    if (!present || *present != content) return {};
    TRY(remove_file(path));
    log().info("Removed", {{"path", path.string()}});
    return {};
}

Status undo(const NodePreparation& wanted, const std::string& plugin) {
    if (!wanted.sysctl_dir.empty()) TRY(remove_if_same(wanted.sysctl_dir / kSysctlFile, kSysctls));
    if (!plugin.empty()) TRY(remove_if_same(wanted.cni_bin_dir / wanted.cni_plugin.filename(), plugin));
    if (!wanted.cgroup_root.empty()) TRY(unmount(wanted.cgroup_root, "cgroup2"));
    if (!wanted.bpf_root.empty()) TRY(unmount(wanted.bpf_root, "bpf"));
    return {};
}

}  // namespace

Result<NodePreparation> parse_node_preparation(const std::vector<std::string>& arguments) {
    NodePreparation wanted;
    for (const std::string& argument : arguments) {
        if (argument == "--undo") {
            wanted.undo = true;
            continue;
        }
        const Argument* found = nullptr;
        for (const Argument& known : kArguments) {
            if (argument.starts_with("--" + std::string(known.name) + "=")) found = &known;
        }
        if (found == nullptr) {
            std::string accepted;
            for (const Argument& known : kArguments) accepted += "--" + std::string(known.name) + "=<path>, ";
            accepted += "--undo";
            return fail(Code::kInvalidArgument, "argument '" + argument + "': accepted: " + accepted);
        }
        const std::filesystem::path path = argument.substr(argument.find('=') + 1);
        if (!path.is_absolute())
            return fail(Code::kInvalidArgument, "argument '" + argument + "': accepted: an absolute path");
        wanted.*found->field = path;
    }
    if (wanted.cni_plugin.empty() != wanted.cni_bin_dir.empty())
        return fail(Code::kInvalidArgument, "--cni-plugin and --cni-bin-dir: accepted: both, or neither");
    return wanted;
}

Status prepare_node(const NodePreparation& wanted) {
    std::string plugin;
    if (!wanted.cni_plugin.empty()) {
        TRY_ASSIGN(plugin, read_file(wanted.cni_plugin));
    }
    if (!wanted.host_proc.empty()) {
        // The second changes what the first's path means.
        if (!wanted.cgroup_root.empty()) TRY(enter(wanted.host_proc, "cgroup", CLONE_NEWCGROUP));
        TRY(enter(wanted.host_proc, "mnt", CLONE_NEWNS));
    }
    if (wanted.undo) return undo(wanted, plugin);
    if (!wanted.cgroup_root.empty()) TRY(ensure_cgroup2(wanted.cgroup_root));
    if (!wanted.bpf_root.empty()) TRY(ensure_bpffs(wanted.bpf_root));
    std::error_code error;
    // A node without the directory has nobody who would set them.
    if (!wanted.sysctl_dir.empty() && std::filesystem::is_directory(wanted.sysctl_dir, error))
        TRY(write_if_different(wanted.sysctl_dir / kSysctlFile, kSysctls, 0644));
    if (!plugin.empty()) {
        TRY(make_directories(wanted.cni_bin_dir));
        TRY(write_if_different(wanted.cni_bin_dir / wanted.cni_plugin.filename(), plugin, 0755));
    }
    return {};
}

}  // namespace axo
