#include "sandbox/cluster.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <set>

#include "base/file.h"
#include "io/listen_socket.h"
#include "sandbox/topology.h"

namespace axo::sandbox {
namespace {

namespace fs = std::filesystem;

fs::path root_of(const std::string& cluster) {
    return fs::path(kSandboxRoot) / cluster;
}
fs::path spec_file(const fs::path& root) {
    return root / "cluster.json";
}
fs::path process_file(const fs::path& root, const std::string& name) {
    return root / "processes" / (name + ".json");
}

std::vector<std::string> names_in(const fs::path& folder, const std::string& suffix) {
    std::vector<std::string> names;
    std::error_code error;
    for (auto entry = fs::directory_iterator(folder, error); !error && entry != fs::directory_iterator();
         entry.increment(error)) {
        const std::string name = entry->path().filename();
        if (name.ends_with(suffix)) names.push_back(name.substr(0, name.size() - suffix.size()));
    }
    std::ranges::sort(names);
    return names;
}

std::optional<ProcessId> recorded_process(const fs::path& root, const std::string& name) {
    auto text = read_file(process_file(root, name));
    if (!text) return std::nullopt;
    auto json = nlohmann::json::parse(*text, nullptr, false);
    if (!json.is_object()) return std::nullopt;
    return ProcessId{json.value("pid", 0), json.value("start-time", std::uint64_t{0})};
}

// The folder of the cluster; its existence is what makes a second `up` of the same name fail.
Status make_root(const std::string& name) {
    const fs::path root = root_of(name);
    for (int attempt = 0;; ++attempt) {
        TRY(make_directories(kSandboxRoot));
        if (::mkdir(root.c_str(), 0755) == 0) break;
        if (errno == EEXIST) {
            return fail(Code::kAlreadyExists,
                        "cluster '" + name + "' is there already; take it down first (axoneme sandbox down --cluster " +
                            name + ") or choose another --cluster name");
        }
        // Another cluster's `down` may have just removed the empty parent.
        if (errno != ENOENT || attempt == 10) return fail_errno("mkdir " + root.string());
    }
    if (::mount("tmpfs", root.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=512m") != 0) {
        const int err = errno;
        ::rmdir(root.c_str());
        return fail_errno("mounting tmpfs at " + root.string(), err);
    }
    // Pinned mount namespaces must not propagate into the namespaces they are.
    if (::mount("none", root.c_str(), nullptr, MS_PRIVATE, nullptr) != 0)
        return fail_errno("making " + root.string() + " private");
    return {};
}

// Inode numbers of the network namespaces pinned below a cluster's root, with the machine's name.
std::map<ino_t, std::string> pinned_netns(const fs::path& root) {
    std::map<ino_t, std::string> found;
    for (const auto& point : mounts_below(root / "machines")) {
        struct stat info{};
        if (fs::path(point).filename() == "net" && ::stat(point.c_str(), &info) == 0) {
            found[info.st_ino] = fs::path(point).parent_path().filename();
        }
    }
    return found;
}

Status check_nobody_left(const std::map<ino_t, std::string>& namespaces) {
    std::error_code error;
    for (auto entry = fs::directory_iterator("/proc", error); !error && entry != fs::directory_iterator();
         entry.increment(error)) {
        struct stat info{};
        const std::string pid = entry->path().filename();
        if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
        if (::stat((entry->path() / "ns/net").c_str(), &info) != 0) continue;
        const auto found = namespaces.find(info.st_ino);
        if (found == namespaces.end()) continue;
        std::string command = read_file(entry->path() / "comm").value_or("?");
        while (command.ends_with('\n')) command.pop_back();
        return fail(Code::kFailedPrecondition, "the cluster is down, but process " + pid + " (" + command +
                                                   "), which the sandbox did not start, " +
                                                   "still holds the network namespace of " + found->second +
                                                   "; end it");
    }
    return {};
}

std::string joined(const char* what, bool value) {
    return std::string("--") + what + "=" + (value ? "true" : "false");
}

}  // namespace

Result<Binaries> Binaries::beside_this_program() {
    std::error_code error;
    const fs::path self = fs::read_symlink("/proc/self/exe", error);
    if (error) return fail(Code::kInternal, "reading /proc/self/exe: " + error.message());
    return Binaries{self.parent_path()};
}

std::vector<std::string> agent_arguments(const ClusterSpec& spec, const NodeSpec& node) {
    std::vector<std::string> flags = {
        "--object-store=dir:" + std::string(kStoreInNode),
        "--k8s-node-name=" + node.name,
        joined("enable-ipv4", spec.ipv4()),
        joined("enable-ipv6", spec.ipv6()),
        // Pods keep their addresses: the gateway has routes to them.
        "--enable-ipv4-masquerade=false",
        "--enable-ipv6-masquerade=false",
        "--write-cni-conf-when-ready=/etc/cni/net.d/05-cilium.conflist",
        // There are no certificates here, and nobody else on these networks.
        "--enable-hubble=true",
        "--hubble-listen-address=:4244",
        "--hubble-disable-tls=true",
    };
    if (spec.routing != Routing::kNative) {
        flags.emplace_back("--routing-mode=tunnel");
        flags.emplace_back("--tunnel-protocol=" + to_string(spec.routing));
    } else {
        flags.emplace_back("--routing-mode=native");
        flags.emplace_back("--auto-direct-node-routes=true");
        if (spec.has_segment(2)) flags.emplace_back("--direct-routing-skip-unreachable=true");
        if (spec.ipv4()) flags.emplace_back("--ipv4-native-routing-cidr=10.0.0.0/8");
        if (spec.ipv6()) flags.emplace_back("--ipv6-native-routing-cidr=fd00::/104");
    }
    for (const auto* more : {&spec.agent_flags, &node.agent_flags})
        flags.insert(flags.end(), more->begin(), more->end());
    return flags;
}

std::vector<std::string> operator_arguments(const ClusterSpec& spec) {
    std::vector<std::string> flags = {
        "--object-store=dir:" + std::string(kStoreInNode),
        joined("enable-ipv4", spec.ipv4()),
        joined("enable-ipv6", spec.ipv6()),
    };
    flags.insert(flags.end(), spec.operator_flags.begin(), spec.operator_flags.end());
    return flags;
}

std::vector<std::string> relay_arguments(int web_listener) {
    return {"--config=/dev/null",
            "--object-store=dir:" + std::string(kStoreInNode),
            "--peer-service=unix:///var/run/cilium/hubble.sock",
            "--listen-address=127.0.0.1:4245",
            "--web-listen-address=fd://" + std::to_string(web_listener),
            "--disable-client-tls",
            "--disable-server-tls"};
}

Cluster::Cluster(ClusterSpec spec) : spec_(std::move(spec)), root_(root_of(spec_.name)) {
    if (auto mount = cgroup2_mount()) cgroup_ = *mount / ("axoneme-" + spec_.name);
}

Machine Cluster::machine_of_node(const std::string& node) const {
    return {.host_name = node, .pins = root_ / "machines/nodes" / node, .cgroup = cgroup_ / node / "system"};
}

Machine Cluster::machine_of_pod(const std::string& name_space, const std::string& pod) const {
    const std::string key = name_space + "_" + pod;
    // Below its node's, as with any container runtime: what the node's agent attaches there holds for its pods.
    const auto record = nlohmann::json::parse(read_file(root_ / "pods" / (key + ".json")).value_or(""), nullptr, false);
    const fs::path node = record.is_object() ? record.value("node", "") : "";
    return {.host_name = pod, .pins = root_ / "machines/pods" / key, .cgroup = cgroup_ / node / "pods" / key};
}

Machine Cluster::underlay() const {
    return {.host_name = "underlay", .pins = root_ / "machines/underlay", .cgroup = cgroup_ / "underlay"};
}
Machine Cluster::outside() const {
    return {.host_name = "outside", .pins = root_ / "machines/outside", .cgroup = cgroup_ / "outside"};
}

Result<Machine> Cluster::find_machine(const std::string& target) const {
    std::string kind, rest = target;
    if (target.starts_with("node/") || target.starts_with("pod/")) {
        kind = target.substr(0, target.find('/'));
        rest = target.substr(target.find('/') + 1);
    }
    if (kind.empty() && rest == "outside") return outside();
    if (kind.empty() && rest == "underlay") return underlay();
    if (kind != "pod" && spec_.node(rest) != nullptr) return machine_of_node(rest);
    if (kind != "node") {
        const auto slash = rest.find('/');
        const Machine pod = slash == std::string::npos ? machine_of_pod("default", rest)
                                                       : machine_of_pod(rest.substr(0, slash), rest.substr(slash + 1));
        if (fs::exists(pod.net())) return pod;
    }
    std::string known;
    for (const auto& node : spec_.nodes) known += node.name + ", ";
    for (auto pod : names_in(root_ / "pods", ".json")) {
        std::ranges::replace(pod, '_', '/');
        known += (pod.starts_with("default/") ? pod.substr(8) : pod) + ", ";
    }
    return fail(Code::kNotFound,
                "cluster '" + spec_.name + "' has no '" + target + "'; there are " + known + "outside, underlay");
}

Result<Cluster> Cluster::create(const ClusterSpec& spec) {
    TRY(validate(spec));
    if (::geteuid() != 0) return fail(Code::kPermissionDenied, "a sandbox makes namespaces and mounts: run as root");
    TRY(cgroup2_mount());
    TRY(make_root(spec.name));
    Cluster cluster(spec);
    if (const Status status = cluster.build(); !status) {
        if (const Status undone = destroy(spec.name); !undone) {
            return forward_error(
                Error(status.error()).with_context("(and taking it down again: " + undone.error().message + ")"));
        }
        return forward_error(status.error());
    }
    return cluster;
}

Status Cluster::build() {
    for (const char* folder : {"store", "logs", "processes", "pods"}) TRY(make_directories(root_ / folder));
    TRY(save());
    TRY(create_plain_machine(underlay()));
    TRY(create_plain_machine(outside()));
    TRY(build_underlay(spec_, underlay().net(), outside().net()));
    for (const char* name : {"default", "kube-system"}) {
        const fs::path path = namespace_path(store(), name);
        TRY(make_directories(path.parent_path()));
        TRY(write_atomic(path, namespace_manifest(name)));
    }
    for (const auto& node : spec_.nodes) TRY(make_node_machine(node));
    return {};
}

Status Cluster::make_node_machine(const NodeSpec& node) {
    TRY_ASSIGN(const Binaries binaries, Binaries::beside_this_program());
    const Machine machine = machine_of_node(node.name);
    TRY(create_node_machine(machine, {.store = store(),
                                      .cni_plugin = binaries.cni(),
                                      .cgroup_root = cgroup_ / node.name,
                                      .sandbox_root = kSandboxRoot}));
    TRY(connect_node(spec_, node, underlay().net(), machine.net()));
    const fs::path path = node_path(store(), node.name);
    TRY(make_directories(path.parent_path()));
    return write_atomic(path, node_manifest(spec_, node));
}

Status Cluster::save() const {
    return write_atomic(spec_file(root_), nlohmann::json(spec_).dump(2) + "\n");
}

Result<Cluster> Cluster::open(const std::string& name) {
    TRY(validate_name("cluster name", name));
    auto text = read_file(spec_file(root_of(name)));
    if (!text) {
        if (text.error().code != Code::kNotFound) return forward_error(text.error());
        std::string known;
        for (const auto& other : list()) known += (known.empty() ? "" : ", ") + other;
        return fail(Code::kNotFound,
                    "there is no cluster '" + name + "'; " +
                        (known.empty() ? "bring it up: axoneme sandbox up --cluster " + name : "there are: " + known));
    }
    auto json = nlohmann::json::parse(*text, nullptr, false);
    TRY_ASSIGN(ClusterSpec spec, cluster_spec_from_json(json));
    return Cluster(std::move(spec));
}

std::vector<std::string> Cluster::list() {
    return names_in(kSandboxRoot, "");
}

Status Cluster::destroy(const std::string& name) {
    TRY(validate_name("cluster name", name));
    const fs::path root = root_of(name);
    std::vector<ProcessId> processes;
    for (const auto& process : names_in(root / "processes", ".json")) {
        if (auto id = recorded_process(root, process)) processes.push_back(*id);
    }
    // One failure must not keep the rest from being taken down; the first one is reported.
    Status first = stop_processes(processes, std::chrono::milliseconds(1000));
    const auto keep = [&](Status status) {
        if (!status && first) first = std::move(status);
    };
    if (auto mount = cgroup2_mount()) keep(destroy_cgroup(*mount / ("axoneme-" + name)));
    const auto namespaces = pinned_netns(root);
    while (!mounts_below(root).empty()) {
        if (::umount2(root.c_str(), MNT_DETACH) != 0) {
            keep(fail_errno("unmounting " + root.string()));
            break;
        }
    }
    if (::rmdir(root.c_str()) != 0 && errno != ENOENT) keep(fail_errno("removing " + root.string()));
    ::rmdir(kSandboxRoot);
    ::rmdir(fs::path(kSandboxRoot).parent_path().c_str());
    keep(check_nobody_left(namespaces));
    return first;
}

Status Cluster::add_node(const NodeSpec& node) {
    ClusterSpec wanted = spec_;
    wanted.nodes.push_back(node);
    TRY(validate(wanted));
    spec_ = std::move(wanted);
    // Known before it is made: `down` then finds whatever there is of it.
    TRY(save());
    return make_node_machine(node);
}

Status Cluster::remove_node(const std::string& name) {
    const NodeSpec* found = spec_.node(name);
    if (found == nullptr) return fail(Code::kNotFound, "cluster '" + spec_.name + "' has no node '" + name + "'");
    const NodeSpec node = *found;
    TRY(stop({agent_name(name)}, std::chrono::milliseconds(0)));
    TRY(destroy_cgroup(cgroup_ / name));
    for (const auto& pod : names_in(root_ / "pods", ".json")) {
        auto json = nlohmann::json::parse(read_file(root_ / "pods" / (pod + ".json")).value_or(""), nullptr, false);
        if (!json.is_object() || json.value("node", "") != name) continue;
        const Machine machine = machine_of_pod(json.value("namespace", ""), json.value("name", ""));
        TRY(destroy_cgroup(machine.cgroup));
        for (const auto& point : mounts_below(machine.pins)) ::umount2(point.c_str(), MNT_DETACH);
        std::error_code ignored;
        fs::remove_all(machine.pins, ignored);
        TRY(remove_file(pod_path(store(), json.value("namespace", ""), json.value("name", ""))));
        TRY(remove_file(root_ / "pods" / (pod + ".json")));
    }
    TRY(disconnect_node(node, underlay().net()));
    for (const auto& point : mounts_below(machine_of_node(name).pins)) ::umount2(point.c_str(), MNT_DETACH);
    std::error_code ignored;
    fs::remove_all(machine_of_node(name).pins, ignored);
    TRY(remove_file(node_path(store(), name)));
    std::erase_if(spec_.nodes, [&](const NodeSpec& other) { return other.name == name; });
    TRY(save());
    return sync_routes();
}

std::optional<ProcessId> Cluster::running(const std::string& process) const {
    auto id = recorded_process(root_, process);
    return id && is_alive(*id) ? id : std::nullopt;
}

std::vector<std::string> Cluster::processes() const {
    return names_in(root_ / "processes", ".json");
}

Status Cluster::start(const std::string& name, const std::string& node, std::vector<std::string> argv,
                      std::uint16_t port) {
    TRY_ASSIGN(const Binaries binaries, Binaries::beside_this_program());
    if (auto process = running(name)) {
        return fail(Code::kAlreadyExists, name + " is running already, as process " + std::to_string(process->pid));
    }
    if (!fs::exists(argv.front())) {
        return fail(Code::kNotFound,
                    argv.front() + " does not exist; the sandbox looks beside its own program: build it there");
    }
    const Machine machine = machine_of_node(node);
    const char* path = std::getenv("PATH");
    Command command;
    command.argv = std::move(argv);
    command.environment = {"K8S_NODE_NAME=" + node, "PATH=" + binaries.folder.string() + ":" +
                                                        (path != nullptr ? path : "/usr/sbin:/usr/bin:/sbin:/bin")};
    command.prepare = [&machine] { return enter(machine); };
    TRY_ASSIGN(const ProcessId process, spawn_detached(command, log_of(name)));
    return write_atomic(process_file(root_, name), nlohmann::json{{"pid", process.pid},
                                                                  {"start-time", process.start_time},
                                                                  {"node", node},
                                                                  {"port", port},
                                                                  {"argv", command.argv}}
                                                           .dump(2) +
                                                       "\n");
}

Status Cluster::check_node(const std::string& node) const {
    if (spec_.node(node) != nullptr) return {};
    return fail(Code::kNotFound, "cluster '" + spec_.name + "' has no node '" + node + "'");
}

Status Cluster::start_agent(const std::string& node, const std::vector<std::string>& more_flags) {
    TRY(check_node(node));
    TRY_ASSIGN(const Binaries binaries, Binaries::beside_this_program());
    std::vector<std::string> argv{binaries.agent()};
    for (const auto& flag : agent_arguments(spec_, *spec_.node(node))) argv.push_back(flag);
    argv.insert(argv.end(), more_flags.begin(), more_flags.end());
    return start(agent_name(node), node, std::move(argv));
}

Status Cluster::start_operator(const std::string& on_node, const std::vector<std::string>& more_flags) {
    TRY(check_node(on_node));
    TRY_ASSIGN(const Binaries binaries, Binaries::beside_this_program());
    std::vector<std::string> argv{binaries.operator_()};
    for (const auto& flag : operator_arguments(spec_)) argv.push_back(flag);
    argv.insert(argv.end(), more_flags.begin(), more_flags.end());
    return start(kOperator, on_node, std::move(argv));
}

Result<std::uint16_t> Cluster::start_relay(const std::string& on_node, std::optional<std::uint16_t> port,
                                           const std::vector<std::string>& more_flags,
                                           std::chrono::milliseconds limit) {
    TRY(check_node(on_node));
    TRY_ASSIGN(const Binaries binaries, Binaries::beside_this_program());
    // Made here, in this machine's network namespace, where it stays whatever the process that inherits it enters.
    const IpAddress loopback = IpAddress::parse("127.0.0.1").value();
    auto listener = open_tcp_listener(loopback, port.value_or(kRelayPort));
    if (!listener && !port) listener = open_tcp_listener(loopback, 0);
    if (!listener) return forward_error(std::move(listener).error().with_context("the relay's port"));
    if (::fcntl(listener->get(), F_SETFD, 0) != 0) return fail_errno("fcntl(F_SETFD)");
    const std::uint16_t listening = local_port(listener->get());
    std::vector<std::string> argv{binaries.relay()};
    for (const auto& flag : relay_arguments(listener->get())) argv.push_back(flag);
    argv.insert(argv.end(), more_flags.begin(), more_flags.end());
    TRY(start(kRelay, on_node, std::move(argv), listening));
    listener->reset();
    TRY(wait_for_relay(listening, limit));
    return listening;
}

std::optional<std::string> Cluster::relay_url() const {
    if (!running(kRelay)) return std::nullopt;
    const auto record = nlohmann::json::parse(read_file(process_file(root_, kRelay)).value_or(""), nullptr, false);
    if (!record.is_object()) return std::nullopt;
    return "http://127.0.0.1:" + std::to_string(record.value("port", 0)) + "/";
}

Status Cluster::stop(const std::vector<std::string>& names, std::chrono::milliseconds grace) {
    std::vector<ProcessId> ids;
    for (const auto& name : names) {
        if (auto id = running(name)) ids.push_back(*id);
    }
    TRY(stop_processes(ids, grace));
    for (const auto& name : names) TRY(remove_file(process_file(root_, name)));
    return {};
}

Status Cluster::sync_routes() const {
    std::vector<PodCidr> cidrs;
    for (const auto& node : spec_.nodes) {
        for (const auto& prefix : pod_cidrs_of(store(), node.name)) {
            if (prefix.family() == Family::kIpv4 ? spec_.ipv4() : spec_.ipv6()) cidrs.push_back({prefix, node});
        }
    }
    TRY(sync_pod_routes(underlay().net(), cidrs));
    return {};
}

}  // namespace axo::sandbox
