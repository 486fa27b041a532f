#include "app/cli/command_line.h"

#include <CLI/CLI.hpp>
#include <cstdio>

#include "app/cli/context.h"

namespace axo::cli {

Command Command::group(const std::string& name, const std::string& help) const {
    CLI::App* group = app_->add_subcommand(name, help);
    // Help on standard output with status 0, as cobra does for a command that only groups.
    group->callback([group] {
        if (group->get_subcommands().empty()) throw CLI::CallForHelp();
    });
    return {group, *context_};
}

Command Command::command(const std::string& name, const std::string& help, std::function<Status()> run) const {
    CLI::App* command = app_->add_subcommand(name, help);
    command->callback([run = std::move(run), context = context_] {
        const Status status = run();
        if (status) return;
        std::fprintf(stderr, "Error: %s\n", status.error().message.c_str());
        context->exit_status = 1;
    });
    return {command, *context_};
}

const Command& Command::alias(const std::string& name) const {
    app_->alias(name);
    return *this;
}

const Command& Command::flag(const std::string& names, bool& value, const std::string& help) const {
    app_->add_flag(names, value, help);
    return *this;
}

const Command& Command::option(const std::string& names, std::string& value, const std::string& help) const {
    app_->add_option(names, value, help);
    return *this;
}

const Command& Command::option(const std::string& names, std::vector<std::string>& values,
                               const std::string& help) const {
    // One value each time, commas separate more: `-t drop -t trace`, `-t drop,trace`.
    app_->add_option(names, values, help)->delimiter(',')->expected(1)->take_all();
    return *this;
}

const Command& Command::positional(const std::string& name, std::string& value, const std::string& help,
                                   bool required) const {
    app_->add_option(name, value, help)->required(required);
    return *this;
}

const Command& Command::positional(const std::string& name, std::vector<std::string>& values,
                                   const std::string& help) const {
    app_->add_option(name, values, help);
    return *this;
}

const Command& Command::output(std::string& value) const {
    app_->add_option("-o,--output", value, "json | yaml | jsonpath='{.path}'");
    return *this;
}

const Command& Command::ignored_flag(const std::string& names) const {
    app_->add_flag(names)->group("");
    return *this;
}

}  // namespace axo::cli
