// install, upgrade, uninstall: through the API server, with the chart that is in this program.
#include <CLI/CLI.hpp>
#include <iostream>

#include "app/cli/commands.h"
#include "app/cli/context.h"
#include "app/cli/install/duration.h"
#include "app/cli/install/installer.h"
#include "app/cli/install/kube_api.h"
#include "base/file.h"
#include "model/yaml.h"

namespace axo::cli {
namespace {

using namespace install;
using install::Json;

struct Options {
    KubeOptions kube;
    std::vector<std::string> set, set_string, set_file, files;
    std::string version, kubernetes_version, wait_duration = "5m0s";
    bool dry_run = false, dry_run_values = false, list_versions = false, wait = false;
    bool reset_values = false, keep_values = false;
    bool delete_crds = false, keep_nodes = false;
};

void say(const std::string& line) {
    print(line + "\n");
}

// Files in their order, then the single assignments over them.
Result<Json> values_of(const Options& options) {
    Json values = Json::object();
    for (const std::string& path : options.files) {
        auto text = path == "-" ? Result<std::string>(std::string(std::istreambuf_iterator<char>(std::cin), {}))
                                : read_file(path);
        if (!text) return forward_error(std::move(text).error().with_context("--values"));
        auto parsed = parse_yaml(*text);
        if (!parsed) return forward_error(std::move(parsed).error().with_context("--values " + path));
        if (!parsed->is_object() && !parsed->is_null())
            return fail(Code::kInvalidArgument, "--values " + path + ": not an object");
        if (parsed->is_object()) helm::overlay(values, *parsed);
    }
    for (const std::string& assignment : options.set) TRY(helm::set_value(values, assignment));
    for (const std::string& assignment : options.set_string) TRY(helm::set_value(values, assignment, true));
    for (const std::string& assignment : options.set_file) {
        const auto equals = assignment.find('=');
        if (equals == std::string::npos)
            return fail(Code::kInvalidArgument, "--set-file " + assignment + ": accepted: path=file");
        auto text = read_file(assignment.substr(equals + 1));
        if (!text) return forward_error(std::move(text).error().with_context("--set-file " + assignment));
        TRY(helm::set_value_at(values, assignment.substr(0, equals), *text));
    }
    return values;
}

Status check_version(const Options& options) {
    TRY_ASSIGN(const std::string own, own_version());
    std::string wanted = options.version;
    if (wanted.starts_with('v')) wanted.erase(0, 1);
    if (wanted.empty() || wanted == own) return {};
    return fail(Code::kInvalidArgument, "--version " + options.version + ": this program installs version " + own +
                                            "; take the program of the other version");
}

Result<helm::Rendered> dry_run(const Options& options, const InstallOptions& wanted) {
    constexpr const char* kRecent = "v1.30.0";
    if (!options.kubernetes_version.empty()) return render_offline(wanted, options.kubernetes_version);
    const auto api = open_api(options.kube);
    if (!api && api.error().code == Code::kNotFound) return render_offline(wanted, kRecent);
    if (!api) return forward_error(api.error());
    return render_installation(**api, wanted);
}

Status run(const Options& options, bool upgrade) {
    if (options.list_versions) {
        TRY_ASSIGN(const std::string own, own_version());
        say(own);
        return {};
    }
    TRY(check_version(options));
    if (options.reset_values && options.keep_values)
        return fail(Code::kInvalidArgument, "--reset-values and --reuse-values: accepted: one of them");
    InstallOptions wanted{.name_space = options.kube.space(),
                          .upgrade = upgrade,
                          .reset_values = options.reset_values,
                          .wait = options.wait};
    TRY_ASSIGN(wanted.values, values_of(options));
    TRY_ASSIGN(wanted.wait_duration, parse_wait_duration("--wait-duration", options.wait_duration));
    if (options.dry_run_values) {
        print(to_yaml(wanted.values));
        return {};
    }
    if (options.dry_run) {
        TRY_ASSIGN(const helm::Rendered rendered, dry_run(options, wanted));
        print(helm::manifest_text(rendered));
        return {};
    }
    TRY_ASSIGN(const auto api, open_api(options.kube));
    return run_install(*api, wanted, say);
}

Status remove(const Options& options) {
    UninstallOptions wanted{
        .name_space = options.kube.space(), .delete_crds = options.delete_crds, .clean_nodes = !options.keep_nodes};
    TRY_ASSIGN(wanted.timeout, parse_wait_duration("--timeout", options.wait_duration));
    TRY_ASSIGN(const auto api, open_api(options.kube));
    return run_uninstall(*api, wanted, say);
}

// A value may hold commas that separate assignments: they are not CLI11's to split.
void add_list(const Command& command, const char* names, std::vector<std::string>& values, const char* help) {
    command.app()->add_option(names, values, help)->expected(1)->take_all();
}

void add_install_command(const Command& root, bool upgrade) {
    const auto options = std::make_shared<Options>();
    const Command command =
        root.command(upgrade ? "upgrade" : "install",
                     upgrade ? "Change an installation in a Kubernetes cluster" : "Install in a Kubernetes cluster",
                     [options, upgrade] { return run(*options, upgrade); });
    add_list(command, "--set,--helm-set", options->set, "values of the chart: path=value, more after commas");
    add_list(command, "--set-string,--helm-set-string", options->set_string, "likewise; always text");
    add_list(command, "--set-file,--helm-set-file", options->set_file, "path=file: a value from a file");
    add_list(command, "-f,--values,--helm-values", options->files, "YAML file of values; - is standard input");
    command.option("--version", options->version, "to install: this program's")
        .flag("--list-versions", options->list_versions, "print what can be installed")
        .flag("--dry-run", options->dry_run, "print the manifests, and change nothing")
        .flag("--dry-run-helm-values", options->dry_run_values, "print the values, and change nothing")
        .option("--kube-version", options->kubernetes_version,
                "with --dry-run: as for this version of Kubernetes, without asking a cluster");
    if (upgrade) {
        command.flag("--reset-values", options->reset_values, "forget the values of the installation")
            .flag("--reuse-values,--reset-then-reuse-values", options->keep_values,
                  "keep them, under those given now (the default)");
    }
    command.flag("--wait", options->wait, "until all pods are ready")
        .option("--wait-duration", options->wait_duration, "how long; 5m0s");
    add_kube_options(command, options->kube);
}

}  // namespace

void add_install_commands(const Command& root) {
    add_install_command(root, false);
    add_install_command(root, true);
    const auto options = std::make_shared<Options>();
    const Command command = root.command("uninstall", "Remove from a Kubernetes cluster and its nodes",
                                         [options] { return remove(*options); });
    command.flag("--delete-crds", options->delete_crds, "the CustomResourceDefinitions, and all objects of theirs, too")
        .flag("--keep-nodes", options->keep_nodes, "leave what agents put on the nodes")
        .option("--timeout,--wait-duration", options->wait_duration, "how long to wait for objects to go; 5m0s")
        .ignored_flag("--wait");
    add_kube_options(command, options->kube);
}

}  // namespace axo::cli
