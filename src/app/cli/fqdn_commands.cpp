// fqdn: DNS names that pods asked for, and what they were answered.
#include <unistd.h>

#include <iostream>

#include "app/cli/commands.h"
#include "app/cli/context.h"
#include "app/cli/output/tab_writer.h"

namespace axo::cli {
namespace {

struct Options {
    std::string output, pattern, endpoint, source;
    bool force = false;
};

// As `cilium-dbg fqdn cache list`.
std::string cache_text(const Json& lookups) {
    TabWriter w(5, 3);
    w.closed_row({"Endpoint", "Source", "FQDN", "TTL", "ExpirationTime", "IPs"});
    for (const Json& lookup : lookups) {
        w.closed_row({std::to_string(number(lookup, "endpoint-id")), text(lookup, "source"), text(lookup, "fqdn"),
                      std::to_string(number(lookup, "ttl")), text(lookup, "expiration-time"),
                      join(texts(lookup, "ips"), ",")});
    }
    return w.str();
}

std::string query(const Options& options) {
    std::string text;
    const auto add = [&](const char* name, const std::string& value) {
        if (!value.empty()) text += (text.empty() ? "?" : "&") + std::string(name) + "=" + url_encode(value);
    };
    add("matchpattern", options.pattern);
    add("source", options.source);
    return text;
}

Result<Json> lookups(const Context& context, const Options& options) {
    const std::string path = "/fqdn/cache" + (options.endpoint.empty() ? "" : "/" + url_encode(options.endpoint));
    auto answer = context.get(path + query(options));
    if (!answer && answer.error().code == Code::kNotFound) return Json::array();
    return answer;
}

Status list(const Context& context, const Options& options) {
    TRY_ASSIGN(const Json all, lookups(context, options));
    return print_as(options.output, all, [&] { return cache_text(all); });
}

Status clean(const Context& context, const Options& options) {
    if (!options.force) {
        TRY_ASSIGN(const Json all, lookups(context, options));
        print("Following cache entries are going to be deleted:\n" + cache_text(all));
        if (::isatty(STDIN_FILENO) == 0)
            return fail(Code::kInvalidArgument, "nobody is there to confirm it; --force does without");
        print("Are you sure? [y/N] ");
        std::string answer;
        std::getline(std::cin, answer);
        if (answer != "y" && answer != "yes") return {};
    }
    TRY(context.call("DELETE", "/fqdn/cache" + query(options), ""));
    print("FQDN proxy cache cleared\n");
    return {};
}

Status names(const Context& context, const Options& options) {
    TRY_ASSIGN(const Json all, context.get("/fqdn/names"));
    return print_as(options.output.empty() ? "json" : options.output, all, [] { return std::string(); });
}

}  // namespace

void add_fqdn_commands(const Command& root) {
    Context& context = root.context();
    const auto options = std::make_shared<Options>();
    const Command fqdn = root.group("fqdn", "DNS names that pods asked for");
    const Command cache = fqdn.group("cache", "What they were answered");
    cache.command("list", "List names and addresses", [=, &context] { return list(context, *options); })
        .alias("ls")
        .option("-p,--matchpattern", options->pattern, "only names that this fits, e.g. *.example.com")
        .option("-e,--endpoint", options->endpoint, "only of the endpoint with this number")
        .option("-s,--source", options->source, "lookup: within their time to live; connection: kept for connections")
        .output(options->output);
    cache.command("clean", "Forget names", [=, &context] { return clean(context, *options); })
        .option("-p,--matchpattern", options->pattern, "only names that this fits")
        .flag("-f,--force", options->force, "do not ask");
    fqdn.command("names", "Names that rules are about", [=, &context] { return names(context, *options); })
        .output(options->output);
}

}  // namespace axo::cli
