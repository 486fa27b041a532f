#include "features/operator/endpoint_gc.h"

#include <algorithm>

#include "base/log.h"
#include "io/resources.h"

namespace axo {
namespace {

const Logger& log() {
    static const Logger logger("endpoint-gc");
    return logger;
}

}  // namespace

std::optional<std::string> orphan_reason(const ObjectKey& key, const OperatorEndpointRow& endpoint,
                                         const std::map<ObjectKey, OperatorPodRow>& pods,
                                         const std::map<ObjectKey, OperatorNodeRow>& nodes) {
    if (!endpoint.owner_pod.empty()) {
        const auto pod = pods.find({key.name_space, endpoint.owner_pod});
        if (pod == pods.end()) return "its Pod is gone";
        if (pod->second.finished) return "its Pod has finished";
    }
    if (endpoint.node_ip) {
        const bool known = std::ranges::any_of(nodes, [&](const auto& row) {
            // What cannot be read may be this endpoint's node.
            return !row.second.parse_error.empty() || row.second.node.has_address(endpoint.node_ip);
        });
        if (!known) return "its node " + endpoint.node_ip.to_string() + " is gone";
    }
    return std::nullopt;
}

EndpointGc::EndpointGc(EventLoop& loop, ControllerRegistry& registry, ObjectStore& store, OperatorTables& tables,
                       EndpointGcConfig config)
    : loop_(loop),
      store_(store),
      tables_(tables),
      config_(config),
      controller_(loop, registry, "to-k8s-ciliumendpoint-gc", [this] { return collect(); }, config_.interval) {
    if (config_.interval <= Duration{0}) return;
    // Pods and nodes that go away are acted upon at once; the interval catches the rest.
    pod_watch_ = tables_.pods.watch([this](const std::set<ObjectKey>& changed) {
        const bool ended = std::ranges::any_of(changed, [this](const ObjectKey& key) {
            const OperatorPodRow* row = tables_.pods.find(key);
            return row == nullptr || row->finished;
        });
        if (ended) controller_.trigger();
    });
    node_watch_ = tables_.cilium_nodes.watch([this](const std::set<ObjectKey>&) { controller_.trigger(); });
}

Task<Status> EndpointGc::collect() {
    if (!tables_.endpoints.initialized() || !tables_.pods.initialized() || !tables_.cilium_nodes.initialized())
        co_return Status{};
    const auto now = std::chrono::steady_clock::now();
    std::map<ObjectKey, Candidate> still;
    std::set<ObjectKey> sound;
    Status outcome;
    std::optional<Duration> next;
    std::vector<std::pair<ObjectKey, std::string>> orphans;
    for (const auto& [key, endpoint] : tables_.endpoints.rows()) {
        const auto reason = orphan_reason(key, endpoint, tables_.pods.rows(), tables_.cilium_nodes.rows());
        if (!reason) {
            sound.insert(key);
            continue;
        }
        if (sound_.contains(key))
            sound.insert(key);
        else if (tables_.unreadable_objects())
            continue;  // what it lacks may be what could not be read
        const auto known = candidates_.find(key);
        const bool same = known != candidates_.end() && known->second.uid == endpoint.uid;
        const Candidate candidate = same ? known->second : Candidate{endpoint.uid, now};
        still.emplace(key, candidate);
        const Duration left = config_.grace - (now - candidate.since);
        if (left <= Duration{0})
            orphans.emplace_back(key, *reason);
        else if (!next || left < *next)
            next = left;
    }
    candidates_ = std::move(still);
    sound_ = std::move(sound);
    for (const auto& [key, reason] : orphans) {
        // The store may have kept this pass waiting: a pod of the same name may be there again.
        const OperatorEndpointRow* row = tables_.endpoints.find(key);
        if (row == nullptr || !orphan_reason(key, *row, tables_.pods.rows(), tables_.cilium_nodes.rows())) continue;
        CO_AWAIT(const Status removed, store_.remove(resources::kCiliumEndpoint, key));
        if (!removed) {
            if (outcome) outcome = removed;
            continue;
        }
        candidates_.erase(key);
        log().info("orphaned CiliumEndpoint removed", {{"k8s-pod-name", key.to_string()}, {"reason", reason}});
    }
    if (next)
        recheck_ = loop_.after(*next, [this] { controller_.trigger(); });
    else
        recheck_.cancel();
    co_return outcome;
}

}  // namespace axo
