// `preflight` and `cleanup`: the agent's own program does them, as it knows what it needs and what it leaves.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>

#include "app/cli/node_upkeep_commands.h"
#include "app/cli/context.h"

namespace axo::cli {
namespace {

// Beside this program, else by PATH.
Status run_agent(std::vector<std::string> arguments) {
    std::error_code error;
    const auto beside = std::filesystem::read_symlink("/proc/self/exe", error).parent_path() / "axoneme-agent";
    std::string program = std::filesystem::exists(beside, error) ? beside.string() : "axoneme-agent";
    arguments.insert(arguments.begin(), program);
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    ::execvp(program.c_str(), argv.data());
    return fail_errno("run " + program);
}

// Its options are the agent's, so they are handed over as they are.
Command add(const Command& root, const std::string& name, const std::string& help) {
    struct State {
        CLI::App* app = nullptr;
        bool help = false;
    };
    const auto state = std::make_shared<State>();
    const Command command = root.command(name, help, [state, name, &context = root.context()]() -> Status {
        std::vector<std::string> arguments{name};
        for (const std::string& argument : state->app->remaining()) arguments.push_back(argument);
        if (state->help) arguments.emplace_back("--help");
        if (context.bpf_root != "/sys/fs/bpf") arguments.push_back("--bpf-root=" + context.bpf_root);
        return run_agent(std::move(arguments));
    });
    state->app = command.app();
    state->app->allow_extras();
    state->app->fallthrough(false);  // nothing is taken for the CLI itself
    state->app->set_help_flag();
    return command.flag("-h,--help", state->help, "what it accepts");
}

}  // namespace

void add_node_upkeep_commands(const Command& root) {
    add(root, "preflight", "Find what will not work on this node, before anything is touched");
    add(root, "cleanup", "Take from this node what the agent put there").alias("post-uninstall-cleanup");
}

}  // namespace axo::cli
