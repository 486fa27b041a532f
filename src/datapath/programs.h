// The set of programs of one build and configuration: loaded once, pinned, adopted by later agents.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "bpf/api/config.h"
#include "datapath/map_layout.h"
#include "kernel/bpf_object.h"

namespace axo {

struct ProgramObject {
    std::string name{};  // "pod"
    std::span<const std::byte> bytes{};
    std::vector<std::string> programs{};
    bool own_maps = false;  // declares maps that no other object does
    std::string digest{};   // of the bytes
};
// Of what is embedded in this executable, the objects that these settings need.
std::vector<ProgramObject> shipped_objects(const DatapathSettings& settings);

struct ProgramConfig {
    node_config node{};
    tunnel_config tunnel{};
    trace_config trace{};
    ct_config ct{};
    lb_config lb{};
    sock_config sock{};
    xdp_config xdp{};
};

// 32 hex digits over object bytes, configuration and map layouts: equal means that a pinned set can be adopted.
std::string program_digest(const std::vector<ProgramObject>& objects, const ProgramConfig& config,
                           const std::vector<SharedMap>& maps);

struct Program {
    Fd fd{};
    std::uint32_t id = 0;
};

struct ProgramSet {
    std::string digest{};
    std::map<std::string, Program> programs{};
    bool loaded = false;  // false: adopted
    std::vector<std::string> maps_created{};
    std::size_t maps_adopted = 0;
    std::vector<std::string> maps_set_aside{};

    [[nodiscard]] const Program& at(const std::string& name) const { return programs.at(name); }
};

// Adopts the pinned set of this digest if it is complete and uses the maps that are pinned; a map pin that somebody
// removed is made again from the programs' own reference. Otherwise loads the objects, in parallel, and pins them.
Result<ProgramSet> adopt_or_load(const BpfPaths& paths, const std::vector<ProgramObject>& objects,
                                 const ProgramConfig& config, const std::vector<SharedMap>& maps);
// All sets but the one in use; call once nothing is attached to them.
Status remove_other_sets(const BpfPaths& paths, const std::string& digest);

}  // namespace axo
