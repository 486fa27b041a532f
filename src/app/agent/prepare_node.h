// `axoneme-agent prepare-node`: what a node has to have before the agent's container starts. It runs in an init
// container and works in the mount and cgroup namespaces of the node's first process: a file system that is mounted in
// a container's own namespaces would not be seen by the node, and a cgroup hierarchy would begin at the container.
//
// Everything is idempotent; only what is asked for is done. Thread: main's, before there is any other.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"

namespace axo {

// Empty: the step is left out.
struct NodePreparation {
    std::filesystem::path host_proc;    // where the node's /proc is; empty: this process is in the node's namespaces
    std::filesystem::path cgroup_root;  // mount the cgroup v2 hierarchy here
    std::filesystem::path bpf_root;     // mount the BPF file system here
    std::filesystem::path sysctl_dir;   // tell systemd, in this directory, to leave our devices alone
    std::filesystem::path cni_plugin;   // copy this file of the image …
    std::filesystem::path cni_bin_dir;  // … into this directory of the node, under its own name
    bool undo = false;                  // take all of that away again: an uninstall
};

// arguments: "--cgroup-root=/run/cilium/cgroupv2" and so on, by the names above.
Result<NodePreparation> parse_node_preparation(const std::vector<std::string>& arguments);

// Moves the calling process into the node's namespaces, for good. What was done is logged. undo: what others have put
// in the place of ours stays, a file system that is in use, too.
Status prepare_node(const NodePreparation& wanted);

}  // namespace axo
