// Identities of this cluster: the CiliumIdentity objects, what this node's endpoints use of them, and
// the allocation of new ones.
//
// Numbers that restored endpoints use are known before the store has said anything, so a restart and a
// missing store do not keep endpoints waiting. An object that somebody removes while an endpoint here
// uses it is made again under the same number. Thread: the loop's only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "base/log.h"
#include "features/identity/allocator.h"
#include "features/identity/types.h"
#include "io/object_watch.h"
#include "runtime/controller.h"
#include "runtime/table.h"
#include "runtime/task.h"

namespace axo {

class IdentityManager {
public:
    // in_use: whether an endpoint of this node has the identity.
    IdentityManager(EventLoop& loop, ControllerRegistry& registry, ObjectStore& store, RandomSource random,
                    std::function<bool(IdentityId)> in_use, ObjectVerdicts verdicts);

    // synced runs once the first listing is complete.
    void start(std::function<void()> synced);

    // The identity of these labels, created in the store if there is none. kUnavailable when the store cannot be asked.
    // One that is known needs no store; others wait for the first listing, in which their labels may have a number.
    // Whoever asks for the same labels meanwhile waits for the same answer.
    Task<Result<IdentityId>> allocate(const LabelSet& labels);
    void remember(IdentityId id, const LabelSet& labels);

    [[nodiscard]] const Table<IdentityId, IdentityRow>& table() const { return table_; }
    Table<IdentityId, IdentityRow>& table() { return table_; }
    // Reserved ones too; empty when unknown.
    [[nodiscard]] LabelSet labels_of(IdentityId id) const;

private:
    void learn(IdentityId id, const LabelSet& labels, bool stored);
    void forget(IdentityId id);
    Task<Result<IdentityId>> join(LabelSet labels);
    Task<Result<IdentityId>> find_or_create(LabelSet labels);
    Task<Status> listed();
    [[nodiscard]] std::string listing_problem() const;
    Task<Status> restore_missing();
    KnownIdentities known() const;

    EventLoop& loop_;
    ObjectStore& store_;
    RandomSource random_;
    std::function<bool(IdentityId)> in_use_;
    ObjectVerdicts verdicts_;
    Logger log_{"identity"};
    Table<IdentityId, IdentityRow> table_;
    std::map<std::string, std::set<IdentityId>> by_key_;
    bool listed_ = false;
    std::unique_ptr<ObjectStore::Watch> watch_;
    std::map<std::string, Waiters<Result<IdentityId>>> allocations_;  // under way, by key of their labels
    Waiters<Status> listing_;
    Controller restore_missing_;
    TaskGroup tasks_;
};

}  // namespace axo
