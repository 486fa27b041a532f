// axoneme: the command line. Called as cilium, cilium-dbg, cilium-health or hubble it answers those tools' commands.
#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <optional>

#include "app/cli/commands.h"
#include "app/cli/context.h"
#include "app/cli/observe/hubble.h"
#include "base/log.h"

namespace axo::cli {
namespace {

std::string file_name(const char* path) {
    const std::string_view text = path == nullptr ? "" : path;
    const std::size_t slash = text.rfind('/');
    return std::string(slash == std::string_view::npos ? text : text.substr(slash + 1));
}

// Hubble's commands parse their own arguments. Flows come from the relay, or for `axoneme observe` on a node from its
// agent.
int hubble(const std::string& program, bool prefer_agent, const Context& context,
           const std::vector<std::string>& arguments) {
    std::string server = "localhost:4245";
    const std::string agent = context.address();
    if (prefer_agent && agent.starts_with("unix://")) {
        const std::string socket = agent.substr(7, agent.rfind('/') - 6) + "hubble.sock";
        std::error_code none;
        if (!context.host.empty() || std::filesystem::exists(socket, none)) server = "unix://" + socket;
    }
    if (const Status done = run_hubble(program, server, arguments); !done) {
        std::fprintf(stderr, "Error: %s\n", done.error().message.c_str());
        return 1;
    }
    return 0;
}

struct HubbleCall {
    std::string program;
    std::vector<std::string> arguments;
};

// `axoneme [-H agent] [-D] observe …` and `axoneme hubble …`.
std::optional<HubbleCall> hubble_arguments(const std::vector<std::string>& arguments, Context& context) {
    std::size_t at = 0;
    std::string host;
    std::vector<std::string> own;
    for (; at < arguments.size() && arguments[at].starts_with('-'); ++at) {
        if ((arguments[at] == "-H" || arguments[at] == "--host") && at + 1 < arguments.size())
            host = arguments[++at];
        else if (arguments[at].starts_with("--host="))
            host = arguments[at].substr(7);
        else if (arguments[at] == "-D" || arguments[at] == "--debug")
            own.emplace_back("--debug");
        else
            return std::nullopt;
    }
    if (at >= arguments.size() || (arguments[at] != "observe" && arguments[at] != "hubble")) return std::nullopt;
    context.host = host;
    const bool group = arguments[at] == "hubble";
    own.insert(own.begin(), arguments.begin() + static_cast<std::ptrdiff_t>(at) + (group ? 1 : 0), arguments.end());
    return HubbleCall{group ? "axoneme hubble" : "axoneme", std::move(own)};
}

int run(int argc, char** argv) {
    Context context;
    const std::string called_as = argc > 0 ? file_name(argv[0]) : "";
    if (called_as == "hubble") return hubble("hubble", false, context, {argv + 1, argv + argc});
    if (called_as == "cilium" || called_as == "cilium-dbg" || called_as == "cilium-health") context.program = called_as;

    std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
    if (const auto own = context.program == "axoneme" ? hubble_arguments(arguments, context) : std::nullopt)
        return hubble(own->program, own->program == "axoneme" || !context.host.empty(), context, own->arguments);

    CLI::App app("Axoneme: eBPF networking for containers, compatible with Cilium", context.program);
    app.require_subcommand(0, 1);
    app.fallthrough();  // -H and -D are accepted behind the command too
    app.add_option("-H,--host", context.host, "the agent: unix:///path/to.sock, a path, or http://127.0.0.1:port");
    app.add_option("--bpf-root", context.bpf_root, "where bpffs is mounted")->capture_default_str();
    app.add_flag("-D,--debug", context.debug, "log what is done to standard error");
    const Command root(&app, context);
    add_all_commands(root);

    // `cilium-health status` is `axoneme health status`.
    if (context.program == "cilium-health") arguments.insert(arguments.begin(), "health");
    if (arguments.empty()) {
        std::cout << app.help();
        return 0;
    }
    std::reverse(arguments.begin(), arguments.end());  // as CLI11 takes them
    try {
        app.parse(arguments);
    } catch (const CLI::Success& help) {
        return app.exit(help);
    } catch (const CLI::ExtrasError& extras) {
        // The words in front of the one that nobody knows.
        std::string path = context.program;
        for (const CLI::App* at = &app; !at->get_subcommands().empty();) {
            at = at->get_subcommands().front();
            path += " " + at->get_name();
        }
        const std::vector<std::string> unknown = app.remaining(true);
        std::fprintf(stderr, "Error: unknown %s \"%s\" for \"%s\"\nRun '%s --help' for usage.\n",
                     !unknown.empty() && unknown.front().starts_with('-') ? "flag" : "command",
                     unknown.empty() ? "" : unknown.front().c_str(), path.c_str(), path.c_str());
        return 1;
    } catch (const CLI::ParseError& error) {
        std::fprintf(stderr, "Error: %s\nRun '%s --help' for usage.\n", error.what(), context.program.c_str());
        return 1;
    }
    return context.exit_status;
}

}  // namespace
}  // namespace axo::cli

int main(int argc, char** argv) {
    std::signal(SIGPIPE, SIG_IGN);
    try {
        return axo::cli::run(argc, argv);
    } catch (const std::exception& failure) {
        std::fprintf(stderr, "Error: internal error: %s\n", failure.what());
        return 1;
    }
}
