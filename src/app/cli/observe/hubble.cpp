#include "app/cli/observe/hubble.h"

#include <algorithm>

#include "app/cli/observe/observe_command.h"
#include "app/cli/observe/server_commands.h"
#include "app/cli/observe/settings.h"
#include "app/cli/observe/write_text.h"
#include "app/cli/output/format.h"
#include "hubble/text/version.h"

namespace axo::cli {
namespace {

constexpr const char* kUsage =
    "Observe the flows of a cluster: who talks to whom, what was dropped, and why.\n\n"
    "Usage:\n  PROGRAM COMMAND [flags]\n\nCommands:\n"
    "  observe [flows]              Flows of a Hubble server (an agent or the relay)\n"
    "  observe agent-events         What the agent did\n"
    "  observe debug-events         Debug records of the datapath\n"
    "  status                       Whether the server is well, and its figures\n"
    "  list nodes|namespaces        Nodes of the cluster; namespaces with recent flows\n"
    "  watch peers                  Hubble peers, and every change of them\n"
    "  config view|get|set|reset    The config file\n"
    "  version                      The version of this program\n\n"
    "'PROGRAM COMMAND --help' shows the flags of a command.\n";

std::string with_program(std::string text, const std::string& program) {
    for (std::size_t at = text.find("PROGRAM"); at != std::string::npos; at = text.find("PROGRAM", at))
        text.replace(at, 7, program);
    return text;
}

class Hubble {
public:
    Hubble(std::string program, const std::string& server)
        : program_(std::move(program)), settings_(server), observe_(settings_) {
        output_.text("output", 'o', output_form_, "Output format");
        help_.boolean("help", 'h', show_help_, "Show the flags");
    }

    Status run(const std::vector<std::string>& arguments) {
        TRY_ASSIGN(const std::vector<std::string> command, find_command(arguments));
        if (command.empty()) {
            write_text(with_program(kUsage, program_));
            return {};
        }
        std::vector<const FlagSet*> sets = flags_of(command);
        sets.push_back(&help_);
        TRY_ASSIGN(const std::vector<std::string> words, parse_flags(sets, arguments));
        if (show_help_) {
            write_text("Usage:\n  " + program_ + " " + join(command, " ") + " [flags]\n");
            for (const FlagSet* set : sets)
                if (!set->flags().empty()) write_text("\n" + set->usage());
            return {};
        }
        const std::vector<std::string> rest(
            words.begin() + static_cast<std::ptrdiff_t>(std::min(command.size(), words.size())), words.end());
        if (command.front() != "config" || command.size() < 2 || command[1] == "view")
            if (!rest.empty())
                return fail(Code::kInvalidArgument, "unknown command \"" + rest.front() + "\" for \"" + program_ + " " +
                                                        join(command, " ") + "\"");
        // The file may be what `config` is to repair.
        if (Status loaded = settings_.load(); !loaded && !(command.front() == "config" && command.back() != "view"))
            return loaded;
        return dispatch(command, rest);
    }

private:
    // The longest run of words that is a command: {"observe", "agent-events"}. It decides which flags there are, so it
    // is looked for first, among the words that no flag takes as its value.
    Result<std::vector<std::string>> find_command(const std::vector<std::string>& arguments) {
        static const std::vector<std::vector<std::string>> kCommands = {
            {"observe"},
            {"observe", "flows"},
            {"observe", "agent-events"},
            {"observe", "debug-events"},
            {"status"},
            {"list", "nodes"},
            {"list", "namespaces"},
            {"watch", "peers"},
            {"config", "view"},
            {"config", "get"},
            {"config", "set"},
            {"config", "reset"},
            {"version"},
            {"record"},
            {"list", "node"},
            {"watch", "peer"},
        };
        std::vector<std::string> words;
        for (std::size_t i = 0; i < arguments.size() && words.size() < 2; ++i) {
            const std::string& argument = arguments[i];
            if (argument == "--") break;
            if (argument.starts_with('-') && argument.size() > 1) {
                if (takes_value(argument)) ++i;
                continue;
            }
            words.push_back(argument);
        }
        if (words.empty() || words.front() == "help") return std::vector<std::string>{};
        if (words.size() == 2 && std::ranges::find(kCommands, words) != kCommands.end()) return words;
        if (std::ranges::find(kCommands, std::vector{words.front()}) != kCommands.end())
            return std::vector{words.front()};
        const bool group =
            std::ranges::any_of(kCommands, [&](const auto& known) { return known.front() == words.front(); });
        if (group && words.size() == 1) {
            if (words.front() == "config") return std::vector<std::string>{"config", "view"};
            return fail(Code::kInvalidArgument, "'" + program_ + " " + words.front() + "' needs a command: " +
                                                    (words.front() == "list" ? "nodes or namespaces" : "peers"));
        }
        return fail(Code::kInvalidArgument, "unknown command \"" + words.back() + "\" for \"" + program_ +
                                                (group ? " " + words.front() : "") + "\"");
    }

    bool takes_value(const std::string& argument) {
        if (argument.find('=') != std::string::npos) return false;
        for (const FlagSet* set : observe_.flag_sets("flows"))
            for (const Flag& flag : set->flags()) {
                if (argument.starts_with("--") ? argument.substr(2) == flag.name
                                               : flag.shorthand != 0 && argument.back() == flag.shorthand)
                    return flag.if_bare.empty();
            }
        return false;
    }

    std::vector<const FlagSet*> flags_of(const std::vector<std::string>& command) {
        if (command.front() == "observe") return observe_.flag_sets(command.size() == 2 ? command[1] : "flows");
        if (command.front() == "status")
            output_form_ = "compact";
        else
            output_form_ = "table";
        std::vector<const FlagSet*> sets{&settings_.server_flags(), &settings_.global_flags()};
        if (command.front() == "status" || command.front() == "list") sets.insert(sets.begin(), &output_);
        return sets;
    }

    Status dispatch(const std::vector<std::string>& command, const std::vector<std::string>& rest) {
        const std::string& name = command.front();
        if (name == "observe") return observe_.run(command.size() == 2 ? command[1] : "flows");
        if (name == "status") return show_status(settings_, output_form_);
        if (name == "list")
            return command[1] == "namespaces" ? list_namespaces(settings_, output_form_)
                                              : list_nodes(settings_, output_form_);
        if (name == "watch") return watch_peers(settings_);
        if (name == "config") return config(command[1], rest);
        if (name == "version") {
            write_text("hubble " + std::string(kHubbleVersion) + " (axoneme)\n");
            return {};
        }
        return fail(Code::kUnimplemented,
                    "record is not supported: Hubble 1.19 has no packet recorder any more. To keep packets use "
                    "`axoneme monitor`, tcpdump at the interface that `" +
                        program_ + " observe -o json` names, or `" + program_ + " observe -o jsonpb` to keep flows");
    }

    Status config(const std::string& what, const std::vector<std::string>& rest) {
        if (what == "view" || (what == "get" && rest.empty())) {
            write_text(settings_.view());
            return {};
        }
        if (what == "get") {
            if (rest.size() > 1)
                return fail(Code::kInvalidArgument,
                            "invalid arguments: get takes at most one key, got '" + join(rest, " ") + "'");
            TRY_ASSIGN(const std::string value, settings_.get(rest.front()));
            write_text(value + "\n");
            return {};
        }
        if (what == "set") {
            if (rest.empty() || rest.size() > 2)
                return fail(
                    Code::kInvalidArgument,
                    "invalid arguments: set requires exactly 1 or 2 argument(s): got '" + join(rest, " ") + "'");
            return settings_.set(rest[0], rest.size() == 2 ? rest[1] : "");
        }
        if (rest.size() > 1)
            return fail(Code::kInvalidArgument,
                        "invalid arguments: reset takes at most one key, got '" + join(rest, " ") + "'");
        return rest.empty() ? settings_.reset() : settings_.set(rest[0], "");
    }

    const std::string program_;
    Settings settings_;
    ObserveCommand observe_;
    FlagSet output_{"Formatting"}, help_{"Help"};
    std::string output_form_;
    bool show_help_ = false;
};

}  // namespace

Status run_hubble(const std::string& program, const std::string& server, const std::vector<std::string>& arguments) {
    return Hubble(program, server).run(arguments);
}

}  // namespace axo::cli
