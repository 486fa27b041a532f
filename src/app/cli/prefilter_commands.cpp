// prefilter list, update, delete: sources that are dropped in XDP.
#include "app/cli/commands.h"
#include "app/cli/context.h"

namespace axo::cli {
namespace {

// As `cilium-dbg prefilter list`.
std::string prefilter_text(const Json& prefilter) {
    const Json& realized = field(prefilter, "status.realized");
    std::string out = "Revision: " + std::to_string(number(realized, "revision")) + "\n";
    for (const std::string& cidr : texts(realized, "deny")) out += cidr + "\n";
    return out;
}

struct Options {
    std::string output;
    std::string revision;
    std::vector<std::string> cidrs;
};

Status list(const Context& context, const Options& options) {
    TRY_ASSIGN(const Json prefilter, context.get("/prefilter"));
    return print_as(options.output, prefilter, [&] { return prefilter_text(prefilter); });
}

// Without a revision the change is based on the list as it is now.
Status change(const Context& context, const std::string& method, const Options& options) {
    Json revision;
    if (options.revision.empty()) {
        TRY_ASSIGN(const Json prefilter, context.get("/prefilter"));
        revision = number(prefilter, "status.realized.revision");
    } else {
        revision = Json::parse(options.revision, nullptr, false);
        if (!revision.is_number_unsigned())
            return fail(Code::kInvalidArgument, "--revision \"" + options.revision + "\": a number is expected");
    }
    const Json spec{{"revision", revision}, {"deny", options.cidrs}};
    TRY_ASSIGN(const HttpResponse answer, context.call(method, "/prefilter", spec.dump()));
    print(prefilter_text(Json::parse(answer.body, nullptr, false)));
    return {};
}

}  // namespace

void add_prefilter_commands(const Command& root) {
    Context& context = root.context();
    const auto options = std::make_shared<Options>();
    const Command prefilter = root.group("prefilter", "Sources that are dropped in XDP");
    prefilter.command("list", "List CIDRs", [=, &context] { return list(context, *options); })
        .alias("ls")
        .output(options->output);
    prefilter.command("update", "Add CIDRs", [=, &context] { return change(context, "PATCH", *options); })
        .option("--cidr", options->cidrs, "CIDRs whose packets are dropped")
        .option("--revision", options->revision, "revision that the change is based on; 0: any");
    prefilter
        .command("delete", "Take CIDRs off the list", [=, &context] { return change(context, "DELETE", *options); })
        .option("--cidr", options->cidrs, "CIDRs to take off")
        .option("--revision", options->revision, "revision that the change is based on; 0: any");
}

}  // namespace axo::cli
