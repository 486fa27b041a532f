// Tables of services, from the agent's JSON and from the maps. Pure.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "app/cli/output/format.h"
#include "maps/lb_map.h"

namespace axo::cli {

// services: [Service]. affinity: "(preferred)" behind backends that get new connections before others.
std::string service_list_text(const Json& services, bool affinity);
std::string service_get_text(const Json& service);

using Rows = std::vector<std::pair<std::string, std::string>>;

// What the maps hold, as far as a listing needs it.
struct LbListing {
    struct Frontend {
        LbFrontend key;
        lb_service service{};
        std::vector<std::uint32_t> backends;  // its table's, in the order of their first appearance
    };
    std::vector<Frontend> frontends;  // sorted by key
    std::map<std::uint32_t, LbBackendRow> backends;
};

// "ClusterIP, non-routable"
std::string lb_flags_text(const lb_service& service, const LbFrontend& key);
// `bpf lb list`: slot 0 is the service, slots from 1 its backends.
Rows lb_list_rows(const LbListing& listing);
Rows lb_frontend_rows(const LbListing& listing);  // --frontends: as the map has them
Rows lb_backend_rows(const LbListing& listing);   // --backends
Rows lb_rev_nat_rows(const LbListing& listing);   // --revnat
Rows lb_source_range_rows(const std::vector<LbSourceRange>& ranges, const LbListing& listing);
// --affinity: who was given which pod, by the pod's addresses; group: of a Service.
Rows lb_affinity_rows(const std::vector<LbAffinityRow>& rows, const LbListing& listing, std::uint32_t now_tick);
// `bpf lb maglev`: number of the frontend -> its whole table.
Rows lb_maglev_rows(const std::vector<std::pair<std::uint16_t, std::vector<std::uint32_t>>>& tables);

}  // namespace axo::cli
