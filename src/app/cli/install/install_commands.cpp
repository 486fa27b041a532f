// install, upgrade, uninstall: through the API server, with the chart that is in this program.
#include <CLI/CLI.hpp>
#include <iostream>
#include <sstream>

#include "app/cli/commands.h"
#include "app/cli/context.h"
#include "app/cli/install/installer.h"
#include "app/cli/install/kube_api.h"
#include "app/cli/output/yaml.h"
#include "base/file.h"
#include "model/yaml.h"

namespace axo::cli {
namespace {

using namespace install;

struct Options {
    KubeOptions kube;
    std::vector<std::string> set, set_string, files;
    std::string version, wait_duration = "5m0s";
    bool dry_run = false, dry_run_values = false, wait = true, reuse_values = false;
    bool delete_crds = false, keep_nodes = false;
};

void say(const std::string& line) {
    print(line + "\n");
}

// Files in their order, then the single assignments over them.
Result<Json> values_of(const Options& options) {
    axo::Json values = axo::Json::object();
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
    return values;
}

Result<std::chrono::seconds> patience(const std::string& text) {
    std::chrono::seconds all{0};
    std::istringstream parts(text);
    long number = 0;
    for (char unit = 0; parts >> number >> unit;) {
        if (unit != 's' && unit != 'm' && unit != 'h') all = std::chrono::seconds{0};
        all += std::chrono::seconds(number * (unit == 'h' ? 3600 : unit == 'm' ? 60 : 1));
    }
    if (all.count() <= 0)
        return fail(Code::kInvalidArgument, "--wait-duration \"" + text + "\": accepted: e.g. 90s or 5m");
    return all;
}

Status check_version(const Options& options) {
    const auto& chart = helm::embedded_chart();
    TRY_ASSIGN(const axo::Json metadata, parse_yaml(chart.at("Chart.yaml")));
    const std::string own = metadata.value("version", std::string());
    std::string wanted = options.version;
    if (wanted.starts_with('v')) wanted.erase(0, 1);
    if (wanted.empty() || wanted == own) return {};
    return fail(Code::kInvalidArgument, "--version " + options.version + ": this program installs version " + own +
                                            "; take the program of the other version");
}

Status run(const Options& options, bool upgrade) {
    TRY(check_version(options));
    InstallOptions wanted{.name_space = options.kube.name_space,
                          .upgrade = upgrade,
                          .reuse_values = options.reuse_values,
                          .wait = options.wait};
    TRY_ASSIGN(wanted.values, values_of(options));
    TRY_ASSIGN(wanted.wait_duration, patience(options.wait_duration));
    if (options.dry_run_values) {
        print(axo::to_yaml(wanted.values));
        return {};
    }
    if (options.dry_run) {
        // Without a cluster, too: what depends on its version is as for a recent one.
        const auto api = open_api(options.kube);
        TRY_ASSIGN(const helm::Rendered rendered, render_installation(api ? api->get() : nullptr, wanted));
        print(helm::manifest_text(rendered));
        return {};
    }
    TRY_ASSIGN(const auto api, open_api(options.kube));
    return run_install(*api, wanted, say);
}

Status remove(const Options& options) {
    UninstallOptions wanted{.name_space = options.kube.name_space,
                            .delete_crds = options.delete_crds,
                            .clean_nodes = !options.keep_nodes,
                            .wait = options.wait};
    TRY_ASSIGN(wanted.wait_duration, patience(options.wait_duration));
    TRY_ASSIGN(const auto api, open_api(options.kube));
    return run_uninstall(*api, wanted, say);
}

void add_wait(const Command& command, Options& options) {
    command.app()->add_flag("--wait,!--no-wait", options.wait, "until it is done everywhere (the default)");
    command.app()->add_option("--wait-duration", options.wait_duration, "how long")->capture_default_str();
}

}  // namespace

void add_install_commands(const Command& root) {
    const auto options = std::make_shared<Options>();
    for (const bool upgrade : {false, true}) {
        const Command command =
            root.command(upgrade ? "upgrade" : "install",
                         upgrade ? "Change an installation in a Kubernetes cluster" : "Install in a Kubernetes cluster",
                         [options, upgrade] { return run(*options, upgrade); });
        // A value may hold commas that separate assignments: they are not CLI's to split.
        command.app()->add_option("--set", options->set, "values of the chart: path=value,…")->expected(1)->take_all();
        command.app()
            ->add_option("--set-string", options->set_string, "likewise; always text")
            ->expected(1)
            ->take_all();
        command.app()
            ->add_option("-f,--values", options->files, "YAML files of values; - is standard input")
            ->expected(1)
            ->take_all();
        command.option("--version", options->version, "to install: this program's")
            .flag("--dry-run", options->dry_run, "print the manifests, and change nothing")
            .flag("--dry-run-helm-values", options->dry_run_values, "print the values, and change nothing");
        if (upgrade) command.flag("--reuse-values", options->reuse_values, "those of the installation, under these");
        add_kube_options(command, options->kube);
        add_wait(command, *options);
    }
    const Command command = root.command("uninstall", "Remove from a Kubernetes cluster and its nodes",
                                         [options] { return remove(*options); });
    command.flag("--delete-crds", options->delete_crds, "the CustomResourceDefinitions, and all objects of theirs, too")
        .flag("--keep-nodes", options->keep_nodes, "leave what agents put on the nodes");
    add_kube_options(command, options->kube);
    add_wait(command, *options);
}

}  // namespace axo::cli
