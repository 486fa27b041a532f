#include "features/endpoint/publisher.h"

#include "io/resources.h"

namespace axo {

namespace {
// A write may cost an fsync; between two runs the loop serves everything else.
constexpr int kObjectsPerRun = 2;
}  // namespace

EndpointPublisher::EndpointPublisher(EventLoop& loop, ControllerRegistry& registry, ObjectStore& store,
                                     Table<EndpointId, EndpointRow>& table, IpAddress node_ip, FindPod find_pod)
    : store_(store),
      table_(table),
      node_ip_(node_ip),
      find_pod_(std::move(find_pod)),
      controller_(loop, registry, "sync-to-k8s-ciliumendpoint", [this] { return work(); }),
      watch_(table.watch([this](const std::set<EndpointId>& changed) { table_changed(changed); })) {}

void EndpointPublisher::touch(const ObjectKey& key) {
    dirty_.insert(key);
    controller_.trigger();
}

void EndpointPublisher::table_changed(const std::set<EndpointId>& changed) {
    for (const EndpointId id : changed) {
        const EndpointRow* row = table_.find(id);
        const bool pod = row != nullptr && row->kind == EndpointKind::kPod && !row->k8s_pod.empty();
        const ObjectKey key = pod ? ObjectKey{row->k8s_namespace, row->k8s_pod} : ObjectKey{};
        if (const auto old = pod_of_.find(id); old != pod_of_.end() && !(old->second == key)) {
            if (const auto owner = endpoint_of_.find(old->second); owner != endpoint_of_.end() && owner->second == id)
                endpoint_of_.erase(owner);
            touch(old->second);
            pod_of_.erase(old);
        }
        if (!pod) continue;
        // States on the way to ready are not for others.
        if (row->state != EndpointState::kReady && row->state != EndpointState::kDisconnecting) continue;
        pod_of_.insert_or_assign(id, key);
        endpoint_of_.insert_or_assign(key, id);
        touch(key);
    }
}

Status EndpointPublisher::work() {
    Status first;
    for (int i = 0; i < kObjectsPerRun && !dirty_.empty(); ++i) {
        const ObjectKey key = *dirty_.begin();
        dirty_.erase(dirty_.begin());
        if (auto done = sync(key); !done) {
            dirty_.insert(key);
            return forward_error(std::move(done).error().with_context("CiliumEndpoint " + key.to_string()));
        }
    }
    if (!dirty_.empty()) controller_.trigger();
    return {};
}

Status EndpointPublisher::sync(const ObjectKey& key) {
    const auto owner = endpoint_of_.find(key);
    const EndpointRow* row = owner == endpoint_of_.end() ? nullptr : table_.find(owner->second);
    const auto wanted = row == nullptr ? std::nullopt : published_endpoint(*row, find_pod_(key), node_ip_);

    auto json = store_.get(resources::kCiliumEndpoint, key);
    if (!json && json.error().code != Code::kNotFound) return forward_error(std::move(json).error());
    if (!wanted) {
        if (!json) return {};
        const auto existing = CiliumEndpoint::parse(*json);
        // Another node has the pod by now: its agent's object.
        if (existing && existing->node_ip && existing->node_ip != node_ip_) return {};
        return store_.remove(resources::kCiliumEndpoint, key);
    }
    if (!json) {
        auto created = store_.create(resources::kCiliumEndpoint, wanted->to_json());
        if (!created) return forward_error(std::move(created).error());
        return {};
    }
    const auto parsed = CiliumEndpoint::parse(*json);
    const CiliumEndpoint existing = parsed ? *parsed : CiliumEndpoint{};
    CiliumEndpoint next = *wanted;
    next.metadata = existing.metadata;
    next.metadata.name = key.name;
    next.metadata.name_space = key.name_space;
    next.metadata.labels = wanted->metadata.labels;
    if (!wanted->metadata.owner_references.empty()) next.metadata.owner_references = wanted->metadata.owner_references;
    if (parsed && next == existing) return {};
    Json current = *json;
    if (!parsed || !(next.metadata == existing.metadata)) {
        TRY_ASSIGN(current, store_.update(resources::kCiliumEndpoint, updated_json(current, next)));
    }
    auto updated = store_.update_status(resources::kCiliumEndpoint, updated_json(current, next));
    if (!updated) return forward_error(std::move(updated).error());
    return {};
}

}  // namespace axo
