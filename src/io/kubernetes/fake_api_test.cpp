// The fake API server of the store's tests.
#include "io/kubernetes/fake_api.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <stdexcept>

#include "io/http_target.h"

namespace axo::kubernetes {
namespace {

bool selected(const Json& object, const std::string& selector) {
    if (selector.empty()) return true;
    // field=value of one level below spec or metadata
    const auto equals = selector.find('=');
    std::string path = "/" + selector.substr(0, equals);
    for (char& c : path) {
        if (c == '.') c = '/';
    }
    return object.value(Json::json_pointer(path), std::string()) == selector.substr(equals + 1);
}

std::string chunk(const std::string& text) {
    char size[20];
    std::snprintf(size, sizeof(size), "%zx\r\n", text.size());
    return size + text + "\r\n";
}

}  // namespace

FakeApi::FakeApi(EventLoop& loop) : loop_(loop) {
    resources["/api/v1"] = {"pods", "nodes", "namespaces", "services", "events"};
    resources["/apis/cilium.io/v2"] = {"ciliumnodes", "ciliumnodes/status", "ciliumendpoints", "ciliumidentities"};
    resources["/apis/coordination.k8s.io/v1"] = {"leases"};
    resources["/apis/discovery.k8s.io/v1"] = {"endpointslices"};
    listen(0);
}
FakeApi::~FakeApi() = default;

void FakeApi::listen(std::uint16_t port) {
    listener_ = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const int on = 1;
    ::setsockopt(listener_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0 ||
        ::listen(listener_.get(), 64) != 0)
        throw std::runtime_error("fake API server cannot listen");
    socklen_t length = sizeof(address);
    ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &length);
    port_ = ntohs(address.sin_port);
    acceptable_ = loop_.on_readable(listener_.get(), [this] { accept(); });
}

void FakeApi::down() {
    acceptable_.cancel();
    listener_.reset();
    disconnect();
}
void FakeApi::up() {
    listen(port_);
}
void FakeApi::disconnect() {
    for (Client& client : clients_) client.closed = true;
    reap();
}

void FakeApi::accept() {
    Fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (fd.get() < 0) return;
    clients_.emplace_back();
    Client& client = clients_.back();
    client.fd = std::move(fd);
    client.readable = loop_.on_readable(client.fd.get(), [this, &client] { read(client); });
}

void FakeApi::reap() {
    reaper_ = loop_.after(Duration{0},
                          [this] { std::erase_if(clients_, [](const Client& client) { return client.closed; }); });
}

void FakeApi::read(Client& client) {
    char buffer[65536];
    const ssize_t n = ::recv(client.fd.get(), buffer, sizeof(buffer), MSG_DONTWAIT);
    if (client.closed || n <= 0) {
        client.closed = true;
        return reap();
    }
    client.in.append(buffer, static_cast<std::size_t>(n));
    while (!client.closed) {
        const auto end = client.in.find("\r\n\r\n");
        if (end == std::string::npos) return;
        const auto field = [&](const std::string& name) -> std::string {
            const auto at = client.in.find("\r\n" + name + ": ");
            if (at == std::string::npos || at > end) return "";
            const auto begin = at + name.size() + 4;
            return client.in.substr(begin, client.in.find("\r\n", begin) - begin);
        };
        const std::string length = field("Content-Length");
        const std::size_t body = length.empty() ? 0 : std::stoul(length);
        if (client.in.size() < end + 4 + body) return;
        Asked request;
        request.method = client.in.substr(0, client.in.find(' '));
        const std::size_t target = request.method.size() + 1;
        request.target = client.in.substr(target, client.in.find(' ', target) - target);
        request.authorization = field("Authorization");
        request.accept = field("Accept");
        request.body = client.in.substr(end + 4, body);
        client.in.erase(0, end + 4 + body);
        asked.push_back(request);
        serve(client, request);
    }
}

void FakeApi::serve(Client& client, const Asked& request) {
    const std::string raw = answer ? answer(request) : "";
    if (raw == "?") return;
    if (raw == "-") {
        client.closed = true;
        ::shutdown(client.fd.get(), SHUT_RDWR);
        return reap();
    }
    if (!raw.empty()) return send(client, raw);
    HttpRequest parsed;
    decode_target(request.target, parsed);
    std::string path = parsed.path;
    if (path == "/version")
        return send(client,
                    http(200, R"({"major":"1","minor":"33+","gitVersion":"v1.33.1","platform":"linux/amd64"})"));
    if (const auto group = resources.find(path); group != resources.end()) {
        Json list = {{"kind", "APIResourceList"}, {"resources", Json::array()}};
        for (const std::string& name : group->second) list["resources"].push_back({{"name", name}});
        return send(client, http(200, list.dump()));
    }
    // /api/v1[/namespaces/NS]/RESOURCE[/NAME[/status]]
    std::vector<std::string> parts;
    for (std::size_t at = 1; at <= path.size();) {
        const std::size_t slash = std::min(path.find('/', at), path.size());
        parts.push_back(path.substr(at, slash - at));
        at = slash + 1;
    }
    const std::size_t group_parts = parts.front() == "api" ? 2 : 3;
    std::string group, name_space;
    std::size_t at = 0;
    for (; at < group_parts && at < parts.size(); ++at) group += "/" + parts[at];
    if (parts.size() > at + 2 && parts[at] == "namespaces") {
        name_space = parts[at + 1];
        at += 2;
    }
    const auto served = resources.find(group);
    if (at >= parts.size() || served == resources.end() ||
        std::ranges::find(served->second, parts[at]) == served->second.end())
        return send(client, http(404, "404 page not found\n"));
    const std::string collection = group + "/" + parts[at];
    const std::string name = at + 1 < parts.size() ? parts[at + 1] : "";
    const bool status = at + 2 < parts.size();
    if (status && std::ranges::find(served->second, parts[at] + "/status") == served->second.end())
        return send(client,
                    http(404, status_body(404, "NotFound", "the server could not find the requested resource")));
    if (request.method == "GET" && name.empty()) {
        if (parsed.query.contains("watch")) return watch(client, collection, parsed.query);
        return list(client, collection, parsed.query);
    }
    write(client, collection, name_space + "/" + name, status, request);
}

void FakeApi::list(Client& client, const std::string& collection, const std::map<std::string, std::string>& query) {
    const auto value = [&](const char* name) {
        const auto found = query.find(name);
        return found == query.end() ? std::string() : found->second;
    };
    const std::string token = value("continue");  // "key@revision"
    const std::string from = token.substr(0, token.find('@'));
    if (!token.empty() && std::stoll(token.substr(token.find('@') + 1)) < compacted_)
        return send(client, http(410, status_body(410, "Expired", "The provided continue parameter is too old")));
    const std::size_t limit =
        value("limit").empty() ? page_limit : std::min<std::size_t>(page_limit, std::stoul(value("limit")));
    Json items = Json::array();
    std::string next;
    for (const auto& [key, object] : objects_[collection]) {
        if (key <= from || !selected(object, value("fieldSelector"))) continue;
        if (items.size() == limit) break;
        Json item = object;
        item.erase("kind");
        item.erase("apiVersion");
        items.push_back(item);
        next = key;
    }
    const bool more =
        items.size() == limit && !objects_[collection].empty() && next != objects_[collection].rbegin()->first;
    Json answer_body = {{"kind", "List"},
                        {"apiVersion", "v1"},
                        {"metadata", {{"resourceVersion", std::to_string(revision_)}}},
                        {"items", items}};
    if (more) answer_body["metadata"]["continue"] = next + "@" + std::to_string(revision_);
    send(client, http(200, answer_body.dump()));
}

void FakeApi::watch(Client& client, const std::string& collection, const std::map<std::string, std::string>& query) {
    const std::int64_t from = std::stoll(query.at("resourceVersion"));
    send(client, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
    if (from < compacted_) {
        const std::string expired =
            R"({"type":"ERROR","object":)" + status_body(410, "Expired", "too old resource version") + "}\n";
        return send(client, chunk(expired) + "0\r\n\r\n");
    }
    client.watching = collection;
    client.selector = query.contains("fieldSelector") ? query.at("fieldSelector") : "";
    for (const Event& past : events_) {
        if (past.revision <= from || past.collection != collection || !selected(past.object, client.selector)) continue;
        send(client, chunk(Json{{"type", past.type}, {"object", past.object}}.dump() + "\n"));
    }
}

void FakeApi::write(Client& client, const std::string& collection, const std::string& key, bool status,
                    const Asked& request) {
    auto& all = objects_[collection];
    Json given = Json::parse(request.body, nullptr, false);
    const bool create = request.method == "POST";
    const std::string id = create ? key + given["metadata"].value("name", "") : key;
    const auto stored = all.find(id);
    const std::string name = id.substr(id.find('/') + 1);
    if (create && stored != all.end())
        return send(client, http(409, status_body(409, "AlreadyExists", "\"" + name + "\" already exists")));
    if (!create && stored == all.end())
        return send(client, http(404, status_body(404, "NotFound", "\"" + name + "\" not found", {{"name", name}})));
    if (request.method == "GET") return send(client, http(200, stored->second.dump()));
    if (request.method == "DELETE") {
        erase(collection, id.substr(0, id.find('/')), name);
        return send(client, http(200, status_body(200, "", "")));
    }
    if (!create && given["metadata"].value("resourceVersion", "") != stored->second["metadata"]["resourceVersion"])
        return send(client, http(409, status_body(409, "Conflict", "the object has been modified")));
    const auto served = resources.find(collection.substr(0, collection.rfind('/')));
    const bool separate = std::ranges::find(served->second, collection.substr(collection.rfind('/') + 1) + "/status") !=
                          served->second.end();
    if (status) {
        Json next = stored->second;
        next["status"] = given["status"];
        given = std::move(next);
    } else if (separate) {
        given.erase("status");
        if (!create && stored->second.contains("status")) given["status"] = stored->second["status"];
    }
    put(collection, given);
    send(client, http(create ? 201 : 200, objects_[collection][id].dump()));
}

void FakeApi::put(const std::string& collection, Json object) {
    const std::string key = object["metadata"].value("namespace", "") + "/" + object["metadata"].value("name", "");
    auto& all = objects_[collection];
    const bool fresh = !all.contains(key);
    object["metadata"]["resourceVersion"] = std::to_string(++revision_);
    object["metadata"]["managedFields"] = {{{"manager", "test"}}};
    if (fresh) object["metadata"]["uid"] = "uid-" + std::to_string(revision_);
    all[key] = object;
    event(fresh ? "ADDED" : "MODIFIED", collection, object);
}

void FakeApi::erase(const std::string& collection, const std::string& name_space, const std::string& name) {
    const auto found = objects_[collection].find(name_space + "/" + name);
    if (found == objects_[collection].end()) return;
    Json object = found->second;
    objects_[collection].erase(found);
    object["metadata"]["resourceVersion"] = std::to_string(++revision_);
    event("DELETED", collection, object);
}

Json FakeApi::object(const std::string& collection, const std::string& name_space, const std::string& name) const {
    const auto all = objects_.find(collection);
    if (all == objects_.end()) return {};
    const auto found = all->second.find(name_space + "/" + name);
    return found == all->second.end() ? Json() : found->second;
}

void FakeApi::event(const std::string& type, const std::string& collection, const Json& object) {
    events_.push_back({revision_, collection, type, object});
    for (Client& client : clients_) {
        if (client.closed || client.watching != collection || !selected(object, client.selector)) continue;
        send(client, chunk(Json{{"type", type}, {"object", object}}.dump() + "\n"));
    }
}

void FakeApi::bookmark(const std::string& collection) {
    const Json object = {{"kind", "X"}, {"metadata", {{"resourceVersion", std::to_string(++revision_)}}}};
    for (Client& client : clients_) {
        if (!client.closed && client.watching == collection)
            send(client, chunk(Json{{"type", "BOOKMARK"}, {"object", object}}.dump() + "\n"));
    }
}

void FakeApi::send(Client& client, const std::string& text) {
    for (std::size_t sent = 0; sent < text.size();) {
        const ssize_t n = ::send(client.fd.get(), text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
        if (n <= 0) return;
        sent += static_cast<std::size_t>(n);
    }
}

std::size_t FakeApi::count(const std::string& method, const std::string& part) const {
    return static_cast<std::size_t>(std::ranges::count_if(asked, [&](const Asked& request) {
        return request.method == method && request.target.find(part) != std::string::npos;
    }));
}

std::string FakeApi::http(int status, const std::string& body, const std::string& headers) {
    return "HTTP/1.1 " + std::to_string(status) +
           " X\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + headers +
           "\r\n" + body;
}

std::string FakeApi::status_body(int code, const std::string& reason, const std::string& message, const Json& details) {
    return Json{{"kind", "Status"},   {"apiVersion", "v1"}, {"status", "Failure"}, {"reason", reason},
                {"message", message}, {"code", code},       {"details", details}}
        .dump();
}

}  // namespace axo::kubernetes
