#include "app/cli/commands.h"

#include "app/cli/connectivity/connectivity_commands.h"
#include "app/cli/context.h"
#include "app/cli/node_upkeep_commands.h"
#include "app/cli/sandbox_commands.h"

namespace axo::cli {
namespace {

void add_sandbox_group(const Command& root) {
    add_sandbox_commands(*root.app(), root.context().exit_status);
}

constexpr void (*kGroups[])(const Command&) = {
    add_status_commands,      add_endpoint_commands,   add_identity_commands,     add_ip_commands,
    add_node_commands,        add_map_commands,        add_bpf_commands,          add_config_commands,
    add_monitor_commands,     add_health_commands,     add_info_commands,         add_policy_commands,
    add_service_commands,     add_prefilter_commands,  add_fqdn_commands,         add_connectivity_commands,
    add_node_upkeep_commands, add_completion_commands, add_build_config_commands, add_install_commands,
    add_observe_commands,     add_sandbox_group,
};

}  // namespace

void add_all_commands(const Command& root) {
    for (const auto& add : kGroups) add(root);
}

}  // namespace axo::cli
