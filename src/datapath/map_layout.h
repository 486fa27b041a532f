// The shared maps: what this build expects of each, and what happens to pinned ones that differ.
#pragma once

#include <linux/bpf.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "datapath/datapath.h"

namespace axo {

struct SharedMap {
    std::string name{};
    bpf_map_type type = BPF_MAP_TYPE_UNSPEC;
    std::uint32_t key_size = 0;
    std::uint32_t value_size = 0;
    std::uint32_t max_entries = 0;
    std::uint32_t flags = 0;
};

// All of bpf/lib/maps.h and bpf/lib/lb_maps.h, and of bpf/lib/sock_maps.h where sockets are served; a test holds the
// two against each other.
std::vector<SharedMap> shared_maps(const DatapathSettings& settings);
// Of all settings.
std::vector<std::string> all_map_names();
// Where a map set aside is pinned.
std::string aside_path(const std::string& path);
// BpfLoadSpec::max_entries.
std::map<std::string, std::uint32_t> map_sizes(const std::vector<SharedMap>& maps);

// Pinned maps of another layout or size: name -> what differs. Changes nothing.
Result<std::map<std::string, std::string>> find_incompatible(const BpfPaths& paths, const std::vector<SharedMap>& maps);
// Pinned maps of another layout or size are renamed aside (<name>_old): the running programs keep them until they are
// replaced. Logged. Returns the names.
Result<std::vector<std::string>> set_aside_incompatible(const BpfPaths& paths, const std::vector<SharedMap>& maps);
// Entries of a map set aside go to its successor where key and value still have their sizes.
Status carry_over(const BpfPaths& paths, const std::vector<std::string>& set_aside);
// Once no program uses them any more.
Status remove_set_aside(const BpfPaths& paths, const std::vector<SharedMap>& maps);

}  // namespace axo
