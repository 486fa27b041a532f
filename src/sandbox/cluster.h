// A sandbox cluster: machines, wires, manifests and processes, and where all of them are kept.
//
// Everything of a cluster lives in one private tmpfs, /run/axoneme/sandbox/NAME (state, store, logs, pinned
// namespaces), and one cgroup, axoneme-NAME; taking it down needs nothing but the name, whatever state it is in.
// Thread: single-threaded programs (functions fork).
#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "sandbox/machine.h"
#include "sandbox/manifests.h"
#include "sandbox/process.h"
#include "sandbox/spec.h"

namespace axo::sandbox {

inline constexpr const char* kSandboxRoot = "/run/axoneme/sandbox";

// The executables that a cluster runs; siblings of the running one.
struct Binaries {
    std::filesystem::path folder;
    static Result<Binaries> beside_this_program();
    [[nodiscard]] std::filesystem::path agent() const { return folder / "axoneme-agent"; }
    [[nodiscard]] std::filesystem::path operator_() const { return folder / "axoneme-operator"; }
    [[nodiscard]] std::filesystem::path cni() const { return folder / "axoneme-cni"; }
    [[nodiscard]] std::filesystem::path relay() const { return folder / "axoneme-relay"; }
};

// What a process is started with; pure.
std::vector<std::string> agent_arguments(const ClusterSpec& spec, const NodeSpec& node);
std::vector<std::string> operator_arguments(const ClusterSpec& spec);
// It serves its page and web API on `web_listener`, an inherited descriptor.
std::vector<std::string> relay_arguments(int web_listener);

class Cluster {
public:
    // Machines, wires and manifests, no processes. On failure whatever was made is taken down again.
    static Result<Cluster> create(const ClusterSpec& spec);
    static Result<Cluster> open(const std::string& name);
    // Names of the clusters on this machine, broken ones included.
    static std::vector<std::string> list();
    // Ends processes, removes namespaces, mounts, links, cgroups and files. Absent or half made: success.
    static Status destroy(const std::string& name);

    [[nodiscard]] const ClusterSpec& spec() const { return spec_; }
    [[nodiscard]] const std::filesystem::path& root() const { return root_; }
    [[nodiscard]] std::filesystem::path store() const { return root_ / "store"; }
    [[nodiscard]] std::filesystem::path log_of(const std::string& process) const {
        return root_ / "logs" / (process + ".log");
    }
    [[nodiscard]] Machine machine_of_node(const std::string& node) const;
    [[nodiscard]] Machine machine_of_pod(const std::string& name_space, const std::string& pod) const;
    [[nodiscard]] Machine underlay() const;
    [[nodiscard]] Machine outside() const;
    // "node1", "node/node1", "web", "ns/web", "pod/ns/web", "outside", "underlay". Nodes come before pods of the same
    // name.
    [[nodiscard]] Result<Machine> find_machine(const std::string& target) const;

    Status add_node(const NodeSpec& node);
    Status remove_node(const std::string& node);

    // A process of the cluster by name: "operator", "relay", "agent-NODE". Starting what runs already is an error.
    Status start_agent(const std::string& node, const std::vector<std::string>& more_flags);
    Status start_operator(const std::string& on_node, const std::vector<std::string>& more_flags);
    // In the node, but its page is served on a loopback port of this machine, for this machine's browser. Port: what is
    // listened on; without one 8081, or any free one where somebody has that. Returns when it serves.
    Result<std::uint16_t> start_relay(const std::string& on_node, std::optional<std::uint16_t> port,
                                      const std::vector<std::string>& more_flags, std::chrono::milliseconds limit);
    // Of a relay that runs; "http://127.0.0.1:8081/".
    [[nodiscard]] std::optional<std::string> relay_url() const;
    // Without grace: SIGKILL at once. Not running: success.
    Status stop(const std::vector<std::string>& processes, std::chrono::milliseconds grace);
    [[nodiscard]] std::vector<std::string> processes() const;
    [[nodiscard]] std::optional<ProcessId> running(const std::string& process) const;
    static std::string agent_name(const std::string& node) { return "agent-" + node; }
    static constexpr const char* kOperator = "operator";
    static constexpr const char* kRelay = "relay";
    static constexpr std::uint16_t kRelayPort = 8081;

    // Until the agents of these nodes are healthy, have written their CNI configuration, and know every node.
    // A process that ended, or the limit: an error with the last lines of the log.
    Status wait_ready(const std::vector<std::string>& nodes, std::chrono::milliseconds limit);
    // The gateway's routes to pods as the CiliumNodes have them now.
    Status sync_routes() const;

private:
    explicit Cluster(ClusterSpec spec);
    Status build();
    Status save() const;
    Status make_node_machine(const NodeSpec& node);
    // port: kept beside the process.
    Status start(const std::string& name, const std::string& node, std::vector<std::string> argv,
                 std::uint16_t port = 0);
    [[nodiscard]] Status check_node(const std::string& node) const;
    [[nodiscard]] std::string last_lines_of_log(const std::string& process) const;
    [[nodiscard]] Result<bool> agent_ready(const std::string& node) const;
    Status wait_for_relay(std::uint16_t port, std::chrono::milliseconds limit);

    ClusterSpec spec_;
    std::filesystem::path root_;
    std::filesystem::path cgroup_;
};

}  // namespace axo::sandbox
