// Services at sockets: bpf/hooks/sock.bpf.c attached to the cgroup of the node's and its pods' processes.
//
// Links are pinned in <bpf root>/cilium/socketlb/links/cgroup, so that the programs go on without an agent and are
// replaced one by one, each in one step. Thread: one at a time.
#pragma once

#include <string>
#include <vector>

#include "datapath/attachments.h"
#include "datapath/datapath.h"
#include "datapath/programs.h"

namespace axo {

std::vector<std::string> socket_programs();
// The node's network namespace is that of the calling thread.
Result<sock_config> make_sock_config(const DatapathSettings& settings, const KernelFeatures& features);
// Mounts a cgroup v2 hierarchy at the directory if nothing is there.
Status attach_sockets(const BpfPaths& paths, const std::string& cgroup_root, const ProgramSet& programs,
                      AttachCounts& counts);
// The links and the maps that only these programs use. Connections that sockets have stay as they are.
Status detach_sockets(const BpfPaths& paths);

}  // namespace axo
