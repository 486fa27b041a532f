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
    std::string name_space = "kube-system";
};

// --kubeconfig, --context, -n.
void add_kube_options(const Command& command, KubeOptions& options);
// kNotFound: no cluster is named anywhere.
Result<std::unique_ptr<Api>> open_api(const KubeOptions& options);

}  // namespace axo::cli::install
