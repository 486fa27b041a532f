// connectivity test, connectivity perf.
#include <CLI/CLI.hpp>

#include "app/cli/connectivity/connectivity_commands.h"
#include "app/cli/connectivity/kubernetes_cluster.h"
#include "app/cli/connectivity/perf.h"
#include "app/cli/connectivity/runner.h"
#include "app/cli/connectivity/sandbox_cluster.h"
#include "app/cli/context.h"
#include "app/cli/install/kube_api.h"

namespace axo::cli {
namespace {

using namespace connectivity;

struct Options {
    std::string sandbox;
    install::KubeOptions kube;
    TestOptions test;
    PerfOptions perf;
    bool list = false;
};

// The sandbox that is named; else the Kubernetes cluster that is known; else the sandbox that `make demo` makes.
Result<std::unique_ptr<TestCluster>> open(const Options& options, const std::string& name_space) {
    if (!options.sandbox.empty()) return open_sandbox(options.sandbox, name_space);
    auto api = install::open_api(options.kube);
    if (!api && api.error().code == Code::kNotFound && !options.kube.given()) return open_sandbox("demo", name_space);
    if (!api) return forward_error(std::move(api).error());
    return open_kubernetes(std::move(*api), options.kube.space(), name_space);
}

Status test(const Options& options) {
    if (options.list) {
        TRY_ASSIGN(const auto chosen, choose(options.test.filters));
        for (const Case* one : chosen) print(one->name + "\n");
        return {};
    }
    TRY_ASSIGN(const auto cluster, open(options, options.test.name_space));
    return run_tests(*cluster, options.test);
}

Status perf(const Options& options) {
    if (options.perf.seconds < 0.1 || options.perf.samples < 1)
        return fail(Code::kInvalidArgument, "--duration: at least 0.1 s; --samples: at least 1");
    TRY_ASSIGN(const auto cluster, open(options, options.perf.name_space));
    return run_perf(*cluster, options.perf);
}

}  // namespace

void add_connectivity_commands(const Command& root) {
    const auto options = std::make_shared<Options>();
    const Command group = root.group("connectivity", "Test and measure a cluster's network");
    const auto place = [&](const Command& command, std::string& name_space) {
        command.app()
            ->add_option("--sandbox", options->sandbox, "name of a sandbox cluster, instead of a Kubernetes cluster")
            ->envname("AXONEME_SANDBOX");
        install::add_kube_options(command, options->kube);
        command.app()
            ->add_option("--test-namespace", name_space, "where the pods of the test are")
            ->capture_default_str();
    };
    const Command tests =
        group.command("test", "Traffic of every kind, with and without policies", [options] { return test(*options); });
    tests.option("--test", options->test.filters, "regular expressions of tests; !… excludes")
        .option("--junit-file", options->test.junit_file, "write a JUnit report there")
        .flag("-v,--verbose", options->test.verbose, "every action")
        .flag("--keep", options->test.keep, "leave the pods and services of the test")
        .flag("--list", options->list, "only print the names of the tests");
    place(tests, options->test.name_space);
    const Command perfs =
        group.command("perf", "Rates and throughput between pods and nodes", [options] { return perf(*options); });
    perfs.flag("--crr", options->perf.crr, "a connection for every request, too").output(options->perf.output);
    perfs.app()->add_option("--duration", options->perf.seconds, "seconds of each measurement")->capture_default_str();
    perfs.app()
        ->add_option("--samples", options->perf.samples, "measurements of each; the median counts")
        ->capture_default_str();
    perfs.app()->add_option("--udp", options->perf.udp, "UDP requests, too")->capture_default_str();
    perfs.app()->add_option("--host-net", options->perf.host_net, "between nodes, too")->capture_default_str();
    perfs.app()->add_option("--same-node", options->perf.same_node, "on one node")->capture_default_str();
    perfs.app()->add_option("--other-node", options->perf.other_node, "across nodes")->capture_default_str();
    place(perfs, options->perf.name_space);
}

}  // namespace axo::cli
