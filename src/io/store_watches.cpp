#include "io/store_watches.h"

#include <algorithm>
#include <map>
#include <set>

namespace axo {

using Json = ObjectStore::Json;

struct StoreWatches::State {
    const ResourceType* type = nullptr;
    ObjectStore::WatchHandler handler;
    std::set<ObjectKey> pending;
    std::map<ObjectKey, std::uint64_t> known;  // the revisions that the handler has been told
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
        for (const auto& [key, entry] : index_.objects(known)) state->pending.insert(key);
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

void StoreWatches::changed(const ObjectId& id) {
    for (const auto& watch : *watches_) {
        if (watch->type != id.type) continue;
        watch->pending.insert(id.key);
        schedule(watch);
    }
}

void StoreWatches::schedule(const std::shared_ptr<State>& watch) {
    if (std::exchange(watch->scheduled, true)) return;
    loop_.post([this, watch] {
        if (!watch->ended) deliver(watch);  // `this` has ended all its watches when it goes
    });
}

void StoreWatches::deliver(const std::shared_ptr<State>& watch) {
    watch->scheduled = false;
    for (const ObjectKey& key : std::exchange(watch->pending, {})) {
        const auto* entry = index_.find({watch->type, key});
        const auto known = watch->known.find(key);
        if (entry == nullptr) {
            if (known == watch->known.end()) continue;
            watch->known.erase(known);
            if (watch->handler.deleted) watch->handler.deleted(key);
        } else {
            if (known != watch->known.end() && known->second == entry->revision) continue;
            watch->known.insert_or_assign(key, entry->revision);
            if (!watch->handler.upserted) continue;
            const Json object = entry->object();
            try {
                watch->handler.upserted(key, object);
            } catch (const Json::exception& error) {
                // A handler that trips over an odd object is a bug of ours; it must not cost the process.
                if (watch->ended) return;
                const std::string what = watch->type->kind + " " + key.to_string();
                const auto failure = fail(Code::kInternal, std::string("cannot be used: ") + error.what()).error();
                log_.error("Handling an object failed", {{"object", what}, failure});
                if (watch->handler.rejected) watch->handler.rejected(what, failure);
            }
        }
        if (watch->ended) return;
    }
    if (std::exchange(watch->synced, true)) return;
    if (watch->handler.synced) watch->handler.synced();
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
