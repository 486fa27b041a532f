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

    Result<Json> get(const ResourceType& type, const ObjectKey& key) override { return store_.get(type, key); }
    Result<std::vector<Json>> list(const ResourceType& type) override { return store_.list(type); }
    std::unique_ptr<Watch> watch(const ResourceType& type, WatchHandler handler) override {
        return store_.watch(type, std::move(handler));
    }
    Result<Json> create(const ResourceType& type, const Json& object) override {
        TRY(fence());
        return store_.create(type, object);
    }
    Result<Json> update(const ResourceType& type, const Json& object) override {
        TRY(fence());
        return store_.update(type, object);
    }
    Result<Json> update_status(const ResourceType& type, const Json& object) override {
        TRY(fence());
        return store_.update_status(type, object);
    }
    Status remove(const ResourceType& type, const ObjectKey& key) override {
        TRY(fence());
        return store_.remove(type, key);
    }
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
