// What an agent changes on a node beyond its own objects, as it was before the first agent: what an uninstall goes back
// to.
//
// Written once, before anything is touched, into the state directory; a reboot undoes the changes and, where that
// directory is on a tmpfs, forgets the record. Thread: any (functions of their arguments and of the calling thread's
// network namespace).
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "app/agent/config.h"

namespace axo {

struct NodeRecord {
    std::map<std::string, std::string> sysctls;  // values by key
    std::set<std::string> unmounted;             // mount points with nothing mounted
    std::set<std::string> nft_tables;            // "ip nat": those that were there
    friend bool operator==(const NodeRecord&, const NodeRecord&) = default;
};

std::filesystem::path node_record_path(const std::filesystem::path& state_dir);
// Where there is a record already, it stays.
Status remember_node(const Config& config);
// Nothing: there is none. kDataLoss: it does not read.
Result<std::optional<NodeRecord>> read_node_record(const std::filesystem::path& state_dir);

struct SysctlChange {
    std::string key, now, before;
    friend bool operator==(const SysctlChange&, const SysctlChange&) = default;
};
// Sysctls that have the value an agent gives them, and had another one. What somebody else has set since is not of
// them.
std::vector<SysctlChange> changed_sysctls(const NodeRecord& record, const ServiceSettings& services);
// Mounted at such a point now, and not before.
bool is_mounted(const std::filesystem::path& point);

}  // namespace axo
