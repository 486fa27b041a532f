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

Task<Status> EndpointPublisher::work() {
    for (int i = 0; i < kObjectsPerRun && !dirty_.empty(); ++i) {
        const ObjectKey key = *dirty_.begin();
        dirty_.erase(dirty_.begin());
        CO_AWAIT(Status done, sync(key));
        if (!done) {
            dirty_.insert(key);
            co_return forward_error(std::move(done).error().with_context("CiliumEndpoint " + key.to_string()));
        }
    }
    if (!dirty_.empty()) controller_.trigger();
    co_return Status{};
}

// The endpoint as it is once the store has answered: it may have changed or gone meanwhile.
std::optional<CiliumEndpoint> EndpointPublisher::wanted(const ObjectKey& key, const PublishedPod& pod) const {
    const auto owner = endpoint_of_.find(key);
    const EndpointRow* row = owner == endpoint_of_.end() ? nullptr : table_.find(owner->second);
    if (row == nullptr) return std::nullopt;
    return published_endpoint(*row, pod, node_ip_);
}

Task<Status> EndpointPublisher::sync(ObjectKey key) {
    PublishedPod pod;
    if (endpoint_of_.contains(key)) {
        CO_AWAIT(auto info, find_pod_(key));
        if (info) pod = std::move(info->published);
    }
    CO_AWAIT(auto json, store_.get(resources::kCiliumEndpoint, key));
    if (!json && json.error().code != Code::kNotFound) co_return forward_error(std::move(json).error());
    const auto object = wanted(key, pod);
    if (!object) {
        if (!json) co_return Status{};
        const auto existing = CiliumEndpoint::parse(*json);
        // Another node has the pod by now: its agent's object.
        if (existing && existing->node_ip && existing->node_ip != node_ip_) co_return Status{};
        CO_TRY(store_.remove(resources::kCiliumEndpoint, key));
        co_return Status{};
    }
    if (!json) {
        CO_TRY(store_.create(resources::kCiliumEndpoint, object->to_json()));
        co_return Status{};
    }
    const auto parsed = CiliumEndpoint::parse(*json);
    const CiliumEndpoint existing = parsed ? *parsed : CiliumEndpoint{};
    CiliumEndpoint next = *object;
    next.metadata = existing.metadata;
    next.metadata.name = key.name;
    next.metadata.name_space = key.name_space;
    next.metadata.labels = object->metadata.labels;
    if (!object->metadata.owner_references.empty()) next.metadata.owner_references = object->metadata.owner_references;
    if (parsed && next == existing) co_return Status{};
    Json current = *json;
    if (!parsed || !(next.metadata == existing.metadata)) {
        CO_TRY_ASSIGN(current, store_.update(resources::kCiliumEndpoint, updated_json(current, next)));
    }
    CO_TRY(store_.update_status(resources::kCiliumEndpoint, updated_json(current, next)));
    co_return Status{};
}

}  // namespace axo
