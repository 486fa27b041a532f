// Labels of this node's pods, from the Pod and Namespace objects of the store.
// Thread: the loop's only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "features/endpoint/desired.h"
#include "io/object_watch.h"
#include "model/label_filter.h"
#include "model/pod.h"

namespace axo {

class PodLabels {
public:
    struct Info {
        LabelSet identity;  // after the label filter
        LabelSet other;
        PublishedPod published;
        std::vector<PodHostPort> host_ports{};
        friend bool operator==(const Info& a, const Info& b) {
            return a.identity == b.identity && a.other == b.other && a.published.uid == b.published.uid &&
                   a.published.service_account == b.published.service_account &&
                   a.published.ports == b.published.ports && a.host_ports == b.host_ports;
        }
    };
    using Changed = std::function<void(const ObjectKey& pod)>;

    PodLabels(ObjectStore& store, std::string node_name, std::string cluster_name, LabelFilter filter,
              ObjectVerdicts verdicts);
    // changed is called for every pod whose labels may have changed, also when it went; synced once all are known.
    void start(Changed changed, std::function<void()> synced = [] {});
    // What has been heard of the pod and of its namespace; nothing as long as one of the two is missing.
    [[nodiscard]] std::optional<Info> find(const ObjectKey& pod) const;
    // Asks the store itself when the watch has not brought the pod yet: a pod's object is often milliseconds
    // old when its CNI ADD arrives. Nothing: there is no such object, or the store cannot be asked.
    Task<std::optional<Info>> fetch(ObjectKey pod);
    // The objects themselves, of a pod that find() knows. name_space: nullptr when there is no such object.
    struct Objects {
        const ObjectMeta* pod = nullptr;
        const ObjectMeta* name_space = nullptr;
    };
    [[nodiscard]] std::optional<Objects> objects(const ObjectKey& pod) const;

private:
    void namespace_changed(const std::string& name);
    Task<std::optional<Info>> ask(ObjectKey pod);
    [[nodiscard]] Info info_of(const Pod& pod, const Namespace* name_space) const;

    ObjectStore& store_;
    std::string node_name_;
    std::string cluster_name_;
    LabelFilter filter_;
    ObjectVerdicts verdicts_;
    Changed changed_;
    std::map<ObjectKey, Pod> pods_;                               // of this node, or of no node yet
    std::map<std::string, std::optional<Namespace>> namespaces_;  // nothing: the store has none of that name
    bool namespaces_synced_ = false;
    std::unique_ptr<ObjectStore::Watch> pod_watch_, namespace_watch_;
};

}  // namespace axo
