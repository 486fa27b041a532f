#include "app/agent/config.h"

#include <unistd.h>

#include <cctype>
#include <set>

#include "app/agent/config_internal.h"
#include "base/file.h"
#include "model/names.h"

namespace axo {

namespace {

struct Given {
    std::string value;
    std::string origin;  // "--key", "CILIUM_KEY", "/config/key": for messages
};
using GivenKeys = std::map<std::string, Given>;

const ConfigOption* find_option(const std::string& key) {
    for (const ConfigOption& option : config_options()) {
        if (option.key == key) return &option;
    }
    return nullptr;
}

const MissingFeature* find_missing(const std::string& key) {
    for (const MissingFeature& feature : missing_features()) {
        if (feature.key == key) return &feature;
    }
    return nullptr;
}

bool is_boolean(const std::string& key) {
    if (const ConfigOption* option = find_option(key)) return option->boolean;
    if (const MissingFeature* feature = find_missing(key)) return feature->off.front() == "false";
    return key.starts_with("enable-");
}

std::string trimmed(std::string text) {
    while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0) text.pop_back();
    std::size_t start = 0;
    while (start < text.size() && std::isspace(static_cast<unsigned char>(text[start])) != 0) ++start;
    return text.substr(start);
}

void read_arguments(const std::vector<std::string>& arguments, GivenKeys& given, ParsedConfig& parsed,
                    std::vector<std::string>& errors) {
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const std::string& argument = arguments[i];
        if (argument == "-h" || argument == "--help") {
            parsed.help = true;
            continue;
        }
        if (argument == "--version") {
            parsed.version = true;
            continue;
        }
        if (argument == "-D") {
            given["debug"] = {"true", "-D"};
            continue;
        }
        if (!argument.starts_with("--") || argument.size() < 3) {
            errors.push_back("argument '" + argument + "': expected --<key>=<value>");
            continue;
        }
        const auto equals = argument.find('=');
        const std::string key = argument.substr(2, equals == std::string::npos ? std::string::npos : equals - 2);
        if (key != "config-dir" && find_option(key) == nullptr && find_missing(key) == nullptr &&
            !is_known_cilium_key(key)) {
            errors.push_back("--" + key + ": unknown flag; --help lists those that exist");
            if (equals == std::string::npos && i + 1 < arguments.size() && !arguments[i + 1].starts_with("-")) ++i;
            continue;
        }
        std::string value;
        if (equals != std::string::npos) {
            value = argument.substr(equals + 1);
        } else if (is_boolean(key)) {
            value = "true";
        } else if (i + 1 < arguments.size()) {
            value = arguments[++i];
        } else {
            errors.push_back("--" + key + ": needs a value");
            continue;
        }
        // Repeatable flags are lists in Cilium; for these two the values add up.
        if ((key == "labels" || key == "devices" || key == "log-opt") && given.contains(key))
            value = given[key].value + " " + value;
        given[key] = {value, "--" + key};
    }
}

void read_environment(const std::map<std::string, std::string>& environment, GivenKeys& given) {
    const auto add = [&](const std::string& key, const std::string& variable) {
        const auto found = environment.find(variable);
        if (found != environment.end()) given.try_emplace(key, Given{found->second, variable});
    };
    for (const ConfigOption& option : config_options()) {
        std::string variable = "CILIUM_" + option.key;
        for (char& c : variable) c = c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
        add(option.key, variable);
    }
    for (const MissingFeature& feature : missing_features()) {
        std::string variable = "CILIUM_" + std::string(feature.key);
        for (char& c : variable) c = c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
        add(std::string(feature.key), variable);
    }
    add("config-dir", "CILIUM_CONFIG_DIR");
    add("k8s-node-name", "K8S_NODE_NAME");
}

void read_directory(const std::string& directory, GivenKeys& given, std::vector<std::string>& errors,
                    std::vector<std::string>& warnings) {
    std::error_code error;
    std::filesystem::directory_iterator files(directory, error);
    if (error) {
        errors.push_back("--config-dir=" + directory + ": " + error.message() +
                         "; expected a directory with one file per key");
        return;
    }
    for (const auto& file : files) {
        const std::string key = file.path().filename();
        // "..data" and its like are how Kubernetes swaps a mounted ConfigMap.
        if (key.starts_with(".") || !file.is_regular_file(error)) continue;
        if (find_option(key) == nullptr && find_missing(key) == nullptr && !is_known_cilium_key(key)) {
            warnings.push_back(file.path().string() + ": unknown key '" + key + "', ignored");
            continue;
        }
        auto content = read_file(file.path());
        if (!content) {
            errors.push_back(file.path().string() + ": " + content.error().message);
            continue;
        }
        given.try_emplace(key, Given{trimmed(*content), file.path().string()});
    }
}

std::string host_name() {
    char name[256] = {};
    return ::gethostname(name, sizeof(name) - 1) == 0 ? name : "";
}

void check_together(Config& config, std::vector<std::string>& errors, std::vector<std::string>& warnings) {
    DatapathSettings& datapath = config.datapath;
    if (!config.ipv4 && !config.ipv6)
        errors.emplace_back("enable-ipv4=false, enable-ipv6=false: at least one must be true");
    if (config.cluster_id != 0 && config.cluster_name == "default") {
        errors.push_back("cluster-id=" + std::to_string(config.cluster_id) +
                         ": needs a cluster-name other than 'default'");
    }
    if (config.auto_direct_node_routes && datapath.routing == RoutingMode::kTunnel) {
        errors.emplace_back("auto-direct-node-routes=true: needs routing-mode=native, but it is tunnel");
    }
    if (config.direct_routing_skip_unreachable && !config.auto_direct_node_routes) {
        errors.emplace_back("direct-routing-skip-unreachable=true: needs auto-direct-node-routes=true");
    }
    if (config.node_name.empty()) config.node_name = host_name();
    // Node names become object names and parts of paths.
    if (!is_dns_subdomain(config.node_name)) {
        errors.push_back("k8s-node-name='" + config.node_name + "': accepted: " + std::string(kDnsSubdomainRule));
    }
    if (config.socket_path.empty()) config.socket_path = config.state_dir / "cilium.sock";
    if (config.hubble.socket_path.empty()) config.hubble.socket_path = config.state_dir / "hubble.sock";
    config.hubble.dns_state = config.endpoint_state_dir() / "dns-names.json";
    // sockaddr_un holds 107 characters and a terminator.
    if (config.socket_path.string().size() > 107) {
        errors.push_back("socket-path=" + config.socket_path.string() + ": at most 107 characters");
    }
    datapath.ipv4 = config.ipv4;
    datapath.ipv6 = config.ipv6;
    const bool geneve = datapath.tunnel_protocol == TunnelProtocol::kGeneve;
    if (datapath.tunnel_port == 0) datapath.tunnel_port = geneve ? 6081 : 8472;
    if (geneve && datapath.tunnel_source_port_high != 0)
        warnings.emplace_back(
            "tunnel-source-port-range: with tunnel-protocol=geneve what the tunnel device itself sends has ports of the "
            "node's net.ipv4.ip_local_port_range");
    if (config.ct_tcp_max + config.ct_any_max != 0) {
        datapath.flow_map_max = std::max<std::uint32_t>(config.ct_tcp_max + config.ct_any_max, 1024);
    }
    datapath.dns_events = config.hubble.enabled && config.hubble.dns;
    check_services(config, errors, warnings);
    check_ipam(config, errors, warnings);
    check_hubble(config, errors);
}

}  // namespace

Result<ParsedConfig> parse_config(const std::vector<std::string>& arguments,
                                  const std::map<std::string, std::string>& environment) {
    ParsedConfig parsed;
    parsed.config.datapath.tunnel_port = 0;  // the protocol's
    std::vector<std::string> errors;
    GivenKeys given;
    read_arguments(arguments, given, parsed, errors);
    if (parsed.help || parsed.version) return parsed;
    read_environment(environment, given);
    if (const auto directory = given.find("config-dir"); directory != given.end() && !directory->second.value.empty()) {
        const std::string path = directory->second.value;
        read_directory(path, given, errors, parsed.warnings);
    }

    Config& config = parsed.config;
    for (const auto& [key, from] : given) {
        if (key == "config-dir") continue;
        if (const ConfigOption* option = find_option(key)) {
            if (auto done = option->parse(config, from.value); !done) {
                errors.push_back(from.origin + ": " + key + "='" + from.value + "': accepted: " + done.error().message);
            } else {
                config.given[key] = from.value;
            }
            continue;
        }
        if (const MissingFeature* feature = find_missing(key)) {
            config.given[key] = from.value;
            const bool off = from.value.empty() || std::ranges::find(feature->off, from.value) != feature->off.end();
            if (off) continue;
            const std::string message = from.origin + ": " + key + "='" + from.value +
                                        "': " + std::string(feature->feature) + " is not available in this version";
            if (feature->refuse) {
                errors.push_back(message + "; accepted: " +
                                 std::string(feature->off.front().empty() ? "unset" : feature->off.front()));
            } else {
                parsed.warnings.push_back(message + "; the setting has no effect");
            }
            continue;
        }
        config.given[key] = from.value;  // another program's, like the operator's pools
    }
    check_together(config, errors, parsed.warnings);
    if (!errors.empty()) {
        std::string message =
            std::to_string(errors.size()) + (errors.size() == 1 ? " mistake" : " mistakes") + " in the configuration";
        for (const std::string& error : errors) message += "\n  " + error;
        return fail(Code::kInvalidArgument, message);
    }
    return parsed;
}

std::map<std::string, std::string> process_environment() {
    std::map<std::string, std::string> all;
    for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
        const std::string text = *entry;
        const auto equals = text.find('=');
        if (equals != std::string::npos) all.emplace(text.substr(0, equals), text.substr(equals + 1));
    }
    return all;
}

std::string config_help() {
    std::string help =
        "axoneme-agent: the node agent\n\n"
        "Every key can be given as a flag, as CILIUM_<KEY> in the environment, or as a file <config-dir>/<key>;\n"
        "a flag wins over the environment, the environment over the directory.\n\n"
        "  --config-dir=<path>  directory with one file per key, as a mounted cilium-config ConfigMap\n"
        "  --check-config       say whether the configuration is valid, and leave\n"
        "  prepare-node …       as the first argument: mounts and files that the node needs, for an init container\n"
        "  pause                as the first argument: nothing, until SIGTERM\n";
    for (const ConfigOption& option : config_options()) {
        help += "  --" + option.key;
        if (!option.default_text.empty()) help += "=" + option.default_text;
        help += "\n        " + option.help + "\n";
    }
    return help;
}

}  // namespace axo
