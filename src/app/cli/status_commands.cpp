#include <ctime>
#include <thread>

#include "app/cli/commands.h"
#include "app/cli/context.h"
#include "app/cli/status_text.h"

namespace axo::cli {
namespace {

struct Options {
    StatusDetails details;
    bool verbose = false;
    bool brief = false;
    bool wait = false;
    bool require_kubernetes = false;
    std::string wait_duration = "300s";
    std::string output;
};

Result<int> seconds_of(const std::string& duration) {
    std::size_t used = 0;
    int value = 0;
    try {
        value = std::stoi(duration, &used);
    } catch (const std::exception&) {
        used = 0;
    }
    const std::string unit = duration.substr(used);
    if (used == 0 || value < 0 || value > 100'000 || (unit != "s" && unit != "m" && !unit.empty())) {
        return fail(Code::kInvalidArgument,
                    "--wait-duration \"" + duration + "\": a number of seconds or minutes is expected, e.g. 90s or 5m");
    }
    return unit == "m" ? value * 60 : value;
}

std::map<std::string, std::string> headers_of(const Options& options) {
    return {{"brief", options.brief ? "true" : "false"},
            {"require-k8s-connectivity", options.require_kubernetes ? "true" : "false"}};
}

// Until the agent answers and is healthy.
Result<Json> wait_for_status(const Context& context, const Options& options) {
    TRY_ASSIGN(const int seconds, seconds_of(options.wait_duration));
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
    while (true) {
        auto status = context.get("/healthz", headers_of(options));
        if (status && status_is_healthy(*status)) return status;
        if (std::chrono::steady_clock::now() >= deadline) {
            if (!status) return status;
            return fail(Code::kDeadlineExceeded,
                        "not healthy after " + options.wait_duration + ": " + status_brief(*status));
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(200));
    }
}

Status run_status(Context& context, const Options& options) {
    TRY_ASSIGN(const OutputFormat format, OutputFormat::parse(options.output));
    auto status = options.wait ? wait_for_status(context, options) : context.get("/healthz", headers_of(options));
    if (!status) return forward_error(std::move(status).error());
    if (!format.is_text()) {
        TRY_ASSIGN(const std::string out, format.print(*status));
        print(out);
        return {};
    }
    if (!status_is_healthy(*status)) context.exit_status = 1;
    if (options.brief) {
        print(status_brief(*status) + "\n");
        return {};
    }
    print(status_text(*status, options.verbose ? StatusDetails::all() : options.details, std::time(nullptr)));
    return {};
}

}  // namespace

void add_status_commands(const Command& root) {
    auto options = std::make_shared<Options>();
    Context& context = root.context();
    root.command("status", "Health and state of the agent",
                 [options, &context] { return run_status(context, *options); })
        .flag("--verbose", options->verbose, "everything, and how the datapath was set up")
        .flag("--brief", options->brief, "one line: OK or what is wrong")
        .flag("--all-addresses", options->details.addresses, "every allocated address")
        .flag("--all-controllers", options->details.controllers, "controllers that do well too")
        .flag("--all-nodes", options->details.nodes, "every node, not only those that cannot be reached")
        .flag("--all-health", options->details.nodes, "the same as --all-nodes")
        .flag("--all-redirects", options->details.redirects, "every proxy redirect")
        .flag("--all-clusters", options->details.clusters, "every remote cluster")
        .flag("--wait", options->wait, "until the agent is healthy")
        .option("--wait-duration", options->wait_duration, "how long --wait waits")
        .flag("--require-k8s-connectivity", options->require_kubernetes,
              "not healthy while the object store is out of reach")
        .output(options->output);
}

}  // namespace axo::cli
