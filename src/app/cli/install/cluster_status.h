// `axoneme status` of a whole cluster: how its programs are, as cilium-cli shows it. Thread: main's.
#pragma once

#include "app/cli/install/api.h"

namespace axo::cli::install {

struct ProgramStatus {
    struct Remark {
        std::string who;  // the pod, or the program itself
        std::string text;
    };
    std::string kind, name;  // "DaemonSet", "cilium"
    std::string title;       // "Cilium"
    bool needed = true;      // without it there is an error; others may be left out
    bool present = false;
    std::int64_t desired = 0, ready = 0, available = 0;
    std::map<std::string, int> phases;  // of pods: "Running", "Pending"
    std::map<std::string, int> images;
    std::vector<Remark> errors, warnings;
};

struct ClusterStatus {
    std::vector<ProgramStatus> programs;
    std::size_t pods = 0, managed_pods = 0;  // of those that are in the pod network
    std::string chart_version;               // "": not installed by this command
    [[nodiscard]] bool ok() const;
};

Result<ClusterStatus> read_cluster_status(Api& api, const std::string& name_space);
std::string cluster_status_text(const ClusterStatus& status);
// With cilium-cli's names.
Json cluster_status_json(const ClusterStatus& status);

}  // namespace axo::cli::install
