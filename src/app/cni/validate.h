// Checks of what a runtime hands in, before any of it becomes part of a path, a URL or a name. Pure.
#pragma once

#include <string>
#include <string_view>

#include "app/cni/protocol.h"

namespace axo::cni {

Done check_container_id(std::string_view id);
Done check_interface_name(std::string_view name);
Done check_network_name(std::string_view name);
// Absolute, without "..", and short enough for the kernel; whether it exists is asked later.
Done check_netns_path(std::string_view path);
// "A=1;B=2": the keys that Kubernetes' runtimes send; others only with IgnoreUnknown.
Outcome<PodArgs> parse_args(std::string_view args);

}  // namespace axo::cni
