// A sandboxed machine (node, pod, underlay, outside host): its namespaces, pinned as files so that no process has to
// hold them, and its cgroup, so that whatever ran in it can be found and ended.
//
// A node has a network, mount, UTS and cgroup namespace of its own. Inside, the default paths belong to the node alone:
// /run, /sys (with a bpffs), and writable layers over /etc, /opt and /var/lib. A pod and the two underlay machines have
// a network namespace only. Thread: single-threaded programs (functions fork).
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"
#include "sandbox/process.h"

namespace axo::sandbox {

struct Machine {
    std::string host_name;
    std::filesystem::path pins;    // folder with net and, for nodes, mnt, uts and cgroup
    std::filesystem::path cgroup;  // of processes started in it

    [[nodiscard]] std::string net() const { return pins / "net"; }
    [[nodiscard]] bool has_own_mounts() const;
};

struct NodeMounts {
    std::filesystem::path store;         // shared folder of manifests, seen at kStoreInNode
    std::filesystem::path cni_plugin;    // the executable that /opt/cni/bin/cilium-cni leads to
    std::filesystem::path cgroup_root;   // the node's cgroup; the root inside
    std::filesystem::path sandbox_root;  // other clusters' files below it are dropped from the node's view
};
inline constexpr const char* kStoreInNode = "/var/lib/axoneme/store";
inline constexpr const char* kPodNetnsFolder = "/var/run/netns";  // in the node

Status create_node_machine(const Machine& machine, const NodeMounts& mounts);
// A network namespace only; also makes the cgroup.
Status create_plain_machine(const Machine& machine);

// Moves the calling process into the machine. For a process about to exec or to end: there is no way back.
// Machines without mounts of their own get a private mount namespace with a /sys of their network namespace.
Status enter(const Machine& machine);

// The cgroup v2 hierarchy's mount point.
Result<std::filesystem::path> cgroup2_mount();
// Kills every process in the cgroup and below, then removes it. Absent: success.
Status destroy_cgroup(const std::filesystem::path& cgroup);

// Mount points at or below `path`, deepest first, as this process sees them.
std::vector<std::string> mounts_below(const std::filesystem::path& path);

}  // namespace axo::sandbox
