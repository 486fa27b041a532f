#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "app/agent/cleanup/cleanup.h"
#include "app/agent/control_plane.h"
#include "app/agent/instance_lock.h"
#include "app/agent/node_record.h"
#include "app/agent/preflight/findings.h"
#include "app/agent/prepare_node.h"
#include "base/version.h"
#include "kernel/procfs.h"
#include "runtime/heap_trimmer.h"

namespace {

int refuse(const axo::Error& error) {
    std::fprintf(stderr, "axoneme-agent: %s\n", error.message.c_str());
    return 1;
}

int prepare(const std::vector<std::string>& arguments) {
    const auto wanted = axo::parse_node_preparation(arguments);
    if (!wanted) return refuse(wanted.error());
    if (auto done = axo::prepare_node(*wanted); !done)
        return refuse(std::move(done).error().with_context("prepare-node"));
    return 0;
}

// For a pod whose init containers do the work, and that is to stay ready afterwards. A first process has no default
// handlers.
int pause_until_told() {
    std::signal(SIGTERM, [](int) { std::_Exit(0); });
    std::signal(SIGINT, [](int) { std::_Exit(0); });
    for (;;) ::pause();
}

int report_valid(const std::vector<std::string>& warnings) {
    for (const std::string& warning : warnings) std::printf("warning: %s\n", warning.c_str());
    std::puts("the configuration is valid");
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    const auto started_at = std::chrono::steady_clock::now();
    // What `axoneme preflight` and `axoneme cleanup` run: the agent knows best what it needs and what it leaves.
    const std::string_view command = argc > 1 ? argv[1] : "";
    if (command == "prepare-node") return prepare({argv + 2, argv + argc});
    if (command == "preflight") return axo::preflight::preflight_command({argv + 2, argv + argc});
    if (command == "cleanup") return axo::cleanup_command({argv + 2, argv + argc});
    if (command == "pause") return pause_until_told();
    std::vector<std::string> arguments(argv + 1, argv + argc);
    const bool check_only = std::erase(arguments, "--check-config") != 0;
    auto parsed = axo::parse_config(arguments, axo::process_environment());
    if (!parsed) return refuse(parsed.error());
    if (parsed->help || parsed->version) {
        std::fputs(
            parsed->help ? axo::config_help().c_str() : (std::string("axoneme-agent ") + axo::kVersion + "\n").c_str(),
            stdout);
        return 0;
    }
    if (check_only) return report_valid(parsed->warnings);
    const axo::Config& config = parsed->config;
    if (const auto procfs = config.given.find("procfs"); procfs != config.given.end()) axo::set_procfs(procfs->second);
    axo::set_log_level(config.log_level);
    axo::set_log_format(config.log_format);
    std::signal(SIGPIPE, SIG_IGN);
    const axo::Logger log("agent");
    for (const std::string& warning : parsed->warnings) log.warn("Configuration: " + warning);

    const auto lock = axo::lock_instance(config.state_dir);
    if (!lock) return refuse(lock.error());
    const auto bpf_lock = axo::lock_bpf_root(config.datapath.paths.root);
    if (!bpf_lock) return refuse(bpf_lock.error());
    if (auto remembered = axo::remember_node(config); !remembered)
        log.warn("An uninstall will not know what this node was like before", {remembered.error()});
    log.info("Starting", {{"version", axo::kVersion}, {"node", config.node_name}, {"cluster", config.cluster_name}});

    int outcome = 0;
    axo::EventLoop loop;
    const axo::HeapTrimmer trimmer(loop);
    axo::ControlPlane plane(loop, config, started_at);
    const auto fatal = [&](const axo::Error& error) {
        log.error("The agent cannot go on", {error});
        outcome = refuse(error);
        loop.stop();
    };
    const auto stop = [&](int signal_number) {
        log.info("Stopping; the datapath goes on without the agent", {{"signal", signal_number}});
        loop.stop();
    };
    const auto on_term = loop.on_signal(SIGTERM, stop);
    const auto on_int = loop.on_signal(SIGINT, stop);
    if (auto started = plane.start(fatal); !started) return refuse(started.error());
    loop.run();
    plane.stop();
    return outcome;
}
