// axoneme: the command line. Called as cilium, cilium-dbg or cilium-health it answers those tools' commands.
#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <iostream>

#include "app/cli/commands.h"
#include "app/cli/context.h"
#include "base/log.h"

namespace axo::cli {
namespace {

std::string file_name(const char* path) {
    const std::string_view text = path == nullptr ? "" : path;
    const std::size_t slash = text.rfind('/');
    return std::string(slash == std::string_view::npos ? text : text.substr(slash + 1));
}

int run(int argc, char** argv) {
    Context context;
    const std::string called_as = argc > 0 ? file_name(argv[0]) : "";
    if (called_as == "cilium" || called_as == "cilium-dbg" || called_as == "cilium-health") context.program = called_as;

    CLI::App app("Axoneme: eBPF networking for containers, compatible with Cilium", context.program);
    app.require_subcommand(0, 1);
    app.fallthrough();  // -H and -D are accepted behind the command too
    app.add_option("-H,--host", context.host, "the agent: unix:///path/to.sock, a path, or http://127.0.0.1:port");
    app.add_option("--bpf-root", context.bpf_root, "where bpffs is mounted")->capture_default_str();
    app.add_flag("-D,--debug", context.debug, "log what is done to standard error");
    const Command root(&app, context);
    add_all_commands(root);

    std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
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
