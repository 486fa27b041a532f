#include "datapath/owner.h"

#include <bpf/bpf.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "base/file.h"
#include "base/log.h"
#include "kernel/bpf_object.h"
#include "kernel/netns.h"

namespace axo {
namespace {

// The kernel's struct bpf_link_info as far as tcx links fill it (6.6); Debian 12's header does not know them.
struct TcxLinkInfo {
    std::uint32_t type;
    std::uint32_t id;
    std::uint32_t program_id;
    std::uint32_t pad;
    std::uint32_t ifindex;  // 0: the device is gone
    std::uint32_t attach_type;
};

bool attached(const std::string& pin_path) {
    const auto fd = open_pin(pin_path);
    if (!fd) return false;
    union {
        bpf_link_info header;
        TcxLinkInfo tcx;
        char space[256];
    } info{};
    std::uint32_t length = sizeof(info);
    if (::bpf_obj_get_info_by_fd(fd->get(), &info, &length) != 0) return false;
    return info.tcx.ifindex != 0;
}

// The link of somebody's device that still runs a program, "" if there is none.
std::string find_attached(const BpfPaths& paths) {
    std::error_code error;
    for (const char* part : {"/devices", "/endpoints"}) {
        std::filesystem::recursive_directory_iterator entries(paths.state() + part, error);
        if (error) continue;
        for (const auto& entry : entries) {
            if (!entry.is_directory(error) && attached(entry.path().string())) return entry.path().string();
        }
    }
    return "";
}

Result<std::string> namespace_name() {
    TRY_ASSIGN(const Fd netns, open_netns("/proc/thread-self/ns/net"));
    if (const auto cookie = netns_cookie(netns.get()); cookie && *cookie != 0)
        return "netns-" + std::to_string(*cookie);
    std::error_code error;
    return std::filesystem::read_symlink("/proc/thread-self/ns/net", error).string();
}

}  // namespace

Status claim_bpf_root(const BpfPaths& paths, const std::string& owner) {
    TRY_ASSIGN(const std::string network, namespace_name());
    const std::string record = (owner.empty() ? "unnamed" : owner) + " " + network;
    // A link's target is the one text that a BPF file system can hold.
    const std::string path = paths.state() + "/owner";
    TRY(make_directories(paths.state()));
    std::error_code error;
    const std::string present = std::filesystem::read_symlink(path, error).string();
    if (present == record) return {};
    if (!present.empty()) {
        if (const std::string link = find_attached(paths); !link.empty()) {
            return fail(Code::kFailedPrecondition,
                        "BPF root " + paths.root + " belongs to " + present + ", whose programs are attached (" + link +
                            "); this is " + record +
                            ": give each node and cluster its own bpf-root, or clean up the other one first");
        }
        Logger("datapath")
            .warn("BPF root taken over: its former owner has nothing attached", {{"before", present}, {"now", record}});
        TRY(remove_file(path));
    }
    if (::symlink(record.c_str(), path.c_str()) != 0 && errno != EEXIST)
        return fail_errno("recording the owner in " + path);
    return {};
}

}  // namespace axo
