#include <charconv>
#include <cstdio>

#include "app/cli/commands.h"
#include "app/cli/context.h"
#include "app/cli/monitor_text.h"

namespace axo::cli {
namespace {

struct Options {
    std::vector<std::string> types;
    std::vector<std::string> from;
    std::vector<std::string> to;
    std::vector<std::string> related;
    MonitorStyle style;
    bool json = false;
};

constexpr std::string_view kServed[] = {"drop", "trace", "policy-verdict"};
constexpr std::string_view kKnown[] = {"drop", "trace", "policy-verdict", "debug",   "capture",
                                       "l7",   "agent", "trace-sock",     "recorder"};

bool contains(std::span<const std::string_view> list, std::string_view word) {
    return std::find(list.begin(), list.end(), word) != list.end();
}

Result<std::string> query_of(const Options& options) {
    std::string query;
    const auto add = [&](const char* key, const std::vector<std::string>& values) {
        if (!values.empty())
            query += std::string(query.empty() ? "?" : "&") + key + "=" + url_encode(join(values, ","));
    };
    std::vector<std::string> types;
    for (const std::string& type : options.types) {
        if (!contains(kKnown, type))
            return fail(Code::kInvalidArgument,
                        "--type \"" + type + "\" is not known; accepted are drop, trace and policy-verdict");
        if (contains(kServed, type)) types.push_back(type);
    }
    if (types.empty() && !options.types.empty()) {
        return fail(Code::kUnimplemented, "--type " + join(options.types, ",") +
                                              ": this agent has no such events; it has drop, trace and policy-verdict");
    }
    for (const auto* ids : {&options.from, &options.to, &options.related}) {
        for (const std::string& id : *ids) {
            std::uint16_t number = 0;
            const auto [end, error] = std::from_chars(id.data(), id.data() + id.size(), number);
            if (error != std::errc() || end != id.data() + id.size())
                return fail(Code::kInvalidArgument, "endpoint \"" + id + "\": a number of `endpoint list` is expected");
        }
    }
    add("type", types);
    add("from", options.from);
    add("to", options.to);
    add("related-to", options.related);
    return query;
}

Status monitor(const Context& context, const Options& options) {
    TRY_ASSIGN(const std::string query, query_of(options));
    TRY_ASSIGN(HttpClient client, context.connect());
    std::string pending;
    const Status ended = client.stream("GET", "/v1/monitor" + query, [&](std::string_view chunk) {
        pending += chunk;
        std::string out;
        std::size_t start = 0;
        for (std::size_t end = pending.find('\n'); end != std::string::npos; end = pending.find('\n', start)) {
            const std::string_view line(pending.data() + start, end - start);
            start = end + 1;
            const Json event = Json::parse(line, nullptr, false);
            if (!event.is_object()) continue;
            // -j is for programs: events only, as the agent sends them.
            if (options.json) {
                if (text(event, "type") != "start") out += std::string(line) + "\n";
            } else {
                out += monitor_text(event, options.style);
            }
        }
        pending.erase(0, start);
        print(out);
        return true;
    });
    if (!ended) return forward_error(connection_advice(context.address(), ended.error()));
    return fail(Code::kUnavailable, "the agent ended the stream; it is stopping or restarting");
}

}  // namespace

void add_monitor_commands(const Command& root) {
    Context& context = root.context();
    const auto options = std::make_shared<Options>();
    root.command("monitor", "What happens to packets, as it happens",
                 [=, &context] { return monitor(context, *options); })
        .option("-t,--type", options->types, "drop, trace, policy-verdict")
        .option("--from", options->from, "only from this endpoint (its number)")
        .option("--to", options->to, "only to this endpoint")
        .option("--related-to", options->related, "only from or to this endpoint")
        .flag("-v,--verbose", options->style.verbose, "everything that is known of an event")
        .flag("-n,--numeric", options->style.numeric, "identities and interfaces as numbers")
        .flag("-j,--json", options->json, "one JSON object per line")
        .ignored_flag("--hex");
}

}  // namespace axo::cli
