// bpf nat, bpf ipmasq: translated connections, and whose address they get; no agent is needed.
#include "app/cli/commands.h"
#include "app/cli/context.h"
#include "app/cli/output/tab_writer.h"
#include "app/cli/tables.h"
#include "maps/flow_map.h"
#include "maps/nat_map.h"

namespace axo::cli {
namespace {

struct Options {
    std::string output;
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

}  // namespace

void add_nat_commands(const Command& bpf) {
    Context& context = bpf.context();
    const auto options = std::make_shared<Options>();
    bpf.group("ipmasq", "Destinations that pods reach with their own addresses")
        .command("list", "List prefixes", [=, &context] { return list_ip_masq(context, *options); })
        .alias("ls")
        .output(options->output);
    const Command nat = bpf.group("nat", "Translated connections");
    nat.group("retries", "How hard it was to find source ports")
        .command("list", "List counters", [=, &context] { return list_retries(context, *options); })
        .alias("ls")
        .output(options->output);
}

}  // namespace axo::cli
