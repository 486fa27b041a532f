#include "features/operator/tables.h"

#include "base/log.h"
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

}  // namespace

OperatorTables::OperatorTables(EventLoop& loop, ObjectStore& store)
    : cilium_nodes(loop, "cilium-nodes"),
      nodes(loop, "nodes"),
      pods(loop, "pods"),
      endpoints(loop, "cilium-endpoints"),
      identities(loop, "cilium-identities"),
      store_(store) {
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
        nodes.upsert(key, {object.at("metadata").string("uid")});
    });
    add(resources::kPod, pods, [this](const ObjectKey& key, const Json& json) {
        const JsonReader object(json, "Pod");
        const std::string phase = object.at("status").string("phase");
        pods.upsert(key, {object.at("spec").string("nodeName"), phase == "Succeeded" || phase == "Failed"});
    });
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
