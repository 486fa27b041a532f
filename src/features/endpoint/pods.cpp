#include "features/endpoint/pods.h"

#include "io/resources.h"

namespace axo {

PodLabels::PodLabels(ObjectStore& store, std::string node_name, std::string cluster_name, LabelFilter filter,
                     ObjectVerdicts verdicts)
    : store_(store),
      node_name_(std::move(node_name)),
      cluster_name_(std::move(cluster_name)),
      filter_(std::move(filter)),
      verdicts_(std::move(verdicts)) {}

void PodLabels::start(Changed changed, std::function<void()> synced) {
    changed_ = std::move(changed);
    namespace_watch_ = watch_objects<Namespace>(store_, resources::kNamespace,
                                                {.upserted =
                                                     [this](const ObjectKey& key, Namespace object) {
                                                         const auto known = namespaces_.find(key.name);
                                                         const bool same =
                                                             known != namespaces_.end() && known->second &&
                                                             known->second->metadata.labels == object.metadata.labels;
                                                         namespaces_.insert_or_assign(key.name, std::move(object));
                                                         if (!same) namespace_changed(key.name);
                                                     },
                                                 .deleted =
                                                     [this](const ObjectKey& key) {
                                                         if (namespaces_.erase(key.name) != 0)
                                                             namespace_changed(key.name);
                                                     },
                                                 .synced =
                                                     [this] {
                                                         namespaces_synced_ = true;
                                                         for (const auto& [key, pod] : pods_) {
                                                             if (!namespaces_.contains(key.name_space)) changed_(key);
                                                         }
                                                     },
                                                 .verdicts = verdicts_});
    pod_watch_ = watch_objects<Pod>(store_, resources::kPod,
                                    {.upserted =
                                         [this](const ObjectKey& key, Pod pod) {
                                             if (!pod.node_name.empty() && pod.node_name != node_name_) {
                                                 if (pods_.erase(key) != 0) changed_(key);
                                                 return;
                                             }
                                             pods_.insert_or_assign(key, std::move(pod));
                                             changed_(key);
                                         },
                                     .deleted =
                                         [this](const ObjectKey& key) {
                                             if (pods_.erase(key) != 0) changed_(key);
                                         },
                                     .synced = std::move(synced),
                                     .verdicts = verdicts_},
                                    {.fields = {{"spec.nodeName", node_name_}}});
}

void PodLabels::namespace_changed(const std::string& name) {
    for (auto pod = pods_.lower_bound({name, ""}); pod != pods_.end() && pod->first.name_space == name; ++pod)
        changed_(pod->first);
}

std::optional<PodLabels::Info> PodLabels::find(const ObjectKey& key) const {
    const auto pod = pods_.find(key);
    if (pod == pods_.end()) return std::nullopt;
    const auto name_space = namespaces_.find(key.name_space);
    if (name_space == namespaces_.end() && !namespaces_synced_) return std::nullopt;
    return info_of(pod->second,
                   name_space == namespaces_.end() || !name_space->second ? nullptr : &*name_space->second);
}

std::optional<PodLabels::Objects> PodLabels::objects(const ObjectKey& key) const {
    const auto pod = pods_.find(key);
    if (pod == pods_.end()) return std::nullopt;
    const auto name_space = namespaces_.find(key.name_space);
    const bool known = name_space != namespaces_.end() && name_space->second;
    return Objects{&pod->second.metadata, known ? &name_space->second->metadata : nullptr};
}

Task<std::optional<PodLabels::Info>> PodLabels::fetch(ObjectKey key) {
    if (auto known = find(key)) return known;
    return ask(std::move(key));
}

Task<std::optional<PodLabels::Info>> PodLabels::ask(ObjectKey key) {
    if (!pods_.contains(key)) {
        CO_AWAIT(const auto json, store_.get(resources::kPod, key));
        if (!json) co_return std::nullopt;
        auto parsed = Pod::parse(*json);
        if (!parsed) co_return std::nullopt;     // the watch reports it
        pods_.emplace(key, std::move(*parsed));  // unless the watch was quicker
    }
    if (!namespaces_.contains(key.name_space) && !namespaces_synced_) {
        CO_AWAIT(const auto json, store_.get(resources::kNamespace, {"", key.name_space}));
        if (!json && json.error().code != Code::kNotFound) co_return std::nullopt;
        std::optional<Namespace> object;
        if (json) {
            if (auto parsed = Namespace::parse(*json)) object = std::move(*parsed);
        }
        namespaces_.emplace(key.name_space, std::move(object));
    }
    co_return find(key);
}

PodLabels::Info PodLabels::info_of(const Pod& pod, const Namespace* name_space) const {
    const LabelSet all = pod_labels(pod, name_space, cluster_name_);
    Info info;
    info.identity = filter_.filter(all);
    for (const Label& label : all) {
        if (!info.identity.contains(label)) info.other.insert(label);
    }
    info.published = {.uid = pod.metadata.uid,
                      .service_account = pod.service_account.empty() ? "default" : pod.service_account,
                      .ports = pod.ports};
    // On the node's own network the ports are the node's anyway.
    if (!pod.host_network && !pod.finished()) info.host_ports = pod.host_ports;
    return info;
}

}  // namespace axo
