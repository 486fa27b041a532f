#include "app/cli/connectivity/runner.h"

#include <algorithm>
#include <regex>
#include <set>
#include <thread>

#include "app/cli/context.h"
#include "base/file.h"

namespace axo::cli::connectivity {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint16_t kFirstNodePort = 31230;
constexpr std::uint16_t kFirstHostPort = 4000;

Json probes_of(const std::vector<const Action*>& actions) {
    Json list = Json::array();
    for (const Action* action : actions) {
        list.push_back({{"to", action->address.to_string()},
                        {"port", action->port},
                        {"kind", action->kind},
                        {"bytes", 64},
                        // What is denied is silent; a second of silence says so.
                        {"timeout-ms", action->allowed ? 3000 : 1000}});
    }
    return list;
}

ActionResult judge(const Action& action, const Json& probe) {
    ActionResult result{.action = action};
    const bool reached = flag(probe, "ok");
    result.ok = reached == action.allowed;
    if (!result.ok) result.error = reached ? "it was let through, and should not have been" : text(probe, "error");
    return result;
}

// All actions, those of one source at a time; what does not come out as expected is tried again.
Result<std::vector<ActionResult>> perform(TestCluster& cluster, const std::vector<Action>& actions, int attempts) {
    std::vector<ActionResult> results(actions.size());
    std::vector<std::size_t> open(actions.size());
    for (std::size_t i = 0; i < open.size(); ++i) open[i] = i;
    for (int attempt = 0; attempt < attempts && !open.empty(); ++attempt) {
        if (attempt > 0) std::this_thread::sleep_for(std::chrono::seconds(1));
        std::map<std::string, std::vector<std::size_t>> by_source;
        for (const std::size_t i : open) by_source[actions[i].from.name].push_back(i);
        for (const auto& [source, indices] : by_source) {
            std::vector<const Action*> chosen;
            for (const std::size_t i : indices) chosen.push_back(&actions[i]);
            TRY_ASSIGN(const std::string answer,
                       cluster.run(chosen.front()->from, {"probe"}, probes_of(chosen).dump(), std::chrono::minutes(2)));
            const Json probes = Json::parse(answer, nullptr, false);
            if (!probes.is_array() || probes.size() != chosen.size())
                return fail(Code::kDataLoss, source + ": the answer of its probes is not readable");
            for (std::size_t k = 0; k < indices.size(); ++k) results[indices[k]] = judge(*chosen[k], probes[k]);
        }
        std::erase_if(open, [&results](std::size_t i) { return results[i].ok; });
    }
    return results;
}

// Every node's agent reaches every other node and its endpoint.
std::vector<ActionResult> check_health(TestCluster& cluster, const World& world) {
    std::vector<ActionResult> results;
    for (const Peer& node : world.nodes) {
        ActionResult result{.action = {.scenario = "cilium-health",
                                       .from = node,
                                       .to = node,
                                       .address = node.addresses.front(),
                                       .port = 4240}};
        const auto health = cluster.ask_agent(node, {"health", "status", "--probe"});
        if (!health) {
            result.error = health.error().message;
        } else {
            const Json& nodes = field(*health, "nodes");
            std::set<std::string> lost;
            for (const Json& other : nodes.is_array() ? nodes : Json::array()) {
                for (const char* part : {"host.primary-address", "health-endpoint.primary-address"}) {
                    for (const char* way : {"icmp", "http"}) {
                        const Json& probe = field(other, std::string(part) + "." + way);
                        if (probe.is_object() && !text(probe, "status").empty())
                            lost.insert(text(other, "name") + ": " + text(probe, "status"));
                    }
                }
            }
            if (!nodes.is_array() || nodes.size() < world.nodes.size())
                result.error = "it knows of " + std::to_string(nodes.is_array() ? nodes.size() : 0) + " of " +
                               std::to_string(world.nodes.size()) + " nodes";
            for (const std::string& one : lost) result.error += (result.error.empty() ? "" : "; ") + one;
        }
        result.ok = result.error.empty();
        results.push_back(std::move(result));
    }
    return results;
}

struct NamedScenario {
    Scenario scenario;
    const char* name;
    const char* needs;
};
constexpr NamedScenario kScenarios[] = {
    {pod_to_pod, "pod-to-pod", "two pods"},
    {client_to_client, "client-to-client", "two pods"},
    {pod_to_service, "pod-to-service", "a service"},
    {pod_to_host_port, "pod-to-hostport", "host ports (kube-proxy-replacement=true)"},
    {pod_to_local_node_port, "pod-to-local-nodeport", "node ports (kube-proxy-replacement=true)"},
    {pod_to_remote_node_port, "pod-to-remote-nodeport", "node ports (kube-proxy-replacement=true), two nodes"},
    {host_to_node_port, "host-to-nodeport", "node ports (kube-proxy-replacement=true)"},
    {outside_to_node_port, "outside-to-nodeport", "node ports (kube-proxy-replacement=true), a host outside"},
    {pod_to_world, "pod-to-world", "a host outside"},
    {pod_to_host, "pod-to-host", "a node"},
    {host_to_pod, "host-to-pod", "a node"},
    {host_to_host, "host-to-host", "two nodes"},
};

TestResult run_test(TestCluster& cluster, const Case& test, const World& world, int attempts) {
    TestResult result{.name = test.name};
    if (test.needs_outside && !world.outside) {
        result.skipped = "there is no host outside of the cluster";
        return result;
    }
    if (test.health) {
        result.actions = check_health(cluster, world);
        return result;
    }
    std::vector<Action> actions;
    for (const Scenario scenario : test.scenarios) {
        std::vector<Action> found = scenario(world);
        const auto* named = std::ranges::find(kScenarios, scenario, &NamedScenario::scenario);
        if (found.empty())
            result.scenarios_skipped.push_back(std::string(named->name) + " (needs " + named->needs + ")");
        for (Action& action : found) {
            action.allowed = !test.allowed || test.allowed(action);
            actions.push_back(std::move(action));
        }
    }
    if (actions.empty()) {
        result.skipped = "none of its scenarios fits this cluster";
        return result;
    }
    const std::string policies = policies_of(test, world);
    if (const Status applied = cluster.apply(policies); !applied) {
        result.error = "its policies: " + applied.error().message;
    } else if (auto performed = perform(cluster, actions, attempts); !performed) {
        result.error = performed.error().message;
    } else {
        result.actions = std::move(*performed);
    }
    if (const Status removed = cluster.remove(policies); !removed && result.error.empty())
        result.error = "removing its policies: " + removed.error().message;
    return result;
}

void print_result(const TestResult& result, const TestOptions& options) {
    std::string out;
    for (const std::string& skipped : result.scenarios_skipped) out += "  [-] Scenario skipped: " + skipped + "\n";
    std::string dots;
    for (const ActionResult& action : result.actions) {
        const std::string title = action.action.title(options.name_space);
        const char* expected = action.action.allowed ? "" : " (denied, as it should be)";
        if (!action.ok) {
            out += "  ❌ " + title + ": " + action.error + "\n";
        } else if (options.verbose) {
            out += "  ✅ " + title + expected + "\n";
        } else {
            dots += '.';
        }
    }
    if (!result.error.empty()) out += "  ❌ " + result.error + "\n";
    if (!result.skipped.empty()) out += "  [-] Test skipped: " + result.skipped + "\n";
    print((dots.empty() ? "" : dots + "\n") + out);
}

std::string count(std::size_t number, const std::string& what) {
    return std::to_string(number) + " " + what + (number == 1 ? "" : "s");
}

Status summarize(const std::vector<TestResult>& results, const TestOptions& options) {
    std::size_t run = 0, skipped = 0, actions = 0, failed_tests = 0, failed_actions = 0, scenarios_skipped = 0;
    for (const TestResult& result : results) {
        scenarios_skipped += result.scenarios_skipped.size();
        if (!result.skipped.empty()) {
            ++skipped;
            continue;
        }
        ++run;
        actions += result.actions.size();
        failed_actions += result.failed();
        failed_tests += !result.ok();
    }
    const std::string tail =
        ", " + count(skipped, "test") + " skipped, " + count(scenarios_skipped, "scenario") + " skipped.\n";
    const std::string place = "[" + options.name_space + "] ";
    if (failed_tests == 0) {
        print("\n✅ " + place + "All " + count(run, "test") + " (" + count(actions, "action") + ") successful" + tail);
        return {};
    }
    std::string report = "\n📋 Test Report " + place + "\n❌ " + std::to_string(failed_tests) + "/" +
                         count(run, "test") + " failed (" + std::to_string(failed_actions) + "/" +
                         count(actions, "action") + ")" + tail;
    for (const TestResult& result : results) {
        if (result.ok()) continue;
        report += "Test [" + result.name + "]:\n";
        if (!result.error.empty()) report += "  ❌ " + result.error + "\n";
        for (const ActionResult& action : result.actions) {
            if (!action.ok)
                report +=
                    "  ❌ " + result.name + "/" + action.action.title(options.name_space) + ": " + action.error + "\n";
        }
    }
    print(report);
    return fail(Code::kFailedPrecondition, count(failed_tests, "test") + " failed");
}

std::string escaped(const std::string& text) {
    std::string out;
    for (const char c : text) {
        switch (c) {
            case '&': out += "&amp;"; break;
            case '<': out += "&lt;"; break;
            case '>': out += "&gt;"; break;
            case '"': out += "&quot;"; break;
            default: out += c;
        }
    }
    return out;
}

}  // namespace

std::size_t TestResult::failed() const {
    return static_cast<std::size_t>(std::ranges::count(actions, false, &ActionResult::ok));
}

bool TestResult::ok() const {
    return error.empty() && failed() == 0;
}

Result<std::vector<const Case*>> choose(const std::vector<std::string>& filters) {
    std::vector<const Case*> chosen;
    for (const Case& test : cases()) {
        bool wanted = std::ranges::all_of(filters, [](const std::string& filter) { return filter.starts_with('!'); });
        for (const std::string& filter : filters) {
            const bool excludes = filter.starts_with('!');
            try {
                const std::regex expression(excludes ? filter.substr(1) : filter);
                if (std::regex_search(test.name, expression)) wanted = !excludes;
            } catch (const std::regex_error&) {
                return fail(Code::kInvalidArgument, "--test \"" + filter + "\": not a regular expression");
            }
        }
        if (wanted) chosen.push_back(&test);
    }
    return chosen;
}

Result<World> deploy(TestCluster& cluster, const std::string& name_space) {
    World world{.name_space = name_space};
    TRY_ASSIGN(world.nodes, cluster.nodes());
    if (world.nodes.empty()) return fail(Code::kFailedPrecondition, cluster.name() + " has no nodes");
    world.outside = cluster.outside();
    const std::string here = world.nodes.front().name;
    const std::string there = world.nodes.back().name;
    TRY_ASSIGN(const Json status, cluster.ask_agent(world.nodes.front(), {"status"}));
    const Json& features = field(status, "kube-proxy-replacement.features");
    world.node_ports = flag(features, "nodePort.enabled");
    world.host_ports = flag(features, "hostPort.enabled");

    const auto client = [](const std::string& name, const std::string& node) {
        return PodRequest{.name = name, .node = node, .labels = {{"kind", "client"}, {"name", name}}};
    };
    const auto echo = [](const std::string& name, const std::string& node, std::uint16_t host_port) {
        return PodRequest{.name = name,
                          .node = node,
                          .labels = {{"kind", "echo"}, {"name", name}},
                          .serves = true,
                          .host_port = host_port};
    };
    std::vector<PodRequest> pods{client("client", here), client("client2", here), client("client3", there),
                                 echo("echo-same-node", here, world.host_ports ? kFirstHostPort : 0)};
    pods[1].labels["other"] = "client";
    if (there != here) pods.push_back(echo("echo-other-node", there, world.host_ports ? kFirstHostPort : 0));
    TRY_ASSIGN(const std::vector<Peer> peers, cluster.deploy(pods));
    world.clients.assign(peers.begin(), peers.begin() + 3);
    world.echoes.assign(peers.begin() + 3, peers.end());
    for (const Family family : {Family::kIpv4, Family::kIpv6}) {
        if (world.clients.front().address(family)) world.families.push_back(family);
    }
    if (world.outside) TRY(cluster.serve(*world.outside));
    std::vector<ServiceRequest> services;
    for (const Peer& peer : world.echoes) {
        const auto number = static_cast<std::uint16_t>(services.size());
        services.push_back(
            {.name = peer.name,
             .backends = {peer},
             .node_port = world.node_ports ? static_cast<std::uint16_t>(kFirstNodePort + number) : std::uint16_t{0}});
    }
    TRY_ASSIGN(world.services, cluster.expose(services));
    return world;
}

Status run_tests(TestCluster& cluster, const TestOptions& options) {
    TRY_ASSIGN(const std::vector<const Case*> chosen, choose(options.filters));
    if (chosen.empty()) return fail(Code::kInvalidArgument, "--test: no test has such a name");
    print("✨ [" + cluster.name() + "] Deploying clients and servers in namespace " + options.name_space + "...\n");
    TRY(cluster.clean());  // of a run that was interrupted
    const auto world = deploy(cluster, options.name_space);
    std::vector<TestResult> results;
    if (world) {
        print("🏃 [" + options.name_space + "] Running " + count(chosen.size(), "test") + " ...\n");
        for (const Case* test : chosen) {
            print("[=] [" + options.name_space + "] Test [" + test->name + "] [" + std::to_string(results.size() + 1) +
                  "/" + std::to_string(chosen.size()) + "]\n");
            const auto start = Clock::now();
            TestResult result = run_test(cluster, *test, *world, options.attempts);
            result.seconds = std::chrono::duration<double>(Clock::now() - start).count();
            print_result(result, options);
            results.push_back(std::move(result));
        }
    }
    const Status cleaned = options.keep ? Status{} : cluster.clean();
    if (!world) return forward_error(world.error());
    if (!options.junit_file.empty()) TRY(write_atomic(options.junit_file, junit(cluster.name(), results)));
    TRY(summarize(results, options));
    return cleaned;
}

std::string junit(const std::string& suite, const std::vector<TestResult>& results) {
    std::size_t failures = 0, skipped = 0;
    std::string body;
    for (const TestResult& result : results) {
        char seconds[32];
        std::snprintf(seconds, sizeof seconds, "%.3f", result.seconds);
        body += "    <testcase name=\"" + escaped(result.name) + "\" classname=\"connectivity test\" time=\"" +
                seconds + "\"";
        if (!result.skipped.empty()) {
            ++skipped;
            body += ">\n      <skipped message=\"" + escaped(result.skipped) + "\"/>\n    </testcase>\n";
        } else if (!result.ok()) {
            ++failures;
            std::string why = result.error;
            for (const ActionResult& action : result.actions) {
                if (!action.ok) why += (why.empty() ? "" : "\n") + action.action.title("") + ": " + action.error;
            }
            body += ">\n      <failure message=\"" + escaped(result.name) + " failed\">" + escaped(why) +
                    "</failure>\n    </testcase>\n";
        } else {
            body += "/>\n";
        }
    }
    return "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite name=\"" + escaped(suite) +
           "\" tests=\"" + std::to_string(results.size()) + "\" failures=\"" + std::to_string(failures) +
           "\" skipped=\"" + std::to_string(skipped) + "\">\n" + body + "  </testsuite>\n</testsuites>\n";
}

}  // namespace axo::cli::connectivity
