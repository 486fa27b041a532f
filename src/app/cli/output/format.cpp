#include "app/cli/output/format.h"

#include <cmath>
#include <cstdio>
#include <ctime>

#include "app/cli/output/json_path.h"
#include "app/cli/output/yaml.h"
#include "base/duration.h"

namespace axo::cli {

Result<OutputFormat> OutputFormat::parse(const std::string& option) {
    if (option.empty()) return OutputFormat{};
    if (option == "json") return OutputFormat{Kind::kJson, {}};
    if (option == "yaml") return OutputFormat{Kind::kYaml, {}};
    if (option.starts_with("jsonpath=")) {
        std::string path = option.substr(9);
        if (path.size() >= 2 && path.front() == '\'' && path.back() == '\'') path = path.substr(1, path.size() - 2);
        // `jsonpath=.a.b` without braces is what people type first.
        if (!path.empty() && path.find('{') == std::string::npos) path = "{" + path + "}";
        return OutputFormat{Kind::kJsonPath, std::move(path)};
    }
    return fail(Code::kInvalidArgument,
                "output \"" + option + "\" is not known; accepted are json, yaml and jsonpath='{.path}'");
}

Result<std::string> OutputFormat::print(const Json& value) const {
    switch (kind) {
        case Kind::kText: break;
        case Kind::kJson: return value.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
        case Kind::kYaml: return to_yaml(value);
        case Kind::kJsonPath: {
            TRY_ASSIGN(std::string out, json_path(path, value));
            return out + "\n";
        }
    }
    return std::string();
}

const Json& field(const Json& object, std::string_view path) {
    static const Json kNothing;
    const Json* at = &object;
    while (!path.empty()) {
        const std::size_t dot = path.find('.');
        const std::string name(path.substr(0, dot));
        path = dot == std::string_view::npos ? std::string_view() : path.substr(dot + 1);
        if (!at->is_object()) return kNothing;
        const auto it = at->find(name);
        if (it == at->end()) return kNothing;
        at = &*it;
    }
    return *at;
}

std::string text(const Json& object, std::string_view path) {
    const Json& value = field(object, path);
    if (value.is_string()) return value.get<std::string>();
    return value.is_null() || value.is_structured() ? std::string() : value.dump();
}

std::int64_t number(const Json& object, std::string_view path) {
    const Json& value = field(object, path);
    if (value.is_number()) return value.get<std::int64_t>();
    return 0;
}

bool flag(const Json& object, std::string_view path) {
    return field(object, path) == true;
}

std::vector<std::string> texts(const Json& object, std::string_view path) {
    std::vector<std::string> list;
    const Json& value = field(object, path);
    if (!value.is_array()) return list;
    for (const Json& entry : value) list.push_back(entry.is_string() ? entry.get<std::string>() : entry.dump());
    return list;
}

std::string join(const std::vector<std::string>& parts, std::string_view separator) {
    std::string out;
    for (std::size_t i = 0; i < parts.size(); ++i) {
        if (i != 0) out += separator;
        out += parts[i];
    }
    return out;
}

std::optional<std::int64_t> parse_time(const std::string& rfc3339) {
    std::tm time{};
    const char* rest = ::strptime(rfc3339.c_str(), "%Y-%m-%dT%H:%M:%S", &time);
    if (rest == nullptr || time.tm_year + 1900 <= 1970) return std::nullopt;
    std::int64_t seconds = ::timegm(&time);
    while (*rest == '.' || (*rest >= '0' && *rest <= '9')) ++rest;
    int hours = 0;
    int minutes = 0;
    if ((*rest == '+' || *rest == '-') && std::sscanf(rest + 1, "%2d:%2d", &hours, &minutes) == 2) {
        seconds -= (*rest == '+' ? 1 : -1) * (hours * 3600 + minutes * 60);
    }
    return seconds;
}

std::string time_since(const std::string& rfc3339, std::int64_t now) {
    const auto then = parse_time(rfc3339);
    return then ? duration_text(std::chrono::seconds(std::max(now - *then, std::int64_t{0}))) + " ago" : "never";
}

std::string reserved_identity_name(std::int64_t identity) {
    static constexpr const char* kNames[] = {"unknown", "host",       "world",       "unmanaged",
                                             "health",  "init",       "remote-node", "kube-apiserver",
                                             "ingress", "world-ipv4", "world-ipv6"};
    return identity >= 0 && identity < static_cast<std::int64_t>(std::size(kNames)) ? kNames[identity] : "";
}

std::string human_bytes(std::uint64_t bytes) {
    static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    auto value = static_cast<double>(bytes);
    std::size_t unit = 0;
    while (value >= 1024 && unit + 1 < std::size(kUnits)) {
        value /= 1024;
        ++unit;
    }
    char buffer[32];
    std::snprintf(buffer, sizeof(buffer), unit == 0 ? "%.0f %s" : "%.1f %s", value, kUnits[unit]);
    return buffer;
}

}  // namespace axo::cli
