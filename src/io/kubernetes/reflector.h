// Reflector: one kind of object as the API server has it, followed by a list and a watch.
//
//   list (pages) -> watch from its resourceVersion -> watch again from the last one seen … 410 Gone -> list
//
// Its subscribers are told the net difference, whatever happened to connections: no gap, no deletion of what is only
// out of sight. Of each object only key and revision are kept. A kind that the server does not have counts as empty and
// is looked for again. Thread: the loop's only.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/log.h"
#include "io/kubernetes/api.h"
#include "io/object_store.h"

namespace axo::kubernetes {

struct ReflectorSettings {
    Duration first_pause = std::chrono::milliseconds(800);  // between attempts; doubled up to the longest, jittered
    Duration longest_pause = std::chrono::seconds(30);
    Duration unserved_grace = std::chrono::seconds(3);   // how long a kind must be missing to count as empty
    Duration unserved_pause = std::chrono::seconds(10);  // the longest; a quarter of the time that it is missing before
    std::size_t page = 500;
    std::size_t object_limit = 16 * 1024 * 1024;
};

// What reflectors have told their subscribers, by kind and what happened ("create", "update", "delete"), and how much
// of it a subscriber failed to handle.
struct ObjectEvents {
    std::uint64_t handled = 0, failed = 0;
};
using ObjectEventCounts = std::map<std::pair<std::string, std::string>, ObjectEvents>;

class Reflector {
public:
    struct Subscriber {
        ObjectStore::WatchHandler handler;
        bool listed = false;  // has been told a whole list, or is being told the one that is under way
        bool synced = false;
        bool ended = false;
    };
    enum class Phase { kListing, kWatching, kNotServed, kFailing };

    Reflector(EventLoop& loop, std::shared_ptr<Api> api, const ResourceType& type, WatchOptions options,
              ReflectorSettings settings, std::shared_ptr<ObjectEventCounts> events);
    Reflector(const Reflector&) = delete;
    Reflector& operator=(const Reflector&) = delete;

    void add(std::shared_ptr<Subscriber> subscriber);
    // Returns whether there are others.
    bool remove(const std::shared_ptr<Subscriber>& subscriber);
    // Nobody is told anything any more. What it was told from may still be on the stack.
    void end();

    [[nodiscard]] const ResourceType& type() const { return type_; }
    [[nodiscard]] Phase phase() const { return phase_; }
    // Of the latest attempt; "" when it succeeded.
    [[nodiscard]] const std::string& problem() const { return problem_; }
    [[nodiscard]] std::size_t size() const { return known_.size(); }

private:
    struct Known {
        std::size_t revision;  // hash of the resourceVersion
        std::uint32_t listing;
    };
    enum class Next { kList, kWatch, kRetry };

    void schedule();
    Task<void> run();
    Task<Result<Next>> list();
    Task<Result<Response>> list_page(const std::string& target, std::string& rest, Status& damage);
    Task<Result<Next>> watch();
    Task<Result<Next>> look_for_it(const Response& response, const Operation& operation);
    Task<void> pause();
    void prune_and_sync();
    void sync_all();
    Status take(Json object, bool from_list);
    Status take_event(std::string_view text, Next& next);
    void gone(const std::string& id, const ObjectKey& key);
    // False: the subscriber's handler failed.
    bool tell(const std::shared_ptr<Subscriber>& subscriber, const ObjectKey& key, const Json* object);
    void count(const char* action, bool handled) {
        ObjectEvents& events = (*events_)[{type_.kind, action}];
        ++(handled ? events.handled : events.failed);
    }
    [[nodiscard]] std::string collection() const;
    [[nodiscard]] std::string selection() const;
    void failing(const Error& error);

    EventLoop& loop_;
    std::shared_ptr<Api> api_;
    const ResourceType& type_;
    WatchOptions options_;
    ReflectorSettings settings_;
    std::shared_ptr<ObjectEventCounts> events_;
    Logger log_{"k8s-watch"};
    std::mt19937 random_{std::random_device{}()};
    std::vector<std::shared_ptr<Subscriber>> subscribers_;
    std::unordered_map<std::string, Known> known_;  // by "namespace/name"
    std::uint32_t listing_ = 0;
    std::string revision_;    // to go on from; "": list first
    std::string fresh_from_;  // no list may be older than that
    bool exact_ = false;      // the next list is asked of etcd
    int damaged_ = 0;         // answers in a row that were no JSON
    Duration pause_{0};
    std::chrono::steady_clock::time_point missing_since_{};
    Phase phase_ = Phase::kListing;
    std::string problem_;
    bool ended_ = false, scheduled_ = false;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
    TaskGroup running_;
};

}  // namespace axo::kubernetes
