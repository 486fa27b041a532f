#include "features/operator/tables.h"

#include <algorithm>

#include "base/log.h"
#include "features/operator/node_marks.h"
#include "io/resources.h"
#include "model/cilium_identity.h"

namespace axo {
namespace {

const Logger& log() {
    static const Logger logger("operator");
    return logger;
}

template <class Row>
ObjectStore::WatchHandler handler(Table<ObjectKey, Row>& table,
                                  std::function<void(const ObjectKey&, const Json&)> upserted) {
    return {.upserted = std::move(upserted),
            .deleted = [&table](const ObjectKey& key) { table.erase(key); },
            .synced = [&table] { table.mark_initialized(); },
            // The store logs it and keeps the previous version in force.
            .rejected = [](const std::string&, const Error&) {}};
}

JsonReader pod_owner(const JsonReader& object) {
    JsonReader found = object.at("metadata").at("no-owner");
    object.at("metadata").each("ownerReferences", [&found](const JsonReader& owner) {
        if (owner.string("kind") == "Pod") found = owner;
    });
    return found;
}

bool has_labels(const JsonReader& object, const std::map<std::string, std::string>& wanted) {
    const JsonReader labels = object.at("metadata").at("labels");
    return !wanted.empty() && std::ranges::all_of(wanted, [&](const auto& label) {
        return labels.has(label.first) && labels.string(label.first) == label.second;
    });
}

OperatorPodRow pod_row(const ObjectKey& key, const Json& json, const OperatorTablesSettings& settings) {
    const JsonReader object(json, "Pod");
    const JsonReader status = object.at("status");
    const std::string phase = status.string("phase");
    OperatorPodRow row;
    row.node_name = object.at("spec").string("nodeName");
    row.finished = phase == "Succeeded" || phase == "Failed";
    row.agent = key.name_space == settings.agent_namespace && has_labels(object, settings.agent_labels);
    if (row.agent) row.ready = is_ready_pod(object);
    row.restartable = has_labels(object, settings.restartable_labels);
    row.host_network = object.at("spec").boolean("hostNetwork");
    if (row.restartable && phase == "Running") {
        if (const auto since = parse_time(status.string("startTime"))) row.running_since = *since;
    }
    return row;
}

}  // namespace

Result<std::map<std::string, std::string>> parse_label_list(std::string_view text) {
    std::map<std::string, std::string> labels;
    while (!text.empty()) {
        const std::string_view word = text.substr(0, text.find(','));
        text.remove_prefix(std::min(word.size() + 1, text.size()));
        const std::size_t equals = word.find('=');
        if (equals == std::string_view::npos || equals == 0)
            return fail(Code::kInvalidArgument, "\"" + std::string(word) + "\"; accepted: KEY=VALUE[,KEY=VALUE…]");
        labels.emplace(word.substr(0, equals), word.substr(equals + 1));
    }
    return labels;
}

OperatorTables::OperatorTables(EventLoop& loop, ObjectStore& store, OperatorTablesSettings settings)
    : cilium_nodes(loop, "cilium-nodes"),
      nodes(loop, "nodes"),
      pods(loop, "pods"),
      endpoints(loop, "cilium-endpoints"),
      identities(loop, "cilium-identities"),
      store_(store),
      settings_(std::move(settings)) {
    const auto add = [&, this]<class Row>(const ResourceType& type, Table<ObjectKey, Row>& table,
                                          std::function<void(const ObjectKey&, const Json&)> upserted) {
        watches_.push_back(store.watch(type, handler(table, std::move(upserted))));
    };
    add(resources::kCiliumNode, cilium_nodes, [this](const ObjectKey& key, const Json& json) {
        auto node = CiliumNode::parse(json);
        if (node) {
            cilium_nodes.upsert(key, {std::move(*node), {}});
            return;
        }
        // It keeps its row: its pod CIDRs stay taken, and the reason goes to its status.
        log().warn("CiliumNode cannot be used; its previous version stays in force", {node.error()});
        const OperatorNodeRow* previous = cilium_nodes.find(key);
        OperatorNodeRow row = previous != nullptr ? *previous : OperatorNodeRow{};
        row.node.metadata.name = key.name;
        const JsonReader reader(json, "CiliumNode");
        row.node.operator_error = reader.at("status").at("ipam").at("operator-status").string("error");
        row.parse_error = node.error().message;
        cilium_nodes.upsert(key, std::move(row));
    });
    add(resources::kNode, nodes, [this](const ObjectKey& key, const Json& json) {
        const JsonReader object(json, "Node");
        nodes.upsert(key, {object.at("metadata").string("uid"), has_taint(object, settings_.taint_key),
                           has_cilium_is_up(object)});
    });
    add(resources::kPod, pods,
        [this](const ObjectKey& key, const Json& json) { pods.upsert(key, pod_row(key, json, settings_)); });
    add(resources::kCiliumEndpoint, endpoints, [this](const ObjectKey& key, const Json& json) {
        const JsonReader object(json, "CiliumEndpoint");
        const JsonReader status = object.at("status");
        const auto identity = status.at("identity").integer("id", 0, UINT32_MAX);
        endpoints.upsert(key, {object.at("metadata").string("uid"), static_cast<std::uint32_t>(identity),
                               pod_owner(object).string("name"), status.at("networking").address("node")});
    });
    add(resources::kCiliumIdentity, identities, [this](const ObjectKey& key, const Json& json) {
        const JsonReader object(json, "CiliumIdentity");
        identities.upsert(key, {object.at("metadata").at("annotations").string(CiliumIdentity::kHeartbeatAnnotation)});
    });
}

}  // namespace axo
