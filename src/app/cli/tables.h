// Tables of the list commands, from the agent's JSON. Pure.
#pragma once

#include <map>
#include <string>

#include "app/cli/output/format.h"

namespace axo::cli {

std::string endpoint_list_text(const Json& endpoints, bool headers);
std::string endpoint_log_text(const Json& log);
std::string endpoint_health_text(const Json& health);
std::string endpoint_labels_text(const Json& labels);
std::string endpoint_config_text(const Json& configuration);

// identities: [Identity], or [IdentityEndpoints] with counts.
std::string identity_list_text(const Json& identities, bool counts);
std::string node_list_text(const Json& cluster_nodes);
std::string node_id_list_text(const Json& node_ids);

// labels of identities by number, from GET /identity.
using IdentityNames = std::map<std::int64_t, std::vector<std::string>>;
IdentityNames identity_names(const Json& identities);
std::string ip_list_text(const Json& entries, const IdentityNames& names, bool numeric, bool verbose);
std::string ip_get_text(const Json& entries, const IdentityNames& names);

std::string map_list_text(const Json& maps);
std::string map_get_text(const Json& map);
std::string map_event_text(const Json& event);

// Cilium's two-column tables: keys to one or more values, sorted by key as given.
std::string two_column_text(const std::string& key_title, const std::string& value_title,
                            const std::vector<std::pair<std::string, std::string>>& rows);

std::string config_text(const Json& configuration, bool read_only, bool read_write);
std::string debuginfo_text(const Json& info);

// "10.0.0.9/32" before "10.0.0.10/32", IPv4 before IPv6; what is no prefix comes last, by its text.
bool address_less(const std::string& a, const std::string& b);

}  // namespace axo::cli
