#include "app/cli/sandbox_commands.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>
#include <optional>

#include "app/cli/sandbox_output.h"
#include "base/file.h"
#include "sandbox/cluster.h"
#include "sandbox/pods.h"

namespace axo {
namespace {

using namespace sandbox;
using std::chrono::milliseconds;

// What the options of all subcommands fill; one command runs per process.
struct Options {
    std::string cluster = "demo";
    bool json = false;
    // up
    std::string file, families, routing;
    int nodes = 0, second_segment_nodes = 0;
    unsigned mtu = 0;
    std::vector<std::string> agent_flags, operator_flags;
    bool no_processes = false, no_wait = false, keep = false;
    int timeout_seconds = 30;
    // the rest
    std::vector<std::string> names, flags, uids;
    std::optional<std::uint16_t> port;
    std::string node, name_space = "default", labels, annotations, ports, keep_logs;
    int segment = 1;
    bool all = false, parallel = false, raw = false;
    bool no_agent = false;

    [[nodiscard]] milliseconds timeout() const { return std::chrono::seconds(timeout_seconds); }
};

void print(const std::string& text) {
    std::fputs(text.c_str(), stdout);
}

Result<std::string> read_input(const std::string& path) {
    if (path == "-") return std::string(std::istreambuf_iterator<char>(std::cin), {});
    return read_file(path);
}

Result<ClusterSpec> requested_spec(const Options& options) {
    ClusterSpec spec;
    if (!options.file.empty()) {
        TRY_ASSIGN(const std::string text, read_input(options.file));
        TRY_ASSIGN(spec, parse_cluster_spec(text));
    }
    if (options.file.empty() || options.cluster != "demo") spec.name = options.cluster;
    if (!options.families.empty()) {
        TRY_ASSIGN(spec.families, parse_families(options.families));
    }
    if (!options.routing.empty()) {
        TRY_ASSIGN(spec.routing, parse_routing(options.routing));
    }
    if (options.mtu != 0) spec.mtu = options.mtu;
    if (options.nodes != 0 || spec.nodes.empty()) {
        const int nodes = options.nodes != 0 ? options.nodes : 3;
        if (nodes < 1 || nodes > kMaxNodes) {
            return fail(Code::kInvalidArgument,
                        "--nodes: '" + std::to_string(nodes) + "': expected 1 to " + std::to_string(kMaxNodes));
        }
        spec.nodes.clear();
        spec.add_nodes(nodes, 1);
    }
    if (options.second_segment_nodes < 0 || options.second_segment_nodes > static_cast<int>(spec.nodes.size())) {
        return fail(Code::kInvalidArgument, "--second-segment: '" + std::to_string(options.second_segment_nodes) +
                                                "': expected 0 to " + std::to_string(spec.nodes.size()) +
                                                ", the number of nodes");
    }
    for (int i = 0; i < options.second_segment_nodes; ++i)
        spec.nodes[spec.nodes.size() - 1 - static_cast<std::size_t>(i)].segment = 2;
    spec.agent_flags.insert(spec.agent_flags.end(), options.agent_flags.begin(), options.agent_flags.end());
    spec.operator_flags.insert(spec.operator_flags.end(), options.operator_flags.begin(), options.operator_flags.end());
    return spec;
}

std::vector<std::string> node_names(const ClusterSpec& spec) {
    std::vector<std::string> names;
    for (const auto& node : spec.nodes) names.push_back(node.name);
    return names;
}

Status start_everything(Cluster& cluster, const Options& options) {
    TRY(cluster.start_operator(cluster.spec().nodes.front().name, {}));
    for (const auto& node : cluster.spec().nodes) TRY(cluster.start_agent(node.name, {}));
    if (options.no_wait) return {};
    return cluster.wait_ready(node_names(cluster.spec()), options.timeout());
}

Status up(const Options& options) {
    const auto start = std::chrono::steady_clock::now();
    TRY_ASSIGN(const ClusterSpec spec, requested_spec(options));
    TRY_ASSIGN(Cluster cluster, Cluster::create(spec));
    if (!options.no_processes) {
        if (const Status status = start_everything(cluster, options); !status) {
            if (options.keep) return forward_error(Error(status.error()).with_context("the cluster stays up"));
            if (const Status undone = Cluster::destroy(spec.name); !undone) print_error(undone.error());
            return status;
        }
    }
    const auto took = std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - start).count();
    print("cluster " + spec.name + " is up: " + std::to_string(spec.nodes.size()) + " nodes, " +
          to_string(spec.families) + ", " + to_string(spec.routing) + " (" + std::to_string(took) + " ms)\n");
    return {};
}

Status down(const Options& options) {
    const auto names = options.all ? Cluster::list() : std::vector<std::string>{options.cluster};
    for (const auto& name : names) {
        if (!options.keep_logs.empty()) {
            std::error_code error;
            const auto logs = std::filesystem::path(kSandboxRoot) / name / "logs";
            std::filesystem::create_directories(options.keep_logs, error);
            std::filesystem::copy(
                logs, options.keep_logs,
                std::filesystem::copy_options::recursive | std::filesystem::copy_options::overwrite_existing, error);
        }
        TRY(Cluster::destroy(name));
    }
    return {};
}

Status apply(const Options& options) {
    TRY_ASSIGN(const Cluster cluster, Cluster::open(options.cluster));
    for (const auto& file : options.names) {
        TRY_ASSIGN(const std::string text, read_input(file));
        if (options.raw) {
            const std::string name = file == "-" ? "stdin.yaml" : std::filesystem::path(file).filename().string();
            TRY(write_atomic(cluster.store() / name, text));
            print(name + " copied\n");
            continue;
        }
        auto applied = apply_manifests(cluster.store(), text);
        if (!applied) return forward_error(std::move(applied).error().with_context(file));
        for (const auto& title : *applied) print(title + " applied\n");
    }
    return cluster.sync_routes();
}

Status remove_manifests(const Options& options) {
    TRY_ASSIGN(const Cluster cluster, Cluster::open(options.cluster));
    for (const auto& file : options.names) {
        if (options.raw) {
            TRY(remove_file(cluster.store() / std::filesystem::path(file).filename()));
            continue;
        }
        TRY_ASSIGN(const std::string text, read_input(file));
        auto removed = delete_manifests(cluster.store(), text);
        if (!removed) return forward_error(std::move(removed).error().with_context(file));
        for (const auto& title : *removed) print(title + " deleted\n");
    }
    return {};
}

Status exec(const Options& options, const std::vector<std::string>& words) {
    if (words.size() < 2)
        return fail(Code::kInvalidArgument, "expected: axoneme sandbox exec NODE|POD|outside|underlay [--] COMMAND…");
    TRY_ASSIGN(const Cluster cluster, Cluster::open(options.cluster));
    TRY_ASSIGN(const Machine machine, cluster.find_machine(words[0]));
    TRY_ASSIGN(const Binaries binaries, Binaries::beside_this_program());
    const char* path = std::getenv("PATH");
    Command command;
    command.argv.assign(words.begin() + (words[1] == "--" ? 2 : 1), words.end());
    if (command.argv.empty()) return fail(Code::kInvalidArgument, "there is no command after '--'");
    command.environment = {
        "PATH=" + binaries.folder.string() + ":" + (path != nullptr ? path : "/usr/sbin:/usr/bin:/sbin:/bin"),
        "K8S_NODE_NAME=" + machine.host_name};
    command.prepare = [&] { return enter(machine); };
    return replace_process(command);
}

Status pod_add(const Options& options) {
    TRY_ASSIGN(const Cluster cluster, Cluster::open(options.cluster));
    TRY_ASSIGN(const auto labels, parse_labels(options.labels));
    TRY_ASSIGN(const auto annotations, parse_labels(options.annotations));
    TRY_ASSIGN(const auto ports, parse_ports(options.ports));
    if (!options.uids.empty() && options.uids.size() != options.names.size())
        return fail(Code::kInvalidArgument, "--uid: " + std::to_string(options.uids.size()) + " given for " +
                                                std::to_string(options.names.size()) +
                                                " pods: expected one for each, in their order");
    std::vector<PodSpec> specs;
    for (std::size_t i = 0; i < options.names.size(); ++i) {
        const std::string node = options.node.empty() ? cluster.spec().nodes.front().name : options.node;
        specs.push_back({.name_space = options.name_space,
                         .name = options.names[i],
                         .node = node,
                         .labels = labels,
                         .annotations = annotations,
                         .uid = options.uids.empty() ? "" : options.uids[i],
                         .ports = ports,
                         .object_elsewhere = !options.uids.empty()});
    }
    TRY_ASSIGN(const PodsAdded added, add_pods(cluster, specs, options.parallel));
    print(options.json ? pods_added_json(added).dump(2) + "\n" : pods_added_text(added));
    for (const auto& pod : added.pods) {
        if (!pod) return forward_error(pod.error());
    }
    return {};
}

Status pod_del(const Options& options) {
    TRY_ASSIGN(const Cluster cluster, Cluster::open(options.cluster));
    nlohmann::json times = nlohmann::json::array();
    for (const auto& name : options.names) {
        TRY_ASSIGN(const auto took, remove_pod(cluster, options.name_space, name));
        times.push_back({{"name", name}, {"cni-del-us", took.count()}});
        if (!options.json) print("pod " + options.name_space + "/" + name + " deleted\n");
    }
    if (options.json) print(times.dump(2) + "\n");
    return {};
}

Status pod_check(const Options& options) {
    TRY_ASSIGN(const Cluster cluster, Cluster::open(options.cluster));
    for (const auto& name : options.names) TRY(check_pod(cluster, options.name_space, name));
    return {};
}

Status pod_list(const Options& options) {
    TRY_ASSIGN(const Cluster cluster, Cluster::open(options.cluster));
    const auto pods = list_pods(cluster);
    print(options.json ? pods_json(pods).dump(2) + "\n" : pods_text(pods));
    return {};
}

Status node_add(const Options& options) {
    TRY_ASSIGN(Cluster cluster, Cluster::open(options.cluster));
    for (const auto& name : options.names) {
        ClusterSpec spec = cluster.spec();
        spec.add_nodes(1, options.segment);
        NodeSpec node = spec.nodes.back();
        node.name = name;
        node.agent_flags = options.agent_flags;
        TRY(cluster.add_node(node));
        if (!options.no_agent) TRY(cluster.start_agent(name, {}));
    }
    if (options.no_agent || options.no_wait) return {};
    TRY(cluster.wait_ready(node_names(cluster.spec()), options.timeout()));
    for (const auto& name : options.names) print("node " + name + " added\n");
    return {};
}

Status node_del(const Options& options) {
    TRY_ASSIGN(Cluster cluster, Cluster::open(options.cluster));
    for (const auto& name : options.names) {
        TRY(cluster.remove_node(name));
        print("node " + name + " deleted\n");
    }
    return {};
}

// The nodes that an `agent` command names; all of them for --all.
Result<std::vector<std::string>> chosen_nodes(const Cluster& cluster, const Options& options) {
    if (options.all) return node_names(cluster.spec());
    if (options.names.empty()) return fail(Code::kInvalidArgument, "name the nodes, or say --all");
    for (const auto& name : options.names) {
        if (cluster.spec().node(name) == nullptr)
            return fail(Code::kNotFound, "cluster '" + cluster.spec().name + "' has no node '" + name + "'");
    }
    return options.names;
}

Status agent_start(const Options& options) {
    TRY_ASSIGN(Cluster cluster, Cluster::open(options.cluster));
    TRY_ASSIGN(const auto nodes, chosen_nodes(cluster, options));
    for (const auto& node : nodes) TRY(cluster.start_agent(node, options.flags));
    if (options.no_wait) return {};
    return cluster.wait_ready(nodes, options.timeout());
}

Status agent_stop(const Options& options, milliseconds grace) {
    TRY_ASSIGN(Cluster cluster, Cluster::open(options.cluster));
    TRY_ASSIGN(const auto nodes, chosen_nodes(cluster, options));
    std::vector<std::string> names;
    for (const auto& node : nodes) names.push_back(Cluster::agent_name(node));
    return cluster.stop(names, grace);
}

Status operator_start(const Options& options) {
    TRY_ASSIGN(Cluster cluster, Cluster::open(options.cluster));
    return cluster.start_operator(options.node.empty() ? cluster.spec().nodes.front().name : options.node,
                                  options.flags);
}

Status operator_stop(const Options& options, milliseconds grace) {
    TRY_ASSIGN(Cluster cluster, Cluster::open(options.cluster));
    return cluster.stop({Cluster::kOperator}, grace);
}

Status relay_start(const Options& options) {
    TRY_ASSIGN(Cluster cluster, Cluster::open(options.cluster));
    const std::string node = options.node.empty() ? cluster.spec().nodes.front().name : options.node;
    TRY(cluster.start_relay(node, options.port, options.flags, options.timeout()));
    const std::string url = cluster.relay_url().value_or("");
    print(options.json ? nlohmann::json{{"node", node}, {"url", url}}.dump(2) + "\n"
                       : "relay on " + node + "; its page: " + url + "\n");
    return {};
}

Status relay_stop(const Options& options, milliseconds grace) {
    TRY_ASSIGN(Cluster cluster, Cluster::open(options.cluster));
    return cluster.stop({Cluster::kRelay}, grace);
}

Status status(const Options& options) {
    TRY_ASSIGN(const Cluster cluster, Cluster::open(options.cluster));
    TRY(cluster.sync_routes());
    print(options.json ? cluster_json(cluster).dump(2) + "\n" : cluster_text(cluster));
    return {};
}

Status logs(const Options& options) {
    TRY_ASSIGN(const Cluster cluster, Cluster::open(options.cluster));
    for (const auto& name : options.names) {
        const std::string process =
            name == Cluster::kOperator || name == Cluster::kRelay ? name : Cluster::agent_name(name);
        auto text = read_file(cluster.log_of(process));
        if (!text)
            return fail(Code::kNotFound, "there is no log of '" + name + "'; say 'operator', 'relay' or a node's name");
        print(*text);
    }
    return {};
}

Status list(const Options& options) {
    const auto names = Cluster::list();
    if (options.json) {
        print(nlohmann::json(names).dump(2) + "\n");
        return {};
    }
    if (names.empty()) print("no clusters; bring one up: axoneme sandbox up\n");
    for (const auto& name : names) print(name + "\n");
    return {};
}

}  // namespace

void add_sandbox_commands(CLI::App& app, int& exit_status) {
    auto options = std::make_shared<Options>();
    CLI::App* root = app.add_subcommand("sandbox", "Clusters of network namespaces on this machine");
    root->require_subcommand(1);
    root->add_option("--cluster", options->cluster, "name of the cluster")
        ->envname("AXONEME_SANDBOX")
        ->capture_default_str();
    root->add_option_function<std::string>(
            "-o,--output", [options](const std::string& format) { options->json = format == "json"; }, "text or json")
        ->check(CLI::IsMember({"text", "json"}));

    const auto command = [&exit_status, options](CLI::App* parent, const std::string& name, const std::string& help,
                                                 std::function<Status(const Options&)> run) {
        CLI::App* sub = parent->add_subcommand(name, help);
        sub->fallthrough();
        sub->callback([options, run = std::move(run), &exit_status] {
            const Status done = run(*options);
            exit_status = done ? 0 : 1;
            if (!done) print_error(done.error());
        });
        return sub;
    };
    const auto group = [](CLI::App* parent, const std::string& name, const std::string& help) {
        CLI::App* sub = parent->add_subcommand(name, help);
        sub->require_subcommand(1);
        sub->fallthrough();
        return sub;
    };
    const auto names = [options](CLI::App* sub, const std::string& what, bool required = true) {
        auto* option = sub->add_option(what, options->names, "");
        if (required) option->required();
    };
    const auto waiting = [options](CLI::App* sub) {
        sub->add_flag("--no-wait", options->no_wait, "return before the agents are ready");
        sub->add_option("--timeout", options->timeout_seconds, "seconds to wait for the agents")->capture_default_str();
    };
    const auto pod_options = [options](CLI::App* sub) {
        sub->add_option("-n,--namespace", options->name_space, "namespace")->capture_default_str();
    };

    CLI::App* sub = command(root, "up", "Bring a cluster up", up);
    sub->add_option("-f,--file", options->file, "YAML file of the cluster; options here override it");
    sub->add_option("--nodes", options->nodes, "number of nodes (default: 3)");
    sub->add_option("--families", options->families, "dual, ipv4 or ipv6 (default: dual)");
    sub->add_option("--routing", options->routing, "vxlan, geneve or native (default: vxlan)");
    sub->add_option("--mtu", options->mtu, "of the underlay (default: 1500)");
    sub->add_option("--second-segment", options->second_segment_nodes,
                    "how many of the last nodes stand behind a router");
    sub->add_option("--agent-flag", options->agent_flags, "a further flag for every agent")->allow_extra_args(false);
    sub->add_option("--operator-flag", options->operator_flags, "a further flag for the operator")
        ->allow_extra_args(false);
    sub->add_flag("--no-processes", options->no_processes, "machines and wires only");
    sub->add_flag("--keep", options->keep, "leave what is there when something fails");
    waiting(sub);
    sub = command(root, "down", "Take a cluster down and leave nothing behind", down);
    sub->add_flag("--all", options->all, "every cluster of this machine");
    sub->add_option("--keep-logs", options->keep_logs, "copy the logs to this directory first");
    command(root, "status", "Nodes, processes and pods", status);
    command(root, "list", "Clusters of this machine", list);
    names(command(root, "logs", "Log of the operator, the relay or a node's agent", logs), "process");
    sub = command(root, "apply", "Put manifests into the cluster's store", apply);
    names(sub, "file");
    sub->add_flag("--raw", options->raw, "copy the file as it is, without a look at it");
    sub = command(root, "delete", "Take manifests out of the cluster's store", remove_manifests);
    names(sub, "file");
    sub->add_flag("--raw", options->raw, "remove the file of this name that `apply --raw` copied");

    CLI::App* exec_command = root->add_subcommand("exec", "Run a command in a node, a pod, outside or the underlay");
    // Everything from the first word on is the command's, so this one cannot hand options up to its parent.
    exec_command->fallthrough(false)->prefix_command();
    exec_command->add_option("--cluster", options->cluster, "name of the cluster");
    exec_command->callback([options, exec_command, &exit_status] {
        if (const Status done = exec(*options, exec_command->remaining()); !done) {
            print_error(done.error());
            exit_status = 1;
        }
    });

    CLI::App* pod = group(root, "pod", "Pods");
    sub = command(pod, "add", "Create pods and call CNI ADD", pod_add);
    names(sub, "name");
    pod_options(sub);
    sub->add_option("--node", options->node, "where (default: the first node)");
    sub->add_option("-l,--labels", options->labels, "a=b,c=d");
    sub->add_option("--annotations", options->annotations, "a=b,c=d");
    sub->add_option("--ports", options->ports, "named ports of its container: http=8080/TCP,dns=53/UDP");
    sub->add_option("--uid", options->uids,
                    "of a Pod that an API server has: none is written to the store; one for each name")
        ->allow_extra_args(false);
    sub->add_flag("--parallel", options->parallel, "all CNI calls at once");
    sub = command(pod, "del", "Call CNI DEL and remove pods", pod_del);
    names(sub, "name");
    pod_options(sub);
    sub = command(pod, "check", "Call CNI CHECK", pod_check);
    names(sub, "name");
    pod_options(sub);
    command(pod, "list", "Pods of the cluster", pod_list);

    CLI::App* node = group(root, "node", "Nodes");
    sub = command(node, "add", "Add nodes and start their agents", node_add);
    names(sub, "name");
    sub->add_option("--segment", options->segment, "1, or 2: behind a router")->check(CLI::Range(1, 2));
    sub->add_option("--agent-flag", options->agent_flags, "a further flag for the agents")->allow_extra_args(false);
    sub->add_flag("--no-agent", options->no_agent, "the machine only");
    waiting(sub);
    names(command(node, "del", "Power nodes off and remove them", node_del), "name");

    CLI::App* agent = group(root, "agent", "Agents");
    sub = command(agent, "start", "Start agents", agent_start);
    names(sub, "node", false);
    sub->add_flag("--all", options->all, "of every node");
    sub->add_option("--flag", options->flags, "a further flag")->allow_extra_args(false);
    waiting(sub);
    sub = command(agent, "stop", "End agents with SIGTERM",
                  [](const Options& o) { return agent_stop(o, milliseconds(5000)); });
    names(sub, "node", false);
    sub->add_flag("--all", options->all, "of every node");
    sub = command(agent, "kill", "End agents with SIGKILL",
                  [](const Options& o) { return agent_stop(o, milliseconds(0)); });
    names(sub, "node", false);
    sub->add_flag("--all", options->all, "of every node");

    CLI::App* op = group(root, "operator", "The operator");
    sub = command(op, "start", "Start it", operator_start);
    sub->add_option("--node", options->node, "on this node (default: the first)");
    sub->add_option("--flag", options->flags, "a further flag")->allow_extra_args(false);
    command(op, "stop", "End it with SIGTERM", [](const Options& o) { return operator_stop(o, milliseconds(5000)); });
    command(op, "kill", "End it with SIGKILL", [](const Options& o) { return operator_stop(o, milliseconds(0)); });

    CLI::App* relay = group(root, "relay", "Hubble's relay, and the page that it serves to this machine");
    sub = command(relay, "start", "Start it", relay_start);
    sub->add_option("--node", options->node, "on this node (default: the first)");
    sub->add_option("--port", options->port,
                    "of 127.0.0.1, for the page (default: 8081, or a free one); 0: a free one");
    sub->add_option("--flag", options->flags, "a further flag")->allow_extra_args(false);
    sub->add_option("--timeout", options->timeout_seconds, "seconds to wait for it")->capture_default_str();
    command(relay, "stop", "End it with SIGTERM", [](const Options& o) { return relay_stop(o, milliseconds(5000)); });
    command(relay, "kill", "End it with SIGKILL", [](const Options& o) { return relay_stop(o, milliseconds(0)); });
}

}  // namespace axo
