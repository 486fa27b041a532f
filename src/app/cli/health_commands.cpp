#include "app/cli/commands.h"
#include "app/cli/context.h"
#include "app/cli/health_text.h"

namespace axo::cli {
namespace {

struct Options {
    std::string output;
    bool probe = false;
    bool succinct = false;
    bool verbose = false;
};

Result<Json> ask(const Context& context, const std::string& method, const std::string& target) {
    const std::string address = context.health_address();
    // A probe takes as long as the slowest node.
    auto client = HttpClient::connect(address, std::chrono::seconds(60));
    if (!client) return forward_error(connection_advice(address, client.error()));
    auto response = client->request(method, "/v1beta" + target);
    if (!response) return forward_error(connection_advice(address, response.error()));
    if (response->status != 200) return forward_error(answer_error(method, target, *response));
    Json body = Json::parse(response->body, nullptr, false);
    if (!body.is_object()) return fail(Code::kDataLoss, method + " " + target + ": the answer is not JSON");
    return body;
}

Status status(const Context& context, const Options& options) {
    TRY_ASSIGN(const Json health,
               options.probe ? ask(context, "PUT", "/status/probe") : ask(context, "GET", "/status"));
    return print_as(options.output, health, [&] { return health_text(health, options.succinct, options.verbose); });
}

Status get(const Context& context, const Options& options) {
    TRY_ASSIGN(const Json health, ask(context, "GET", "/healthz"));
    return print_as(options.output.empty() ? "json" : options.output, health, [] { return std::string(); });
}

Status ping(const Context& context) {
    TRY_ASSIGN(const Json health, ask(context, "GET", "/healthz"));
    (void)health;
    print("OK\n");
    return {};
}

}  // namespace

void add_health_commands(const Command& root) {
    Context& context = root.context();
    const auto options = std::make_shared<Options>();
    const Command group = root.group("health", "Connectivity to the other nodes");
    group.command("status", "Results of the last probes", [=, &context] { return status(context, *options); })
        .flag("--probe", options->probe, "probe now")
        .flag("--succinct", options->succinct, "one line per node")
        .flag("-v,--verbose", options->verbose, "every address of a node")
        .output(options->output);
    group.command("get", "State of the health checking", [=, &context] { return get(context, *options); })
        .output(options->output);
    group.command("ping", "Whether the health API answers", [&context] { return ping(context); });
}

}  // namespace axo::cli
