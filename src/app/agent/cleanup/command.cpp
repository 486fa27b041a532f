#include <cstdio>
#include <iostream>

#include "app/agent/cleanup/cleanup.h"
#include "app/agent/cni_conf_path.h"
#include "app/agent/config.h"
#include "kernel/procfs.h"

namespace axo {

namespace {

constexpr const char* kUsage =
    "axoneme cleanup: takes from this node what the agent put there\n\n"
    "  --all-state       everything (the default): BPF state, devices, routes, netfilter chains, changed sysctls,\n"
    "                    CNI configuration and plugin, the state directory\n"
    "  --bpf-state       only programs, maps, links and the devices made for them\n"
    "  -f, --force       without asking\n"
    "  --dry-run         only print what would go\n"
    "  --cni-conf-dir=/etc/cni/net.d  --cni-bin-dir=/opt/cni/bin\n"
    "  --state-dir, --bpf-root, --config-dir and the agent's other flags: as the agent was started with\n\n"
    "The agent must not be running.\n";

struct Request {
    CleanupSettings settings;
    bool force = false, dry_run = false, help = false;
};

bool is_true(const std::map<std::string, std::string>& environment, const char* name) {
    const auto found = environment.find(name);
    return found != environment.end() && (found->second == "true" || found->second == "1");
}

Result<Request> parse(const std::vector<std::string>& arguments,
                      const std::map<std::string, std::string>& environment) {
    Request request;
    std::optional<std::filesystem::path> conf_dir;
    // As Cilium's init container is told.
    bool all_state = is_true(environment, "CILIUM_ALL_STATE");
    bool bpf_state = is_true(environment, "CILIUM_BPF_STATE");
    std::vector<std::string> rest;
    for (const std::string& argument : arguments) {
        const auto value_of = [&argument](const std::string& key) -> std::optional<std::string> {
            return argument.starts_with(key + "=") ? std::optional(argument.substr(key.size() + 1)) : std::nullopt;
        };
        if (argument == "-h" || argument == "--help") {
            request.help = true;
        } else if (argument == "-f" || argument == "--force") {
            request.force = true;
        } else if (argument == "--dry-run") {
            request.dry_run = true;
        } else if (argument == "--all-state") {
            all_state = true;
        } else if (argument == "--bpf-state") {
            bpf_state = true;
        } else if (const auto conf = value_of("--cni-conf-dir")) {
            conf_dir = *conf;
        } else if (const auto bin = value_of("--cni-bin-dir")) {
            request.settings.cni_bin_dir = *bin;
        } else {
            rest.push_back(argument);
        }
    }
    TRY_ASSIGN(const ParsedConfig parsed, parse_config(rest, environment));
    const Config& config = parsed.config;
    if (const auto procfs = config.given.find("procfs"); procfs != config.given.end()) set_procfs(procfs->second);
    request.settings.bpf = config.datapath.paths;
    request.settings.state_dir = config.state_dir;
    request.settings.services = config.datapath.services;
    request.settings.all_state = all_state || !bpf_state;
    if (!config.cni_conf_dir.empty()) {
        request.settings.cni_conf_dir = cni_conf_path(config.cni_conf_dir).parent_path();
    }
    if (conf_dir) request.settings.cni_conf_dir = *conf_dir;
    return request;
}

void print(const std::vector<Leftover>& leftovers) {
    for (const Leftover& one : leftovers) {
        std::cout << "  " << one.kind << " " << one.what << (one.note.empty() ? "" : " (" + one.note + ")") << "\n";
    }
}

bool confirmed() {
    std::cout << "Remove all of this? [y/N] " << std::flush;
    std::string answer;
    std::getline(std::cin, answer);
    return answer == "y" || answer == "Y" || answer == "yes";
}

Status run(const Request& request) {
    TRY_ASSIGN(const std::vector<Leftover> found, find_leftovers(request.settings));
    if (found.empty()) {
        std::cout << "Nothing of the agent is on this node.\n";
        // A state directory or tables without anything in them.
        return request.dry_run ? Status{} : remove_leftovers(request.settings);
    }
    std::cout << (request.dry_run ? "Would be removed:\n" : "To be removed:\n");
    print(found);
    if (request.dry_run) return {};
    if (!request.force && !confirmed()) return fail(Code::kCancelled, "nothing was removed");
    Status outcome = remove_leftovers(request.settings);
    if (!outcome && outcome.error().code == Code::kAlreadyExists) return outcome;
    TRY_ASSIGN(const std::vector<Leftover> left, find_leftovers(request.settings));
    std::cout << found.size() - std::min(found.size(), left.size()) << " removed.\n";
    if (!left.empty()) {
        std::cout << "Still there:\n";
        print(left);
        if (outcome) return fail(Code::kFailedPrecondition, std::to_string(left.size()) + " could not be removed");
    }
    return outcome;
}

}  // namespace

int cleanup_command(const std::vector<std::string>& arguments) {
    const auto request = parse(arguments, process_environment());
    if (request && request->help) {
        std::fputs(kUsage, stdout);
        return 0;
    }
    const Status done = request ? run(*request) : forward_error(request.error());
    if (done) return 0;
    std::cout << std::flush;
    std::fprintf(stderr, "Error: %s\n", done.error().message.c_str());
    return 1;
}

}  // namespace axo
