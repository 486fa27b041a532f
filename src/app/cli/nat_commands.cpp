// bpf nat, bpf ipmasq: translated connections, and whose address they get; no agent is needed.
#include "app/cli/commands.h"
#include "app/cli/context.h"
#include "app/cli/output/tab_writer.h"
#include "app/cli/tables.h"
#include "maps/flow_map.h"
#include "maps/nat_list.h"
#include "maps/nat_map.h"

namespace axo::cli {
namespace {

struct Options {
    std::string output;
    std::string which;
};

Status list_ip_masq(const Context& context, const Options& options) {
    auto map = IpMasqMap::open(BpfPaths{context.bpf_root});
    if (!map) return forward_error(map_advice(context, map.error()));
    TRY_ASSIGN(const auto prefixes, map->list());
    Json all = Json::array();
    TabWriter w(5, 3);
    w.closed_row({"IP PREFIX/ADDRESS"});
    for (const Prefix& prefix : prefixes) {
        all.push_back(prefix.to_string());
        w.closed_row({prefix.to_string()});
    }
    return print_as(options.output, all, [&] { return w.str(); });
}

// As `cilium-dbg bpf nat retries list`: how many connections found their source port at which attempt.
Status list_retries(const Context& context, const Options& options) {
    const BpfPaths paths{context.bpf_root};
    Json json = Json::object();
    TabWriter w(5, 3);
    w.closed_row({"ATTEMPT", "IPV4", "IPV6"});
    std::vector<std::vector<std::uint64_t>> families;
    for (const auto& [family, name] :
         {std::pair{"ipv4", map_name::kNatRetries4}, std::pair{"ipv6", map_name::kNatRetries6}}) {
        auto map = NatRetriesMap::open(paths.map(name));
        if (!map) return forward_error(map_advice(context, map.error()));
        TRY_ASSIGN(const auto counts, map->read());
        json[family] = counts;
        families.push_back(counts);
    }
    for (std::size_t i = 0; i < families[0].size(); ++i) {
        const std::uint64_t v4 = families[0][i];
        const std::uint64_t v6 = i < families[1].size() ? families[1][i] : 0;
        const bool last = i + 1 == families[0].size();
        if (v4 + v6 == 0 && !last && i != 0) continue;
        w.closed_row({last ? "failed" : std::to_string(i + 1), std::to_string(v4), std::to_string(v6)});
    }
    return print_as(options.output, json, [&] { return w.str(); });
}

Result<FlowMaps> open_flows(const Context& context) {
    const BpfPaths paths{context.bpf_root};
    auto maps = FlowMaps::open(paths.map(map_name::kFlows4), paths.map(map_name::kFlows6));
    if (!maps) return forward_error(map_advice(context, maps.error()));
    return maps;
}

Status list_nat(const Context& context, const Options& options) {
    TRY_ASSIGN(const FlowMaps maps, open_flows(context));
    const std::uint32_t now = FlowMaps::now_tick();
    Json all = Json::array();
    std::string out;
    TRY(maps.for_each([&](const FlowRow& row) {
        if (!is_translated(row)) return;
        const std::string line = nat_line(row, now);
        all.push_back(line);
        out += line + "\n";
    }));
    return print_as(options.output, all, [&] { return out; });
}

// Connections that go on are translated anew with their next packet, as far as that leads to the same place.
Status flush(const Context& context, bool translated_only) {
    TRY_ASSIGN(const FlowMaps maps, open_flows(context));
    TRY_ASSIGN(const auto outcome, maps.collect(FlowMaps::now_tick(), [translated_only](const FlowRow& row) {
        return !translated_only || is_translated(row);
    }));
    print("Flushed " + std::to_string(outcome.removed) + " entries from the flow table\n");
    return {};
}

}  // namespace

void add_ct_flush_command(const Command& ct) {
    Context& context = ct.context();
    const auto options = std::make_shared<Options>();
    ct.command("flush", "Forget all connections", [=, &context]() -> Status {
          if (!options->which.empty() && options->which != "global")
              return fail(Code::kInvalidArgument, "\"" + options->which + "\": global is expected");
          return flush(context, false);
      }).positional("which", options->which, "global", false);
}

void add_nat_commands(const Command& bpf) {
    Context& context = bpf.context();
    const auto options = std::make_shared<Options>();
    bpf.group("ipmasq", "Destinations that pods reach with their own addresses")
        .command("list", "List prefixes", [=, &context] { return list_ip_masq(context, *options); })
        .alias("ls")
        .output(options->output);
    const Command nat = bpf.group("nat", "Translated connections");
    nat.command("list", "List translations", [=, &context] { return list_nat(context, *options); })
        .alias("ls")
        .output(options->output);
    nat.command("flush", "Forget translated connections", [=, &context] { return flush(context, true); });
    nat.group("retries", "How hard it was to find source ports")
        .command("list", "List counters", [=, &context] { return list_retries(context, *options); })
        .alias("ls")
        .output(options->output);
}

}  // namespace axo::cli
