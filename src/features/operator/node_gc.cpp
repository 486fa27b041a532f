#include "features/operator/node_gc.h"

#include "base/log.h"
#include "io/resources.h"

namespace axo {
namespace {

const Logger& log() {
    static const Logger logger("node-gc");
    return logger;
}

bool protected_from_gc(const CiliumNode& node) {
    const auto found = node.metadata.annotations.find(std::string(CiliumNode::kDoNotGcAnnotation));
    return found != node.metadata.annotations.end() && found->second != "false";
}

}  // namespace

NodeGc::NodeGc(EventLoop& loop, ControllerRegistry& registry, ObjectStore& store, OperatorTables& tables,
               NodeGcConfig config)
    : loop_(loop),
      store_(store),
      tables_(tables),
      config_(config),
      controller_(loop, registry, "cilium-node-gc", [this] { return collect(); }, config_.interval) {
    cilium_node_watch_ = tables_.cilium_nodes.watch([this](const std::set<ObjectKey>&) { controller_.trigger(); });
    node_watch_ = tables_.nodes.watch([this](const std::set<ObjectKey>&) { controller_.trigger(); });
}

Task<Status> NodeGc::collect() {
    if (!tables_.cilium_nodes.initialized() || !tables_.nodes.initialized()) co_return Status{};
    const auto now = std::chrono::steady_clock::now();
    std::map<ObjectKey, std::chrono::steady_clock::time_point> still;
    std::optional<Duration> next;
    std::vector<ObjectKey> gone;
    std::map<ObjectKey, std::string> orphans;  // and the uid of their Node
    for (const auto& [key, row] : tables_.cilium_nodes.rows()) {
        if (!row.parse_error.empty()) continue;
        const bool owned = row.node.metadata.owner_of_kind("Node") != nullptr;
        if (const KubeNodeRow* node = tables_.nodes.find(key)) {
            had_node_.insert(key);
            if (!owned) orphans.emplace(key, node->uid);
            continue;
        }
        if (!owned || config_.interval <= Duration{0} || protected_from_gc(row.node)) continue;
        if (tables_.unreadable_objects() && !had_node_.contains(key))
            continue;  // its Node may be what could not be read
        const auto known = candidates_.find(key);
        const auto since = known != candidates_.end() ? known->second : now;
        still.emplace(key, since);
        const Duration left = config_.grace - (now - since);
        if (left <= Duration{0})
            gone.push_back(key);
        else if (!next || left < *next)
            next = left;
    }
    candidates_ = std::move(still);
    if (next)
        recheck_ = loop_.after(*next, [this] { controller_.trigger(); });
    else
        recheck_.cancel();
    Status outcome;
    for (const auto& [key, uid] : orphans) {
        CO_AWAIT(Status adopted, adopt(key, uid));
        if (!adopted && outcome) outcome = std::move(adopted);
    }
    for (const ObjectKey& key : gone) {
        if (tables_.nodes.find(key) != nullptr) continue;  // back meanwhile
        CO_AWAIT(Status removed, store_.remove(resources::kCiliumNode, key));
        if (!removed) {
            if (outcome) outcome = std::move(removed);
            continue;
        }
        candidates_.erase(key);
        had_node_.erase(key);
        log().info("CiliumNode removed: its Node is gone", {{"node-name", key.name}});
    }
    co_return outcome;
}

Task<Status> NodeGc::adopt(ObjectKey key, std::string node_uid) {
    CO_AWAIT(const auto current, store_.get(resources::kCiliumNode, key));
    if (!current) co_return current.error().code == Code::kNotFound ? Status{} : forward_error(current.error());
    CO_TRY_ASSIGN(CiliumNode object, CiliumNode::parse(*current));
    if (object.metadata.owner_of_kind("Node") != nullptr) co_return Status{};
    object.metadata.owner_references.push_back({"v1", "Node", key.name, std::move(node_uid)});
    CO_AWAIT(auto updated, store_.update(resources::kCiliumNode, updated_json(*current, object)));
    if (!updated) co_return std::unexpected(std::move(updated).error().with_context("CiliumNode " + key.name));
    log().info("CiliumNode belongs to its Node from now on", {{"node-name", key.name}});
    co_return Status{};
}

}  // namespace axo
