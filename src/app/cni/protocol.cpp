#include "app/cni/protocol.h"

#include "app/cni/validate.h"
#include "base/sha256.h"

namespace axo::cni {
namespace {

using nlohmann::json;

constexpr std::array<std::string_view, 7> kVersions = {"0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"};
constexpr const char* kNewest = "1.1.0";

std::unexpected<CniError> bad_config(const std::string& text) {
    return refuse(ErrorCode::kInvalidConfig, "network configuration: " + text);
}

std::string type_text(const json& value) {
    return value.type_name();
}

// A field may be absent or null; of another type than expected it is an error that names it.
Outcome<std::string> text_field(const json& object, const char* key) {
    const auto it = object.find(key);
    if (it == object.end() || it->is_null()) return std::string();
    if (!it->is_string())
        return bad_config("\"" + std::string(key) + "\": a string is expected, not " + type_text(*it));
    return it->get<std::string>();
}

Outcome<bool> bool_field(const json& object, const char* key) {
    const auto it = object.find(key);
    if (it == object.end() || it->is_null()) return false;
    if (!it->is_boolean())
        return bad_config("\"" + std::string(key) + "\": true or false is expected, not " + type_text(*it));
    return it->get<bool>();
}

Outcome<std::uint32_t> mtu_field(const json& object, const char* key) {
    const auto it = object.find(key);
    if (it == object.end() || it->is_null()) return std::uint32_t{0};
    if (!it->is_number_integer())
        return bad_config("\"" + std::string(key) + "\": a number is expected, not " + type_text(*it));
    const auto value = it->get<std::int64_t>();
    // 68 is the smallest that IPv4 allows; IPv6 needs 1280, which the kernel enforces by itself.
    if (value != 0 && (value < 68 || value > 65535)) {
        return bad_config("\"" + std::string(key) + "\": " + std::to_string(value) +
                          " is not within 68 to 65535 (or 0: the agent's)");
    }
    return static_cast<std::uint32_t>(value);
}

Outcome<std::vector<Attachment>> attachments_field(const json& list) {
    if (!list.is_array())
        return bad_config("\"cni.dev/valid-attachments\": an array is expected, not " + type_text(list));
    std::vector<Attachment> attachments;
    for (const json& item : list) {
        if (!item.is_object()) return bad_config("\"cni.dev/valid-attachments\": an array of objects is expected");
        Attachment attachment;
        TRY_ASSIGN(attachment.container_id, text_field(item, "containerID"));
        TRY_ASSIGN(attachment.ifname, text_field(item, "ifname"));
        if (attachment.container_id.empty() || attachment.ifname.empty()) {
            return bad_config("\"cni.dev/valid-attachments\": each entry needs containerID and ifname");
        }
        attachments.push_back(std::move(attachment));
    }
    return attachments;
}

Outcome<NetConf> parse_config(std::string_view input, Command command) {
    const json config = json::parse(input, nullptr, false);
    if (config.is_discarded() || !config.is_object()) {
        return refuse(ErrorCode::kDecode, "standard input is not a network configuration: a JSON object is expected",
                      std::to_string(input.size()) + " bytes were read");
    }
    NetConf conf;
    TRY_ASSIGN(std::string version, text_field(config, "cniVersion"));
    if (!version.empty()) conf.cni_version = version;
    if (std::find(kVersions.begin(), kVersions.end(), conf.cni_version) == kVersions.end()) {
        std::string supported;
        for (const std::string_view v : kVersions) supported += (supported.empty() ? "" : ", ") + std::string(v);
        return refuse(ErrorCode::kIncompatibleVersion, "incompatible CNI versions",
                      "the configuration is \"" + conf.cni_version + "\", the plugin supports " + supported);
    }
    if (command == Command::kVersion) return conf;

    TRY_ASSIGN(conf.name, text_field(config, "name"));
    TRY(check_network_name(conf.name));
    TRY_ASSIGN(conf.debug, bool_field(config, "enable-debug"));
    TRY_ASSIGN(conf.log_file, text_field(config, "log-file"));
    TRY_ASSIGN(conf.log_format, text_field(config, "log-format"));
    TRY_ASSIGN(conf.mtu, mtu_field(config, "mtu"));
    TRY_ASSIGN(conf.route_mtu, bool_field(config, "enable-route-mtu"));
    TRY_ASSIGN(const std::string chaining, text_field(config, "chaining-mode"));
    if (!chaining.empty() && chaining != "none" && chaining != "portmap") {
        return refuse(ErrorCode::kUnsupportedField,
                      "network configuration: \"chaining-mode\": \"" + chaining + "\" is not supported",
                      "accepted are \"none\" and \"portmap\"");
    }
    if (const auto ipam = config.find("ipam"); ipam != config.end() && ipam->is_object()) {
        TRY_ASSIGN(const std::string type, text_field(*ipam, "type"));
        if (!type.empty()) {
            return refuse(ErrorCode::kUnsupportedField,
                          "network configuration: \"ipam.type\": \"" + type + "\" is not supported",
                          "addresses come from the agent; remove \"type\"");
        }
    }
    if (const auto previous = config.find("prevResult"); previous != config.end() && !previous->is_null()) {
        TRY_ASSIGN(conf.previous, decode_result(previous->dump()));
    }
    // 1.1.0 as released says valid-attachments; runtimes built before it say attachments.
    for (const char* key : {"cni.dev/valid-attachments", "cni.dev/attachments"}) {
        const auto list = config.find(key);
        if (list == config.end() || conf.valid_attachments) continue;
        TRY_ASSIGN(conf.valid_attachments, attachments_field(*list));
    }
    return conf;
}

}  // namespace

std::unexpected<CniError> refuse(ErrorCode code, std::string message, std::string details) {
    return std::unexpected(CniError{code, std::move(message), std::move(details)});
}

std::unexpected<CniError> refuse(ErrorCode code, std::string_view what, const Error& error) {
    return std::unexpected(CniError{code, std::string(what) + ": " + error.message, {}});
}

std::string_view command_name(Command command) {
    switch (command) {
        case Command::kAdd: return "ADD";
        case Command::kDel: return "DEL";
        case Command::kCheck: return "CHECK";
        case Command::kGc: return "GC";
        case Command::kStatus: return "STATUS";
        case Command::kVersion: return "VERSION";
    }
    return "";
}

std::string Attachment::host_interface() const {
    return "lxc" + sha256_hex(key()).substr(0, 12);
}

bool version_at_least(std::string_view version, std::string_view minimum) {
    // Listed in ascending order.
    const auto at = [](std::string_view v) { return std::find(kVersions.begin(), kVersions.end(), v); };
    return at(version) >= at(minimum);
}

Outcome<Request> parse_request(const std::function<std::string(const char*)>& environment, std::string_view input) {
    Request request;
    const std::string command = environment("CNI_COMMAND");
    const auto commands = {Command::kAdd, Command::kDel,    Command::kCheck,
                           Command::kGc,  Command::kStatus, Command::kVersion};
    const auto* found =
        std::find_if(commands.begin(), commands.end(), [&](Command c) { return command_name(c) == command; });
    if (found == commands.end()) {
        return refuse(ErrorCode::kInvalidEnvironment, "unknown CNI_COMMAND \"" + command + "\"",
                      "ADD, DEL, CHECK, GC, STATUS and VERSION are accepted");
    }
    request.command = *found;
    if (request.command == Command::kVersion) {
        // A runtime may ask without any configuration.
        if (input.find_first_not_of(" \t\r\n") == std::string_view::npos) return request;
        TRY_ASSIGN(request.conf, parse_config(input, request.command));
        return request;
    }

    const bool on_container =
        request.command == Command::kAdd || request.command == Command::kDel || request.command == Command::kCheck;
    const bool needs_netns = request.command == Command::kAdd || request.command == Command::kCheck;
    request.attachment = {environment("CNI_CONTAINERID"), environment("CNI_IFNAME")};
    request.netns = environment("CNI_NETNS");
    request.raw_args = environment("CNI_ARGS");
    if (on_container) {
        std::string missing;
        auto require = [&](const char* name, const std::string& value) {
            if (value.empty()) missing += (missing.empty() ? "" : ",") + std::string(name);
        };
        require("CNI_CONTAINERID", request.attachment.container_id);
        if (needs_netns) require("CNI_NETNS", request.netns);
        require("CNI_IFNAME", request.attachment.ifname);
        if (!missing.empty()) {
            return refuse(ErrorCode::kInvalidEnvironment, "required env variables [" + missing + "] missing");
        }
        TRY(check_container_id(request.attachment.container_id));
        TRY(check_interface_name(request.attachment.ifname));
        if (!request.netns.empty()) TRY(check_netns_path(request.netns));
        if (request.command == Command::kAdd) {
            TRY_ASSIGN(request.pod, parse_args(request.raw_args));
        } else if (auto pod = parse_args(request.raw_args)) {
            request.pod = std::move(*pod);  // only logged; what removes or inspects must not fail for it
        }
    }

    TRY_ASSIGN(request.conf, parse_config(input, request.command));
    const NetConf& conf = request.conf;
    if (request.command == Command::kCheck && !version_at_least(conf.cni_version, "0.4.0")) {
        return refuse(ErrorCode::kIncompatibleVersion, "config version does not allow CHECK",
                      "CHECK exists since 0.4.0");
    }
    if ((request.command == Command::kGc || request.command == Command::kStatus) &&
        !version_at_least(conf.cni_version, "1.1.0")) {
        return refuse(ErrorCode::kIncompatibleVersion,
                      "config version does not allow " + std::string(command_name(request.command)),
                      std::string(command_name(request.command)) + " exists since 1.1.0");
    }
    if (request.command == Command::kCheck && !conf.previous) {
        return bad_config("\"prevResult\" is missing; CHECK compares with it");
    }
    // An absent list must not be read as an empty one: that would remove every pod of the node.
    if (request.command == Command::kGc && !conf.valid_attachments) {
        return bad_config("\"cni.dev/valid-attachments\" is missing; without it GC does not know what to keep");
    }
    return request;
}

std::string answer_version(std::string_view input) {
    const json config = json::parse(input, nullptr, false);
    if (config.is_object()) {
        if (const auto it = config.find("cniVersion"); it != config.end() && it->is_string()) {
            const auto version = it->get<std::string>();
            if (std::find(kVersions.begin(), kVersions.end(), version) != kVersions.end()) return version;
        }
    }
    return kNewest;
}

std::string encode_error(const CniError& error, const std::string& cni_version) {
    json answer = {{"cniVersion", cni_version}, {"code", static_cast<int>(error.code)}, {"msg", error.message}};
    if (!error.details.empty()) answer["details"] = error.details;
    return answer.dump(4, ' ', false, json::error_handler_t::replace) + "\n";
}

std::string encode_versions(const std::string& cni_version) {
    const json answer = {{"cniVersion", cni_version}, {"supportedVersions", kVersions}};
    return answer.dump() + "\n";
}

}  // namespace axo::cni
