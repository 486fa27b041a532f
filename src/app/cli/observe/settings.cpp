#include "app/cli/observe/settings.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "app/cli/observe/go_time.h"
#include "app/cli/output/yaml.h"
#include "base/file.h"
#include "model/yaml.h"

namespace axo::cli {
namespace {

constexpr Settings::Key kKeys[] = {
    {"server", "string", "", "Address of a Hubble server; not used with --input-file"},
    {"timeout", "duration", "5s", "How long connecting to the server may take"},
    {"request-timeout", "duration", "12s", "How long an answer may take; not for streams (flows, peers)"},
    {"tls", "bool", "false", "Use TLS; without it only for servers that begin with tls://"},
    {"tls-allow-insecure", "bool", "false",
     "Do not verify the server's certificate nor its name. NOT recommended: anybody in the middle can read along;\nsee "
     "tls-server-name first"},
    {"tls-ca-cert-files", "strings", "", "Files with the certificate authorities to trust (PEM)"},
    {"tls-client-cert-file", "string", "", "File with the client's certificate (PEM)"},
    {"tls-client-key-file", "string", "", "File with the client's private key (PEM)"},
    {"tls-server-name", "string", "",
     "Name that the server's certificate has to carry (instance.hubble-relay.cilium.io)"},
    {"basic-auth-username", "string", "", "User name for basic authentication"},
    {"basic-auth-password", "string", "", "Password for basic authentication"},
    {"port-forward", "bool", "false",
     "Not supported: run kubectl -n kube-system port-forward service/hubble-relay 4245:80", 'P'},
    {"port-forward-port", "uint16", "4245", "With --port-forward"},
    {"kube-context", "string", "", "With --port-forward"},
    {"kube-namespace", "string", "kube-system", "With --port-forward"},
    {"kubeconfig", "string", "", "With --port-forward"},
    {"config", "string", "", "Config file"},
    {"debug", "bool", "false", "Tell more to standard error", 'D'},
    // Not flags of every command, but settings like the others.
    {"allowlist", "strings", "", ""},
    {"denylist", "strings", "", ""},
};

bool is_global(std::string_view key) {
    return key == "config" || key == "debug";
}

std::string environment(const std::string& name) {
    const char* value = std::getenv(name.c_str());
    return value == nullptr ? "" : value;
}

std::string environment_name(std::string_view key) {
    std::string name = "HUBBLE_";
    for (const char c : key) name += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    return name;
}

std::string default_config() {
    if (const std::string folder = environment("XDG_CONFIG_HOME"); !folder.empty())
        return folder + "/hubble/config.yaml";
    if (const std::string home = environment("HOME"); !home.empty()) return home + "/.config/hubble/config.yaml";
    return {};
}

// Where Hubble looks when no file is named.
std::vector<std::string> usual_configs() {
    std::vector<std::string> paths{"config.yaml"};
    if (const std::string usual = default_config(); !usual.empty()) paths.push_back(usual);
    if (const std::string home = environment("HOME"); !home.empty()) paths.push_back(home + "/.hubble/config.yaml");
    return paths;
}

std::string scalar(const ::axo::Json& value) {
    return value.is_string() ? value.get<std::string>() : value.is_null() ? "" : value.dump();
}

Status check_type(const Settings::Key& key, const std::string& value) {
    Status ok;
    if (key.type == "bool") {
        if (const auto read = parse_bool(value); !read) ok = std::unexpected(read.error());
    } else if (key.type == "duration") {
        if (const auto read = parse_go_duration(value); !read) ok = std::unexpected(read.error());
    } else if (key.type == "uint16") {
        if (value.empty() || value.size() > 5 || value.find_first_not_of("0123456789") != std::string::npos ||
            std::stoul(value) > 65535)
            ok = fail(Code::kInvalidArgument, "not a number from 0 to 65535");
    }
    if (ok) return {};
    return fail(Code::kInvalidArgument, "cannot assign value=" + value + " for key=" + std::string(key.name) +
                                            ", expected type=" + std::string(key.type) + ": " + ok.error().message);
}

}  // namespace

Settings::Settings(std::string server) : server_(std::move(server)) {
    for (const Key& key : kKeys)
        if (!key.help.empty()) add_flag(is_global(key.name) ? global_flags_ : server_flags_, key);
}

void Settings::add_flag(FlagSet& set, const Key& key) {
    const std::string shown = preset(key);
    set.add({.name = std::string(key.name),
             .shorthand = key.shorthand,
             .type = std::string(key.type),
             .if_bare = key.type == "bool" ? "true" : "",
             .help = std::string(key.help),
             .preset = shown == "false" ? "" : shown,
             .set = [this, &key](const std::string& value) -> Status {
                 TRY(check_type(key, value));
                 std::vector<std::string>& list = given_[std::string(key.name)];
                 if (key.type != "strings")
                     list = {value};
                 else
                     for (std::string& part : split_commas(value)) list.push_back(std::move(part));
                 return {};
             }});
}

const Settings::Key* Settings::find(std::string_view name) {
    const auto* found = std::ranges::find(kKeys, name, &Key::name);
    return found == std::end(kKeys) ? nullptr : found;
}

std::string Settings::preset(const Key& key) const {
    if (key.name == "server") return server_;
    if (key.name == "config") return default_config();
    return std::string(key.preset);
}

std::string Settings::config_path() const {
    const Key& key = *find("config");
    const std::vector<std::string> asked = values(key);
    return asked.empty() ? "" : asked.front();
}

Status Settings::load() {
    std::vector<std::string> paths{config_path()};
    const bool asked = given_.contains("config") || !environment("HUBBLE_CONFIG").empty();
    if (!asked) paths = usual_configs();
    for (const std::string& path : paths) {
        std::error_code none;
        if (path.empty() || (!asked && !std::filesystem::exists(path, none))) continue;
        TRY_ASSIGN(const std::string text, read_file(path));
        auto yaml = parse_yaml(text);
        if (!yaml) return std::unexpected(std::move(yaml.error()).with_context(path));
        if (!yaml->is_object() && !yaml->is_null())
            return fail(Code::kInvalidArgument, path + ": expected keys and values, such as 'server: localhost:4245'");
        for (const auto& [name, value] : yaml->items()) {
            const Key* key = find(name);
            if (key == nullptr) continue;
            std::vector<std::string>& list = file_[name];
            if (value.is_array())
                for (const auto& entry : value) list.push_back(scalar(entry));
            else
                list.push_back(scalar(value));
            if (key->type != "strings")
                if (Status ok = check_type(*key, list.empty() ? "" : list.front()); !ok)
                    return std::unexpected(std::move(ok.error()).with_context(path));
        }
        return {};
    }
    return {};
}

std::vector<std::string> Settings::values(const Key& key) const {
    if (const auto given = given_.find(key.name); given != given_.end()) return given->second;
    if (const std::string value = environment(environment_name(key.name)); !value.empty()) {
        if (key.name == "allowlist" || key.name == "denylist" || key.type != "strings") return {value};
        return split_commas(value);
    }
    if (const auto read = file_.find(key.name); read != file_.end()) return read->second;
    const std::string value = preset(key);
    if (value.empty()) return {};
    return {value};
}

std::string Settings::text(std::string_view key) const {
    const std::vector<std::string> all = values(*find(key));
    return all.empty() ? "" : all.front();
}

bool Settings::flag(std::string_view key) const {
    const auto value = parse_bool(text(key));
    return value && *value;
}

std::vector<std::string> Settings::list(std::string_view key) const {
    return values(*find(key));
}

Result<std::chrono::nanoseconds> Settings::duration(std::string_view key) const {
    auto value = parse_go_duration(text(key));
    if (!value) return std::unexpected(std::move(value.error()).with_context("--" + std::string(key)));
    return value;
}

std::string Settings::view() const {
    ::axo::Json root = ::axo::Json::object();
    for (const Key& key : kKeys) {
        const std::vector<std::string> all = values(key);
        const std::string first = all.empty() ? "" : all.front();
        const std::string name(key.name);
        if (key.type == "strings")
            root[name] = all;
        else if (key.type == "bool")
            root[name] = flag(key.name);
        else if (key.type == "uint16")
            root[name] = std::stoul(first);
        else
            root[name] = first;
    }
    return ::axo::to_yaml(root);
}

Result<std::string> Settings::get(const std::string& name) const {
    const Key* key = find(name);
    if (key == nullptr) return fail(Code::kInvalidArgument, "unknown key: " + name);
    std::string out;
    for (const std::string& value : values(*key)) out += (out.empty() ? "" : " ") + value;
    return key->type == "strings" ? "[" + out + "]" : out;
}

Status Settings::set(const std::string& name, const std::string& value) const {
    const Key* key = find(name);
    if (key == nullptr) return fail(Code::kInvalidArgument, "unknown key: " + name);
    const std::string path = config_path();
    if (path.empty()) return fail(Code::kFailedPrecondition, "config file undefined: --config names one");
    ::axo::Json root = ::axo::Json::object();
    std::error_code none;
    if (std::filesystem::exists(path, none)) {
        TRY_ASSIGN(const std::string text, read_file(path));
        TRY_ASSIGN(root, parse_yaml(text));
        if (root.is_null()) root = ::axo::Json::object();
        if (!root.is_object()) return fail(Code::kInvalidArgument, path + ": not a file of keys and values");
    }
    if (value.empty()) {
        root.erase(name);
    } else if (key->type == "strings") {
        const bool bracketed = value.starts_with('[') && value.ends_with(']');
        root[name] = split_commas(bracketed ? value.substr(1, value.size() - 2) : value);
    } else {
        TRY(check_type(*key, value));
        if (key->type == "bool")
            root[name] = *parse_bool(value);
        else if (key->type == "uint16")
            root[name] = std::stoul(value);
        else
            root[name] = value;
    }
    TRY(make_directories(std::filesystem::absolute(path).parent_path(), 0750));
    // It may hold a password.
    return write_atomic(path, root.empty() ? "{}\n" : ::axo::to_yaml(root), 0600);
}

Status Settings::reset() const {
    const std::string path = config_path();
    if (path.empty()) return fail(Code::kFailedPrecondition, "config file undefined: --config names one");
    TRY(make_directories(std::filesystem::absolute(path).parent_path(), 0750));
    return write_atomic(path, "{}\n", 0600);
}

}  // namespace axo::cli
