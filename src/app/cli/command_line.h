// Declaring commands. A thin face over CLI11, so that one file pays for its header.
//
// Variables that options write to must live until the command has run: keep them in a shared_ptr that the
// command's callable holds. Errors of a command go to standard error as "Error: …" and give exit status 1.
// Thread: main's.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"

namespace CLI {
class App;
}

namespace axo::cli {

class Context;

class Command {
public:
    Command(CLI::App* app, Context& context) : app_(app), context_(&context) {}

    // A command with subcommands only; without one it prints its help.
    Command group(const std::string& name, const std::string& help) const;
    Command command(const std::string& name, const std::string& help, std::function<Status()> run) const;
    const Command& alias(const std::string& name) const;
    const Command& flag(const std::string& names, bool& value, const std::string& help) const;
    const Command& option(const std::string& names, std::string& value, const std::string& help) const;
    const Command& option(const std::string& names, std::vector<std::string>& values, const std::string& help) const;
    const Command& positional(const std::string& name, std::string& value, const std::string& help,
                              bool required = true) const;
    const Command& positional(const std::string& name, std::vector<std::string>& values, const std::string& help) const;
    // "-o,--output": json, yaml, jsonpath=…
    const Command& output(std::string& value) const;
    // Known to Cilium's users and without meaning here: accepted, not shown.
    const Command& ignored_flag(const std::string& names) const;
    [[nodiscard]] Context& context() const { return *context_; }
    [[nodiscard]] CLI::App* app() const { return app_; }

private:
    CLI::App* app_;
    Context* context_;
};

}  // namespace axo::cli
