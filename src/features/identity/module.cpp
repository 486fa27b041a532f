#include "features/identity/module.h"

#include "io/resources.h"
#include "model/cilium_identity.h"

namespace axo {
namespace {

// Longer than an API server needs, shorter than a kubelet's patience with a pod.
constexpr Duration kFirstListing = std::chrono::seconds(15);

}  // namespace

IdentityManager::IdentityManager(EventLoop& loop, ControllerRegistry& registry, ObjectStore& store, RandomSource random,
                                 std::function<bool(IdentityId)> in_use, ObjectVerdicts verdicts)
    : loop_(loop),
      store_(store),
      random_(std::move(random)),
      in_use_(std::move(in_use)),
      verdicts_(std::move(verdicts)),
      table_(loop, "identities"),
      restore_missing_(loop, registry, "restore-identities", [this] { return restore_missing(); }) {}

void IdentityManager::start(std::function<void()> synced) {
    watch_ = watch_objects<CiliumIdentity>(
        store_, resources::kCiliumIdentity,
        {.upserted = [this](const ObjectKey&,
                            const CiliumIdentity& object) { learn(object.id(), object.security_labels, true); },
         .deleted =
             [this](const ObjectKey& key) {
                 const IdentityId id(static_cast<std::uint32_t>(std::strtoul(key.name.c_str(), nullptr, 10)));
                 forget(id);
             },
         .synced =
             [this, synced = std::move(synced)] {
                 listed_ = true;
                 table_.mark_initialized();
                 listing_.settle(Status{});
                 restore_missing_.trigger();
                 synced();
             },
         .verdicts = verdicts_});
}

void IdentityManager::learn(IdentityId id, const LabelSet& labels, bool stored) {
    const std::string key = labels.key();
    if (const IdentityRow* row = table_.find(id); row != nullptr && row->labels.key() != key) {
        // Labels of an identity never change; another meaning for a number in use would mix up pods.
        if (in_use_(id)) {
            verdicts_.rejected(
                "CiliumIdentity " + id.to_string(),
                Error{Code::kFailedPrecondition,
                      "its labels are " + labels.to_string() + ", but an endpoint of this node uses the number for " +
                          row->labels.to_string() + "; remove the object",
                      0});
            return;
        }
        forget(id);
    }
    by_key_[key].insert(id);
    const IdentityRow* row = table_.find(id);
    table_.upsert(id, {.id = id, .labels = labels, .stored = stored || (row != nullptr && row->stored)});
}

void IdentityManager::forget(IdentityId id) {
    const IdentityRow* row = table_.find(id);
    if (row == nullptr) return;
    if (in_use_(id)) {
        table_.upsert(id, {.id = id, .labels = row->labels, .stored = false});
        restore_missing_.trigger();
        return;
    }
    const auto ids = by_key_.find(row->labels.key());
    ids->second.erase(id);
    if (ids->second.empty()) by_key_.erase(ids);
    table_.erase(id);
}

void IdentityManager::remember(IdentityId id, const LabelSet& labels) {
    if (is_cluster_identity(id)) learn(id, labels, false);
}

// The watch lists them anyway: an agent that starts with many pods does not ask for all of them a second time.
Task<Status> IdentityManager::listed() {
    if (listed_) co_return Status{};
    // Not before the store has been asked at all: that is soon.
    if (const auto state = store_.reachability(); !state.reachable) co_return fail(Code::kUnavailable, state.error);
    CO_AWAIT(auto outcome, within(loop_, kFirstListing, "the first listing of CiliumIdentities", listing_.wait()));
    if (!outcome && outcome.error().code == Code::kDeadlineExceeded)
        co_return fail(Code::kUnavailable, outcome.error().message + listing_problem());
    co_return outcome;
}

// "; cilium/v2::CiliumIdentity: …": what the store has to say about it.
std::string IdentityManager::listing_problem() const {
    if (const auto state = store_.reachability(); !state.reachable) return "; " + state.error;
    const auto server = store_.server();
    if (!server) return {};
    for (const ObjectStore::ServerInfo::Api& api : server->apis) {
        if (api.name.ends_with("::CiliumIdentity") && !api.problem.empty()) return "; " + api.problem;
    }
    return {};
}

KnownIdentities IdentityManager::known() const {
    return {.is_used = [this](IdentityId id) { return table_.find(id) != nullptr; },
            .find = [this](const std::string& key) -> std::optional<IdentityId> {
                const auto ids = by_key_.find(key);
                if (ids == by_key_.end()) return std::nullopt;
                return *ids->second.begin();
            }};
}

Task<Result<IdentityId>> IdentityManager::allocate(const LabelSet& labels) {
    if (const auto id = known().find(labels.key())) return *id;
    return join(labels);
}

// The allocation is the manager's, not the caller's: a caller that goes away does not take it from the others.
Task<Result<IdentityId>> IdentityManager::join(LabelSet labels) {
    const std::string key = labels.key();
    Awaited<Result<IdentityId>> ours;
    TaskGroup waiting;
    const auto [allocation, first] = allocations_.try_emplace(key);
    waiting.spawn(allocation->second.wait(), [&ours](Result<IdentityId> id) { ours.set(std::move(id)); });
    if (first) {
        tasks_.spawn(find_or_create(std::move(labels)), [this, key](const Result<IdentityId>& id) {
            auto all = allocations_.extract(key);
            all.mapped().settle(id);
        });
    }
    co_return co_await ours;
}

Task<Result<IdentityId>> IdentityManager::find_or_create(LabelSet labels) {
    const KnownIdentities known_identities = known();
    IdentityAllocation allocation(labels);
    if (const auto reserved = reserved_identity(labels)) co_return *reserved;
    CO_TRY(listed());
    while (true) {
        CO_TRY_ASSIGN(const IdentityAllocation::Step step, allocation.next(known_identities, random_));
        if (step.kind == IdentityAllocation::Step::Kind::kUse) co_return step.id;
        Json object = CiliumIdentity::make(step.id, labels).to_json();
        CO_AWAIT(const auto created, store_.create(resources::kCiliumIdentity, std::move(object)));
        if (created) {
            learn(step.id, labels, true);
            log_.info("Allocated identity", {{"identity", step.id.value}, {"identityLabels", labels.to_string()}});
            co_return step.id;
        }
        if (created.error().code != Code::kAlreadyExists) co_return forward_error(created.error());
        // Another agent was quicker. With the same labels its identity is ours too.
        CO_AWAIT(const auto theirs, store_.get(resources::kCiliumIdentity, {"", step.id.to_string()}));
        if (theirs) {
            if (auto parsed = CiliumIdentity::parse(*theirs)) learn(parsed->id(), parsed->security_labels, true);
        }
        allocation.collided(step.id);
    }
}

Task<Status> IdentityManager::restore_missing() {
    if (!listed_) co_return Status{};
    std::vector<IdentityRow> missing, unused;
    for (const auto& [id, row] : table_.rows()) {
        if (!row.stored) (in_use_(id) ? missing : unused).push_back(row);
    }
    for (const IdentityRow& row : unused) forget(row.id);
    for (const IdentityRow& row : missing) {
        Json object = CiliumIdentity::make(row.id, row.labels).to_json();
        CO_AWAIT(const auto created, store_.create(resources::kCiliumIdentity, std::move(object)));
        if (!created && created.error().code != Code::kAlreadyExists) co_return forward_error(created.error());
        if (created)
            log_.info("Restored identity object",
                      {{"identity", row.id.value}, {"identityLabels", row.labels.to_string()}});
        learn(row.id, row.labels, true);
    }
    co_return Status{};
}

LabelSet IdentityManager::labels_of(IdentityId id) const {
    if (const IdentityRow* row = table_.find(id)) return row->labels;
    return reserved_labels(id);
}

}  // namespace axo
