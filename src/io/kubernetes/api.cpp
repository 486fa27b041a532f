#include "io/kubernetes/api.h"

#include <algorithm>

namespace axo::kubernetes {
namespace {

// Older versions that the model reads as well, newest first.
const std::map<std::string, std::vector<std::string>>& older_versions() {
    static const std::map<std::string, std::vector<std::string>> all{
        {"discovery.k8s.io/endpointslices", {"v1beta1"}},
        {"cilium.io/ciliumcidrgroups", {"v2alpha1"}},
    };
    return all;
}

std::string group_path(const std::string& group, const std::string& version) {
    return group.empty() ? "/api/" + version : "/apis/" + group + "/" + version;
}

std::string kind_name(const ResourceType& type) {
    return type.group + "/" + type.plural;
}

std::string text_of(const Json& object, const char* name) {
    const auto found = object.is_object() ? object.find(name) : object.end();
    return object.is_object() && found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

// message and details.causes of a v1 Status; what is no Status: its beginning.
std::string explanation(const Response& response) {
    const Json status = Json::parse(response.body, nullptr, false);
    if (!status.is_object()) return response.body.substr(0, 200);
    std::string text = text_of(status, "message");
    const auto details = status.find("details");
    if (details == status.end() || !details->is_object()) return text;
    const auto causes = details->find("causes");
    if (causes == details->end() || !causes->is_array()) return text;
    for (const Json& cause : *causes) {
        const std::string message = text_of(cause, "message");
        if (text.find(message) == std::string::npos) text += "; " + text_of(cause, "field") + ": " + message;
    }
    return text;
}

// What an administrator has to add.
std::string missing_rule(const Operation& operation) {
    const ResourceType& type = *operation.type;
    const std::string resource =
        type.plural + (operation.subresource.empty() ? std::string() : "/" + operation.subresource);
    return "; a rule of its ClusterRole would allow it: {apiGroups: [\"" + type.group + "\"], resources: [\"" +
           resource + "\"], verbs: [\"" + operation.verb + "\"]}";
}

}  // namespace

std::string Operation::to_string() const {
    std::string text = verb + " " + type->plural + (type->group.empty() ? "" : "." + type->group);
    if (!subresource.empty()) text += "/" + subresource;
    if (!key.name.empty()) text += " " + key.to_string();
    return text;
}

Error error_of(const Operation& operation, const Response& response) {
    const std::string what = operation.to_string();
    const std::string why = explanation(response);
    switch (response.status) {
        case 400:
        case 413:
        case 422: return {Code::kInvalidArgument, what + ": " + why, 0};
        case 401:
            return {Code::kPermissionDenied, what + ": the API server does not accept the credentials: " + why, 0};
        case 403: return {Code::kPermissionDenied, what + ": " + why + missing_rule(operation), 0};
        case 404: return {Code::kNotFound, what + ": " + why, 0};
        case 409: return {operation.verb == "create" ? Code::kAlreadyExists : Code::kAborted, what + ": " + why, 0};
        case 410: return {Code::kOutOfRange, what + ": " + why, 0};
        case 429: return {Code::kUnavailable, what + ": the API server has no time: " + why, 0};
        default:
            return {Code::kUnavailable,
                    what + ": the API server answers " + std::to_string(response.status) + ": " + why, 0};
    }
}

std::string escaped(std::string_view text) {
    constexpr std::string_view kHex = "0123456789ABCDEF";
    std::string out;
    for (const char c : text) {
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                           c == '.' || c == '_' || c == '~';
        if (plain) {
            out += c;
        } else {
            const auto byte = static_cast<unsigned char>(c);
            out += '%';
            out += kHex[byte >> 4];
            out += kHex[byte & 15];
        }
    }
    return out;
}

std::string Api::version_of(const ResourceType& type) const {
    const auto chosen = chosen_.find(kind_name(type));
    return chosen == chosen_.end() ? type.version : chosen->second;
}

std::string Api::path(const ResourceType& type, const ObjectKey& key) const {
    std::string path = group_path(type.group, version_of(type));
    if (type.namespaced && !key.name_space.empty()) path += "/namespaces/" + escaped(key.name_space);
    path += "/" + type.plural;
    if (!key.name.empty()) path += "/" + escaped(key.name);
    return path;
}

Task<Result<Api::Resources>> Api::resources_of(std::string group, std::string version) {
    Request request{.target = group_path(group, version), .lane = Lane::kPaced};
    CO_TRY_ASSIGN(const Response response, client_.request(std::move(request)));
    Resources names;
    if (response.status == 404) co_return names;
    const Json list = Json::parse(response.body, nullptr, false);
    if (response.status != 200 || !list.is_object() || !list.value("resources", Json()).is_array()) {
        co_return fail(Code::kUnavailable, "discovery of " + group + "/" + version + ": the API server answers " +
                                               std::to_string(response.status) + ": " + response.body.substr(0, 200));
    }
    for (const Json& resource : list["resources"]) names.insert(text_of(resource, "name"));
    co_return names;
}

Task<Result<Api::Served>> Api::discover(const ResourceType& type) {
    std::vector<std::string> versions{type.version};
    if (const auto older = older_versions().find(kind_name(type)); older != older_versions().end())
        versions.insert(versions.end(), older->second.begin(), older->second.end());
    for (const std::string& version : versions) {
        CO_TRY_ASSIGN(const auto resources, resources_of(type.group, version));
        if (!resources.contains(type.plural)) continue;
        if (version == type.version)
            chosen_.erase(kind_name(type));
        else
            chosen_.insert_or_assign(kind_name(type), version);
        co_return Served{true, version, resources.contains(type.plural + "/status")};
    }
    co_return Served{};
}

Task<Result<std::string>> Api::server_version() {
    Request request{.target = "/version", .lane = Lane::kPaced};
    CO_TRY_ASSIGN(const Response response, client_.request(std::move(request)));
    const Json version = Json::parse(response.body, nullptr, false);
    if (response.status != 200 || !version.is_object())
        co_return fail(Code::kUnavailable, "/version: the API server answers " + std::to_string(response.status));
    // "33+" of some distributions.
    std::string minor = text_of(version, "minor");
    while (!minor.empty() && (minor.back() < '0' || minor.back() > '9')) minor.pop_back();
    co_return text_of(version, "major") + "." + minor + " (" + text_of(version, "gitVersion") + ") [" +
        text_of(version, "platform") + "]";
}

}  // namespace axo::kubernetes
