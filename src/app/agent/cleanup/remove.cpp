#include <sys/mount.h>

#include "app/agent/cleanup/parts.h"
#include "app/agent/instance_lock.h"
#include "app/agent/node_record.h"
#include "base/file.h"
#include "datapath/datapath.h"
#include "features/nat/removal.h"
#include "features/routing/module.h"
#include "kernel/netns.h"

namespace axo {

namespace {

using namespace cleanup;
namespace fs = std::filesystem;

class Remover {
public:
    explicit Remover(const CleanupSettings& settings) : settings_(settings) {}

    Status run() {
        // Nobody gets a new pod from here on.
        if (settings_.all_state) cni();
        if (settings_.all_state) routes();
        note(Datapath::remove_everything(settings_.bpf));
        if (!settings_.all_state) return std::move(first_);
        pod_devices();
        note(remove_health_namespace((settings_.state_dir / "netns" / "health").string()));
        changes();
        for (const fs::path& path : own_state(settings_.state_dir)) remove_tree(path);
        std::error_code ignored;
        fs::remove(settings_.state_dir / "cgroupv2", ignored);  // only empty ones
        fs::remove(settings_.state_dir, ignored);
        return std::move(first_);
    }

private:
    void note(Status outcome) {
        if (!outcome && first_) first_ = std::move(outcome);
    }
    void note(const std::error_code& error, const std::string& what) {
        if (error && error != std::errc::no_such_file_or_directory) note(fail_errno(what, error.value()));
    }
    void remove_tree(const fs::path& path) {
        std::error_code error;
        fs::remove_all(path, error);
        note(error, "remove " + path.string());
    }

    void cni() {
        for (const fs::path& path : own_conflists(settings_.cni_conf_dir)) note(remove_file(path));
        for (const fs::path& path : set_aside(settings_.cni_conf_dir)) {
            fs::path name = path;
            name.replace_extension();
            std::error_code error;
            // Somebody has put another one in its place since.
            if (fs::exists(name, error)) continue;
            fs::rename(path, name, error);
            note(error, "rename " + path.string());
        }
        if (const auto plugin = own_plugin(settings_.cni_bin_dir)) note(remove_file(*plugin));
    }

    void routes() {
        auto netlink = Netlink::open();
        const auto links = netlink ? netlink->links() : forward_error(netlink.error());
        if (!links) return note(forward_error(links.error()));
        note(RoutingModule::remove_everything(settings_.state_dir / "state" / "routes.json", host_device(*links)));
    }

    void pod_devices() {
        auto netlink = Netlink::open();
        const auto links = netlink ? netlink->links() : forward_error(netlink.error());
        if (!links) return note(forward_error(links.error()));
        for (const Link& link : *links) {
            if (is_pod_device(link)) note(netlink->remove_link(link.name));
        }
    }

    void changes() {
        const auto record = read_node_record(settings_.state_dir);
        if (!record) note(forward_error(record.error()));
        const std::optional<NodeRecord> before = record.value_or(std::nullopt);
        note(nat::remove_chains(before ? &before->nft_tables : nullptr, std::chrono::seconds(5)));
        if (!before) return;
        for (const SysctlChange& change : changed_sysctls(*before, settings_.services))
            note(write_sysctl(change.key, change.before));
        for (const std::string& point : before->unmounted) {
            // A BPF file system with others' pins stays.
            std::error_code error;
            if (!is_mounted(point) || (point == settings_.bpf.root && !fs::is_empty(point, error))) continue;
            if (::umount2(point.c_str(), 0) != 0) note(fail_errno("unmount " + point));
        }
    }

    const CleanupSettings& settings_;
    Status first_;
};

}  // namespace

Status remove_leftovers(const CleanupSettings& settings) {
    std::error_code error;
    // Taking the lock makes the directory.
    Fd instance;
    if (fs::exists(settings.state_dir / "cilium.pid", error)) {
        TRY_ASSIGN(instance, lock_instance(settings.state_dir));
    }
    TRY_ASSIGN(const Fd root, lock_bpf_root(settings.bpf.root));
    return Remover(settings).run();
}

}  // namespace axo
