#include "io/store_watches.h"

#include <algorithm>
#include <map>

namespace axo {

using Json = ObjectStore::Json;

struct StoreWatches::State {
    const ResourceType* type = nullptr;
    ObjectStore::WatchHandler handler;
    std::map<ObjectKey, std::uint64_t> pending;  // what to look at, and the revision that the handler knows; 0: none
    bool scheduled = false;
    bool synced = false;
    bool ended = false;
};

namespace {

class Handle : public ObjectStore::Watch {
public:
    Handle(std::shared_ptr<StoreWatches::All> all, std::shared_ptr<StoreWatches::State> state)
        : all_(std::move(all)), state_(std::move(state)) {}
    Handle(const Handle&) = delete;
    Handle& operator=(const Handle&) = delete;
    ~Handle() override {
        state_->ended = true;
        std::erase(*all_, state_);
    }

private:
    std::shared_ptr<StoreWatches::All> all_;
    std::shared_ptr<StoreWatches::State> state_;
};

}  // namespace

StoreWatches::~StoreWatches() {
    for (const auto& watch : *watches_) watch->ended = true;
}

std::unique_ptr<ObjectStore::Watch> StoreWatches::add(const ResourceType* known, const ResourceType& asked,
                                                      ObjectStore::WatchHandler handler) {
    auto state = std::make_shared<State>();
    state->type = known;
    state->handler = std::move(handler);
    watches_->push_back(state);
    if (known != nullptr) {
        for (const auto& [key, entry] : index_.objects(known))
            state->pending.emplace_hint(state->pending.end(), key, 0);
        schedule(state);
        report_rejections();
    } else if (state->handler.rejected) {
        const std::string kind = asked.api_version() + " " + asked.kind;
        loop_.post([state, kind] {
            if (!state->ended)
                state->handler.rejected(
                    "watch of " + kind,
                    fail(Code::kInvalidArgument, "the kind is unknown to the object store").error());
        });
    }
    return std::make_unique<Handle>(watches_, state);
}

void StoreWatches::changed(ManifestIndex::Change change, bool keep) {
    bool watched = false;
    for (const auto& watch : *watches_) {
        if (watch->type != change.id.type) continue;
        watch->pending.try_emplace(change.id.key, change.before);
        schedule(watch);
        watched = true;
    }
    if (keep && watched && change.now != 0) kept_.push_back(std::move(change));
}

bool StoreWatches::tell_now() {
    const std::weak_ptr<int> alive = alive_;
    for (const ManifestIndex::Change& change : std::exchange(kept_, {})) {
        All interested;
        std::ranges::copy_if(*watches_, std::back_inserter(interested),
                             [&](const auto& watch) { return watch->type == change.id.type; });
        for (const auto& watch : interested) {
            const auto* entry = index_.find(change.id);
            if (entry == nullptr || entry->revision != change.now) break;  // a callback has changed it
            const auto known = watch->pending.extract(change.id.key);
            if (watch->ended || !known || known.mapped() == change.now) continue;
            tell(*watch, change.id.key, change.object);
            if (alive.expired()) return false;
        }
    }
    return true;
}

void StoreWatches::schedule(const std::shared_ptr<State>& watch) {
    if (std::exchange(watch->scheduled, true)) return;
    loop_.post([this, watch] {
        if (!watch->ended) deliver(watch);  // `this` has ended all its watches when it goes
    });
}

void StoreWatches::deliver(const std::shared_ptr<State>& watch) {
    watch->scheduled = false;
    auto& pending = watch->pending;
    for (auto next = pending.begin(); next != pending.end();) {
        const auto known = pending.extract(next);
        const ObjectKey& key = known.key();
        const auto* entry = index_.find({watch->type, key});
        if (entry == nullptr) {
            if (known.mapped() != 0 && watch->handler.deleted) watch->handler.deleted(key);
        } else if (entry->revision != known.mapped()) {
            if (const auto object = index_.object(*entry)) {
                tell(*watch, key, *object);
            } else {
                refuse(*watch, key, object.error());
            }
        }
        if (watch->ended) return;
        next = pending.upper_bound(key);
    }
    if (std::exchange(watch->synced, true)) return;
    if (watch->handler.synced) watch->handler.synced();
}

void StoreWatches::tell(State& watch, const ObjectKey& key, const Json& object) {
    if (!watch.handler.upserted) return;
    try {
        watch.handler.upserted(key, object);
    } catch (const Json::exception& error) {
        // A handler that trips over an odd object is a bug of ours; it must not cost the process.
        if (watch.ended) return;
        refuse(watch, key, fail(Code::kInternal, std::string("cannot be used: ") + error.what()).error());
    }
}

void StoreWatches::refuse(State& watch, const ObjectKey& key, const Error& error) {
    const std::string what = watch.type->kind + " " + key.to_string();
    log_.error("Handling an object failed", {{"object", what}, error});
    if (watch.handler.rejected) watch.handler.rejected(what, error);
}

void StoreWatches::report_rejections() {
    for (auto& [path, rejections] : index_.rejections()) {
        const std::string where = path.empty() ? root_ : root_ + "/" + path;
        for (auto& rejection : rejections) {
            if (rejection.reported) continue;
            const auto listener = std::ranges::find_if(*watches_, [&](const auto& watch) {
                return watch->handler.rejected && (rejection.type == nullptr || rejection.type == watch->type);
            });
            if (listener == watches_->end()) continue;
            rejection.reported = true;
            log_.warn("Manifest rejected", {{"where", where}, rejection.error});
            loop_.post([watch = *listener, where, error = rejection.error] {
                if (!watch->ended) watch->handler.rejected(where, error);
            });
        }
    }
}

}  // namespace axo
