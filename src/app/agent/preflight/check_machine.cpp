// The kernel, its file systems, rights and memory.
#include <algorithm>

#include "app/agent/preflight/findings.h"
#include "app/agent/service_plan.h"
#include "datapath/map_layout.h"
#include "kernel/locked_memory.h"

namespace axo::preflight {

namespace {

constexpr std::uint64_t kMib = 1U << 20;

std::string mib(std::uint64_t bytes) {
    return std::to_string((bytes + kMib - 1) / kMib) + " MiB";
}

struct MapMemory {
    std::uint64_t at_once = 0;  // taken when they are made
    std::uint64_t full = 0;     // with every entry there
};

// Each entry of a hash has some 64 bytes of its own beside key and value, a per-CPU value one copy per CPU.
MapMemory map_memory(const DatapathSettings& settings) {
    constexpr std::uint64_t kEntry = 64;
    MapMemory memory;
    for (const SharedMap& map : shared_maps(settings)) {
        std::uint64_t bytes = 0;
        switch (map.type) {
            case BPF_MAP_TYPE_RINGBUF: bytes = map.max_entries; break;
            case BPF_MAP_TYPE_ARRAY:
            case BPF_MAP_TYPE_ARRAY_OF_MAPS: bytes = std::uint64_t{map.max_entries} * map.value_size; break;
            default: bytes = std::uint64_t{map.max_entries} * (map.key_size + map.value_size + kEntry);
        }
        memory.full += bytes;
        if ((map.flags & BPF_F_NO_PREALLOC) == 0) memory.at_once += bytes;
    }
    return memory;
}

void check_kernel(const Config& config, const NodeView& view, Findings& findings) {
    findings.checked("kernel");
    if (!view.features) {
        findings.error("kernel", view.features_problem,
                       "run on a kernel of 5.10 or newer, with these capabilities granted to the agent");
        return;
    }
    for (const KernelFeatures::Missing& missing : view.features->missing()) {
        const std::string what = "kernel " + view.features->release + " has no " + missing.feature + ": " +
                                 missing.needed_for + " (since " + missing.kernel + ")";
        const bool jit = missing.feature == "BPF JIT";
        if (missing.required) {
            findings.error("kernel", what, "run kernel 5.10 or newer");
        } else if (jit) {
            findings.warning("kernel", what, "sysctl -w net.core.bpf_jit_enable=1");
        } else {
            findings.info("kernel", what);
        }
    }
    findings.checked("services");
    if (const auto plan = plan_services(config, *view.features); !plan)
        findings.error("services", plan.error().message, "a newer kernel, or the setting that the message names");
}

void check_capabilities(const NodeView& view, Findings& findings) {
    findings.checked("capabilities");
    const auto has = [&view](const char* name) { return view.capabilities.contains(name); };
    const auto need = [&](const char* name, const char* what) {
        if (!has(name))
            findings.error("capabilities", std::string("the agent has no CAP_") + name + ": " + what,
                           std::string("grant ") + name + " (securityContext.capabilities.add), or run it privileged");
    };
    need("NET_ADMIN", "devices, routes, BPF programs at devices");
    need("SYS_ADMIN", "mounts, network namespaces of pods and of the health endpoint, BPF on kernels before 5.8");
    need("NET_RAW", "ICMP probes of other nodes");
    if (!has("SYS_RESOURCE") && view.features && maps_count_as_locked(*view.features) && view.lock_limit)
        findings.error("capabilities",
                       "kernel " + view.features->release + " counts BPF maps as locked memory, the limit is " +
                           mib(*view.lock_limit) + ", and the agent may not raise it (CAP_SYS_RESOURCE)",
                       "ulimit -l unlimited (systemd: LimitMEMLOCK=infinity), grant SYS_RESOURCE, or kernel 5.11");
}

void check_file_systems(const Config& config, const NodeView& view, Findings& findings) {
    findings.checked("bpffs");
    const std::string& root = config.datapath.paths.root;
    if (!view.bpffs_problem.empty()) {
        findings.error("bpffs", "no BPF file system at " + root + ": " + view.bpffs_problem,
                       "mount -t bpf bpf " + root + ", and mount it into the agent's container");
    } else if (!view.bpffs) {
        findings.info("bpffs", root + " is not a BPF file system yet: the agent mounts one; " +
                                   (view.systemd ? "in a container only with mountPropagation: Bidirectional does it "
                                                   "outlast a restart"
                                                 : "without systemd nobody does it at boot"));
    }
    findings.checked("cgroup");
    const CgroupView& cgroup = view.cgroup;
    const std::string cgroup_root = config.datapath.services.sockets.cgroup_root;
    const ServiceConfig& services = config.services;
    const bool sockets = services.replacement == KubeProxyReplacement::kTrue ||
                         services.replacement == KubeProxyReplacement::kProbe || services.socket_lb.value_or(false);
    if (!sockets) return;
    if (!cgroup.version2) {
        findings.error("cgroup", "no cgroup v2 hierarchy at cgroup-root=" + cgroup_root + ": " + cgroup.problem,
                       "boot with systemd.unified_cgroup_hierarchy=1, or mount one: mount -t cgroup2 none " +
                           cgroup_root + "; or bpf-lb-sock=false with a kube-proxy for what it leaves");
        return;
    }
    if (cgroup.own_namespace && cgroup.children == 0) {
        findings.error("cgroup",
                       "cgroup-root=" + cgroup_root +
                           " shows a cgroup namespace with nothing below it, most likely the agent's own container: "
                           "sockets of pods and of the node would not be served",
                       "run the container in the node's cgroup namespace, or mount the node's hierarchy there (the "
                       "chart's init container mount-cgroup does it)");
    } else if (cgroup.own_namespace) {
        findings.info("cgroup", "the node is nested: cgroup-root=" + cgroup_root +
                                    " is the root of a cgroup namespace; processes outside of it are not served");
    }
    if (cgroup.net_classifiers && view.features && !view.features->netns_cookie)
        findings.warning("cgroup",
                         "net_cls or net_prio of cgroup v1 are in use: on kernels before 5.14 a socket that they mark "
                         "is not seen by programs of cgroup v2",
                         "unmount /sys/fs/cgroup/net_cls,net_prio, or boot with cgroup_no_v1=net_prio,net_cls");
}

}  // namespace

void check_machine(const Config& config, const NodeView& view, Findings& findings) {
    check_kernel(config, view, findings);
    check_capabilities(view, findings);
    check_file_systems(config, view, findings);
    if (!view.systemd) findings.info("init", "no systemd: whoever starts the agent starts it again after a failure");
}

void check_memory(const Config& config, const NodeView& view, Findings& findings) {
    findings.checked("memory");
    DatapathSettings settings = config.datapath;
    if (view.features) {
        if (const auto plan = plan_services(config, *view.features)) settings.services = plan->programs;
    }
    const MapMemory maps = map_memory(settings);
    // What the agent itself takes on a small node.
    constexpr std::uint64_t kAgent = 64 * kMib;
    if (view.memory_available != 0 && view.memory_available < maps.at_once + kAgent) {
        findings.error("memory",
                       mib(view.memory_available) + " of memory are free; maps take " + mib(maps.at_once) +
                           " at once, the agent some " + mib(kAgent),
                       "smaller tables (bpf-fragments-map-max, bpf-sock-rev-map-max), or a larger node");
    } else if (view.memory_available != 0 && view.memory_available < maps.full + settings.policy_max_bytes + kAgent) {
        findings.info("memory",
                      mib(view.memory_available) + " of memory are free; maps grow with use, to " +
                          mib(maps.full + settings.policy_max_bytes) +
                          " if all were ever full (bpf-ct-global-tcp-max, policy-memory-max, bpf-lb-map-max)");
    }
    if (view.page_size > 4096)
        findings.info("memory", "pages of " + std::to_string(view.page_size / 1024) +
                                    " KiB: maps and the event ring are rounded up to them");
    if (view.address_bits < 47)
        findings.info("memory", "an address space of " + std::to_string(view.address_bits) +
                                    " bits: enough; the agent maps its tables only, without a large reservation");
}

}  // namespace axo::preflight
