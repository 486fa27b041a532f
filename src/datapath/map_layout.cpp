#include "datapath/map_layout.h"

#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdio>

#include "base/file.h"
#include "base/log.h"
#include "bpf/api/event.h"
#include "bpf/api/flow.h"
#include "bpf/api/generation.h"
#include "bpf/api/lb.h"
#include "bpf/api/metrics.h"
#include "bpf/api/policy.h"
#include "kernel/bpf_map.h"

namespace axo {
namespace {

const Logger& log() {
    static const Logger logger("datapath-maps");
    return logger;
}

// A family that is off keeps a small table: a hash costs 16 bytes per possible entry from the start.
constexpr std::uint32_t kUnusedTable = 64;
constexpr std::uint32_t kNatDevices = 256;  // ways out that translate

std::string differences(const SharedMap& expected, const BpfMapInfo& found) {
    std::string text;
    const auto compare = [&text](const char* what, std::uint32_t present, std::uint32_t wanted) {
        if (present != wanted) {
            text += (text.empty() ? "" : ", ") + std::string(what) + " " + std::to_string(present) + ", wanted " +
                    std::to_string(wanted);
        }
    };
    compare("type", found.type, expected.type);
    compare("key size", found.key_size, expected.key_size);
    compare("value size", found.value_size, expected.value_size);
    compare("max entries", found.max_entries, expected.max_entries);
    compare("flags", found.flags, expected.flags);
    return text;
}

bool holds_entries(std::uint32_t type) {
    return type != BPF_MAP_TYPE_RINGBUF && type != BPF_MAP_TYPE_ARRAY_OF_MAPS && type != BPF_MAP_TYPE_SK_STORAGE;
}

}  // namespace

std::vector<SharedMap> shared_maps(const DatapathSettings& settings) {
    const auto page = static_cast<std::uint32_t>(::sysconf(_SC_PAGESIZE));
    const std::uint32_t ring = std::bit_ceil(std::max(settings.event_ring_bytes, page));
    const std::uint32_t flows4 = settings.ipv4 ? settings.flow_map_max : kUnusedTable;
    const std::uint32_t flows6 = settings.ipv6 ? settings.flow_map_max : kUnusedTable;
    const std::uint32_t fragments4 = settings.ipv4 ? settings.fragment_map_max : kUnusedTable;
    const std::uint32_t fragments6 = settings.ipv6 ? settings.fragment_map_max : kUnusedTable;
    const ServiceSettings& services = settings.services;
    const bool used = services.pods || services.node_port || services.sockets.enabled;
    const auto of_services = [used](bool family, std::uint32_t size) { return used && family ? size : kUnusedTable; };
    const std::uint32_t backends = of_services(true, services.service_map_max);
    const auto ip_masq = [&services](bool family) {
        return services.ip_masq_agent && family ? services.ip_masq_map_max : kUnusedTable;
    };
    std::vector<SharedMap> maps = {
        {map_name::kEndpoints, BPF_MAP_TYPE_HASH, sizeof(endpoint_key), sizeof(endpoint_info),
         settings.endpoint_map_max, BPF_F_NO_PREALLOC},
        {map_name::kEndpointDevices, BPF_MAP_TYPE_HASH, sizeof(__u32), sizeof(endpoint_device),
         settings.endpoint_map_max, BPF_F_NO_PREALLOC},
        {map_name::kIpcache, BPF_MAP_TYPE_LPM_TRIE, sizeof(ipcache_key), sizeof(remote_endpoint_info),
         settings.ipcache_map_max, BPF_F_NO_PREALLOC | BPF_F_RDONLY_PROG},
        {map_name::kGenerations, BPF_MAP_TYPE_ARRAY, sizeof(__u32), sizeof(generations), 1, BPF_F_MMAPABLE},
        {map_name::kPolicySlabs, BPF_MAP_TYPE_ARRAY_OF_MAPS, sizeof(__u32), sizeof(__u32), POLICY_SLABS, 0},
        {map_name::kFlows4, BPF_MAP_TYPE_HASH, sizeof(flow_key4), sizeof(flow), flows4, BPF_F_NO_PREALLOC},
        {map_name::kFlows6, BPF_MAP_TYPE_HASH, sizeof(flow_key6), sizeof(flow), flows6, BPF_F_NO_PREALLOC},
        {map_name::kFragments4, BPF_MAP_TYPE_LRU_HASH, sizeof(ipv4_frag_id), sizeof(frag_l4ports), fragments4, 0},
        {map_name::kFragments6, BPF_MAP_TYPE_LRU_HASH, sizeof(ipv6_frag_id), sizeof(frag_l4ports), fragments6, 0},
        {map_name::kEvents, BPF_MAP_TYPE_RINGBUF, 0, 0, ring, 0},
        {map_name::kEventsLost, BPF_MAP_TYPE_PERCPU_ARRAY, sizeof(__u32), sizeof(__u64), EVENT_LOST_SLOTS, 0},
        {map_name::kMetrics, BPF_MAP_TYPE_PERCPU_ARRAY, sizeof(__u32), sizeof(metrics_value), METRICS_ENTRIES, 0},
        {map_name::kServices4, BPF_MAP_TYPE_HASH, sizeof(lb4_key), sizeof(lb_service),
         of_services(settings.ipv4, services.service_map_max), BPF_F_NO_PREALLOC},
        {map_name::kServices6, BPF_MAP_TYPE_HASH, sizeof(lb6_key), sizeof(lb_service),
         of_services(settings.ipv6, services.service_map_max), BPF_F_NO_PREALLOC},
        {map_name::kLbTables, BPF_MAP_TYPE_ARRAY_OF_MAPS, sizeof(__u32), sizeof(__u32), LB_TABLE_SLABS, 0},
        {map_name::kLbBackends, BPF_MAP_TYPE_ARRAY, sizeof(__u32), sizeof(lb_backend), backends, BPF_F_MMAPABLE},
        {map_name::kLbAffinity, BPF_MAP_TYPE_HASH, sizeof(lb_affinity_key), sizeof(lb_affinity_val),
         of_services(true, services.affinity_map_max), BPF_F_NO_PREALLOC},
        {map_name::kLbAffinityMatch, BPF_MAP_TYPE_HASH, sizeof(lb_affinity_match), sizeof(__u32), backends,
         BPF_F_NO_PREALLOC},
        {map_name::kLbSourceRange4, BPF_MAP_TYPE_LPM_TRIE, sizeof(lb4_src_range_key), sizeof(__u8),
         of_services(settings.ipv4, services.source_range_map_max), BPF_F_NO_PREALLOC},
        {map_name::kLbSourceRange6, BPF_MAP_TYPE_LPM_TRIE, sizeof(lb6_src_range_key), sizeof(__u8),
         of_services(settings.ipv6, services.source_range_map_max), BPF_F_NO_PREALLOC},
        {map_name::kLbPorts, BPF_MAP_TYPE_ARRAY, sizeof(__u32), sizeof(__u64), LB_PORTS_WORDS, BPF_F_MMAPABLE},
        {map_name::kNatAddresses, BPF_MAP_TYPE_HASH, sizeof(__u32), sizeof(nat_addresses), kNatDevices,
         BPF_F_NO_PREALLOC},
        {map_name::kIpMasq4, BPF_MAP_TYPE_LPM_TRIE, sizeof(lpm_v4_key), sizeof(lpm_val), ip_masq(settings.ipv4),
         BPF_F_NO_PREALLOC},
        {map_name::kIpMasq6, BPF_MAP_TYPE_LPM_TRIE, sizeof(lpm_v6_key), sizeof(lpm_val), ip_masq(settings.ipv6),
         BPF_F_NO_PREALLOC},
        {map_name::kNatRetries4, BPF_MAP_TYPE_PERCPU_ARRAY, sizeof(__u32), sizeof(__u32), NAT_PORT_TRIES + 1, 0},
        {map_name::kNatRetries6, BPF_MAP_TYPE_PERCPU_ARRAY, sizeof(__u32), sizeof(__u32), NAT_PORT_TRIES + 1, 0},
    };
    if (services.sockets.enabled) {
        const auto of_sockets = [&services](bool family) {
            return family ? services.sock_rev_nat_map_max : kUnusedTable;
        };
        maps.push_back(
            {map_name::kLbSockets, BPF_MAP_TYPE_SK_STORAGE, sizeof(__u32), sizeof(lb_socket), 0, BPF_F_NO_PREALLOC});
        maps.push_back({map_name::kReverseSk4, BPF_MAP_TYPE_LRU_HASH, sizeof(ipv4_revnat_tuple),
                        sizeof(ipv4_revnat_entry), of_sockets(settings.ipv4), 0});
        maps.push_back({map_name::kReverseSk6, BPF_MAP_TYPE_LRU_HASH, sizeof(ipv6_revnat_tuple),
                        sizeof(ipv6_revnat_entry), of_sockets(settings.ipv6), 0});
    }
    if (services.xdp()) {
        const auto prefixes = [&services](bool family) {
            return family && services.xdp_prefilter ? std::uint32_t{PREFILTER_MAX_PREFIXES} : kUnusedTable;
        };
        for (const char* name : {map_name::kPrefilterFix4, map_name::kPrefilterDyn4}) {
            maps.push_back({name, name == map_name::kPrefilterFix4 ? BPF_MAP_TYPE_HASH : BPF_MAP_TYPE_LPM_TRIE,
                            sizeof(lpm_v4_key), sizeof(lpm_val), prefixes(settings.ipv4), BPF_F_NO_PREALLOC});
        }
        for (const char* name : {map_name::kPrefilterFix6, map_name::kPrefilterDyn6}) {
            maps.push_back({name, name == map_name::kPrefilterFix6 ? BPF_MAP_TYPE_HASH : BPF_MAP_TYPE_LPM_TRIE,
                            sizeof(lpm_v6_key), sizeof(lpm_val), prefixes(settings.ipv6), BPF_F_NO_PREALLOC});
        }
        maps.push_back({map_name::kXdpDevices, BPF_MAP_TYPE_HASH, sizeof(__u32), sizeof(__u32), XDP_MAX_DEVICES,
                        BPF_F_NO_PREALLOC});
    }
    return maps;
}

std::vector<std::string> all_map_names() {
    DatapathSettings everything;
    everything.services.sockets.enabled = true;
    everything.services.xdp_prefilter = true;
    std::vector<std::string> names;
    for (SharedMap& map : shared_maps(everything)) names.push_back(std::move(map.name));
    return names;
}

std::string aside_path(const std::string& path) {
    return path + "_old";
}

std::map<std::string, std::uint32_t> map_sizes(const std::vector<SharedMap>& maps) {
    std::map<std::string, std::uint32_t> sizes;
    for (const SharedMap& map : maps) sizes[map.name] = map.max_entries;
    return sizes;
}

Result<std::map<std::string, std::string>> find_incompatible(const BpfPaths& paths,
                                                             const std::vector<SharedMap>& maps) {
    std::map<std::string, std::string> incompatible;
    for (const SharedMap& expected : maps) {
        const auto found = RawBpfMap::open_pinned(paths.map(expected.name));
        if (!found) {
            if (found.error().code == Code::kNotFound) continue;
            return std::unexpected(found.error());
        }
        std::string differs = differences(expected, found->info());
        if (!differs.empty()) incompatible.emplace(expected.name, std::move(differs));
    }
    return incompatible;
}

Result<std::vector<std::string>> set_aside_incompatible(const BpfPaths& paths, const std::vector<SharedMap>& maps) {
    std::vector<std::string> moved;
    TRY_ASSIGN(const auto incompatible, find_incompatible(paths, maps));
    for (const auto& [name, differs] : incompatible) {
        const std::string path = paths.map(name);
        log().warn("Map has another layout and is replaced", {{"map", path}, {"found", differs}});
        TRY(remove_file(aside_path(path)));
        if (std::rename(path.c_str(), aside_path(path).c_str()) != 0)
            return fail_errno("renaming map " + path + " aside");
        moved.push_back(name);
    }
    return moved;
}

Status carry_over(const BpfPaths& paths, const std::vector<std::string>& set_aside) {
    for (const std::string& name : set_aside) {
        TRY_ASSIGN(const RawBpfMap old_map, RawBpfMap::open_pinned(aside_path(paths.map(name))));
        TRY_ASSIGN(const RawBpfMap new_map, RawBpfMap::open_pinned(paths.map(name)));
        const BpfMapInfo& before = old_map.info();
        const BpfMapInfo& after = new_map.info();
        if (!holds_entries(before.type) || before.type != after.type || before.key_size != after.key_size ||
            before.value_size != after.value_size) {
            log().warn("Map starts empty: the old entries have another layout", {{"map", name}});
            continue;
        }
        std::uint64_t copied = 0;
        std::uint64_t refused = 0;
        TRY(old_map.for_each(
            [&](const void* key, const void* value) { ++(new_map.update(key, value) ? copied : refused); }));
        log().info("Map entries carried over", {{"map", name}, {"copied", copied}, {"left-behind", refused}});
    }
    return {};
}

Status remove_set_aside(const BpfPaths& paths, const std::vector<SharedMap>& maps) {
    for (const SharedMap& map : maps) TRY(remove_file(aside_path(paths.map(map.name))));
    return {};
}

}  // namespace axo
