// Installing, upgrading and removing Axoneme through the API server. What was made is remembered in the ConfigMap
// axoneme-installation of the namespace, so that exactly that goes again. Thread: main's; calls block.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "app/cli/helm/chart.h"
#include "app/cli/install/api.h"

namespace axo::cli::install {

struct InstallOptions {
    std::string name_space = "kube-system";
    Json values = Json::object();  // over the chart's
    bool upgrade = false;
    bool reuse_values = false;  // upgrade: those of the installation, under the given ones
    bool wait = true;
    std::chrono::seconds wait_duration{300};
};

struct UninstallOptions {
    std::string name_space = "kube-system";
    bool delete_crds = false;  // and with them every object of theirs
    bool clean_nodes = true;   // run `cleanup` on every node, once nobody serves pods there any more
    bool wait = true;          // until all is gone
    std::chrono::seconds wait_duration{300};
};

// One line of progress.
using Say = std::function<void(const std::string&)>;

// What would be applied.
Result<helm::Rendered> render_installation(Api* api, const InstallOptions& options);
// kAlreadyExists: there is an installation and this is no upgrade; kNotFound: the other way round. kFailedPrecondition:
// the chart refuses the values. kDeadlineExceeded: not ready in time; what is not is named.
Status run_install(Api& api, const InstallOptions& options, const Say& say);
// Nothing installed: success.
Status run_uninstall(Api& api, const UninstallOptions& options, const Say& say);

// What keeps a DaemonSet or Deployment from being as it should be; "": nothing.
std::string rollout_problem(const Json& object);
// The DaemonSet that runs `cleanup` on every node, made from the agents' own.
Json cleanup_daemon_set(const Json& agents);

}  // namespace axo::cli::install
