// The watches of an object store, fed from an index of its objects.
//
// A watch is told the net difference between what it knows and what is, once per loop turn; objects that are in hand
// already are told at once, so that they need not be parsed again. Callbacks may use the store, end their watch or end
// the store. Thread: the loop's only.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "io/manifest_index.h"
#include "io/object_store.h"
#include "runtime/event_loop.h"

namespace axo {

class StoreWatches {
public:
    StoreWatches(EventLoop& loop, ManifestIndex& index, std::string root)
        : loop_(loop), index_(index), root_(std::move(root)) {}
    ~StoreWatches();  // ends all watches; their handles may go later
    StoreWatches(const StoreWatches&) = delete;
    StoreWatches& operator=(const StoreWatches&) = delete;

    // known: one of resources::all(), or nullptr: then the watch is told that `asked` is not and nothing else.
    std::unique_ptr<ObjectStore::Watch> add(const ResourceType* known, const ResourceType& asked,
                                            ObjectStore::WatchHandler handler);
    // keep: tell_now() follows.
    void changed(ManifestIndex::Change change, bool keep);
    // Tells the objects that were kept; what has gone is left to the next turn, by when it may be back. False: a
    // callback has ended the store, and this with it.
    bool tell_now();
    // Passes on the rejections of the index that nobody has been told yet.
    void report_rejections();

    struct State;
    using All = std::vector<std::shared_ptr<State>>;

private:
    void schedule(const std::shared_ptr<State>& watch);
    void deliver(const std::shared_ptr<State>& watch);
    void tell(State& watch, const ObjectKey& key, const ManifestIndex::Json& object);
    void refuse(State& watch, const ObjectKey& key, const Error& error);

    EventLoop& loop_;
    ManifestIndex& index_;
    std::string root_;
    Logger log_{"object-store"};
    std::shared_ptr<All> watches_ = std::make_shared<All>();
    std::vector<ManifestIndex::Change> kept_;
    std::shared_ptr<int> alive_ = std::make_shared<int>();  // ends with this
};

}  // namespace axo
