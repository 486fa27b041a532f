#include <linux/magic.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>

#include "app/agent/cni_conf_path.h"
#include "app/agent/preflight/view.h"
#include "base/file.h"
#include "datapath/map_layout.h"
#include "datapath/owner.h"
#include "features/nat/iptables.h"
#include "io/kubernetes/store.h"
#include "io/resources.h"
#include "kernel/command.h"
#include "kernel/device_facts.h"
#include "kernel/iptables.h"
#include "kernel/netlink.h"

namespace axo::preflight {

namespace {

namespace fs = std::filesystem;

// Of linux/capability.h, by number.
constexpr const char* kCapabilities[] = {
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
};

std::vector<std::string> lines_of(const fs::path& path) {
    std::vector<std::string> lines;
    std::istringstream text(read_file(path).value_or(""));
    for (std::string line; std::getline(text, line);) lines.push_back(line);
    return lines;
}

std::set<std::string> read_capabilities() {
    std::set<std::string> names;
    for (const std::string& line : lines_of("/proc/self/status")) {
        if (!line.starts_with("CapEff:")) continue;
        const std::uint64_t bits = std::strtoull(line.c_str() + 7, nullptr, 16);
        for (std::size_t i = 0; i < std::size(kCapabilities); ++i) {
            if ((bits >> i & 1) != 0) names.insert(kCapabilities[i]);
        }
    }
    return names;
}

// Of the highest mapping of this process, its stack.
int read_address_bits() {
    std::uint64_t highest = 0;
    for (const std::string& line : lines_of("/proc/self/maps")) {
        const auto dash = line.find('-');
        // The page of vsyscall is the kernel's.
        if (dash == std::string::npos || line.find("[vsyscall]") != std::string::npos) continue;
        highest = std::max<std::uint64_t>(highest, std::strtoull(line.c_str() + dash + 1, nullptr, 16));
    }
    int bits = 0;
    for (; highest > 1; highest >>= 1) ++bits;
    return bits + 1;
}

std::uint64_t read_memory_available() {
    for (const std::string& line : lines_of("/proc/meminfo")) {
        if (line.starts_with("MemAvailable:")) return std::strtoull(line.c_str() + 13, nullptr, 10) * 1024;
    }
    return 0;
}

bool is_file_system(const std::string& path, unsigned long magic) {
    struct statfs info{};
    return ::statfs(path.c_str(), &info) == 0 && static_cast<unsigned long>(info.f_type) == magic;
}

bool kernel_has_file_system(const std::string& type) {
    return std::ranges::any_of(lines_of("/proc/filesystems"),
                               [&type](const std::string& line) { return line.ends_with("\t" + type); });
}

void read_machine(const Config& config, NodeView& view) {
    if (auto features = probe_kernel_features()) {
        view.features = std::move(*features);
    } else {
        view.features_problem = features.error().message;
    }
    view.page_size = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    view.address_bits = read_address_bits();
    std::error_code error;
    view.systemd = fs::is_directory("/run/systemd/system", error);
    view.memory_available = read_memory_available();
    rlimit limit{};
    if (::getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) view.lock_limit = limit.rlim_cur;
    view.capabilities = read_capabilities();
    view.bpffs = is_file_system(config.datapath.paths.root, BPF_FS_MAGIC);
    if (!view.bpffs && !kernel_has_file_system("bpf")) view.bpffs_problem = "this kernel has none (CONFIG_BPF_SYSCALL)";
}

void read_cgroup(const Config& config, NodeView& view) {
    CgroupView& cgroup = view.cgroup;
    const std::string root = config.datapath.services.sockets.cgroup_root;
    cgroup.mounted = is_file_system(root, CGROUP2_SUPER_MAGIC);
    std::error_code error;
    if (cgroup.mounted) {
        cgroup.version2 = true;
        for (const auto& entry : fs::directory_iterator(root, error)) cgroup.children += entry.is_directory(error);
    } else if (!kernel_has_file_system("cgroup2")) {
        cgroup.problem = "this kernel has none";
    } else if (fs::exists(root, error) && !fs::is_directory(root, error)) {
        cgroup.problem = "it is not a directory";
    } else {
        cgroup.version2 = true;
        // What a mount made now would show.
        for (const auto& entry : fs::directory_iterator("/sys/fs/cgroup", error))
            cgroup.children += entry.is_directory(error);
    }
    constexpr ino_t kFirstCgroupNamespace = 0xEFFFFFFB;  // PROC_CGROUP_INIT_INO of linux/proc_ns.h
    struct stat info{};
    cgroup.own_namespace = ::stat("/proc/self/ns/cgroup", &info) == 0 && info.st_ino != kFirstCgroupNamespace;
    for (const std::string& line : lines_of("/proc/self/mountinfo")) {
        const bool version1 = line.find(" - cgroup ") != std::string::npos;
        if (version1 && (line.find("net_cls") != std::string::npos || line.find("net_prio") != std::string::npos))
            cgroup.net_classifiers = true;
    }
}

void read_udp_ports(NodeView& view) {
    for (const char* path : {"/proc/thread-self/net/udp", "/proc/thread-self/net/udp6"}) {
        for (const std::string& line : lines_of(path)) {
            // "  12: 00000000:2118 …"
            const auto colon = line.find(':');
            const auto port = colon == std::string::npos ? colon : line.find(':', colon + 1);
            if (port != std::string::npos)
                view.udp_ports.insert(static_cast<std::uint16_t>(std::strtoul(line.c_str() + port + 1, nullptr, 16)));
        }
    }
}

void read_chains(NodeView& view) {
    const auto tables = present_iptables_tables();
    for (const IptablesTable& table : tables ? *tables : std::vector<IptablesTable>{}) {
        const auto saved = iptables_save(nat::iptables_tool(table.family), table.name);
        if (!saved) {
            view.iptables_problem = saved.error().message;
            continue;
        }
        std::istringstream lines(*saved);
        for (std::string line; std::getline(lines, line);) {
            if (line.starts_with(':')) view.chains[table.title()].insert(line.substr(1, line.find(' ') - 1));
        }
    }
    // The tool itself; a look at its version makes no tables.
    const auto version =
        run_command({nat::iptables_tool(Family::kIpv4) + "-save", "--version"}, "", std::chrono::seconds(5));
    if (!version) view.iptables_problem = version.error().message;
}

void read_network(NodeView& view) {
    if (auto netlink = Netlink::open()) {
        if (auto network = read_node_network(*netlink)) view.network = std::move(*network);
    }
    view.tunnel_ports = tunnel_ports().value_or(view.tunnel_ports);
    for (const Link& link : view.network.links) {
        for (const TcDirection direction : {TcDirection::kIngress, TcDirection::kEgress}) {
            const auto names = bpf_filter_names(link.index, direction);
            for (const std::string& name : names ? *names : std::vector<std::string>{}) {
                // As Cilium up to 1.11 named them, and Calico does; later ones have our names and are replaced.
                if (name.starts_with("bpf_netdev") || name.starts_with("bpf_host") || name.starts_with("bpf_lxc") ||
                    name.starts_with("bpf_overlay") || name.starts_with("calico_"))
                    view.tc_filters.push_back(link.name +
                                              (direction == TcDirection::kIngress ? " ingress " : " egress ") + name);
            }
        }
    }
    read_udp_ports(view);
    for (const std::string& line : lines_of("/etc/resolv.conf")) {
        std::istringstream words(line);
        std::string keyword, address;
        if (words >> keyword >> address && keyword == "nameserver") {
            if (const auto ip = IpAddress::parse(address)) view.nameservers.push_back(*ip);
        }
    }
    read_chains(view);
}

void read_cni(const Config& config, NodeView& view) {
    const fs::path directory =
        config.cni_conf_dir.empty() ? fs::path("/etc/cni/net.d") : cni_conf_path(config.cni_conf_dir).parent_path();
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(directory, error)) {
        const std::string extension = entry.path().extension();
        if (extension != ".conf" && extension != ".conflist" && extension != ".json") continue;
        CniFileView file{.name = entry.path().filename()};
        const Json json = Json::parse(read_file(entry.path()).value_or(""), nullptr, false);
        file.parses = json.is_object();
        const Json plugins = file.parses && json.contains("plugins") ? json["plugins"] : Json::array({json});
        for (const Json& plugin : plugins.is_array() ? plugins : Json::array()) {
            if (!plugin.is_object()) continue;
            const auto type = plugin.find("type");
            file.plugins.push_back(type != plugin.end() && type->is_string() ? type->get<std::string>() : "?");
        }
        view.cni_files.push_back(std::move(file));
    }
    std::ranges::sort(view.cni_files, {}, &CniFileView::name);
}

void read_pins(const Config& config, NodeView& view) {
    if (!view.bpffs) return;
    const BpfPaths& paths = config.datapath.paths;
    if (const auto free = check_bpf_root(paths, config.cluster_name + "/" + config.node_name); !free)
        view.bpf_owner_problem = free.error().message;
    if (auto differences = find_incompatible(paths, shared_maps(config.datapath)))
        view.map_differences = std::move(*differences);
    const std::vector<std::string> known = all_map_names();
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(paths.globals(), error)) {
        std::string name = entry.path().filename();
        if (name.ends_with("_old")) name.resize(name.size() - 4);
        if (name.starts_with("cilium_") && std::ranges::find(known, name) == known.end())
            view.foreign_maps.push_back(entry.path());
    }
    std::ranges::sort(view.foreign_maps);
}

// Whether the API server answers, lets us in, and what its clock says.
void ask_api_server(const Config& config, std::chrono::milliseconds patience, StoreView& view) {
    auto access = kubernetes::find_access(config.object_store, config.kubernetes);
    if (!access) {
        view.problem = access.error().message;
        return;
    }
    EventLoop loop;
    kubernetes::Client client(loop, std::move(*access), {.qps = 0, .request_timeout = patience});
    std::optional<Result<kubernetes::Response>> answer;
    TaskGroup tasks;
    const auto timeout = loop.after(patience, [&] {
        if (!answer)
            answer = fail(Code::kDeadlineExceeded, "no answer within " + std::to_string(patience.count()) + " ms");
        loop.stop();
    });
    tasks.spawn(client.request({.target = "/version"}), [&](Result<kubernetes::Response> response) {
        answer = std::move(response);
        loop.stop();
    });
    while (!answer) loop.run();
    view.address = "kubernetes: " + client.server();
    if (!*answer) {
        view.problem = answer->error().message;
    } else if ((*answer)->status != 200) {
        view.problem = "it answers with status " + std::to_string((*answer)->status);
    }
    if (*answer) view.clock_ahead_s = -client.clock_offset().count();
}

// The first listing of each kind, or as much of it as comes in time.
StoreView read_store(const Config& config, std::chrono::milliseconds patience) {
    StoreView view{.address = config.object_store};
    if (config.object_store.starts_with("kubernetes:")) {
        ask_api_server(config, patience, view);
        if (!view.problem.empty()) return view;
    }
    EventLoop loop;
    auto store = open_object_store(config.object_store, loop, config.kubernetes);
    if (!store) {
        view.problem = store.error().message;
        return view;
    }
    const std::pair<const ResourceType*, std::vector<Json>*> kinds[] = {
        {&resources::kNode, &view.nodes},
        {&resources::kCiliumNode, &view.cilium_nodes},
        {&resources::kService, &view.services},
        {&resources::kNetworkPolicy, &view.policies},
        {&resources::kCiliumNetworkPolicy, &view.policies},
        {&resources::kCiliumClusterwideNetworkPolicy, &view.policies},
    };
    std::size_t waiting = std::size(kinds);
    std::vector<std::unique_ptr<ObjectStore::Watch>> watches;
    for (const auto& [type, into] : kinds) {
        watches.push_back((*store)->watch(
            *type, {.upserted = [into](const ObjectKey&, const Json& object) { into->push_back(object); },
                    .deleted = [](const ObjectKey&) {},
                    .synced =
                        [&] {
                            if (--waiting == 0) loop.stop();
                        },
                    .rejected = [](const std::string&, const Error&) {}}));
    }
    const auto timeout = loop.after(patience, [&] { loop.stop(); });
    loop.run();
    watches.clear();
    view.slow = waiting != 0;
    return view;
}

}  // namespace

NodeView read_node_view(const Config& config, std::optional<std::chrono::milliseconds> patience) {
    NodeView view;
    read_machine(config, view);
    read_cgroup(config, view);
    read_network(view);
    read_cni(config, view);
    read_pins(config, view);
    if (patience) view.store = read_store(config, *patience);
    return view;
}

}  // namespace axo::preflight
