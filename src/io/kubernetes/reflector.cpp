#include "io/kubernetes/reflector.h"

#include <algorithm>

#include "io/kubernetes/json_stream.h"

namespace axo::kubernetes {
namespace {

using Clock = std::chrono::steady_clock;

// How long one watch lasts at most; the server ends it.
constexpr int kShortestWatch = 300, kLongestWatch = 600;  // seconds
constexpr Duration kWatchGrace = std::chrono::seconds(60);
constexpr Duration kListSilence = std::chrono::seconds(60);
// A watch that ends sooner than this without having said anything is no healthy one.
constexpr Duration kHealthyWatch = std::chrono::seconds(2);
constexpr int kDamageLimit = 3;

std::string text_of(const Json& object, const char* name) {
    const auto found = object.find(name);
    return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// The error that is inside of an answer with status 200.
Response status_response(const Json& status) {
    return {status.value("code", 500), status.dump()};
}

}  // namespace

Reflector::Reflector(EventLoop& loop, std::shared_ptr<Api> api, const ResourceType& type, WatchOptions options,
                     ReflectorSettings settings, std::shared_ptr<ObjectEventCounts> events)
    : loop_(loop),
      api_(std::move(api)),
      type_(type),
      options_(std::move(options)),
      settings_(settings),
      events_(std::move(events)) {}

// ---- subscribers ----

void Reflector::add(std::shared_ptr<Subscriber> subscriber) {
    subscribers_.push_back(std::move(subscriber));
    schedule();
}

// Everybody who comes in the same turn of the loop is served by one list.
void Reflector::schedule() {
    if (std::exchange(scheduled_, true)) return;
    loop_.post([this, alive = std::weak_ptr<bool>(alive_)] {
        if (alive.expired() || ended_) return;
        scheduled_ = false;
        running_.cancel();
        running_.spawn(run());
    });
}

bool Reflector::remove(const std::shared_ptr<Subscriber>& subscriber) {
    subscriber->ended = true;
    std::erase(subscribers_, subscriber);
    return !subscribers_.empty();
}

void Reflector::end() {
    ended_ = true;
    for (const auto& subscriber : subscribers_) subscriber->ended = true;
}

bool Reflector::tell(const std::shared_ptr<Subscriber>& subscriber, const ObjectKey& key, const Json* object) {
    if (subscriber->ended) return true;
    const ObjectStore::WatchHandler& handler = subscriber->handler;
    if (object == nullptr) {
        if (handler.deleted) handler.deleted(key);
        return true;
    }
    if (!handler.upserted) return true;
    try {
        handler.upserted(key, *object);
        return true;
    } catch (const Json::exception& error) {
        // A handler that trips over an odd object is a bug of ours; it must not cost the process.
        if (subscriber->ended) return false;
        const std::string what = type_.kind + " " + key.to_string();
        const auto failure = fail(Code::kInternal, std::string("cannot be used: ") + error.what()).error();
        log_.error("Handling an object failed", {{"object", what}, failure});
        if (handler.rejected) handler.rejected(what, failure);
        return false;
    }
}

// ---- the cycle ----

Task<void> Reflector::run() {
    while (!ended_) {
        // No bodies are kept: a list tells newcomers everything, and the others what has changed.
        const bool newcomer = std::ranges::any_of(subscribers_, [](const auto& one) { return !one->synced; });
        const bool listing = newcomer || revision_.empty();
        auto step = listing ? list() : watch();
        auto next = co_await std::move(step);
        if (ended_) co_return;
        if (next && *next != Next::kRetry) {
            if (*next == Next::kList) revision_.clear();
            continue;
        }
        if (!next) failing(next.error());
        auto waiting = pause();
        co_await std::move(waiting);
    }
}

void Reflector::failing(const Error& error) {
    if (phase_ != Phase::kNotServed) phase_ = Phase::kFailing;
    if (problem_ == error.message) return;
    problem_ = error.message;
    const bool outage = error.code == Code::kUnavailable || error.code == Code::kDeadlineExceeded;
    if (outage)
        log_.info("Following a kind of object is interrupted", {{"resource", type_.plural}, error});
    else
        log_.error("A kind of object cannot be followed", {{"resource", type_.plural}, error});
}

// Everybody's pauses differ, so that an API server that comes back meets no crowd.
Task<void> Reflector::pause() {
    pause_ = pause_ == Duration{0} ? settings_.first_pause : std::min(pause_ * 2, settings_.longest_pause);
    Duration base = pause_;
    if (phase_ == Phase::kNotServed) {
        // Soon while an installation may still be making it, and ever more rarely.
        const auto missing = std::chrono::duration_cast<Duration>(Clock::now() - missing_since_);
        base = std::min(std::max(missing / 4, settings_.first_pause), settings_.unserved_pause);
    }
    const double spread = std::uniform_real_distribution<double>(0.5, 1.5)(random_);
    return sleep_for(loop_, std::chrono::duration_cast<Duration>(base * spread));
}

// One namespace: its own collection, for which a Role is enough.
std::string Reflector::collection() const {
    const auto name_space = options_.fields.find("metadata.namespace");
    return api_->path(type_, {name_space == options_.fields.end() ? std::string() : name_space->second, {}});
}

std::string Reflector::selection() const {
    std::string text;
    const auto add = [&](const char* name, const std::map<std::string, std::string>& terms) {
        if (terms.empty()) return;
        std::string value;
        for (const auto& [key, wanted] : terms) value += (value.empty() ? "" : ",") + key + "=" + wanted;
        text += std::string("&") + name + "=" + escaped(value);
    };
    add("fieldSelector", options_.fields);
    add("labelSelector", options_.labels);
    return text;
}

// ---- list ----

Task<Result<Reflector::Next>> Reflector::list() {
    if (phase_ != Phase::kNotServed) phase_ = Phase::kListing;
    ++listing_;
    for (const auto& subscriber : subscribers_) subscriber->listed = true;
    // The cache of the API server is good enough, unless it is behind what has been seen.
    std::string version;
    if (!exact_) {
        version = fresh_from_.empty()
                      ? "&resourceVersion=0"
                      : "&resourceVersion=" + escaped(fresh_from_) + "&resourceVersionMatch=NotOlderThan";
    }
    const Operation operation{"list", &type_};
    std::string from;
    while (true) {
        const std::string target = collection() + "?limit=" + std::to_string(settings_.page) +
                                   (from.empty() ? version : "&continue=" + escaped(from)) + selection();
        std::string rest;
        Status damage;
        CO_TRY_ASSIGN(const Response response, list_page(target, rest, damage));
        if (ended_) co_return Next::kRetry;
        if (response.status == 404) {
            CO_AWAIT(auto next, look_for_it(response, operation));
            co_return next;
        }
        // A continuation that is too old, or a cache that has not caught up: from the beginning, of etcd.
        const bool other_version =
            response.status == 410 || (response.status != 200 && !version.empty() && from.empty());
        if (other_version && !exact_) {
            exact_ = true;
            co_return response.status == 410 ? Result<Next>(Next::kList)
                                             : Result<Next>(forward_error(error_of(operation, response)));
        }
        if (response.status != 200) {
            exact_ = false;
            co_return forward_error(error_of(operation, response));
        }
        CO_TRY(std::move(damage));
        const Json head = Json::parse(rest, nullptr, false);
        if (!head.is_object() || !head.value("metadata", Json()).is_object())
            co_return fail(Code::kUnavailable, operation.to_string() + ": the API server's answer is no list");
        from = text_of(head["metadata"], "continue");
        if (!from.empty()) continue;
        revision_ = text_of(head["metadata"], "resourceVersion");
        fresh_from_ = revision_;
        break;
    }
    exact_ = false;
    pause_ = Duration{0};
    missing_since_ = {};
    phase_ = Phase::kWatching;
    problem_.clear();
    prune_and_sync();
    if (revision_.empty()) co_return fail(Code::kInternal, operation.to_string() + ": a list without resourceVersion");
    co_return Next::kWatch;
}

Task<Result<Response>> Reflector::list_page(const std::string& target, std::string& rest, Status& damage) {
    ListSplitter splitter(settings_.object_limit, [this, &damage](std::string_view text) {
        damage = take(Json::parse(text, nullptr, false), true);
        return damage.has_value() && !ended_;
    });
    const auto sink = [&splitter, &damage](std::string_view piece) {
        auto fed = splitter.feed(piece);
        if (!fed) damage = forward_error(std::move(fed).error());
        return fed && *fed;
    };
    Request request{.target = target, .lane = Lane::kPaced};
    CO_TRY_ASSIGN(Response response, api_->client().stream(std::move(request), sink, kListSilence));
    if (response.status == 200 && damage && !splitter.complete())
        damage = fail(Code::kUnavailable, "list " + type_.plural + ": the API server's answer is not complete");
    rest = splitter.rest();
    co_return response;
}

// What the list did not name is gone; who waited for the list has it now.
void Reflector::prune_and_sync() {
    std::vector<std::string> lost;
    for (const auto& [id, known] : known_) {
        if (known.listing != listing_) lost.push_back(id);
    }
    for (const std::string& id : lost) {
        const std::size_t slash = id.find('/');
        gone(id, {id.substr(0, slash), id.substr(slash + 1)});
        if (ended_) return;
    }
    sync_all();
}

void Reflector::sync_all() {
    const auto all = subscribers_;
    for (const auto& subscriber : all) {
        if (subscriber->ended || !subscriber->listed || std::exchange(subscriber->synced, true)) continue;
        if (subscriber->handler.synced) subscriber->handler.synced();
        if (ended_) return;
    }
}

// 404: the version is not the right one, or the kind does not exist here (yet). An API server that is just starting may
// say so too: what is known stays, and only what lasts counts.
Task<Result<Reflector::Next>> Reflector::look_for_it(const Response& response, const Operation& operation) {
    const std::string before = api_->version_of(type_);
    CO_TRY_ASSIGN(const Api::Served served, api_->discover(type_));
    if (served.served && served.version != before) {
        log_.info("An older version of a kind is used", {{"resource", type_.plural}, {"version", served.version}});
        co_return Next::kList;
    }
    if (served.served) co_return forward_error(error_of(operation, response));
    const auto now = Clock::now();
    if (missing_since_ == Clock::time_point{}) missing_since_ = now;
    problem_ = type_.plural + "." + type_.group + " is not served by the API server";
    if (now - missing_since_ >= settings_.unserved_grace) {
        phase_ = Phase::kNotServed;
        if (known_.empty()) sync_all();
    }
    co_return Next::kRetry;
}

// ---- watch ----

Task<Result<Reflector::Next>> Reflector::watch() {
    const auto began = Clock::now();
    const int seconds = std::uniform_int_distribution<int>(kShortestWatch, kLongestWatch)(random_);
    const std::string target = collection() +
                               "?watch=1&allowWatchBookmarks=true&resourceVersion=" + escaped(revision_) +
                               "&timeoutSeconds=" + std::to_string(seconds) + selection();
    Next next = Next::kWatch;
    Status damage;
    bool heard = false;
    ObjectSplitter splitter(settings_.object_limit, [this, &next, &damage, &heard](std::string_view text) {
        heard = true;
        damage = take_event(text, next);
        return damage.has_value() && next == Next::kWatch && !ended_;
    });
    const auto sink = [this, &splitter, &damage](std::string_view piece) {
        auto fed = splitter.feed(piece);
        if (!fed) damage = forward_error(std::move(fed).error());
        return fed && *fed && !ended_;
    };
    phase_ = Phase::kWatching;
    Request request{.target = target, .lane = Lane::kPaced};
    const Operation operation{"watch", &type_};
    CO_AWAIT(const auto response,
             api_->client().stream(std::move(request), sink, std::chrono::seconds(seconds) + kWatchGrace));
    if (ended_) co_return Next::kRetry;
    if (heard) pause_ = Duration{0};
    if (response && response->status == 404) {
        CO_AWAIT(auto looked, look_for_it(*response, operation));
        co_return looked;
    }
    if (response && response->status == 410) co_return Next::kList;
    if (response && response->status != 200) co_return forward_error(error_of(operation, *response));
    if (!damage) {
        if (++damaged_ >= kDamageLimit) revision_.clear();
        co_return forward_error(std::move(damage).error().with_context(operation.to_string()));
    }
    if (!response) co_return forward_error(response.error());
    if (next == Next::kWatch && splitter.incomplete())
        co_return fail(Code::kUnavailable, operation.to_string() + ": the API server broke off in mid-object");
    if (next == Next::kWatch && !heard && Clock::now() - began < kHealthyWatch)
        co_return fail(Code::kUnavailable, operation.to_string() + ": the API server ended the watch at once");
    problem_.clear();
    co_return next;
}

Status Reflector::take_event(std::string_view text, Next& next) {
    Json event = Json::parse(text, nullptr, false);
    if (!event.is_object()) return fail(Code::kDataLoss, "an event of a watch is no JSON");
    const std::string type = text_of(event, "type");
    const auto object = event.find("object");
    if (object == event.end() || !object->is_object()) return fail(Code::kDataLoss, "an event without an object");
    damaged_ = 0;
    if (type == "ERROR") {
        const Response response = status_response(*object);
        next = response.status == 410 ? Next::kList : Next::kRetry;
        if (response.status != 410) failing(error_of({"watch", &type_}, response));
        return {};
    }
    const auto metadata = object->find("metadata");
    if (metadata == object->end() || !metadata->is_object()) return fail(Code::kDataLoss, "an object without metadata");
    const std::string revision = text_of(*metadata, "resourceVersion");
    if (type == "DELETED") {
        const ObjectKey key{text_of(*metadata, "namespace"), text_of(*metadata, "name")};
        gone(key.name_space + "/" + key.name, key);
    } else if (type != "BOOKMARK") {
        TRY(take(std::move(*object), false));
    }
    if (!revision.empty()) revision_ = fresh_from_ = revision;
    return {};
}

Status Reflector::take(Json object, bool from_list) {
    if (!object.is_object() || !object.value("metadata", Json()).is_object())
        return fail(Code::kDataLoss, type_.plural + ": what should be an object is none");
    Json& metadata = object["metadata"];
    metadata.erase("managedFields");
    // Items of a list do not say what they are.
    if (!object.contains("kind")) object["kind"] = type_.kind;
    if (!object.contains("apiVersion"))
        object["apiVersion"] =
            type_.group.empty() ? api_->version_of(type_) : type_.group + "/" + api_->version_of(type_);
    const ObjectKey key{text_of(metadata, "namespace"), text_of(metadata, "name")};
    const std::size_t revision = std::hash<std::string>{}(text_of(metadata, "resourceVersion"));
    const auto [known, fresh] = known_.try_emplace(key.name_space + "/" + key.name, Known{revision, listing_});
    const bool changed = fresh || known->second.revision != revision;
    known->second = {revision, listing_};
    const auto all = subscribers_;
    bool good = true;
    for (const auto& subscriber : all) {
        if (!subscriber->listed || (!changed && !(from_list && !subscriber->synced))) continue;
        good = tell(subscriber, key, &object) && good;
        if (ended_) break;
    }
    if (changed) count(fresh ? "create" : "update", good);
    return {};
}

void Reflector::gone(const std::string& id, const ObjectKey& key) {
    if (known_.erase(id) == 0) return;
    count("delete", true);
    const auto all = subscribers_;
    for (const auto& subscriber : all) {
        if (subscriber->listed) tell(subscriber, key, nullptr);
        if (ended_) return;
    }
}

}  // namespace axo::kubernetes
