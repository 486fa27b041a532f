// service list, service get: what the agent serves.
#include "app/cli/commands.h"
#include "app/cli/context.h"
#include "app/cli/service_text.h"

namespace axo::cli {
namespace {

struct Options {
    std::string output;
    std::string id;
    bool affinity = false;
};

Status list(const Context& context, const Options& options) {
    TRY_ASSIGN(const Json services, context.get("/service"));
    return print_as(options.output, services, [&] { return service_list_text(services, options.affinity); });
}

Status get(const Context& context, const Options& options) {
    TRY_ASSIGN(const Json service, context.get("/service/" + url_encode(options.id)));
    return print_as(options.output, service, [&] { return service_get_text(service); });
}

}  // namespace

void add_service_commands(const Command& root) {
    Context& context = root.context();
    const auto options = std::make_shared<Options>();
    const Command service = root.group("service", "Services that this node serves");
    service.command("list", "List frontends and their backends", [=, &context] { return list(context, *options); })
        .alias("ls")
        .flag("--clustermesh-affinity", options->affinity, "say which backends get new connections")
        .output(options->output);
    service.command("get", "One frontend and its backends", [=, &context] { return get(context, *options); })
        .positional("id", options->id, "number of the frontend, as list prints it")
        .output(options->output);
}

}  // namespace axo::cli
