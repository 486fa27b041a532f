// identity, ip, node, nodeid: what the agent knows of the cluster.
#include "app/cli/commands.h"
#include "app/cli/context.h"
#include "app/cli/tables.h"

namespace axo::cli {
namespace {

struct Options {
    std::string output;
    std::string argument;
    bool endpoints = false;
    bool numeric = false;
    bool verbose = false;
    std::vector<std::string> labels;
};

Status list_identities(const Context& context, const Options& options) {
    TRY_ASSIGN(const Json identities, context.get(options.endpoints ? "/identity/endpoints" : "/identity"));
    return print_as(options.output, identities, [&] { return identity_list_text(identities, options.endpoints); });
}

Status get_identity(const Context& context, const Options& options) {
    if (options.argument.empty() == options.labels.empty())
        return fail(Code::kInvalidArgument, "identity get: either a number or labels (--label) are expected");
    Json found = Json::array();
    if (!options.argument.empty()) {
        auto identity = context.get("/identity/" + url_encode(options.argument));
        if (!identity) return forward_error(std::move(identity).error());
        found.push_back(*identity);
    } else {
        TRY_ASSIGN(const Json all, context.get("/identity"));
        for (const Json& identity : all) {
            const auto has = texts(identity, "labels");
            if (std::all_of(options.labels.begin(), options.labels.end(),
                            [&](const std::string& l) { return std::find(has.begin(), has.end(), l) != has.end(); }))
                found.push_back(identity);
        }
    }
    return print_as(options.output, found, [&] { return identity_list_text(found, false); });
}

// Names are a help; a list of numbers is better than none.
IdentityNames names_or_nothing(const Context& context) {
    const auto identities = context.get("/identity");
    return identities ? identity_names(*identities) : IdentityNames{};
}

Status list_ips(const Context& context, const Options& options) {
    TRY_ASSIGN(const Json entries, context.get("/ip"));
    return print_as(options.output, entries, [&] {
        return ip_list_text(entries, options.numeric ? IdentityNames{} : names_or_nothing(context), options.numeric,
                            options.verbose);
    });
}

Status get_ip(const Context& context, const Options& options) {
    TRY_ASSIGN(const Json entries, context.get("/ip?cidr=" + url_encode(options.argument)));
    return print_as(options.output, entries, [&] { return ip_get_text(entries, names_or_nothing(context)); });
}

Status list_nodes(const Context& context, const Options& options) {
    TRY_ASSIGN(const Json nodes, context.get("/cluster/nodes"));
    const Json& list = field(nodes, "nodes-added");
    return print_as(options.output, list.is_array() ? list : Json::array(), [&] { return node_list_text(nodes); });
}

Status list_node_ids(const Context& context, const Options& options) {
    TRY_ASSIGN(const Json ids, context.get("/node/ids"));
    return print_as(options.output, ids, [&] { return node_id_list_text(ids); });
}

}  // namespace

void add_identity_commands(const Command& root) {
    Context& context = root.context();
    const auto options = std::make_shared<Options>();
    const Command group = root.group("identity", "Security identities");
    group.command("list", "List identities", [=, &context] { return list_identities(context, *options); })
        .alias("ls")
        .flag("--endpoints", options->endpoints, "identities of this node's endpoints, with how many have them")
        .output(options->output);
    group.command("get", "One identity", [=, &context] { return get_identity(context, *options); })
        .positional("identity", options->argument, "its number", false)
        .option("--label", options->labels, "the identity that has all of these labels")
        .output(options->output);
}

void add_ip_commands(const Command& root) {
    Context& context = root.context();
    const auto options = std::make_shared<Options>();
    const Command group = root.group("ip", "Addresses and the identities behind them");
    group.command("list", "List addresses", [=, &context] { return list_ips(context, *options); })
        .alias("ls")
        .flag("-n,--numeric", options->numeric, "identities as numbers")
        .flag("-v,--verbose", options->verbose, "host and encryption key too")
        .output(options->output);
    group.command("get", "What is known of an address", [=, &context] { return get_ip(context, *options); })
        .positional("ip", options->argument, "an address or a prefix")
        .output(options->output);
}

void add_node_commands(const Command& root) {
    Context& context = root.context();
    const auto options = std::make_shared<Options>();
    root.group("node", "Nodes of the cluster")
        .command("list", "List nodes", [=, &context] { return list_nodes(context, *options); })
        .alias("ls")
        .output(options->output);
    root.group("nodeid", "Numbers of nodes")
        .command("list", "List node ids", [=, &context] { return list_node_ids(context, *options); })
        .alias("ls")
        .output(options->output);
}

}  // namespace axo::cli
