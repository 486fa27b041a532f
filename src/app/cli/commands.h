// The table of command groups. A group is one file: it declares its commands in a function of this form
// and stands in kGroups (commands.cpp). Hubble's commands parse for themselves (observe/hubble.h).
#pragma once

#include "app/cli/command_line.h"

namespace axo::cli {

void add_status_commands(const Command& root);
void add_endpoint_commands(const Command& root);
void add_identity_commands(const Command& root);
void add_ip_commands(const Command& root);
void add_node_commands(const Command& root);
void add_map_commands(const Command& root);
void add_bpf_commands(const Command& root);
void add_config_commands(const Command& root);
void add_monitor_commands(const Command& root);
void add_health_commands(const Command& root);
void add_info_commands(const Command& root);  // version, debuginfo
void add_policy_commands(const Command& root);
void add_service_commands(const Command& root);
void add_prefilter_commands(const Command& root);
void add_fqdn_commands(const Command& root);
void add_build_config_commands(const Command& root);
void add_install_commands(const Command& root);
void add_completion_commands(const Command& root);
void add_observe_commands(const Command& root);

// Within `bpf`.
void add_lb_commands(const Command& bpf);
void add_nat_commands(const Command& bpf);
void add_ct_flush_command(const Command& ct);

// All of the groups above, and those of other parts (sandbox).
void add_all_commands(const Command& root);

}  // namespace axo::cli
