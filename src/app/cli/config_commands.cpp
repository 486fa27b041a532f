#include "app/cli/commands.h"
#include "app/cli/context.h"
#include "app/cli/tables.h"

namespace axo::cli {
namespace {

struct Options {
    std::vector<std::string> arguments;
    std::string output;
    bool all = false;
    bool read_only = false;
};

Status show(const Context& context, const Options& options) {
    TRY_ASSIGN(const Json configuration, context.get("/config"));
    return print_as(options.output, field(configuration, "status"), [&] {
        return config_text(configuration, options.all || options.read_only, options.all || !options.read_only);
    });
}

Status get_one(const Context& context, const std::string& key) {
    TRY_ASSIGN(const Json configuration, context.get("/config"));
    const Json& status = field(configuration, "status");
    for (const char* section : {"realized.options", "immutable", "daemonConfigurationMap"}) {
        const Json& values = field(status, section);
        if (!values.is_object() || !values.contains(key)) continue;
        const Json& value = values[key];
        print((value.is_string() ? value.get<std::string>() : value.dump()) + "\n");
        return {};
    }
    if (key == "PolicyEnforcement") {
        print(text(status, "realized.policy-enforcement") + "\n");
        return {};
    }
    return fail(Code::kNotFound,
                "option \"" + key + "\" is not known; `" + context.program + " config --all` shows those that are");
}

Status change(const Context& context, const std::vector<std::string>& assignments) {
    Json spec = {{"options", Json::object()}};
    for (const std::string& assignment : assignments) {
        const std::size_t equals = assignment.find('=');
        if (equals == std::string::npos || equals == 0)
            return fail(Code::kInvalidArgument,
                        "\"" + assignment + "\": Option=Value is expected, or: config get <option>");
        const std::string key = assignment.substr(0, equals);
        const std::string value = assignment.substr(equals + 1);
        if (key == "PolicyEnforcement") {
            spec["policy-enforcement"] = value;
        } else {
            spec["options"][key] = value;
        }
    }
    TRY_ASSIGN(const HttpResponse ignored, context.call("PATCH", "/config", spec.dump()));
    (void)ignored;
    return {};
}

Status run(const Context& context, const Options& options) {
    if (options.arguments.empty()) return show(context, options);
    if (options.arguments.front() == "get") {
        if (options.arguments.size() != 2) return fail(Code::kInvalidArgument, "config get: one option is expected");
        return get_one(context, options.arguments[1]);
    }
    return change(context, options.arguments);
}

}  // namespace

void add_config_commands(const Command& root) {
    Context& context = root.context();
    const auto options = std::make_shared<Options>();
    root.command("config", "Show or change the agent's configuration", [=, &context] { return run(context, *options); })
        .positional("arguments", options->arguments, "get <option> | Option=Value …")
        .flag("-a,--all", options->all, "all options")
        .flag("-r,--read-only", options->read_only, "those that only a restart changes")
        .output(options->output);
}

}  // namespace axo::cli
