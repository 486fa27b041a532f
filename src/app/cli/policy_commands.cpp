// policy: what is in force, what decides about traffic, and what a change would do.
#include <algorithm>
#include <charconv>
#include <filesystem>
#include <iostream>
#include <iterator>
#include <thread>

#include "app/cli/commands.h"
#include "app/cli/context.h"
#include "app/cli/policy_text.h"
#include "app/cli/policy_validate.h"
#include "base/file.h"

namespace axo::cli {
namespace {

struct Options {
    std::string output;
    std::string revision, max_wait = "360", fail_wait = "60", sleep_time = "1";
    std::vector<std::string> files;
    std::string from, to, port, protocol, icmp_type;
    std::string cluster_name = "default";
    bool remove = false, sctp = false;
};

using Text = std::string (*)(const Json&);
std::function<Status()> show(const std::shared_ptr<Options>& options, Context& context, const char* target,
                             Text as_text) {
    return [=, &context]() -> Status {
        TRY_ASSIGN(const Json answer, context.get(target));
        return print_as(options->output, answer, [&] { return as_text(answer); });
    };
}

Result<std::int64_t> whole_number(const std::string& name, const std::string& text) {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < 0)
        return fail(Code::kInvalidArgument, name + " \"" + text + "\": a whole number is expected");
    return value;
}

Status wait(const Context& context, const Options& options) {
    TRY_ASSIGN(const std::int64_t revision, whole_number("revision", options.revision));
    TRY_ASSIGN(const std::int64_t longest, whole_number("--max-wait-time", options.max_wait));
    TRY_ASSIGN(const std::int64_t patience, whole_number("--fail-wait-time", options.fail_wait));
    TRY_ASSIGN(const std::int64_t pause, whole_number("--sleep-time", options.sleep_time));
    using Clock = std::chrono::steady_clock;
    const auto start = Clock::now();
    auto step = std::chrono::milliseconds(20);
    for (;;) {
        TRY_ASSIGN(const Json policy, context.get("/policy"));
        TRY_ASSIGN(const Json endpoints, context.get("/endpoint"));
        const PolicyWait progress = policy_progress(endpoints, revision);
        // Without endpoints the agent's own revision is what there is.
        if (progress.ready == progress.endpoints && number(policy, "revision") >= revision) return {};
        const auto waited = std::chrono::duration_cast<std::chrono::seconds>(Clock::now() - start).count();
        if (!progress.failed.empty() && waited >= patience)
            return fail(Code::kFailedPrecondition, progress.failed + "; see `" + context.program + " endpoint log`");
        if (waited >= longest) {
            return fail(Code::kDeadlineExceeded,
                        "after " + std::to_string(longest) + " s " + std::to_string(progress.ready) + " of " +
                            std::to_string(progress.endpoints) + " endpoints enforce policy revision " +
                            std::to_string(revision) + "; the agent is at revision " + text(policy, "revision"));
        }
        std::this_thread::sleep_for(step);
        step = std::min(step * 2, std::chrono::milliseconds(std::max<std::int64_t>(pause * 1000, 20)));
    }
}

// The files that are meant: "-" is standard input; of a folder, the manifests in it.
Result<std::vector<std::pair<std::string, std::string>>> read_files(const std::string& command,
                                                                    const std::vector<std::string>& names) {
    if (names.empty())
        return fail(Code::kInvalidArgument, command + ": a file of manifests is expected, or - for standard input");
    std::vector<std::pair<std::string, std::string>> files;
    for (const std::string& name : names) {
        if (name == "-") {
            files.emplace_back("stdin", std::string(std::istreambuf_iterator<char>(std::cin), {}));
            continue;
        }
        std::vector<std::string> paths{name};
        std::error_code error;
        if (std::filesystem::is_directory(name, error)) {
            paths.clear();
            for (auto it = std::filesystem::recursive_directory_iterator(name, error);
                 !error && it != std::filesystem::recursive_directory_iterator(); it.increment(error)) {
                const std::string extension = it->path().extension().string();
                if (extension == ".yaml" || extension == ".yml" || extension == ".json")
                    paths.push_back(it->path().string());
            }
            if (error) return fail(Code::kInvalidArgument, name + ": " + error.message());
            std::sort(paths.begin(), paths.end());
        }
        for (const std::string& path : paths) {
            TRY_ASSIGN(std::string text, read_file(path));
            files.emplace_back(path, std::move(text));
        }
    }
    return files;
}

Status validate(const Options& options) {
    TRY_ASSIGN(const auto files, read_files("policy validate", options.files));
    policy::TranslateContext settings;
    settings.cluster_name = options.cluster_name;
    settings.sctp = options.sctp;
    const std::vector<PolicyVerdict> verdicts = validate_policies(files, settings);
    TRY(print_as(options.output, policy_validate_json(verdicts), [&] { return policy_validate_text(verdicts); }));
    const auto bad = std::count_if(verdicts.begin(), verdicts.end(), [](const auto& v) { return !v.error.empty(); });
    if (bad != 0) {
        return fail(Code::kInvalidArgument, std::to_string(bad) + " of " + std::to_string(verdicts.size()) +
                                                (verdicts.size() == 1 ? " object is" : " objects are") + " not valid");
    }
    if (verdicts.empty()) return fail(Code::kInvalidArgument, "there is no object in what was given");
    return {};
}

Status explain(const Context& context, const Options& options) {
    if (options.from.empty() || options.to.empty()) {
        return fail(Code::kInvalidArgument,
                    "policy explain: --from and --to are expected: a pod (namespace/name), an IP address, "
                    "identity:NUMBER, endpoint:NUMBER, or a reserved name such as world, host, remote-node");
    }
    std::string protocol = options.protocol.empty() ? "TCP" : options.protocol;
    std::transform(protocol.begin(), protocol.end(), protocol.begin(),
                   [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    const bool with_ports = protocol == "TCP" || protocol == "UDP" || protocol == "SCTP";
    if (with_ports && options.port.empty())
        return fail(Code::kInvalidArgument, "policy explain: --port is expected with " + protocol);
    for (const auto& [name, value, most] :
         {std::tuple{"--port", options.port, 65535}, {"--type", options.icmp_type, 255}}) {
        if (value.empty()) continue;
        TRY_ASSIGN(const std::int64_t parsed, whole_number(name, value));
        if (parsed > most) {
            return fail(Code::kInvalidArgument,
                        std::string(name) + " \"" + value + "\": at most " + std::to_string(most) + " is accepted");
        }
    }
    std::string target = "/policy/explain?from=" + url_encode(options.from) + "&to=" + url_encode(options.to);
    for (const auto& [key, value] : {std::pair{"port", options.port}, std::pair{"protocol", options.protocol},
                                     std::pair{"type", options.icmp_type}}) {
        if (!value.empty()) target += std::string("&") + key + "=" + url_encode(value);
    }
    TRY_ASSIGN(const Json answer, context.get(target));
    return print_as(options.output, answer, [&] { return policy_explain_text(answer, options.from, options.to); });
}

Status diff(const Context& context, const Options& options) {
    TRY_ASSIGN(const auto files, read_files("policy diff", options.files));
    std::string body;
    for (const auto& [name, text] : files) body += (body.empty() ? "" : "\n---\n") + text;
    TRY_ASSIGN(const HttpResponse response,
               context.call("POST", std::string("/policy/diff") + (options.remove ? "?delete=true" : ""), body));
    const Json answer = Json::parse(response.body, nullptr, false);
    if (!answer.is_object())
        return fail(Code::kDataLoss, "POST /policy/diff: the answer is not JSON: " + response.body.substr(0, 200));
    return print_as(options.output, answer, [&] { return policy_diff_text(answer); });
}

}  // namespace

void add_policy_commands(const Command& root) {
    Context& context = root.context();
    const auto options = std::make_shared<Options>();
    const Command group = root.group("policy", "Who may talk to whom, and why");
    group.command("get", "The policies in force", show(options, context, "/policy", policy_get_text))
        .output(options->output);
    group
        .command("list", "Policy objects, and whether they are valid",
                 show(options, context, "/policy/objects", policy_list_text))
        .alias("ls")
        .output(options->output);
    group
        .command("rules", "Rules by the cookie that events carry",
                 show(options, context, "/policy/rules", policy_rules_text))
        .output(options->output);
    group
        .command("selectors", "Selectors of the policies and the identities that they select",
                 show(options, context, "/policy/selectors", policy_selectors_text))
        .output(options->output)
        .ignored_flag("-v,--verbose");
    group
        .command("wait", "Wait until every endpoint enforces a revision",
                 [=, &context] { return wait(context, *options); })
        .positional("revision", options->revision, "as `policy get` prints it")
        .option("--max-wait-time", options->max_wait, "seconds; fail after that (360)")
        .option("--fail-wait-time", options->fail_wait,
                "seconds; fail after that if an endpoint's policy has failed (60)")
        .option("--sleep-time", options->sleep_time, "seconds between two looks, at most (1)");
    group.command("validate", "Check policies in files, without an agent", [=] { return validate(*options); })
        .positional("files", options->files, "manifests, folders of them, or -")
        .option("--cluster-name", options->cluster_name, "name of the cluster that they are for (default)")
        .flag("--enable-sctp", options->sctp, "the agents run with enable-sctp")
        .output(options->output);
    group
        .command("explain", "Would this traffic be allowed, and why (not)?",
                 [=, &context] { return explain(context, *options); })
        .option("--from", options->from, "pod, IP address, identity:N, endpoint:N, or world, host, remote-node …")
        .option("--to", options->to, "likewise")
        .option("--port", options->port, "destination port")
        .option("--protocol", options->protocol, "TCP (if not given), UDP, SCTP, ICMP, ICMPv6 or a number")
        .option("--type", options->icmp_type, "of ICMP: echo request if not given")
        .output(options->output);
    group
        .command("diff", "What policies in files would change for flows that were seen",
                 [=, &context] { return diff(context, *options); })
        .positional("files", options->files, "manifests, folders of them, or -")
        .option("-f,--file", options->files, "likewise")
        .flag("--delete", options->remove, "what taking them away would change")
        .output(options->output);
}

}  // namespace axo::cli
