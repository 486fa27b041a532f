#include "features/ipam/pod_pool_controller.h"

#include <algorithm>
#include <tuple>

#include "base/log.h"
#include "io/resources.h"

namespace axo {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kWriteAttempts = 5;
// How long a written object may take to come back by the watch before it is looked at.
constexpr std::chrono::seconds kEcho{30};

const Logger& log() {
    static const Logger logger("pod-pools");
    return logger;
}

std::string joined(const std::vector<Prefix>& cidrs) {
    std::string text;
    for (const Prefix& cidr : cidrs) text += (text.empty() ? "" : ",") + cidr.to_string();
    return text;
}

std::set<Prefix> all_of(const CiliumNode& node) {
    std::set<Prefix> all;
    for (const PoolAllocation& allocation : node.pools_allocated)
        all.insert(allocation.cidrs.begin(), allocation.cidrs.end());
    return all;
}

void add_to(std::vector<PoolAllocation>& allocated, const std::string& pool, const Prefix& cidr) {
    auto entry = std::ranges::find(allocated, pool, &PoolAllocation::pool);
    if (entry == allocated.end()) entry = allocated.insert(allocated.end(), PoolAllocation{pool, {}});
    if (std::ranges::find(entry->cidrs, cidr) == entry->cidrs.end()) entry->cidrs.push_back(cidr);
}

}  // namespace

PodPoolController::PodPoolController(EventLoop& loop, ControllerRegistry& registry, ObjectStore& store,
                                     OperatorNodeTable& nodes, Settings settings, Report report)
    : loop_(loop),
      store_(store),
      nodes_(nodes),
      settings_(std::move(settings)),
      report_(std::move(report)),
      pools_(settings_.ipv4, settings_.ipv6),
      controller_(loop, registry, "update-cilium-nodes-pools", [this] { return reconcile(); }),
      node_watch_(nodes_.watch([this](const std::set<ObjectKey>& changed) {
          for (const ObjectKey& key : changed) {
              if (nodes_.find(key) != nullptr) continue;
              pools_.release(key.name);
              pending_.erase(key);
              reported_.erase(key.name);
          }
          controller_.trigger();
      })),
      pool_watch_(watch_objects<PodIpPool>(
          store, resources::kCiliumPodIpPool,
          {.upserted =
               [this](const ObjectKey& key, PodIpPool pool) {
                   wanted_.insert_or_assign(key.name, std::move(pool));
                   controller_.trigger();
               },
           .deleted =
               [this](const ObjectKey& key) {
                   wanted_.erase(key.name);
                   refused_.erase(key.name);
                   pools_.remove_pool(key.name);
                   log().info("pool is gone; nodes keep what they use of it", {{"pool", key.name}});
                   controller_.trigger();
               },
           .synced =
               [this] {
                   pools_synced_ = true;
                   controller_.trigger();
               },
           .verdicts = {.rejected =
                            [](const std::string& where, const Error& error) {
                                log().warn("pool cannot be used; its previous version stays in force",
                                           {{"object", where}, error});
                            },
                        .accepted = [](const std::string&) {}}})) {}

Task<Status> PodPoolController::reconcile() {
    // Before all nodes and pools are known, a free block may be somebody's.
    if (!nodes_.initialized() || !pools_synced_) co_return Status{};
    if (!created_) {
        CO_TRY(create_pools());
        created_ = true;
    }
    use_pools();
    CO_TRY(check_pending());
    Status outcome;
    std::vector<Decision> decisions = decide();
    for (Decision& decision : decisions) {
        const std::string name = decision.key.name;
        CO_AWAIT(Status wrote, write(std::move(decision)));
        if (wrote) continue;
        log().warn("CiliumNode could not be updated; it will be tried again", {{"node-name", name}, wrote.error()});
        if (outcome) outcome = std::move(wrote);
    }
    if (pending_.empty())
        recheck_.cancel();
    else
        recheck_ = loop_.after(kEcho, [this] { controller_.trigger(); });
    co_return outcome;
}

Task<Status> PodPoolController::create_pools() {
    for (const PodIpPool& pool : settings_.create) {
        if (wanted_.contains(pool.metadata.name)) continue;
        CO_AWAIT(auto made, store_.create(resources::kCiliumPodIpPool, pool.to_json()));
        if (!made && made.error().code != Code::kAlreadyExists) {
            co_return std::unexpected(
                std::move(made).error().with_context("creating CiliumPodIPPool " + pool.metadata.name));
        }
        if (made) log().info("pool created", {{"pool", pool.metadata.name}});
    }
    co_return Status{};
}

// One that was refused may be fine once another one has changed; the older one of two that overlap is served first.
void PodPoolController::use_pools() {
    std::vector<const PodIpPool*> order;
    for (const auto& [name, pool] : wanted_) order.push_back(&pool);
    std::ranges::stable_sort(order, {}, [this](const PodIpPool* pool) {
        return std::make_tuple(!pools_.has_pool(pool->metadata.name), pool->metadata.creation_timestamp);
    });
    for (const PodIpPool* pool : order) {
        const std::string& name = pool->metadata.name;
        auto used = pools_.set_pool(*pool);
        if (used) {
            if (refused_.erase(name) != 0) log().info("pool can be used now", {{"pool", name}});
            continue;
        }
        std::string& reason = refused_[name];
        if (reason == used.error().message) continue;
        reason = used.error().message;
        log().warn("pool cannot be used", {{"pool", name}, used.error()});
        report_(resources::kCiliumPodIpPool, pool->metadata, "PoolRefused", reason);
    }
}

// What the node has: its object, and what was handed out and is not to be seen there yet.
std::vector<PoolAllocation> PodPoolController::held(const ObjectKey& key, const CiliumNode& node) {
    std::vector<PoolAllocation> all = node.pools_allocated;
    const auto pending = pending_.find(key);
    if (pending == pending_.end()) return all;
    const std::set<Prefix> seen = all_of(node);
    for (auto& [pool, cidrs] : pending->second.cidrs) {
        std::erase_if(cidrs, [&](const Prefix& cidr) { return seen.contains(cidr); });
        for (const Prefix& cidr : cidrs) add_to(all, pool, cidr);
    }
    std::erase_if(pending->second.cidrs, [](const auto& entry) { return entry.second.empty(); });
    if (pending->second.cidrs.empty()) pending_.erase(pending);
    return all;
}

// What was written and never came back: given back before anybody looked, or never stored.
Task<Status> PodPoolController::check_pending() {
    std::vector<ObjectKey> late;
    for (const auto& [key, pending] : pending_) {
        if (Clock::now() - pending.since >= kEcho) late.push_back(key);
    }
    for (const ObjectKey& key : late) {
        CO_AWAIT(auto current, store_.get(resources::kCiliumNode, key));
        if (!current && current.error().code != Code::kNotFound) co_return forward_error(std::move(current).error());
        const auto node = current ? CiliumNode::parse(*current) : Result<CiliumNode>(CiliumNode{});
        const auto pending = pending_.find(key);
        if (!node || pending == pending_.end()) continue;
        const std::set<Prefix> stored = all_of(*node);
        for (auto& [pool, cidrs] : pending->second.cidrs)
            std::erase_if(cidrs, [&](const Prefix& cidr) { return !stored.contains(cidr); });
        pending->second.since = Clock::now();
    }
    co_return Status{};
}

// Of the nodes whose objects are not as they should be.
std::vector<PodPoolController::Decision> PodPoolController::decide() {
    std::vector<std::pair<const ObjectKey*, const OperatorNodeRow*>> order;
    for (const auto& [key, row] : nodes_.rows()) order.emplace_back(&key, &row);
    std::ranges::stable_sort(order, {}, [](const auto& item) { return item.second->node.metadata.creation_timestamp; });
    // All claims before the first grant: a free block must be free of every claim.
    std::map<ObjectKey, std::vector<std::string>> errors;
    for (const auto& [key, row] : order) errors[*key] = pools_.claim(key->name, held(*key, row->node));
    std::vector<Decision> decisions;
    for (const auto& [key, row] : order) {
        Decision decision{*key, *row, {}, row->parse_error};
        if (row->parse_error.empty()) {
            auto grant = pools_.grant(key->name, row->node.pools_requested);
            std::vector<std::string>& all = errors[*key];
            all.insert(all.end(), grant.errors.begin(), grant.errors.end());
            decision.error = pool_errors_text(all);
            decision.added = std::move(grant.added);
        }
        if (!decision.added.empty()) {
            Pending& pending = pending_[*key];
            for (const auto& [pool, cidrs] : decision.added) pending.cidrs[pool].insert(cidrs.begin(), cidrs.end());
            pending.since = Clock::now();
        } else if (decision.error == row->node.operator_error) {
            // Told before a restart.
            if (!decision.error.empty()) reported_[key->name] = decision.error;
            continue;
        }
        decisions.push_back(std::move(decision));
    }
    return decisions;
}

void PodPoolController::take_back(const Decision& decision) {
    const auto pending = pending_.find(decision.key);
    if (pending == pending_.end()) return;
    for (const auto& [pool, cidrs] : decision.added) {
        for (const Prefix& cidr : cidrs) pending->second.cidrs[pool].erase(cidr);
    }
}

Task<Status> PodPoolController::write(Decision decision) {
    for (int attempt = 1;; ++attempt) {
        CO_AWAIT(auto wrote, write_once(decision));
        if (wrote) {
            if (!*wrote) take_back(decision);
            report(decision);
            co_return Status{};
        }
        // The agent writes its object at the same time: no reason to make it wait for a retry.
        if (wrote.error().code == Code::kAborted && attempt < kWriteAttempts) continue;
        // Nothing was stored. After other failures it may have been: then it stays the node's until that is known.
        if (wrote.error().code == Code::kAborted) take_back(decision);
        co_return forward_error(std::move(wrote).error());
    }
}

// False: the node is gone.
Task<Result<bool>> PodPoolController::write_once(const Decision& decision) {
    CO_AWAIT(auto current, store_.get(resources::kCiliumNode, decision.key));
    if (!current) {
        if (current.error().code == Code::kNotFound) co_return false;
        co_return forward_error(std::move(current).error());
    }
    const auto node = CiliumNode::parse(*current);
    if (node && !decision.added.empty()) {
        CiliumNode next = *node;
        for (const auto& [pool, cidrs] : decision.added) {
            for (const Prefix& cidr : cidrs) add_to(next.pools_allocated, pool, cidr);
        }
        CO_TRY_ASSIGN(*current, store_.update(resources::kCiliumNode, updated_json(*current, next)));
        for (const auto& [pool, cidrs] : decision.added) {
            log().info("node has CIDRs of a pool",
                       {{"node-name", decision.key.name}, {"pool", pool}, {"cidrs", joined(cidrs)}});
        }
    }
    if (node && node->operator_error == decision.error) co_return true;
    // Written by hand into the document: it may be one that does not parse.
    const Json error{{"status", {{"ipam", {{"operator-status", {{"error", decision.error}}}}}}}};
    const Json before =
        decision.error.empty() ? Json{{"status", {{"ipam", {{"operator-status", {{"error", "x"}}}}}}}} : Json::object();
    const Json after = decision.error.empty() ? Json::object() : error;
    CO_TRY(store_.update_status(resources::kCiliumNode, merge_difference(std::move(*current), before, after)));
    co_return true;
}

void PodPoolController::report(const Decision& decision) {
    std::string& reported = reported_[decision.key.name];
    if (reported == decision.error) return;
    reported = decision.error;
    if (reported.empty()) return;
    log().warn("node does not get all that it asks for", {{"node-name", decision.key.name}, {"error", reported}});
    const bool full = reported.find("allocator full") != std::string::npos ||
                      reported.find("no such CiliumPodIPPool") != std::string::npos;
    report_(resources::kCiliumNode, decision.row.node.metadata, full ? "CIDRNotAvailable" : "CIDRAssignmentFailed",
            reported);
}

}  // namespace axo
