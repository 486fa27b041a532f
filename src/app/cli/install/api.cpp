#include "app/cli/install/api.h"

#include <algorithm>

#include "app/cli/context.h"

namespace axo::cli::install {

namespace {

struct Kind {
    const char* name;
    const char* plural;
    bool namespaced;
};
// What the chart and the commands here deal with.
constexpr Kind kKinds[] = {
    {"Namespace", "namespaces", false},
    {"ServiceAccount", "serviceaccounts", true},
    {"ConfigMap", "configmaps", true},
    {"Secret", "secrets", true},
    {"Service", "services", true},
    {"Pod", "pods", true},
    {"ClusterRole", "clusterroles", false},
    {"ClusterRoleBinding", "clusterrolebindings", false},
    {"Role", "roles", true},
    {"RoleBinding", "rolebindings", true},
    {"Node", "nodes", false},
    {"NetworkPolicy", "networkpolicies", true},
    {"CiliumNetworkPolicy", "ciliumnetworkpolicies", true},
    {"CiliumClusterwideNetworkPolicy", "ciliumclusterwidenetworkpolicies", false},
    {"DaemonSet", "daemonsets", true},
    {"Deployment", "deployments", true},
    {"PodDisruptionBudget", "poddisruptionbudgets", true},
    {"Lease", "leases", true},
    {"CustomResourceDefinition", "customresourcedefinitions", false},
};

Error refused(const std::string& what, const ApiResponse& response) {
    const Json body = Json::parse(response.body, nullptr, false);
    std::string message = body.is_object() ? body.value("message", std::string()) : "";
    if (message.empty()) message = "the API server answers with status " + std::to_string(response.status);
    const Code code = response.status == 404   ? Code::kNotFound
                      : response.status == 403 ? Code::kPermissionDenied
                      : response.status == 401 ? Code::kPermissionDenied
                      : response.status == 409 ? Code::kAborted
                      : response.status == 422 ? Code::kInvalidArgument
                                               : Code::kUnavailable;
    return {code, what + ": " + message, 0};
}

Result<Json> ask(Api& api, const std::string& what, const std::string& method, const std::string& target,
                 const std::string& body = {}, const std::string& content_type = "application/json") {
    auto response = api.call(method, target, body, content_type);
    if (!response) return forward_error(std::move(response).error().with_context(what));
    if (response->status < 200 || response->status > 299) return forward_error(refused(what, *response));
    Json json = Json::parse(response->body, nullptr, false);
    if (!json.is_object()) return fail(Code::kDataLoss, what + ": the answer is not a JSON object");
    return json;
}

}  // namespace

std::string text_at(const Json& object, const char* pointer) {
    return object.value(Json::json_pointer(pointer), std::string());
}

Json reference(const std::string& version, const std::string& kind, const std::string& space, const std::string& name) {
    Json object{{"apiVersion", version}, {"kind", kind}, {"metadata", {{"name", name}}}};
    if (!space.empty()) object["metadata"]["namespace"] = space;
    return object;
}

Json reference_to(const Json& object) {
    return reference(text_at(object, "/apiVersion"), text_at(object, "/kind"), text_at(object, "/metadata/namespace"),
                     text_at(object, "/metadata/name"));
}

Result<std::string> object_path(const Json& object) {
    const std::string kind = text_at(object, "/kind");
    const std::string version = text_at(object, "/apiVersion");
    const std::string name = text_at(object, "/metadata/name");
    const auto* found = std::ranges::find(kKinds, kind, &Kind::name);
    if (found == std::end(kKinds) || version.empty() || name.empty())
        return fail(Code::kInvalidArgument, object_title(object) + ": not an object of a kind that is installed here");
    const std::string space = text_at(object, "/metadata/namespace");
    if (found->namespaced && space.empty())
        return fail(Code::kInvalidArgument, object_title(object) + ": metadata.namespace is missing");
    return (version.find('/') == std::string::npos ? "/api/" : "/apis/") + version +
           (found->namespaced ? "/namespaces/" + space : "") + "/" + found->plural + "/" + name;
}

std::string object_title(const Json& object) {
    const std::string space = text_at(object, "/metadata/namespace");
    return text_at(object, "/kind") + " " + (space.empty() ? "" : space + "/") + text_at(object, "/metadata/name");
}

Result<Json> get_object(Api& api, const Json& object) {
    TRY_ASSIGN(const std::string path, object_path(object));
    return ask(api, object_title(object), "GET", path);
}

Result<Json> apply_object(Api& api, const Json& object) {
    TRY_ASSIGN(const std::string path, object_path(object));
    return ask(api, object_title(object), "PATCH", path + "?fieldManager=axoneme&force=true", object.dump(),
               "application/apply-patch+yaml");
}

Status delete_object(Api& api, const Json& object) {
    TRY_ASSIGN(const std::string path, object_path(object));
    const Json options{{"apiVersion", "v1"}, {"kind", "DeleteOptions"}, {"propagationPolicy", "Foreground"}};
    auto done = ask(api, object_title(object), "DELETE", path, options.dump());
    if (!done && done.error().code != Code::kNotFound) return forward_error(std::move(done).error());
    return {};
}

Result<std::vector<Json>> list_objects(Api& api, const std::string& path, const std::string& label_selector) {
    std::vector<Json> items;
    std::string more;
    do {
        std::string target = path + "?limit=500";
        if (!label_selector.empty()) target += "&labelSelector=" + url_encode(label_selector);
        if (!more.empty()) target += "&continue=" + url_encode(more);
        TRY_ASSIGN(Json list, ask(api, path, "GET", target));
        for (Json& item : list["items"]) items.push_back(std::move(item));
        more = text_at(list, "/metadata/continue");
    } while (!more.empty());
    return items;
}

Result<std::string> server_version(Api& api) {
    TRY_ASSIGN(const Json version, ask(api, "the API server's version", "GET", "/version"));
    return version.value("gitVersion", std::string("v1.30.0"));
}

}  // namespace axo::cli::install
