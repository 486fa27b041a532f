// bpf …: what is in the kernel's maps, read without the agent.
#include <arpa/inet.h>

#include <charconv>

#include "app/cli/commands.h"
#include "app/cli/context.h"
#include "app/cli/output/tab_writer.h"
#include "app/cli/policy_text.h"
#include "app/cli/tables.h"
#include "maps/endpoint_map.h"
#include "maps/flow_map.h"
#include "maps/ipcache_map.h"
#include "maps/metrics_map.h"
#include "maps/paths.h"

namespace axo::cli {
namespace {

struct Options {
    std::string output;
    std::string argument;
    bool remaining = false;
    bool all = false, numeric = false;
};

using Rows = std::vector<std::pair<std::string, std::string>>;

std::string map_path(const Context& context, const char* name) {
    return BpfPaths{context.bpf_root}.map(name);
}

// As Cilium prints them in JSON: every key with a list of values.
Status print_rows(const Options& options, const char* key_title, const char* value_title, const Rows& rows) {
    Json object = Json::object();
    for (const auto& [key, value] : rows) object[key].push_back(value);
    return print_as(options.output, object, [&] { return two_column_text(key_title, value_title, rows); });
}

Status list_endpoints(const Context& context, const Options& options) {
    auto map = EndpointMap::open(map_path(context, map_name::kEndpoints));
    if (!map) return forward_error(map_advice(context, map.error()));
    TRY_ASSIGN(const auto entries, map->list());
    Rows rows;
    for (const auto& [address, endpoint] : entries)
        rows.emplace_back(EndpointMap::print_key(address), EndpointMap::print(endpoint));
    return print_rows(options, "IP ADDRESS", "LOCAL ENDPOINT INFO", rows);
}

Status list_ipcache(const Context& context, const Options& options) {
    auto map = IpcacheMap::open(map_path(context, map_name::kIpcache));
    if (!map) return forward_error(map_advice(context, map.error()));
    TRY_ASSIGN(const auto entries, map->list());
    Rows rows;
    for (const auto& [prefix, entry] : entries) rows.emplace_back(prefix.to_string(), IpcacheMap::print(entry));
    return print_rows(options, "IP PREFIX/ADDRESS", "IDENTITY", rows);
}

Status get_ipcache(const Context& context, const Options& options) {
    const auto address = IpAddress::parse(options.argument);
    if (!address)
        return fail(Code::kInvalidArgument, "\"" + options.argument + "\": an IPv4 or IPv6 address is expected");
    auto map = IpcacheMap::open(map_path(context, map_name::kIpcache));
    if (!map) return forward_error(map_advice(context, map.error()));
    const auto entry = map->get(*address);
    if (!entry && entry.error().code == Code::kNotFound) {
        return fail(Code::kNotFound, options.argument + " does not map to any identity");
    }
    if (!entry) return forward_error(entry.error());
    print(options.argument + " maps to identity " + IpcacheMap::print(*entry) + "\n");
    return {};
}

Result<std::uint16_t> endpoint_of(const std::string& text) {
    std::uint16_t id = 0;
    if (text.empty() || text == "global") return id;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
    if (error != std::errc() || end != text.data() + text.size() || id == 0) {
        return fail(Code::kInvalidArgument, "\"" + text + "\": \"global\" or the number of an endpoint is expected");
    }
    return id;
}

Status list_flows(const Context& context, const Options& options) {
    TRY_ASSIGN(const std::uint16_t endpoint, endpoint_of(options.argument));
    auto maps = FlowMaps::open(map_path(context, map_name::kFlows4), map_path(context, map_name::kFlows6));
    if (!maps) return forward_error(map_advice(context, maps.error()));
    TRY_ASSIGN(const OutputFormat format, OutputFormat::parse(options.output));
    const std::uint32_t now = FlowMaps::now_tick();
    Json all = Json::array();
    std::string out;
    TRY(maps->for_each([&](const FlowRow& row) {
        if (endpoint != 0 && row.value.endpoint_src != endpoint && row.value.endpoint_dst != endpoint) return;
        std::string line = FlowMaps::print(row);
        if (options.remaining) line += FlowMaps::print_remaining(row, now);
        if (!format.is_text()) {
            all.push_back(line);
            return;
        }
        out += line + "\n";
        if (out.size() < (std::size_t{1} << 20)) return;
        print(out);  // a full table is hundreds of MiB of text
        out.clear();
    }));
    if (format.is_text()) {
        print(out);
        return {};
    }
    TRY_ASSIGN(const std::string formatted, format.print(all));
    print(formatted);
    return {};
}

Status list_metrics(const Context& context, const Options& options) {
    auto map = MetricsMap::open(map_path(context, map_name::kMetrics));
    if (!map) return forward_error(map_advice(context, map.error()));
    TRY_ASSIGN(auto rows, map->list());
    std::sort(rows.begin(), rows.end(), [](const MetricsRow& a, const MetricsRow& b) {
        return std::pair(a.reason, a.direction) < std::pair(b.reason, b.direction);
    });
    Json all = Json::array();
    TabWriter w(5, 3);
    w << "REASON\tDIRECTION\tPACKETS\tBYTES\tLINE\tFILE\n";
    for (const MetricsRow& row : rows) {
        // Where a reason was counted is in its drop events, not in this map.
        w.row({reason_text(row.reason), direction_text(row.direction), std::to_string(row.packets),
               std::to_string(row.bytes), "", ""});
        all.push_back(
            {{"reason", row.reason},
             {"description", reason_text(row.reason)},
             {"values", {{direction_text(row.direction), {{"packets", row.packets}, {"bytes", row.bytes}}}}}});
    }
    return print_as(options.output, all, [&] { return w.str(); });
}

std::string fragment_value(const frag_l4ports& ports) {
    return std::to_string(ntohs(ports.sport)) + " -> " + std::to_string(ntohs(ports.dport));
}

Status list_fragments(const Context& context, const Options& options) {
    Rows rows;
    std::optional<Error> missing;
    if (auto v4 = BpfMap<ipv4_frag_id, frag_l4ports>::open_pinned(map_path(context, map_name::kFragments4))) {
        TRY_ASSIGN(const auto entries, v4->entries());
        for (const auto& [key, value] : entries) {
            rows.emplace_back(IpAddress::v4(key.saddr).to_string() + " -> " + IpAddress::v4(key.daddr).to_string() +
                                  ", id " + std::to_string(ntohs(key.id)) + ", proto " + std::to_string(key.proto),
                              fragment_value(value));
        }
    } else {
        missing = v4.error();
    }
    if (auto v6 = BpfMap<ipv6_frag_id, frag_l4ports>::open_pinned(map_path(context, map_name::kFragments6))) {
        TRY_ASSIGN(const auto entries, v6->entries());
        for (const auto& [key, value] : entries) {
            rows.emplace_back(IpAddress::v6(key.saddr).to_string() + " -> " + IpAddress::v6(key.daddr).to_string() +
                                  ", id " + std::to_string(ntohl(key.id)) + ", proto " + std::to_string(key.proto),
                              fragment_value(value));
        }
        missing.reset();
    } else if (missing) {
        return forward_error(
            map_advice(context, *missing));  // a family that is off has no map; without both there is no datapath
    }
    std::sort(rows.begin(), rows.end());
    return print_rows(options, "IP DATAGRAM", "L4 PORTS", rows);
}

// An endpoint's policy as the kernel has it. The agent reads it, because it names the rules.
Status get_policy(const Context& context, const Options& options) {
    if (options.argument.empty() != options.all)
        return fail(Code::kInvalidArgument, "bpf policy get: the number of an endpoint is expected, or --all");
    std::vector<std::string> endpoints{options.argument};
    if (options.all) {
        endpoints.clear();
        TRY_ASSIGN(const Json all, context.get("/endpoint"));
        for (const Json& endpoint : all) endpoints.push_back(text(endpoint, "id"));
    }
    Json images = Json::array();
    std::string out;
    for (const std::string& id : endpoints) {
        TRY_ASSIGN(Json image, context.get("/policy/image/" + url_encode(id)));
        if (options.all) out += (out.empty() ? "" : "\n") + std::string("Endpoint ID: ") + id + "\n\n";
        out += policy_image_text(image, options.numeric);
        images.push_back(std::move(image));
    }
    return print_as(options.output, options.all ? images : field(images.front(), "entries"), [&] { return out; });
}

}  // namespace

void add_bpf_commands(const Command& root) {
    Context& context = root.context();
    const auto options = std::make_shared<Options>();
    const Command group = root.group("bpf", "What is in the kernel's maps");
    const Command ipcache = group.group("ipcache", "Prefixes and their identities");
    ipcache.command("list", "List entries", [=, &context] { return list_ipcache(context, *options); })
        .alias("ls")
        .output(options->output);
    ipcache
        .command("get", "The entry that holds for an address", [=, &context] { return get_ipcache(context, *options); })
        .positional("ip", options->argument, "address");
    group.group("endpoint", "Addresses of this node's endpoints")
        .command("list", "List entries", [=, &context] { return list_endpoints(context, *options); })
        .alias("ls")
        .output(options->output);
    const Command ct = group.group("ct", "Connections");
    add_ct_flush_command(ct);
    ct.command("list", "List connections", [=, &context] { return list_flows(context, *options); })
        .alias("ls")
        .positional("which", options->argument, "global (all), or the number of an endpoint", false)
        .flag("-d,--time-diff", options->remaining, "how long each entry still lives")
        .output(options->output);
    group.group("metrics", "Packets forwarded and dropped")
        .command("list", "List counters", [=, &context] { return list_metrics(context, *options); })
        .alias("ls")
        .output(options->output);
    group.group("frag", "Fragmented datagrams")
        .command("list", "List datagrams whose fragments are followed",
                 [=, &context] { return list_fragments(context, *options); })
        .alias("ls")
        .output(options->output);
    add_lb_commands(group);
    add_nat_commands(group);
    const Command policy = group.group("policy", "Policies of this node's endpoints");
    policy
        .command("get", "What an endpoint may receive and send",
                 [=, &context] { return get_policy(context, *options); })
        .positional("endpoint", options->argument, "number of an endpoint", false)
        .flag("--all", options->all, "of every endpoint")
        .flag("-n,--numeric", options->numeric, "identities as numbers")
        .output(options->output);
    policy
        .command("list", "The same as get --all",
                 [=, &context] {
                     options->all = true;
                     return get_policy(context, *options);
                 })
        .alias("ls")
        .flag("-n,--numeric", options->numeric, "identities as numbers")
        .output(options->output);
}

}  // namespace axo::cli
