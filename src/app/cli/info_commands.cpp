// version and debuginfo.
#include <sys/utsname.h>

#include <regex>

#include "app/cli/commands.h"
#include "app/cli/context.h"
#include "app/cli/output/tab_writer.h"
#include "app/cli/tables.h"
#include "base/version.h"

namespace axo::cli {
namespace {

struct Options {
    std::string output;
    std::string pattern;
};

Json version_json(const std::string& version) {
    utsname system{};
    ::uname(&system);
    return {{"Version", version}, {"Revision", ""}, {"Arch", std::string(system.sysname) + "/" + system.machine}};
}

Status version(const Context& context, const Options& options) {
    Json versions = {{"Client", version_json(kVersion)}};
    // A client says its version without an agent too.
    std::string daemon;
    const auto info = context.get("/debuginfo");
    if (info) daemon = text(*info, "cilium-version");
    if (daemon.starts_with("axoneme ")) daemon.erase(0, 8);
    if (daemon.empty()) {
        const auto status = context.get("/healthz", {{"brief", "true"}});
        if (status) daemon = text(*status, "cilium.msg");
    }
    if (!daemon.empty()) versions["Daemon"] = version_json(daemon);
    return print_as(options.output, versions, [&] {
        return std::string("Client: ") + kVersion + " " + text(versions, "Client.Arch") +
               "\nDaemon: " + (daemon.empty() ? "unknown (the agent does not answer)" : daemon) + "\n";
    });
}

Status debuginfo(const Context& context, const Options& options) {
    TRY_ASSIGN(const Json info, context.get("/debuginfo"));
    return print_as(options.output, info, [&] { return debuginfo_text(info); });
}

// `metrics list`: what /metrics answers, without a port.
Status metrics(const Context& context, const Options& options) {
    std::regex pattern;
    try {
        pattern = std::regex(options.pattern, std::regex::ECMAScript);
    } catch (const std::regex_error&) {
        return fail(Code::kInvalidArgument, "--match-pattern: \"" + options.pattern + "\" is no regular expression");
    }
    TRY_ASSIGN(const Json all, context.get("/metrics"));
    Json shown = Json::array();
    for (const Json& metric : all) {
        if (std::regex_search(text(metric, "name"), pattern)) shown.push_back(metric);
    }
    return print_as(options.output, shown, [&] {
        TabWriter table;
        table.row({"Metric", "Labels", "Value"});
        for (const Json& metric : shown) {
            std::string labels;
            for (const auto& [name, value] : field(metric, "labels").items())
                labels.append(labels.empty() ? "" : " ").append(name + "=\"" + value.get<std::string>() + '"');
            char value[32];
            std::snprintf(value, sizeof(value), "%.6f", metric.value("value", 0.0));
            table.row({text(metric, "name"), labels, value});
        }
        return table.str();
    });
}

}  // namespace

void add_info_commands(const Command& root) {
    Context& context = root.context();
    const auto options = std::make_shared<Options>();
    root.command("version", "Versions of this program and of the agent",
                 [=, &context] { return version(context, *options); })
        .output(options->output);
    root.group("metrics", "The agent's metrics")
        .command("list", "List metrics", [=, &context] { return metrics(context, *options); })
        .alias("ls")
        .option("-p,--match-pattern", options->pattern, "only metrics whose name the regular expression matches")
        .output(options->output);
    root.command("debuginfo", "Everything the agent can tell for a bug report",
                 [=, &context] { return debuginfo(context, *options); })
        .output(options->output);
}

}  // namespace axo::cli
