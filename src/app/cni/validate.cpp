#include "app/cni/validate.h"

#include <net/if.h>

#include <climits>

namespace axo::cni {
namespace {

bool is_alnum(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// The specification's form of container ids and network names.
bool is_plain_name(std::string_view text) {
    if (text.empty() || !is_alnum(text.front())) return false;
    return std::all_of(text.begin(), text.end(),
                       [](char c) { return is_alnum(c) || c == '_' || c == '.' || c == '-'; });
}

// Characters of Kubernetes object names and UIDs (RFC 1123 subdomains); they end up in REST paths and file names.
bool is_object_name(std::string_view text) {
    if (text.size() > 253 || text.empty() || !is_alnum(text.front())) return false;
    return std::all_of(text.begin(), text.end(), [](char c) { return is_alnum(c) || c == '.' || c == '-'; });
}

// A refused value goes into logs and terminals: printable and short.
std::string quoted(std::string_view text) {
    std::string out = "\"";
    for (const char c : text.substr(0, 80)) out += (c >= 0x20 && c < 0x7f) ? c : '?';
    return out + (text.size() > 80 ? "…\"" : "\"");
}

std::unexpected<CniError> bad_environment(std::string_view variable, std::string_view value,
                                          std::string_view accepted) {
    return refuse(ErrorCode::kInvalidEnvironment,
                  "invalid " + std::string(variable) + " " + quoted(value) + ": " + std::string(accepted));
}

}  // namespace

Done check_container_id(std::string_view id) {
    if (!is_plain_name(id)) {
        return bad_environment("CNI_CONTAINERID", id,
                               "a letter or digit, then letters, digits, \"_\", \".\" and \"-\" are accepted");
    }
    if (id.size() > 512) return bad_environment("CNI_CONTAINERID", id, "at most 512 characters are accepted");
    return {};
}

Done check_interface_name(std::string_view name) {
    if (name.empty() || name.size() >= IFNAMSIZ) {
        return bad_environment("CNI_IFNAME", name, "1 to 15 characters are accepted");
    }
    if (name == "." || name == "..") return bad_environment("CNI_IFNAME", name, "the kernel reserves this name");
    // "%" would make the kernel number the interface ("eth%d").
    const bool broken = std::any_of(name.begin(), name.end(), [](char c) {
        return c == '/' || c == ':' || c == '%' || static_cast<unsigned char>(c) <= 0x20 ||
               static_cast<unsigned char>(c) >= 0x7f;
    });
    if (broken)
        return bad_environment("CNI_IFNAME", name,
                               "\"/\", \":\", \"%\", spaces and control characters are not accepted");
    if (name == "lo") return bad_environment("CNI_IFNAME", name, "\"lo\" is the namespace's loopback interface");
    return {};
}

Done check_network_name(std::string_view name) {
    if (name.empty()) return refuse(ErrorCode::kInvalidConfig, "network configuration: \"name\" is missing");
    if (!is_plain_name(name)) {
        return refuse(ErrorCode::kInvalidConfig,
                      "network configuration: invalid name " + quoted(name) +
                          ": a letter or digit, then letters, digits, \"_\", \".\" and \"-\" are accepted");
    }
    return {};
}

Done check_netns_path(std::string_view path) {
    if (path.empty() || path.front() != '/') return bad_environment("CNI_NETNS", path, "an absolute path is expected");
    if (path.size() >= PATH_MAX) return bad_environment("CNI_NETNS", path, "the path is too long");
    if (path.find('\0') != std::string_view::npos)
        return bad_environment("CNI_NETNS", path, "the path holds a zero byte");
    if ((std::string(path) + "/").find("/../") != std::string::npos) {
        return bad_environment("CNI_NETNS", path, "\"..\" is not accepted");
    }
    return {};
}

Outcome<PodArgs> parse_args(std::string_view args) {
    std::map<std::string, std::string> values;
    while (!args.empty()) {
        const std::size_t end = args.find(';');
        const std::string_view pair = args.substr(0, end);
        args = end == std::string_view::npos ? std::string_view() : args.substr(end + 1);
        if (pair.empty()) continue;
        const std::size_t equals = pair.find('=');
        if (equals == std::string_view::npos || equals == 0) {
            return bad_environment("CNI_ARGS", pair, "pairs KEY=VALUE separated by \";\" are expected");
        }
        values[std::string(pair.substr(0, equals))] = std::string(pair.substr(equals + 1));
    }
    auto take = [&](const char* key) {
        auto node = values.extract(key);
        return node ? std::move(node.mapped()) : std::string();
    };
    const std::string ignore = take("IgnoreUnknown");
    if (!ignore.empty() && ignore != "1" && ignore != "0" && ignore != "true" && ignore != "false") {
        return bad_environment("CNI_ARGS IgnoreUnknown", ignore, "1, 0, true or false is expected");
    }
    PodArgs pod{take("K8S_POD_NAME"), take("K8S_POD_NAMESPACE"), take("K8S_POD_UID")};
    take("K8S_POD_INFRA_CONTAINER_ID");  // the same as CNI_CONTAINERID
    if (!values.empty() && ignore != "1" && ignore != "true") {
        return bad_environment("CNI_ARGS", values.begin()->first, "not a known key, and IgnoreUnknown is not set");
    }
    const std::pair<const char*, const std::string*> names[] = {
        {"K8S_POD_NAME", &pod.name}, {"K8S_POD_NAMESPACE", &pod.name_space}, {"K8S_POD_UID", &pod.uid}};
    for (const auto& [key, value] : names) {
        if (!value->empty() && !is_object_name(*value)) {
            return bad_environment(std::string("CNI_ARGS ") + key, *value,
                                   "letters, digits, \"-\" and \".\" are accepted, at most 253");
        }
    }
    if (pod.name.empty() != pod.name_space.empty()) {
        return bad_environment("CNI_ARGS", pod.name.empty() ? "K8S_POD_NAME" : "K8S_POD_NAMESPACE",
                               "K8S_POD_NAME and K8S_POD_NAMESPACE come together or not at all");
    }
    return pod;
}

}  // namespace axo::cni
