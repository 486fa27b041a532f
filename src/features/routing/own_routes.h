// The routes that are this module's own, as routing/module.h says; for an uninstall that lists them first.
#pragma once

#include <string>
#include <vector>

#include "kernel/netlink.h"

namespace axo {

// state_file as for RoutingModule::start.
Result<std::vector<Route>> list_own_routes(const std::string& state_file, IfIndex host_device);

}  // namespace axo
