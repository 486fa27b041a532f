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

struct OwnerRecord {
    std::string path;
    std::string wanted, present;  // "<owner> <network namespace>"; present "": nobody's
};

Result<OwnerRecord> read_record(const BpfPaths& paths, const std::string& owner) {
    TRY_ASSIGN(const std::string network, namespace_name());
    // A link's target is the one text that a BPF file system can hold.
    OwnerRecord record{.path = paths.state() + "/owner", .wanted = (owner.empty() ? "unnamed" : owner) + " " + network};
    std::error_code error;
    record.present = std::filesystem::read_symlink(record.path, error).string();
    return record;
}

Status check_record(const BpfPaths& paths, const OwnerRecord& record) {
    if (record.present.empty() || record.present == record.wanted) return {};
    const std::string link = find_attached(paths);
    if (link.empty()) return {};
    return fail(Code::kFailedPrecondition,
                "BPF root " + paths.root + " belongs to " + record.present + ", whose programs are attached (" + link +
                    "); this is " + record.wanted +
                    ": give each node and cluster its own bpf-root, or clean up the other one first");
}

}  // namespace

Status check_bpf_root(const BpfPaths& paths, const std::string& owner) {
    TRY_ASSIGN(const OwnerRecord record, read_record(paths, owner));
    return check_record(paths, record);
}

Status claim_bpf_root(const BpfPaths& paths, const std::string& owner) {
    TRY_ASSIGN(const OwnerRecord record, read_record(paths, owner));
    TRY(make_directories(paths.state()));
    if (record.present == record.wanted) return {};
    TRY(check_record(paths, record));
    if (!record.present.empty()) {
        Logger("datapath")
            .warn("BPF root taken over: its former owner has nothing attached",
                  {{"before", record.present}, {"now", record.wanted}});
        TRY(remove_file(record.path));
    }
    if (::symlink(record.wanted.c_str(), record.path.c_str()) != 0 && errno != EEXIST)
        return fail_errno("recording the owner in " + record.path);
    return {};
}

}  // namespace axo
