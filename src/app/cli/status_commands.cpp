#include <ctime>
#include <filesystem>
#include <optional>
#include <thread>

#include "app/cli/commands.h"
#include "app/cli/context.h"
#include "app/cli/install/cluster_status.h"
#include "app/cli/install/duration.h"
#include "app/cli/install/installer.h"
#include "app/cli/install/kube_api.h"
#include "app/cli/status_text.h"

namespace axo::cli {
namespace {

struct Options {
    StatusDetails details;
    bool verbose = false;
    bool brief = false;
    bool wait = false;
    bool require_kubernetes = true;
    std::string wait_duration = "300s";
    std::string output;
    install::KubeOptions kube;
};

std::map<std::string, std::string> headers_of(const Options& options) {
    return {{"brief", options.brief ? "true" : "false"},
            {"require-k8s-connectivity", options.require_kubernetes ? "true" : "false"}};
}

// Until the agent answers and is healthy.
Result<Json> wait_for_status(const Context& context, const Options& options) {
    TRY_ASSIGN(const auto patience, install::parse_wait_duration("--wait-duration", options.wait_duration));
    const auto deadline = std::chrono::steady_clock::now() + patience;
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

// Of a cluster, through its API server.
Status run_cluster_status(Context& context, install::Api& api, const Options& options) {
    const std::string space = options.kube.space();
    Status waited;
    std::optional<install::ClusterStatus> status;
    if (options.wait) {
        TRY_ASSIGN(const auto patience, install::parse_wait_duration("--wait-duration", options.wait_duration));
        waited = install::wait_for(patience, install::say_nothing, [&]() -> Result<std::string> {
            status.reset();
            TRY_ASSIGN(status, install::read_cluster_status(api, space));
            for (const auto& program : status->programs) {
                if (!program.errors.empty()) return program.name + ": " + program.errors.front().text;
            }
            return std::string();
        });
    }
    if (!status) {
        TRY_ASSIGN(status, install::read_cluster_status(api, space));
    }
    if (!status->ok()) context.exit_status = 1;
    TRY(print_as(options.output, install::cluster_status_json(*status), [&] { return cluster_status_text(*status); }));
    return waited;
}

// "unix:///var/run/cilium/cilium.sock"
bool agent_is_here(const Context& context) {
    constexpr std::string_view kUnix = "unix://";
    const std::string address = context.address();
    std::error_code error;
    return !context.host.empty() || !address.starts_with(kUnix) ||
           std::filesystem::exists(address.substr(kUnix.size()), error);
}

// Of the agent on this node; elsewhere, and where the user says so, of the cluster.
Status run_any_status(Context& context, const Options& options) {
    if (!options.kube.given() && agent_is_here(context)) return run_status(context, options);
    const auto api = install::open_api(options.kube);
    if (!api && !options.kube.given() && api.error().code == Code::kNotFound) return run_status(context, options);
    if (!api) return forward_error(api.error());
    return run_cluster_status(context, **api, options);
}

}  // namespace

void add_status_commands(const Command& root) {
    auto options = std::make_shared<Options>();
    Context& context = root.context();
    const Command command =
        root.command("status", "Health and state of the agent on this node; elsewhere, or with -n, of a whole cluster",
                     [options, &context] { return run_any_status(context, *options); });
    install::add_kube_options(command, options->kube);
    command.flag("--verbose", options->verbose, "everything, and how the datapath was set up")
        .flag("--brief", options->brief, "one line: OK or what is wrong")
        .flag("--all-addresses", options->details.addresses, "every allocated address")
        .flag("--all-controllers", options->details.controllers, "controllers that do well too")
        .flag("--all-nodes", options->details.nodes, "every node, not only those that cannot be reached")
        .flag("--all-health", options->details.nodes, "the same as --all-nodes")
        .flag("--all-redirects", options->details.redirects, "every proxy redirect")
        .flag("--all-clusters", options->details.clusters, "every remote cluster")
        .flag("--wait", options->wait, "until the agent, or the cluster, is healthy")
        // As cilium-dbg's: a Boolean that is on unless it is said otherwise.
        .flag("--require-k8s-connectivity,!--no-require-k8s-connectivity", options->require_kubernetes,
              "not healthy while the API server is out of reach (on; =false: healthy even so)")
        .option("--wait-duration", options->wait_duration, "how long --wait waits")
        .output(options->output);
}

}  // namespace axo::cli
