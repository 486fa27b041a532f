// bpf lb: the maps of services as the programs see them; no agent is needed.
#include <algorithm>
#include <charconv>
#include <set>

#include "app/cli/commands.h"
#include "app/cli/context.h"
#include "app/cli/service_text.h"
#include "app/cli/tables.h"
#include "maps/flow_map.h"
#include "maps/lb_tables.h"

namespace axo::cli {
namespace {

struct Options {
    std::string output;
    std::string number;
    bool frontends = false, backends = false, rev_nat = false, source_ranges = false, affinity = false, maglev = false;
};

BpfPaths paths(const Context& context) {
    return BpfPaths{context.bpf_root};
}

Status print_map(const Options& options, const char* key_title, const char* value_title, const Rows& rows) {
    Json object = Json::object();
    for (const auto& [key, value] : rows) object[key].push_back(value);
    return print_as(options.output, object, [&] { return two_column_text(key_title, value_title, rows); });
}

Result<LbListing> read_listing(const Context& context, const LbMaps& maps) {
    auto reader = LbTableReader::open(paths(context).map(map_name::kLbTables));
    if (!reader) return forward_error(map_advice(context, reader.error()));
    LbListing listing;
    for (const LbBackendRow& backend : maps.backends()) listing.backends.emplace(backend.id, backend);
    TRY_ASSIGN(auto services, maps.services());
    std::ranges::sort(services, {}, [](const auto& entry) { return entry.first; });
    for (const auto& [key, service] : services) {
        LbListing::Frontend frontend{.key = key, .service = service, .backends = {}};
        if (service.size != 0) {
            // A table can be replaced while it is read: what cannot be read is shown without its backends.
            const auto ids = reader->ids({service.table, service.size});
            std::set<std::uint32_t> seen;
            for (const std::uint32_t id : ids ? *ids : std::vector<std::uint32_t>{}) {
                if (seen.insert(id).second) frontend.backends.push_back(id);
            }
            // Maglev's table has no order of its own; lists of backends are ordered by address.
            std::ranges::sort(frontend.backends, {}, [&listing](std::uint32_t id) {
                const auto found = listing.backends.find(id);
                return found == listing.backends.end() ? LbAddress{} : found->second.address;
            });
        }
        listing.frontends.push_back(std::move(frontend));
    }
    return listing;
}

Result<LbMaps> open_maps(const Context& context) {
    auto maps = LbMaps::open(paths(context));
    if (!maps) return forward_error(map_advice(context, maps.error()));
    return maps;
}

// The tables of services that use Maglev; of all of them, or of one number.
Status list_maglev(const Context& context, const Options& options) {
    std::uint16_t wanted = 0;
    if (!options.number.empty()) {
        const char* end = options.number.data() + options.number.size();
        const auto [stop, error] = std::from_chars(options.number.data(), end, wanted);
        if (error != std::errc{} || stop != end || wanted == 0) {
            return fail(
                Code::kInvalidArgument,
                "\"" + options.number + "\": the number of a frontend is expected, as `service list` prints it");
        }
    }
    TRY_ASSIGN(const LbMaps maps, open_maps(context));
    TRY_ASSIGN(LbTableReader reader, LbTableReader::open(paths(context).map(map_name::kLbTables)));
    TRY_ASSIGN(const auto services, maps.services());
    std::map<std::uint16_t, std::vector<std::uint32_t>> tables;
    for (const auto& [key, service] : services) {
        if (service.algorithm != LB_MAGLEV || service.size == 0) continue;
        if (wanted != 0 && service.rev_nat_index != wanted) continue;
        if (auto ids = reader.ids({service.table, service.size}))
            tables.insert_or_assign(service.rev_nat_index, std::move(*ids));
    }
    if (wanted != 0 && tables.empty())
        return fail(Code::kNotFound, "service " + options.number + " has no Maglev table");
    return print_map(options, "SVC ID", "LOOKUP TABLE", lb_maglev_rows({tables.begin(), tables.end()}));
}

Status list_lb(const Context& context, const Options& options) {
    const int chosen = options.frontends + options.backends + options.rev_nat + options.source_ranges +
                       options.affinity + options.maglev;
    if (chosen > 1) {
        return fail(Code::kInvalidArgument,
                    "bpf lb list: one of --frontends, --backends, --revnat, --source-ranges, --affinity, --maglev "
                    "is expected");
    }
    if (options.maglev) return list_maglev(context, options);
    TRY_ASSIGN(const LbMaps maps, open_maps(context));
    TRY_ASSIGN(const LbListing listing, read_listing(context, maps));
    constexpr const char* kBackendTitle = "BACKEND ADDRESS (REVNAT_ID) (SLOT)";
    if (options.backends) return print_map(options, "ID", "BACKEND ADDRESS", lb_backend_rows(listing));
    if (options.rev_nat) return print_map(options, "ID", kBackendTitle, lb_rev_nat_rows(listing));
    if (options.source_ranges) {
        TRY_ASSIGN(const auto ranges, maps.source_ranges());
        return print_map(options, "SERVICE ADDRESS (REVNAT_ID)", "SOURCE RANGE", lb_source_range_rows(ranges, listing));
    }
    if (options.affinity) {
        TRY_ASSIGN(const auto rows, maps.affinity());
        return print_map(options, "CLIENT (GROUP)", "BACKEND", lb_affinity_rows(rows, listing, FlowMaps::now_tick()));
    }
    return print_map(options, "SERVICE ADDRESS", kBackendTitle,
                     options.frontends ? lb_frontend_rows(listing) : lb_list_rows(listing));
}

}  // namespace

void add_lb_commands(const Command& bpf) {
    Context& context = bpf.context();
    const auto options = std::make_shared<Options>();
    const Command lb = bpf.group("lb", "Services");
    lb.command("list", "Frontends and their backends", [=, &context] { return list_lb(context, *options); })
        .alias("ls")
        .flag("--frontends", options->frontends, "entries of frontends")
        .flag("--backends", options->backends, "backends by number")
        .flag("--revnat", options->rev_nat, "frontends by number")
        .flag("--source-ranges", options->source_ranges, "who may reach them")
        .flag("--affinity", options->affinity, "which backend clients were given")
        .flag("--maglev", options->maglev, "tables of services that use Maglev")
        .output(options->output);
    const Command maglev = lb.group("maglev", "Maglev's tables");
    maglev.command("list", "All tables", [=, &context] { return list_maglev(context, *options); })
        .alias("ls")
        .output(options->output);
    maglev.command("get", "The table of one frontend", [=, &context] { return list_maglev(context, *options); })
        .positional("id", options->number, "number of the frontend")
        .output(options->output);
}

}  // namespace axo::cli
