#include "features/operator/node_marker.h"

#include <algorithm>

#include "base/log.h"
#include "io/resources.h"

namespace axo {
namespace {

const Logger& log() {
    static const Logger logger("node-marks");
    return logger;
}

constexpr int kWriteAttempts = 5;

}  // namespace

NodeMarker::NodeMarker(EventLoop& loop, ControllerRegistry& registry, ObjectStore& store, OperatorTables& tables,
                       NodeMarksSettings settings)
    : store_(store),
      tables_(tables),
      settings_(std::move(settings)),
      controller_(loop, registry, "mark-k8s-nodes-as-available", [this] { return work(); }) {
    pod_watch_ = tables_.pods.watch([this](const std::set<ObjectKey>& changed) {
        bool agents = false;
        for (const ObjectKey& key : changed) {
            const OperatorPodRow* pod = tables_.pods.find(key);
            const bool agent = pod != nullptr && pod->agent && !pod->finished && !pod->node_name.empty();
            if (const auto old = node_of_.find(key); old != node_of_.end()) {
                agents = true;
                agents_[old->second].erase(key);
                node_of_.erase(old);
            }
            if (!agent) continue;
            agents = true;
            agents_[pod->node_name][key] = pod->ready;
            node_of_.emplace(key, pod->node_name);
        }
        if (agents) controller_.trigger();
    });
    node_watch_ = tables_.nodes.watch([this](const std::set<ObjectKey>&) { controller_.trigger(); });
}

AgentState NodeMarker::agent_of(const std::string& node) const {
    const auto found = agents_.find(node);
    if (found == agents_.end() || found->second.empty()) return {};
    return {true, std::ranges::any_of(found->second, [](const auto& pod) { return pod.second; })};
}

Task<Status> NodeMarker::work() {
    if (!tables_.nodes.initialized() || !tables_.pods.initialized()) co_return Status{};
    std::vector<ObjectKey> wrong;
    for (const auto& [key, node] : tables_.nodes.rows()) {
        if (!node_marks(settings_, node, agent_of(key.name)).nothing()) wrong.push_back(key);
    }
    Status outcome;
    for (const ObjectKey& key : wrong) {
        Status done;
        for (int attempt = 0; attempt < kWriteAttempts; ++attempt) {
            // Kubelet writes the same object every few seconds.
            CO_AWAIT(done, mark(key));
            if (done || done.error().code != Code::kAborted) break;
        }
        if (!done && outcome) outcome = std::unexpected(std::move(done).error().with_context("Node " + key.name));
    }
    co_return outcome;
}

Task<Status> NodeMarker::mark(ObjectKey key) {
    CO_AWAIT(auto current, store_.get(resources::kNode, key));
    if (!current) co_return current.error().code == Code::kNotFound ? Status{} : forward_error(current.error());
    const JsonReader reader(*current, "Node");
    const KubeNodeRow now{
        .uid = {}, .agent_taint = has_taint(reader, settings_.taint_key), .cilium_is_up = has_cilium_is_up(reader)};
    const NodeMarks marks = node_marks(settings_, now, agent_of(key.name));
    Json node = std::move(*current);
    if (marks.set_condition) {
        CO_TRY_ASSIGN(node, store_.update_status(resources::kNode,
                                                 with_cilium_is_up(std::move(node), std::chrono::system_clock::now())));
        log().info("node has a network: NetworkUnavailable=False", {{"node-name", key.name}});
    }
    if (marks.remove_taint || marks.add_taint) {
        CO_TRY(store_.update(resources::kNode, with_taint(std::move(node), settings_.taint_key, marks.add_taint)));
        log().info(
            marks.add_taint ? "node tainted: its agent is not ready" : "taint removed: the node's agent is ready",
            {{"node-name", key.name}, {"taint", settings_.taint_key}});
    }
    co_return Status{};
}

}  // namespace axo
