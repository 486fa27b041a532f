// `status`, `list nodes|namespaces`, `watch peers`: what a Hubble server says of itself and of others. Thread: main's.
#pragma once

#include <observer/observer.pb.h>
#include <peer/peer.pb.h>

#include <string>

#include "app/cli/observe/settings.h"
#include "base/result.h"

namespace axo::cli {

Status show_status(const Settings& settings, const std::string& output);
Status list_nodes(const Settings& settings, const std::string& output);
Status list_namespaces(const Settings& settings, const std::string& output);
Status watch_peers(const Settings& settings);

// Pure.
std::string nodes_table(const observer::GetNodesResponse& nodes, bool wide);
std::string namespaces_table(const observer::GetNamespacesResponse& namespaces, bool wide);
std::string peer_line(const peer::ChangeNotification& change);

}  // namespace axo::cli
