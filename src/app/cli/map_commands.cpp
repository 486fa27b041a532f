#include "app/cli/commands.h"
#include "app/cli/context.h"
#include "app/cli/tables.h"

namespace axo::cli {
namespace {

struct Options {
    std::string name;
    std::string output;
    bool follow = false;
};

Status list(const Context& context, const Options& options) {
    TRY_ASSIGN(const Json maps, context.get("/map"));
    return print_as(options.output, maps, [&] { return map_list_text(maps); });
}

// People know the address map without its layout version.
std::vector<std::string> spellings(const std::string& name) {
    if (name == "cilium_ipcache") return {"cilium_ipcache_v2", name};
    return {name};
}

Status get(const Context& context, const Options& options) {
    Result<Json> map = fail(Code::kNotFound, "");
    for (const std::string& name : spellings(options.name)) {
        map = context.get("/map/" + url_encode(name));
        if (map || map.error().code != Code::kNotFound) break;
    }
    if (!map && map.error().code == Code::kNotFound) {
        return fail(Code::kNotFound, "map \"" + options.name + "\" is not known to the agent; `" + context.program +
                                         " map list` shows those that are");
    }
    if (!map) return forward_error(std::move(map).error());
    return print_as(options.output, *map, [&] { return map_get_text(*map); });
}

Status events(const Context& context, const Options& options) {
    TRY_ASSIGN(HttpClient client, context.connect());
    std::string pending;
    const std::string target =
        "/v1/map/" + url_encode(spellings(options.name).front()) + "/events" + (options.follow ? "?follow=true" : "");
    return client.stream("GET", target, [&](std::string_view chunk) {
        pending += chunk;
        std::size_t end = 0;
        while ((end = pending.find('\n')) != std::string::npos) {
            const std::string line = pending.substr(0, end);
            pending.erase(0, end + 1);
            if (options.output == "json") {
                print(line + "\n");
            } else if (const Json event = Json::parse(line, nullptr, false); event.is_object()) {
                print(map_event_text(event));
            }
        }
        return true;
    });
}

}  // namespace

void add_map_commands(const Command& root) {
    Context& context = root.context();
    const auto options = std::make_shared<Options>();
    const Command group = root.group("map", "BPF maps as the agent wants them");
    group.command("list", "List maps", [=, &context] { return list(context, *options); })
        .alias("ls")
        .output(options->output);
    group.command("get", "Entries of a map", [=, &context] { return get(context, *options); })
        .positional("map", options->name, "name of the map")
        .output(options->output);
    group.command("events", "Changes of a map", [=, &context] { return events(context, *options); })
        .positional("map", options->name, "name of the map")
        .flag("-f,--follow", options->follow, "until interrupted")
        .output(options->output);
}

}  // namespace axo::cli
