// What finding and removing share. Private to this folder.
#pragma once

#include <optional>

#include "app/agent/cleanup/cleanup.h"
#include "features/health/namespace.h"
#include "kernel/netlink.h"

namespace axo::cleanup {

// What cni-exclusive appends to other plugins' configurations.
inline constexpr const char* kAsideExtension = ".cilium_bak";

bool is_pod_device(const Link& link);
std::vector<std::filesystem::path> own_conflists(const std::filesystem::path& directory);
std::vector<std::filesystem::path> set_aside(const std::filesystem::path& directory);
std::optional<std::filesystem::path> own_plugin(const std::filesystem::path& directory);
// The entries of the state directory that an agent or the plugin makes.
std::vector<std::filesystem::path> own_state(const std::filesystem::path& state_dir);
// cilium_host; 0: there is none.
IfIndex host_device(const std::vector<Link>& links);

}  // namespace axo::cleanup
