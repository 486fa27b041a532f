#include "io/kubernetes/store.h"

#include <map>

#include "io/kubernetes/json_stream.h"
#include "io/resources.h"
#include "model/json_text.h"

namespace axo::kubernetes {
namespace {

constexpr Duration kVersionInterval = std::chrono::minutes(10);
constexpr Duration kVersionRetry = std::chrono::seconds(5);
constexpr int kBlindAttempts = 5;  // of a status written without a resourceVersion
constexpr Duration kListSilence = std::chrono::seconds(60);

Json& metadata_of(Json& object) {
    if (!object.is_object()) object = Json::object();
    Json& metadata = object["metadata"];
    if (!metadata.is_object()) metadata = Json::object();
    return metadata;
}

std::string text_of(const Json& object, const char* name) {
    const auto found = object.is_object() ? object.find(name) : object.end();
    return object.is_object() && found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

ObjectKey key_of(const ResourceType& type, const Json& object) {
    const auto metadata = object.is_object() ? object.find("metadata") : object.end();
    if (!object.is_object() || metadata == object.end() || !metadata->is_object()) return {};
    return {type.namespaced ? text_of(*metadata, "namespace") : "", text_of(*metadata, "name")};
}

// A 404 whose Status names the object: the kind is served, only the object is not there.
bool names_the_object(const Response& response, const ObjectKey& key) {
    const Json status = Json::parse(response.body, nullptr, false);
    const auto details = status.is_object() ? status.find("details") : status.end();
    return status.is_object() && details != status.end() && text_of(*details, "name") == key.name;
}

const char* phase_name(Reflector::Phase phase) {
    switch (phase) {
        case Reflector::Phase::kListing: return "listing";
        case Reflector::Phase::kWatching: return "watching";
        case Reflector::Phase::kNotServed: return "not served";
        case Reflector::Phase::kFailing: return "failing";
    }
    return "";
}

class Store final : public ObjectStore {
public:
    Store(EventLoop& loop, Access access, ClientSettings client, ReflectorSettings reflector)
        : loop_(loop),
          settings_(reflector),
          client_(std::make_shared<Client>(loop, std::move(access), std::move(client))),
          api_(std::make_shared<Api>(*client_)) {
        learn_version();
    }
    Store(const Store&) = delete;
    Store& operator=(const Store&) = delete;
    ~Store() override {
        *alive_ = false;
        for (auto& [key, reflector] : reflectors_) dismiss(std::move(reflector));
    }

    Task<Result<Json>> get(const ResourceType& type, ObjectKey key) override {
        return send({"get", &type, std::move(key)}, "GET", {}, "");
    }
    Task<Result<std::vector<Json>>> list(const ResourceType& type) override { return list_all(type); }

    using ObjectStore::watch;
    std::unique_ptr<Watch> watch(const ResourceType& type, WatchHandler handler, WatchOptions options) override;

    Task<Result<Json>> create(const ResourceType& type, Json object) override { return make(type, std::move(object)); }
    Task<Result<Json>> update(const ResourceType& type, Json object) override {
        const ObjectKey key = key_of(type, object);
        if (text_of(metadata_of(object), "resourceVersion").empty()) {
            return fail(Code::kInvalidArgument,
                        type.kind + " " + key.to_string() + ": metadata.resourceVersion must be given for an update");
        }
        return send({"update", &type, key}, "PUT", {}, body_of(type, std::move(object)));
    }
    Task<Result<Json>> update_status(const ResourceType& type, Json object) override {
        return write_status(type, std::move(object));
    }
    Task<Status> remove(const ResourceType& type, ObjectKey key) override {
        return erase({"delete", &type, std::move(key)});
    }

    [[nodiscard]] Reachability reachability() const override {
        const Client::State& state = client_->state();
        return {state.reachable, state.since, state.error};
    }
    [[nodiscard]] bool expires_events() const override { return true; }
    [[nodiscard]] bool mirrors_endpoints() const override { return true; }
    [[nodiscard]] std::optional<ServerInfo> server() const override;
    [[nodiscard]] std::vector<Rejected> rejected() const override;
    void add_metrics(MetricSet& set) const override;
    [[nodiscard]] std::string describe() const override;

private:
    using ReflectorKey = std::pair<const ResourceType*, WatchOptions>;

    // A handle that outlives the store does nothing.
    class Handle : public Watch {
    public:
        Handle(Store& store, ReflectorKey key, std::shared_ptr<Reflector::Subscriber> subscriber)
            : store_(store), alive_(store.alive_), key_(std::move(key)), subscriber_(std::move(subscriber)) {}
        Handle(const Handle&) = delete;
        Handle& operator=(const Handle&) = delete;
        ~Handle() override {
            subscriber_->ended = true;
            if (*alive_) store_.leave(key_, subscriber_);
        }

    private:
        Store& store_;
        std::shared_ptr<bool> alive_;
        ReflectorKey key_;
        std::shared_ptr<Reflector::Subscriber> subscriber_;
    };

    void leave(const ReflectorKey& key, const std::shared_ptr<Reflector::Subscriber>& subscriber) {
        const auto reflector = reflectors_.find(key);
        if (reflector == reflectors_.end() || reflector->second->remove(subscriber)) return;
        dismiss(std::move(reflector->second));
        reflectors_.erase(reflector);
    }
    // It may be what is calling us: it is destroyed on the next turn.
    void dismiss(std::shared_ptr<Reflector> reflector) {
        reflector->end();
        loop_.post([reflector = std::move(reflector), client = client_, api = api_] {});
    }

    // What is written says its kind, and has no status where that would be ignored anyway.
    [[nodiscard]] std::string body_of(const ResourceType& type, Json object) const {
        object["apiVersion"] = type.group.empty() ? api_->version_of(type) : type.group + "/" + api_->version_of(type);
        object["kind"] = type.kind;
        return json_text(object);
    }
    // Leases keep leaders, status is what others wait for.
    static Lane lane_of(const Operation& operation) {
        return operation.type == &resources::kLease || !operation.subresource.empty() ? Lane::kUrgent : Lane::kBulk;
    }

    Task<Result<Json>> send(Operation operation, std::string method, std::string path, std::string body);
    Task<Result<std::vector<Json>>> list_all(const ResourceType& type);
    Task<Result<Json>> make(const ResourceType& type, Json object);
    Task<Result<Json>> write_status(const ResourceType& type, Json object);
    Task<Result<Json>> write_whole_status(const ResourceType& type, Json object);
    Task<Result<bool>> has_status(const ResourceType& type);
    Task<Status> erase(Operation operation);
    Task<void> ask_version();
    void learn_version();

    EventLoop& loop_;
    ReflectorSettings settings_;
    std::shared_ptr<Client> client_;
    std::shared_ptr<Api> api_;
    std::map<ReflectorKey, std::shared_ptr<Reflector>> reflectors_;
    std::shared_ptr<ObjectEventCounts> events_ = std::make_shared<ObjectEventCounts>();
    std::map<const ResourceType*, bool> has_status_;
    std::string version_;
    EventLoop::Handle version_timer_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
    TaskGroup tasks_;
};

// ---- watches ----

std::unique_ptr<ObjectStore::Watch> Store::watch(const ResourceType& type, WatchHandler handler, WatchOptions options) {
    // Kinds are told apart by their constant.
    const ResourceType* known = resources::find(type.api_version(), type.kind);
    ReflectorKey key{known == nullptr ? &type : known, std::move(options)};
    std::shared_ptr<Reflector>& reflector = reflectors_[key];
    if (!reflector) reflector = std::make_shared<Reflector>(loop_, api_, *key.first, key.second, settings_, events_);
    auto subscriber = std::make_shared<Reflector::Subscriber>();
    subscriber->handler = std::move(handler);
    reflector->add(subscriber);
    return std::make_unique<Handle>(*this, std::move(key), std::move(subscriber));
}

void Store::add_metrics(MetricSet& set) const {
    client_->add_metrics(set);
    for (const auto& [of, events] : *events_) {
        for (const auto& [outcome, count] : {std::pair{"success", events.handled}, {"fail", events.failed}}) {
            if (count == 0) continue;
            set.counter("kubernetes_events_total",
                        "Number of Kubernetes events processed labeled by scope, action and execution result",
                        static_cast<double>(count), {{"scope", of.first}, {"action", of.second}, {"outcome", outcome}});
        }
    }
}

// ---- single objects ----

Task<Result<Json>> Store::send(Operation operation, std::string method, std::string path, std::string body) {
    const std::string target = path.empty() ? api_->path(*operation.type, operation.key) : std::move(path);
    Request request{.method = std::move(method), .target = target, .body = std::move(body), .lane = lane_of(operation)};
    CO_TRY_ASSIGN(const Response response, client_->request(std::move(request)));
    if (response.status == 404 && !names_the_object(response, operation.key)) {
        // Perhaps not the object but the version is missing.
        const std::string before = api_->version_of(*operation.type);
        CO_AWAIT(const auto served, api_->discover(*operation.type));
        if (served && served->served && served->version != before && operation.verb == "get") {
            CO_AWAIT(auto again, send(std::move(operation), "GET", {}, {}));
            co_return again;
        }
    }
    if (response.status < 200 || response.status > 299) co_return forward_error(error_of(operation, response));
    Json object = Json::parse(response.body, nullptr, false);
    if (!object.is_object())
        co_return fail(Code::kUnavailable, operation.to_string() + ": the API server's answer is no JSON object");
    metadata_of(object).erase("managedFields");
    co_return object;
}

Task<Result<std::vector<Json>>> Store::list_all(const ResourceType& type) {
    const Operation operation{"list", &type};
    std::vector<Json> objects;
    std::string from;
    while (true) {
        Status damage;
        ListSplitter splitter(settings_.object_limit, [&objects, &damage, &type](std::string_view text) {
            Json object = Json::parse(text, nullptr, false);
            if (!object.is_object()) damage = fail(Code::kUnavailable, "list " + type.plural + ": an item is no JSON");
            metadata_of(object).erase("managedFields");
            object["apiVersion"] = type.api_version();
            object["kind"] = type.kind;
            objects.push_back(std::move(object));
            return damage.has_value();
        });
        const auto sink = [&splitter, &damage](std::string_view piece) {
            auto fed = splitter.feed(piece);
            if (!fed) damage = forward_error(std::move(fed).error());
            return fed && *fed;
        };
        Request request{.target = api_->path(type, {}) + "?limit=" + std::to_string(settings_.page) +
                                  (from.empty() ? "" : "&continue=" + escaped(from))};
        CO_TRY_ASSIGN(const Response response, client_->stream(std::move(request), sink, kListSilence));
        if (response.status == 404) co_return objects;  // a kind that is not there has no objects
        if (response.status == 410 && !from.empty()) {  // too slow: once more
            from.clear();
            objects.clear();
            continue;
        }
        if (response.status != 200) co_return forward_error(error_of(operation, response));
        CO_TRY(std::move(damage));
        const Json head = Json::parse(splitter.rest(), nullptr, false);
        if (!splitter.complete() || !head.is_object())
            co_return fail(Code::kUnavailable, operation.to_string() + ": the API server's answer is not complete");
        from = text_of(head.value("metadata", Json::object()), "continue");
        if (from.empty()) co_return objects;
    }
}

Task<Result<Json>> Store::make(const ResourceType& type, Json object) {
    const ObjectKey key = key_of(type, object);
    const Json status = object.value("status", Json());
    Json& metadata = metadata_of(object);
    metadata.erase("uid");
    metadata.erase("resourceVersion");
    const Operation operation{"create", &type, key};
    CO_TRY_ASSIGN(Json created,
                  send(operation, "POST", api_->path(type, {key.name_space, {}}), body_of(type, std::move(object))));
    // With a subresource the server does not take it along.
    if (status.is_null() || created.value("status", Json()) == status) co_return created;
    CO_TRY_ASSIGN(const bool separate, has_status(type));
    if (!separate) co_return created;
    created["status"] = status;
    CO_AWAIT(auto complete, write_whole_status(type, std::move(created)));
    co_return complete;
}

Task<Result<bool>> Store::has_status(const ResourceType& type) {
    if (const auto known = has_status_.find(&type); known != has_status_.end()) co_return known->second;
    CO_TRY_ASSIGN(const Api::Served served, api_->discover(type));
    if (served.served) has_status_.insert_or_assign(&type, served.status);
    co_return served.status;
}

// The object carries a resourceVersion.
Task<Result<Json>> Store::write_whole_status(const ResourceType& type, Json object) {
    CO_TRY_ASSIGN(const bool separate, has_status(type));
    Operation operation{"update", &type, key_of(type, object)};
    std::string path = api_->path(type, operation.key);
    if (separate) {
        operation.subresource = "status";
        path += "/status";
    }
    CO_AWAIT(auto written, send(operation, "PUT", std::move(path), body_of(type, std::move(object))));
    if (!written && written.error().code == Code::kNotFound) has_status_.erase(&type);  // the CRD may have changed
    co_return written;
}

Task<Result<Json>> Store::write_status(const ResourceType& type, Json object) {
    const ObjectKey key = key_of(type, object);
    const bool blind = text_of(metadata_of(object), "resourceVersion").empty();
    for (int attempt = 1;; ++attempt) {
        Json next = object;
        CO_TRY_ASSIGN(const bool separate, has_status(type));
        if (blind || !separate) {
            // Only the status is to change.
            CO_TRY_ASSIGN(next, get(type, key));
            if (!blind) next["metadata"]["resourceVersion"] = object["metadata"]["resourceVersion"];
            next.erase("status");
            if (object.contains("status")) next["status"] = object["status"];
        }
        CO_AWAIT(auto written, write_whole_status(type, std::move(next)));
        if (written || !blind || written.error().code != Code::kAborted || attempt == kBlindAttempts) co_return written;
    }
}

Task<Status> Store::erase(Operation operation) {
    Request request{
        .method = "DELETE", .target = api_->path(*operation.type, operation.key), .lane = lane_of(operation)};
    CO_TRY_ASSIGN(const Response response, client_->request(std::move(request)));
    const bool done = (response.status >= 200 && response.status <= 299) || response.status == 404;
    co_return done ? Status{} : forward_error(error_of(operation, response));
}

// ---- status ----

void Store::learn_version() {
    tasks_.spawn(ask_version());
}

Task<void> Store::ask_version() {
    CO_AWAIT(auto version, api_->server_version());
    if (version) version_ = std::move(*version);
    version_timer_ = loop_.after(version ? kVersionInterval : kVersionRetry, [this] { learn_version(); });
}

std::optional<ObjectStore::ServerInfo> Store::server() const {
    ServerInfo info;
    info.version = version_;
    info.address = client_->server();
    info.concerns = client_->concerns();
    for (const auto& [key, reflector] : reflectors_) {
        const ResourceType& type = *key.first;
        const std::string group = type.group.empty() ? "core" : type.group == "cilium.io" ? "cilium" : type.group;
        info.apis.push_back({group + "/" + api_->version_of(type) + "::" + type.kind, phase_name(reflector->phase()),
                             reflector->problem(), reflector->size()});
    }
    return info;
}

std::vector<ObjectStore::Rejected> Store::rejected() const {
    std::vector<Rejected> all;
    if (!client_->state().reachable) return all;  // that is one problem, not one of each kind
    for (const auto& [key, reflector] : reflectors_) {
        if (reflector->phase() == Reflector::Phase::kFailing && !reflector->problem().empty())
            all.push_back({"watch of " + key.first->plural, reflector->problem()});
    }
    return all;
}

std::string Store::describe() const {
    std::size_t count = 0;
    for (const auto& [key, reflector] : reflectors_) count += reflector->size();
    std::string text = "kubernetes " + client_->server() + " (" + client_->access().origin +
                       "): " + std::to_string(count) + (count == 1 ? " object" : " objects") + " followed";
    if (!client_->state().reachable) text += "; not reachable: " + client_->state().error;
    return text;
}

}  // namespace

std::unique_ptr<ObjectStore> make_store(EventLoop& loop, Access access, ClientSettings client,
                                        ReflectorSettings reflector) {
    return std::make_unique<Store>(loop, std::move(access), std::move(client), reflector);
}

}  // namespace axo::kubernetes
