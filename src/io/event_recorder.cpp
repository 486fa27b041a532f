#include "io/event_recorder.h"

#include "base/log.h"
#include "base/sha256.h"
#include "io/resources.h"
#include "model/time.h"

namespace axo {
namespace {

using Json = nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr auto kPause = std::chrono::seconds(5);   // between two writes of one event
constexpr auto kLifetime = std::chrono::hours(1);  // as kube-apiserver keeps them
constexpr auto kSweepEvery = std::chrono::minutes(10);
constexpr std::size_t kMessageLimit = 1024;  // of v1 Event
constexpr std::size_t kRememberedLimit = 1000;

std::string text_of(const Json& object, const char* name) {
    const auto it = object.find(name);
    return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
}

// A prefix that does not end inside a UTF-8 sequence.
std::string shortened(const std::string& text, std::size_t limit) {
    if (text.size() <= limit) return text;
    while (limit > 0 && (static_cast<unsigned char>(text[limit]) & 0xc0) == 0x80) --limit;
    return text.substr(0, limit);
}

EventTarget target_of(const ResourceType& type, const ObjectMeta& object) {
    return {type.api_version(), type.kind, {object.name_space, object.name}, object.uid};
}

}  // namespace

EventTarget EventTarget::of(const Json& object) {
    EventTarget target;
    if (!object.is_object()) return target;
    target.api_version = text_of(object, "apiVersion");
    target.kind = text_of(object, "kind");
    const auto metadata = object.find("metadata");
    if (metadata == object.end() || !metadata->is_object()) return target;
    target.key = {text_of(*metadata, "namespace"), text_of(*metadata, "name")};
    target.uid = text_of(*metadata, "uid");
    return target;
}

struct EventRecorder::Impl {
    struct Remembered {
        Json event;  // as it is to be created
        std::int64_t unwritten = 0;
        Clock::time_point written{};
    };

    Impl(EventLoop& l, ObjectStore& s, std::string c, std::string h)
        : loop(l), store(s), component(std::move(c)), host(std::move(h)) {
        sweeper = loop.every(kSweepEvery, [this] { sweep(); });
    }

    void write(const ObjectKey& key, Remembered& remembered) {
        remembered.written = Clock::now();
        tasks.spawn(add(key, remembered.event, std::exchange(remembered.unwritten, 0)));
    }

    Task<void> add(ObjectKey key, Json event, std::int64_t count) {
        const std::string now = format_time(std::chrono::system_clock::now());
        for (int attempt = 0; attempt < 5; ++attempt) {
            CO_AWAIT(auto stored, store.get(resources::kEvent, key));
            Result<Json> outcome = stored;
            if (stored) {
                const auto before = stored->find("count");
                (*stored)["count"] =
                    (before != stored->end() && before->is_number_integer() ? before->get<std::int64_t>() : 0) + count;
                (*stored)["lastTimestamp"] = now;
                CO_AWAIT(outcome, store.update(resources::kEvent, std::move(*stored)));
            } else if (stored.error().code == Code::kNotFound) {
                event["firstTimestamp"] = now;
                event["lastTimestamp"] = now;
                event["count"] = count;
                CO_AWAIT(outcome, store.create(resources::kEvent, event));
            }
            if (outcome) co_return;
            if (outcome.error().code == Code::kAborted || outcome.error().code == Code::kAlreadyExists) continue;
            log.warn("Cannot write an event", {{"event", key.to_string()}, outcome.error()});
            co_return;
        }
    }

    void flush() {
        timer.cancel();
        for (auto& [key, remembered] : events) {
            if (remembered.unwritten > 0) write(key, remembered);
        }
    }

    void sweep() {
        const auto before = Clock::now() - kLifetime;
        std::erase_if(events,
                      [&](const auto& entry) { return entry.second.unwritten == 0 && entry.second.written < before; });
        if (sweeping.empty() && !store.expires_events()) sweeping.spawn(remove_old());
    }

    Task<void> remove_old() {
        CO_AWAIT(const auto all, store.list(resources::kEvent));
        if (!all) co_return;
        const auto limit = std::chrono::system_clock::now() - kLifetime;
        for (const Json& event : *all) {
            const auto last = parse_time(text_of(event, "lastTimestamp"));
            if (!last || *last >= limit) continue;
            const auto key = EventTarget::of(event).key;
            CO_AWAIT(const Status removed, store.remove(resources::kEvent, key));
            if (!removed) {
                log.debug("Cannot remove an old event", {{"event", key.to_string()}, removed.error()});
            }
        }
    }

    EventLoop& loop;
    ObjectStore& store;
    std::string component;
    std::string host;
    Logger log{"events"};
    std::map<ObjectKey, Remembered> events;
    EventLoop::Handle timer;
    EventLoop::Handle sweeper;
    TaskGroup tasks, sweeping;
};

EventRecorder::EventRecorder(EventLoop& loop, ObjectStore& store, std::string component, std::string host)
    : impl_(std::make_unique<Impl>(loop, store, std::move(component), std::move(host))) {}

EventRecorder::~EventRecorder() {
    impl_->flush();
}

void EventRecorder::record(const EventTarget& target, EventType type, const std::string& reason,
                           const std::string& full_message) {
    const std::string message = shortened(full_message, kMessageLimit);
    const std::string type_name = type == EventType::kWarning ? "Warning" : "Normal";
    // The name is made from what must be equal, so that processes and restarts add to the same Event.
    const std::string digest =
        sha256_hex(target.api_version + "\n" + target.kind + "\n" + target.key.to_string() + "\n" + target.uid + "\n" +
                   type_name + "\n" + reason + "\n" + impl_->component + "\n" + message);
    std::string base = target.key.name.empty() ? "unnamed" : target.key.name.substr(0, 236);
    while (!base.empty() && (base.back() == '.' || base.back() == '-')) base.pop_back();
    const ObjectKey key{target.key.name_space.empty() ? "default" : target.key.name_space,
                        base + "." + digest.substr(0, 16)};

    const auto now = Clock::now();
    auto it = impl_->events.find(key);
    if (it == impl_->events.end()) {
        if (impl_->events.size() >= kRememberedLimit) {
            impl_->flush();
            impl_->events.clear();  // what was counted is in the store
        }
        Json about = {{"apiVersion", target.api_version}, {"kind", target.kind}, {"name", target.key.name}};
        if (!target.key.name_space.empty()) about["namespace"] = target.key.name_space;
        if (!target.uid.empty()) about["uid"] = target.uid;
        Json source = {{"component", impl_->component}};
        if (!impl_->host.empty()) source["host"] = impl_->host;
        Json event = {{"apiVersion", "v1"},
                      {"kind", "Event"},
                      {"metadata", {{"name", key.name}, {"namespace", key.name_space}}},
                      {"involvedObject", std::move(about)},
                      {"reason", reason},
                      {"message", message},
                      {"type", type_name},
                      {"source", std::move(source)},
                      {"reportingComponent", impl_->component},
                      {"reportingInstance", impl_->host}};
        it = impl_->events.emplace(key, Impl::Remembered{std::move(event), 0, {}}).first;
    }
    ++it->second.unwritten;
    if (it->second.written == Clock::time_point{} || now - it->second.written >= kPause) {
        impl_->write(key, it->second);
    } else if (!impl_->timer) {
        impl_->timer = impl_->loop.after(kPause, [impl = impl_.get()] { impl->flush(); });
    }
}

void EventRecorder::normal(const ResourceType& type, const ObjectMeta& object, const std::string& reason,
                           const std::string& message) {
    record(target_of(type, object), EventType::kNormal, reason, message);
}

void EventRecorder::warning(const ResourceType& type, const ObjectMeta& object, const std::string& reason,
                            const std::string& message) {
    record(target_of(type, object), EventType::kWarning, reason, message);
}

}  // namespace axo
