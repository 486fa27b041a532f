// FencedStore: an object store that writes only while its owner leads.
//
// A process that was stopped (SIGSTOP, a suspended machine) for longer than its lease wakes up with work in
// hand before any callback tells it that another one leads now. Its writes are refused with
// kFailedPrecondition. Thread: the loop's only.
#pragma once

#include <functional>
#include <utility>

#include "io/object_store.h"

namespace axo {

class FencedStore : public ObjectStore {
public:
    FencedStore(ObjectStore& store, std::function<bool()> may_write)
        : store_(store), may_write_(std::move(may_write)) {}

    Task<Result<Json>> get(const ResourceType& type, ObjectKey key) override {
        return store_.get(type, std::move(key));
    }
    Task<Result<std::vector<Json>>> list(const ResourceType& type) override { return store_.list(type); }
    using ObjectStore::watch;
    std::unique_ptr<Watch> watch(const ResourceType& type, WatchHandler handler, WatchOptions options) override {
        return store_.watch(type, std::move(handler), std::move(options));
    }
    Task<Result<Json>> create(const ResourceType& type, Json object) override {
        TRY(fence());
        return store_.create(type, std::move(object));
    }
    Task<Result<Json>> update(const ResourceType& type, Json object) override {
        TRY(fence());
        return store_.update(type, std::move(object));
    }
    Task<Result<Json>> update_status(const ResourceType& type, Json object) override {
        TRY(fence());
        return store_.update_status(type, std::move(object));
    }
    Task<Status> remove(const ResourceType& type, ObjectKey key) override {
        TRY(fence());
        return store_.remove(type, std::move(key));
    }
    [[nodiscard]] Reachability reachability() const override { return store_.reachability(); }
    [[nodiscard]] bool expires_events() const override { return store_.expires_events(); }
    [[nodiscard]] std::vector<Rejected> rejected() const override { return store_.rejected(); }
    [[nodiscard]] std::optional<ServerInfo> server() const override { return store_.server(); }
    [[nodiscard]] std::string describe() const override { return store_.describe(); }

private:
    [[nodiscard]] Status fence() const {
        if (may_write_()) return {};
        return fail(Code::kFailedPrecondition, "not the leader any more: nothing is written");
    }

    ObjectStore& store_;
    std::function<bool()> may_write_;
};

}  // namespace axo
