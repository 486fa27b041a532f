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
    bool reset_values = false;  // upgrade: without those of the installation, which are under the given ones otherwise
    bool wait = false;
    std::chrono::seconds wait_duration{300};
};

struct UninstallOptions {
    std::string name_space = "kube-system";
    bool delete_crds = false;  // and with them every object of theirs
    bool clean_nodes = true;   // run `cleanup` on every node, once nobody serves pods there any more
    std::chrono::seconds timeout{300};
};

// One line of progress.
using Say = std::function<void(const std::string&)>;
inline void say_nothing(const std::string& /*line*/) {}

// What would be applied. kAlreadyExists: there is an installation, or something of its names that is not ours, and this
// is no upgrade; kNotFound: the other way round. kFailedPrecondition: the chart refuses the values.
Result<helm::Rendered> render_installation(Api& api, const InstallOptions& options);
// Without a cluster; nothing is looked up.
Result<helm::Rendered> render_offline(const InstallOptions& options, const std::string& kubernetes_version);
// Errors as above. kDeadlineExceeded: not ready in time; what is not is named.
Status run_install(Api& api, const InstallOptions& options, const Say& say);
// Nothing installed: success.
Status run_uninstall(Api& api, const UninstallOptions& options, const Say& say);

// The chart's, "0.1.0"; of the program itself, and of what is installed ("": nothing is).
Result<std::string> own_version();
Result<std::string> installed_version(Api& api, const std::string& name_space);

// Until the condition has nothing to say: kDeadlineExceeded with what it said last. An API server that is away for a
// moment is not the end.
Status wait_for(std::chrono::seconds limit, const Say& say, const std::function<Result<std::string>()>& problem);
// Until none of the objects is there.
Status wait_until_gone(Api& api, const std::vector<Json>& objects, std::chrono::seconds limit, const Say& say);
// What keeps a DaemonSet or Deployment from being as it should be; "": nothing.
std::string rollout_problem(const Json& object);
// The DaemonSet that runs `cleanup` on every node, made from the agents' own.
Json cleanup_daemon_set(const Json& agents);

}  // namespace axo::cli::install
