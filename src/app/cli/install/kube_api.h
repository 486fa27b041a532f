// An Api over HTTPS: the cluster of a kubeconfig, or of the pod that this runs in. Thread: main's; calls block.
#pragma once

#include <memory>
#include <string>

#include "app/cli/command_line.h"
#include "app/cli/install/api.h"

namespace axo::cli::install {

struct KubeOptions {
    std::string kubeconfig;  // "": KUBECONFIG, ~/.kube/config, else the pod's service account
    std::string context;     // "": the kubeconfig's current one
    std::string name_space;  // "": kube-system

    // Whether the user has said that it is about a cluster.
    [[nodiscard]] bool given() const { return !kubeconfig.empty() || !context.empty() || !name_space.empty(); }
    [[nodiscard]] std::string space() const { return name_space.empty() ? "kube-system" : name_space; }
};

// --kubeconfig, --context, -n.
void add_kube_options(const Command& command, KubeOptions& options);
// kNotFound: no cluster is named anywhere.
Result<std::unique_ptr<Api>> open_api(const KubeOptions& options);

}  // namespace axo::cli::install
