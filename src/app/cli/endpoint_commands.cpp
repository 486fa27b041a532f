#include "app/cli/commands.h"
#include "app/cli/context.h"
#include "app/cli/tables.h"

namespace axo::cli {
namespace {

struct Options {
    std::string id;
    std::string output;
    bool no_headers = false;
    std::vector<std::string> labels;
    std::vector<std::string> add;
    std::vector<std::string> remove;
    std::vector<std::string> assignments;
};

std::string target(const Options& options, const std::string& rest = {}) {
    return "/endpoint/" + url_encode(options.id) + rest;
}

// Absent, or not one of ours: the agent says which forms it knows.
Status list(const Context& context, const Options& options) {
    auto endpoints = context.get("/endpoint");
    if (!endpoints && endpoints.error().code == Code::kNotFound) endpoints = Json::array();
    if (!endpoints) return forward_error(std::move(endpoints).error());
    return print_as(options.output, *endpoints, [&] { return endpoint_list_text(*endpoints, !options.no_headers); });
}

Status get(const Context& context, const Options& options) {
    Json found = Json::array();
    if (options.id.empty() == options.labels.empty())
        return fail(Code::kInvalidArgument, "endpoint get: either an endpoint or labels (-l) are expected");
    if (options.labels.empty()) {
        TRY_ASSIGN(Json endpoint, context.get(target(options)));
        found.push_back(std::move(endpoint));
    } else {
        TRY_ASSIGN(const Json all, context.get("/endpoint"));
        for (const Json& endpoint : all) {
            const auto has = texts(endpoint, "status.identity.labels");
            if (std::all_of(options.labels.begin(), options.labels.end(), [&](const std::string& label) {
                    return std::find(has.begin(), has.end(), label) != has.end();
                })) {
                found.push_back(endpoint);
            }
        }
    }
    return print_as(options.output.empty() ? "json" : options.output, found, [] { return std::string(); });
}

using Text = std::string (*)(const Json&);
std::function<Status()> show(const std::shared_ptr<Options>& options, Context& context, const char* rest,
                             Text as_text) {
    return [=, &context]() -> Status {
        TRY_ASSIGN(const Json answer, context.get(target(*options, rest)));
        return print_as(options->output, answer, [&] { return as_text(answer); });
    };
}

Status change_labels(const Context& context, const Options& options) {
    if (options.add.empty() && options.remove.empty()) {
        TRY_ASSIGN(const Json labels, context.get(target(options, "/labels")));
        return print_as(options.output, labels, [&] { return endpoint_labels_text(labels); });
    }
    TRY_ASSIGN(const Json current, context.get(target(options, "/labels")));
    std::vector<std::string> user = texts(current, "spec.user");
    for (const std::string& label : options.remove) {
        if (std::erase(user, label) == 0)
            return fail(Code::kNotFound,
                        "endpoint " + options.id + ": label \"" + label + "\" is not one that was added by hand");
    }
    for (const std::string& label : options.add) {
        if (std::find(user.begin(), user.end(), label) == user.end()) user.push_back(label);
    }
    TRY_ASSIGN(const HttpResponse ignored,
               context.call("PATCH", target(options, "/labels"), Json{{"user", user}}.dump()));
    (void)ignored;
    return {};
}

Status configure(const Context& context, const Options& options) {
    if (options.assignments.empty()) {
        TRY_ASSIGN(const Json configuration, context.get(target(options, "/config")));
        return print_as(options.output, configuration, [&] { return endpoint_config_text(configuration); });
    }
    Json values = Json::object();
    for (const std::string& assignment : options.assignments) {
        const std::size_t equals = assignment.find('=');
        if (equals == std::string::npos || equals == 0)
            return fail(Code::kInvalidArgument, "\"" + assignment + "\": Option=Value is expected");
        values[assignment.substr(0, equals)] = assignment.substr(equals + 1);
    }
    TRY_ASSIGN(const HttpResponse ignored,
               context.call("PATCH", target(options, "/config"), Json{{"options", values}}.dump()));
    (void)ignored;
    print("Endpoint " + options.id + " configuration updated successfully\n");
    return {};
}

// A call that answers nothing worth showing, and what to say when it went well.
std::function<Status()> act(const std::shared_ptr<Options>& options, Context& context, const char* method,
                            const char* rest, const char* body, const char* done) {
    return [=, &context]() -> Status {
        TRY_ASSIGN(const HttpResponse response, context.call(method, target(*options, rest), body));
        if (response.status == 206)
            return fail(Code::kInternal, "endpoint " + options->id + " is gone, but " + response.body +
                                             " errors occurred; the agent's log has them");
        print("Endpoint " + options->id + " " + done + "\n");
        return {};
    };
}

}  // namespace

void add_endpoint_commands(const Command& root) {
    Context& context = root.context();
    const auto options = std::make_shared<Options>();
    const Command group = root.group("endpoint", "Endpoints of this node");
    constexpr const char* kId = "endpoint: 12, ipv4:10.0.0.5, pod-name:ns:pod, cni-attachment-id:<container>:<if>, …";
    group.command("list", "List endpoints", [=, &context] { return list(context, *options); })
        .alias("ls")
        .flag("--no-headers", options->no_headers, "rows only")
        .output(options->output);
    group.command("get", "One endpoint in full", [=, &context] { return get(context, *options); })
        .positional("endpoint", options->id, kId, false)
        .option("-l,--labels", options->labels, "endpoints that have all of these labels")
        .output(options->output);
    group.command("log", "What happened to an endpoint", show(options, context, "/log", endpoint_log_text))
        .positional("endpoint", options->id, kId)
        .output(options->output);
    group.command("health", "Health of an endpoint", show(options, context, "/healthz", endpoint_health_text))
        .positional("endpoint", options->id, kId)
        .output(options->output);
    group.command("healthz", "The same as health", show(options, context, "/healthz", endpoint_health_text))
        .positional("endpoint", options->id, kId)
        .output(options->output);
    group
        .command("labels", "Show or change the labels of an endpoint",
                 [=, &context] { return change_labels(context, *options); })
        .positional("endpoint", options->id, kId)
        .option("-a,--add", options->add, "label to add")
        .option("-d,--delete", options->remove, "label to remove")
        .output(options->output);
    group
        .command("config", "Show or change the configuration of an endpoint",
                 [=, &context] { return configure(context, *options); })
        .positional("endpoint", options->id, kId)
        .positional("assignments", options->assignments, "Option=Value …")
        .output(options->output);
    group
        .command("regenerate", "Build the endpoint's datapath again",
                 act(options, context, "PATCH", "/config", "{}", "successfully regenerated"))
        .positional("endpoint", options->id, kId);
    group
        .command("disconnect", "Cut an endpoint off the network",
                 act(options, context, "PATCH", "", R"({"state":"disconnecting"})", "successfully disconnected"))
        .positional("endpoint", options->id, kId);
    group.command("delete", "Delete an endpoint", act(options, context, "DELETE", "", "", "successfully deleted"))
        .positional("endpoint", options->id, kId);
}

}  // namespace axo::cli
