#include "features/ipam/pod_cidr_controller.h"

#include <algorithm>
#include <tuple>

#include "base/log.h"
#include "io/resources.h"

namespace axo {
namespace {

const Logger& log() {
    static const Logger logger("pod-cidr");
    return logger;
}

constexpr int kWriteAttempts = 5;
constexpr std::size_t kFormerLimit = 1000;

std::string joined(const std::vector<Prefix>& cidrs) {
    std::string text;
    for (const Prefix& cidr : cidrs) text += (text.empty() ? "" : ",") + cidr.to_string();
    return text;
}

}  // namespace

PodCidrController::PodCidrController(EventLoop& loop, ControllerRegistry& registry, ObjectStore& store,
                                     OperatorNodeTable& nodes, ClusterPool pool, Report report)
    : store_(store),
      nodes_(nodes),
      pool_(std::move(pool)),
      report_(std::move(report)),
      controller_(loop, registry, "update-cilium-nodes-pod-cidr", [this] { return reconcile(); }),
      watch_(nodes_.watch([this](const std::set<ObjectKey>& changed) {
          for (const ObjectKey& key : changed) {
              if (nodes_.find(key) != nullptr) continue;
              if (const auto held = pool_.cidrs_of(key.name); !held.empty()) {
                  log().info("node is gone, its pod CIDRs are free",
                             {{"node-name", key.name}, {"cidrs", joined(held)}});
                  if (former_.size() >= kFormerLimit) former_.clear();
                  former_[key.name] = held;
              }
              pool_.release(key.name);
              reported_.erase(key.name);
          }
          controller_.trigger();
      })) {}

Task<Status> PodCidrController::reconcile() {
    // Before all nodes are known, a free block may be somebody's.
    if (!nodes_.initialized()) co_return Status{};
    Status outcome;
    std::uint64_t written = 0;
    std::vector<Decision> decisions = decide();
    const std::uint64_t unchanged = nodes_.size() - decisions.size();
    for (Decision& decision : decisions) {
        CO_AWAIT(auto wrote, write(decision));
        if (!wrote) {
            ++counters_.failed;
            log().warn("CiliumNode could not be updated; it will be tried again",
                       {{"node-name", decision.key.name}, wrote.error()});
            if (outcome) outcome = std::unexpected(std::move(wrote).error());
            continue;
        }
        if (*wrote) ++written;
        report(decision);
    }
    counters_.written += written;
    if (!started_) {
        started_ = true;
        counters_.unchanged_at_start = unchanged;
        log().info("first reconciliation: " + std::to_string(unchanged) + " unchanged, " + std::to_string(written) +
                       " written",
                   {{"nodes", nodes_.size()}});
    }
    co_return outcome;
}

// Of the nodes whose objects are not as they should be.
std::vector<PodCidrController::Decision> PodCidrController::decide() {
    struct Item {
        const ObjectKey* key;
        const OperatorNodeRow* row;
        bool newcomer;
    };
    std::vector<Item> order;
    for (const auto& [key, row] : nodes_.rows()) {
        const bool incumbent = !row.node.pod_cidrs.empty() && pool_.cidrs_of(key.name) == row.node.pod_cidrs;
        order.push_back({&key, &row, !incumbent});
    }
    std::ranges::stable_sort(order, {}, [](const Item& item) {
        const CiliumNode& node = item.row->node;
        return std::make_tuple(item.newcomer, node.pod_cidrs.empty(), !node.operator_error.empty(),
                               node.metadata.creation_timestamp, node.metadata.name);
    });

    // All claims before the first assignment: a free block must be free of every claim.
    std::map<ObjectKey, std::string> refused;
    for (const Item& item : order) {
        if (!item.newcomer || item.row->node.pod_cidrs.empty() || !item.row->parse_error.empty()) continue;
        if (auto claimed = pool_.claim(item.key->name, item.row->node.pod_cidrs); !claimed) {
            refused.emplace(*item.key, claimed.error().message);
        }
    }

    std::vector<Decision> decisions;
    for (const Item& item : order) {
        Decision decision{*item.key, *item.row, {}, item.row->parse_error, "CIDRAssignmentFailed"};
        if (const auto refusal = refused.find(*item.key); decision.error.empty() && refusal != refused.end())
            decision.error = refusal->second;
        if (decision.error.empty()) assign(decision);
        const CiliumNode& node = item.row->node;
        const bool same_cidrs = !decision.error.empty() || decision.cidrs == node.pod_cidrs;
        if (same_cidrs && decision.error == node.operator_error) {
            // Told before a restart.
            if (!decision.error.empty()) reported_[item.key->name] = decision.error;
            continue;
        }
        decisions.push_back(std::move(decision));
    }
    return decisions;
}

void PodCidrController::assign(Decision& decision) {
    const std::string& name = decision.key.name;
    if (const auto former = former_.find(name); former != former_.end()) {
        // Its pods may still have these addresses.
        if (decision.row.node.pod_cidrs.empty() && pool_.claim(name, former->second)) {
            log().info("node is back, it gets its former pod CIDRs", {{"node-name", name}});
        }
        former_.erase(former);
    }
    auto assigned = pool_.assign(name);
    if (assigned) {
        decision.cidrs = std::move(*assigned);
        return;
    }
    if (assigned.error().code == Code::kResourceExhausted) decision.reason = "CIDRNotAvailable";
    decision.error = assigned.error().message;
}

void PodCidrController::report(const Decision& decision) {
    std::string& reported = reported_[decision.key.name];
    if (decision.error.empty()) {
        reported.clear();
    } else if (reported != decision.error) {
        reported = decision.error;
        log().warn("node has no pod CIDR", {{"node-name", decision.key.name}, {"error", decision.error}});
        report_(decision.row.node, decision.reason, decision.error);
    }
}

Task<Result<bool>> PodCidrController::write(Decision decision) {
    // A node that starts writes its own object at the same time: no reason to make it wait for a retry.
    for (int attempt = 1;; ++attempt) {
        CO_AWAIT(auto wrote, write_once(decision));
        if (wrote || wrote.error().code != Code::kAborted || attempt == kWriteAttempts) co_return wrote;
    }
}

Task<Result<bool>> PodCidrController::write_once(const Decision& decision) {
    const bool has_cidrs = decision.error.empty();
    CO_AWAIT(auto current, store_.get(resources::kCiliumNode, decision.key));
    if (!current) {
        if (current.error().code == Code::kNotFound) co_return false;  // the watch will say so
        co_return forward_error(std::move(current).error());
    }
    bool wrote = false;
    if (auto node = CiliumNode::parse(*current)) {
        // Somebody else has changed it meanwhile: what was decided is about another version.
        if (has_cidrs && node->pod_cidrs != decision.row.node.pod_cidrs && node->pod_cidrs != decision.cidrs)
            co_return false;
        // A node that has gone meanwhile has given its block back.
        if (has_cidrs && pool_.cidrs_of(decision.key.name) != decision.cidrs) co_return false;
        if (has_cidrs && node->pod_cidrs != decision.cidrs) {
            node->pod_cidrs = decision.cidrs;
            CO_TRY_ASSIGN(*current, store_.update(resources::kCiliumNode, updated_json(*current, *node)));
            log().info("node has its pod CIDRs", {{"node-name", decision.key.name}, {"cidrs", joined(decision.cidrs)}});
            wrote = true;
        }
        if (node->operator_error == decision.error) co_return wrote;
    }
    // Written by hand into the document: it may be one that does not parse.
    Json before = {{"status", {{"ipam", {{"operator-status", {{"error", "x"}}}}}}}};
    Json after = before;
    if (decision.error.empty())
        after = Json::object();
    else
        after["status"]["ipam"]["operator-status"]["error"] = decision.error;
    if (!decision.error.empty()) before = Json::object();
    CO_TRY(store_.update_status(resources::kCiliumNode, merge_difference(std::move(*current), before, after)));
    co_return true;
}

}  // namespace axo
