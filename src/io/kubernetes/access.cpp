#include "io/kubernetes/access.h"

#include <sys/stat.h>

#include <charconv>
#include <filesystem>

#include "base/base64.h"
#include "base/file.h"
#include "model/yaml.h"

namespace axo::kubernetes {
namespace {

namespace fs = std::filesystem;

std::unexpected<Error> bad_server(const std::string& text, std::string_view why) {
    return fail(
        Code::kInvalidArgument,
        "API server \"" + text + "\": " + std::string(why) +
            "; accepted are https://192.0.2.1:6443, https://[2001:db8::1]:6443, https://name:6443 and name:6443");
}

std::string trimmed(std::string text) {
    const auto blank = [](char c) { return c == '\n' || c == '\r' || c == ' ' || c == '\t'; };
    while (!text.empty() && blank(text.back())) text.pop_back();
    std::size_t begin = 0;
    while (begin < text.size() && blank(text[begin])) ++begin;
    return text.substr(begin);
}

// An entry of clusters, users or contexts: [{name, cluster|user|context: {…}}].
Result<Json> entry_of(const Json& config, const char* list, const char* member, const std::string& name,
                      const std::string& where) {
    const auto all = config.find(list);
    if (all != config.end() && all->is_array()) {
        for (const Json& entry : *all) {
            if (!entry.is_object() || entry.value("name", Json()) != name) continue;
            const auto found = entry.find(member);
            return found != entry.end() && found->is_object() ? *found : Json::object();
        }
    }
    return fail(Code::kInvalidArgument, where + ": " + list + " has no entry named \"" + name + "\"");
}

class KubeconfigReader {
public:
    KubeconfigReader(const std::string& path, Json config)
        : where_("kubeconfig " + path), directory_(fs::absolute(path).parent_path()), config_(std::move(config)) {}

    Result<Access> read(std::string context_name) {
        const JsonReader top(config_, where_);
        if (context_name.empty()) context_name = top.string("current-context");
        TRY(top.status());
        if (context_name.empty()) return fail(Code::kInvalidArgument, where_ + ": current-context is not set");
        TRY_ASSIGN(const Json context, entry_of(config_, "contexts", "context", context_name, where_));
        const JsonReader names(context, where_ + ": context " + context_name);
        const std::string cluster_name = names.string("cluster");
        const std::string user_name = names.string("user");
        TRY(names.status());
        Access access;
        access.origin = where_;
        TRY_ASSIGN(const Json cluster, entry_of(config_, "clusters", "cluster", cluster_name, where_));
        TRY(read_cluster(cluster, where_ + ": cluster " + cluster_name, access));
        if (user_name.empty()) return access;
        TRY_ASSIGN(const Json user, entry_of(config_, "users", "user", user_name, where_));
        TRY(read_user(user, where_ + ": user " + user_name, access));
        return access;
    }

private:
    Status read_cluster(const Json& cluster, const std::string& where, Access& access) {
        const JsonReader reader(cluster, where);
        if (reader.has("proxy-url"))
            return fail(Code::kUnimplemented, where + ": proxy-url is not supported; reach the API server directly");
        const std::string server = reader.string("server");
        access.insecure = reader.boolean("insecure-skip-tls-verify");
        access.server_name = reader.string("tls-server-name");
        TRY(reader.status());
        auto parsed = parse_server(server);
        if (!parsed) return forward_error(std::move(parsed).error().with_context(where + ": server"));
        access.servers = {std::move(*parsed)};
        TRY_ASSIGN(access.ca, material(reader, where, "certificate-authority"));
        return {};
    }

    Status read_user(const Json& user, const std::string& where, Access& access) {
        const JsonReader reader(user, where);
        if (reader.has("exec"))
            return fail(Code::kUnimplemented, where +
                                                  ": exec (a credential plugin) is not supported; give a token, a "
                                                  "tokenFile or a client certificate");
        for (const char* other : {"auth-provider", "username", "password", "as", "as-groups"}) {
            if (reader.has(other))
                return fail(Code::kUnimplemented, where + ": " + other +
                                                      " is not supported; give a token, a tokenFile or a client "
                                                      "certificate");
        }
        access.token = {.text = reader.string("token"), .file = path_of(reader.string("tokenFile"))};
        TRY(reader.status());
        if (!access.token.file.empty()) access.token.text.clear();  // the file has precedence, as in client-go
        TRY_ASSIGN(access.client_certificate, material(reader, where, "client-certificate"));
        TRY_ASSIGN(access.client_key, material(reader, where, "client-key"));
        if (access.client_certificate.empty() != access.client_key.empty())
            return fail(Code::kInvalidArgument, where + ": client-certificate and client-key belong together");
        return {};
    }

    // KEY is a path, KEY-data the content in base64 and has precedence.
    Result<Material> material(const JsonReader& reader, const std::string& where, const std::string& key) {
        const std::string data = reader.string(key + "-data");
        const std::string file = reader.string(key);
        TRY(reader.status());
        if (data.empty()) return Material{.text = {}, .file = path_of(file)};
        auto decoded = base64_decode(trimmed(data));
        if (!decoded) return forward_error(std::move(decoded).error().with_context(where + ": " + key + "-data"));
        return Material{.text = std::string(decoded->begin(), decoded->end()), .file = {}};
    }

    [[nodiscard]] std::string path_of(const std::string& file) const {
        return file.empty() ? file : (directory_ / file).lexically_normal().string();
    }

    std::string where_;
    fs::path directory_;
    Json config_;
};

Result<Access> read_kubeconfig(const std::string& path, const std::string& context) {
    auto text = read_file(path);
    if (!text) return forward_error(std::move(text).error().with_context("kubeconfig"));
    auto config = parse_yaml(*text);
    if (!config) return forward_error(std::move(config).error().with_context("kubeconfig " + path));
    if (!config->is_object()) return fail(Code::kInvalidArgument, "kubeconfig " + path + ": a mapping is expected");
    return KubeconfigReader(path, std::move(*config)).read(context);
}

Result<Access> in_cluster(const AccessOptions& options) {
    const auto value = [&](const char* name) {
        const auto found = options.environment.find(name);
        return found == options.environment.end() ? std::string() : found->second;
    };
    Access access;
    access.origin = "in-cluster";
    const std::string host = value("KUBERNETES_SERVICE_HOST");
    const std::string port = value("KUBERNETES_SERVICE_PORT");
    if (!host.empty()) {
        const bool v6 = host.find(':') != std::string::npos && host.front() != '[';
        auto server = parse_server((v6 ? "[" + host + "]" : host) + ":" + (port.empty() ? "443" : port));
        if (!server)
            return forward_error(
                std::move(server).error().with_context("KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT"));
        access.servers = {std::move(*server)};
    }
    std::error_code error;
    if (fs::exists(options.service_account + "/token", error)) {
        access.token.file = options.service_account + "/token";
        if (fs::exists(options.service_account + "/ca.crt", error))
            access.ca.file = options.service_account + "/ca.crt";
    }
    return access;
}

}  // namespace

std::string Server::to_string() const {
    const bool v6 = host.find(':') != std::string::npos;
    return (tls ? "https://" : "http://") + (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port) + path;
}

Result<Server> parse_server(const std::string& text) {
    Server server;
    std::string_view rest = text;
    if (rest.starts_with("http://")) {
        server.tls = false;
        server.port = 80;
        rest.remove_prefix(7);
    } else if (rest.starts_with("https://")) {
        rest.remove_prefix(8);
    } else if (rest.find("://") != std::string_view::npos) {
        return bad_server(text, "unknown scheme");
    }
    if (const auto slash = rest.find('/'); slash != std::string_view::npos) {
        server.path = rest.substr(slash);
        while (server.path.ends_with('/')) server.path.pop_back();
        rest = rest.substr(0, slash);
    }
    std::string_view port;
    if (rest.starts_with('[')) {
        const auto end = rest.find(']');
        if (end == std::string_view::npos) return bad_server(text, "no closing bracket");
        server.host = rest.substr(1, end - 1);
        rest.remove_prefix(end + 1);
        if (!rest.empty() && rest.front() != ':') return bad_server(text, "text after the bracket");
        if (!rest.empty()) port = rest.substr(1);
    } else {
        const auto colon = rest.rfind(':');
        if (colon != rest.find(':')) return bad_server(text, "an IPv6 address needs brackets");
        server.host = rest.substr(0, colon);
        if (colon != std::string_view::npos) port = rest.substr(colon + 1);
    }
    if (server.host.empty()) return bad_server(text, "no host");
    if (server.host.find_first_of(" \t\r\n@?#\\") != std::string::npos) return bad_server(text, "no valid host");
    if (!port.empty()) {
        const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), server.port);
        if (error != std::errc{} || end != port.data() + port.size() || server.port == 0)
            return bad_server(text, "port is not 1 to 65535");
    }
    return server;
}

Result<std::string> Material::read() const {
    return file.empty() ? Result<std::string>(text) : read_file(file);
}

Result<Access> load_access(const AccessOptions& options) {
    TRY_ASSIGN(Access access,
               options.kubeconfig.empty() ? in_cluster(options) : read_kubeconfig(options.kubeconfig, options.context));
    if (!options.kubeconfig.empty()) access.source = std::make_shared<const AccessOptions>(options);
    if (!options.servers.empty()) access.servers.clear();
    for (const std::string& text : options.servers) {
        TRY_ASSIGN(Server server, parse_server(text));
        access.servers.push_back(std::move(server));
    }
    if (access.servers.empty()) {
        return fail(Code::kNotFound,
                    "no API server is known: this is no pod with a service account (KUBERNETES_SERVICE_HOST is not "
                    "set); give --k8s-kubeconfig-path or --k8s-api-server-urls, or --object-store=dir:/path");
    }
    return access;
}

std::string file_version(const std::string& path) {
    struct stat info{};
    if (::stat(path.c_str(), &info) != 0) return "";
    return std::to_string(info.st_ino) + "." + std::to_string(info.st_size) + "." +
           std::to_string(info.st_mtim.tv_sec) + "." + std::to_string(info.st_mtim.tv_nsec);
}

}  // namespace axo::kubernetes
