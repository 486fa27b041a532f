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

Status PodCidrController::reconcile() {
    // Before all nodes are known, a free block may be somebody's.
    if (!nodes_.initialized()) return {};
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

    Status outcome;
    std::uint64_t unchanged = 0;
    std::uint64_t written = 0;
    for (const Item& item : order) {
        std::vector<Prefix> cidrs;
        std::string error = item.row->parse_error;
        std::string reason = "CIDRAssignmentFailed";
        if (const auto refusal = refused.find(*item.key); error.empty() && refusal != refused.end())
            error = refusal->second;
        if (error.empty()) {
            if (const auto former = former_.find(item.key->name); former != former_.end()) {
                // Its pods may still have these addresses.
                if (item.row->node.pod_cidrs.empty() && pool_.claim(item.key->name, former->second)) {
                    log().info("node is back, it gets its former pod CIDRs", {{"node-name", item.key->name}});
                }
                former_.erase(former);
            }
            auto assigned = pool_.assign(item.key->name);
            if (assigned) {
                cidrs = std::move(*assigned);
            } else {
                if (assigned.error().code == Code::kResourceExhausted) reason = "CIDRNotAvailable";
                error = assigned.error().message;
            }
        }
        const bool same_cidrs = !error.empty() || cidrs == item.row->node.pod_cidrs;
        if (same_cidrs && error == item.row->node.operator_error) {
            ++unchanged;
            // Told before a restart.
            if (!error.empty()) reported_[item.key->name] = error;
            continue;
        }
        auto wrote = write(*item.key, *item.row, error.empty() ? &cidrs : nullptr, error);
        if (!wrote) {
            ++counters_.failed;
            log().warn("CiliumNode could not be updated; it will be tried again",
                       {{"node-name", item.key->name}, wrote.error()});
            if (outcome) outcome = std::unexpected(std::move(wrote).error());
            continue;
        }
        if (*wrote) ++written;
        std::string& reported = reported_[item.key->name];
        if (error.empty()) {
            reported.clear();
        } else if (reported != error) {
            reported = error;
            log().warn("node has no pod CIDR", {{"node-name", item.key->name}, {"error", error}});
            report_(item.row->node, reason, error);
        }
    }
    counters_.written += written;
    if (!started_) {
        started_ = true;
        counters_.unchanged_at_start = unchanged;
        log().info("first reconciliation: " + std::to_string(unchanged) + " unchanged, " + std::to_string(written) +
                       " written",
                   {{"nodes", order.size()}});
    }
    return outcome;
}

Result<bool> PodCidrController::write(const ObjectKey& key, const OperatorNodeRow& row,
                                      const std::vector<Prefix>* cidrs, const std::string& error) {
    // A node that starts writes its own object at the same time: no reason to make it wait for a retry.
    for (int attempt = 1;; ++attempt) {
        auto wrote = write_once(key, row, cidrs, error);
        if (wrote || wrote.error().code != Code::kAborted || attempt == kWriteAttempts) return wrote;
    }
}

Result<bool> PodCidrController::write_once(const ObjectKey& key, const OperatorNodeRow& row,
                                           const std::vector<Prefix>* cidrs, const std::string& error) {
    auto current = store_.get(resources::kCiliumNode, key);
    if (!current) {
        if (current.error().code == Code::kNotFound) return false;  // the watch will say so
        return forward_error(std::move(current).error());
    }
    bool wrote = false;
    if (auto node = CiliumNode::parse(*current)) {
        // Somebody else has changed it meanwhile: what was decided is about another version.
        if (cidrs != nullptr && node->pod_cidrs != row.node.pod_cidrs && node->pod_cidrs != *cidrs) return false;
        if (cidrs != nullptr && node->pod_cidrs != *cidrs) {
            node->pod_cidrs = *cidrs;
            TRY_ASSIGN(*current, store_.update(resources::kCiliumNode, updated_json(*current, *node)));
            log().info("node has its pod CIDRs", {{"node-name", key.name}, {"cidrs", joined(*cidrs)}});
            wrote = true;
        }
        if (node->operator_error == error) return wrote;
    }
    // Written by hand into the document: it may be one that does not parse.
    Json before = {{"status", {{"ipam", {{"operator-status", {{"error", "x"}}}}}}}};
    Json after = before;
    if (error.empty())
        after = Json::object();
    else
        after["status"]["ipam"]["operator-status"]["error"] = error;
    if (!error.empty()) before = Json::object();
    TRY_ASSIGN([[maybe_unused]] const Json stored,
               store_.update_status(resources::kCiliumNode, merge_difference(std::move(*current), before, after)));
    return true;
}

}  // namespace axo
