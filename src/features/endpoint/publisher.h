// Tells the cluster of this node's pods: one CiliumEndpoint object per pod, made, kept right and removed.
//
// Never on the way of a CNI call: it follows the endpoints table, a few objects per loop turn. Objects of this
// node that no endpoint stands for (pods that went while the agent was down) are removed. Thread: the loop's only.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>

#include "base/log.h"
#include "features/endpoint/desired.h"
#include "features/endpoint/pods.h"
#include "io/object_store.h"
#include "runtime/controller.h"
#include "runtime/table.h"

namespace axo {

class EndpointPublisher {
public:
    using FindPod = std::function<Task<std::optional<PodLabels::Info>>(const ObjectKey& pod)>;
    EndpointPublisher(EventLoop& loop, ControllerRegistry& registry, ObjectStore& store,
                      Table<EndpointId, EndpointRow>& table, IpAddress node_ip, FindPod find_pod);

    // An object of the store says its pod is on this node; it has gone.
    void object_seen(const ObjectKey& key) { touch(key); }
    void object_gone(const ObjectKey& key) { touch(key); }

private:
    void touch(const ObjectKey& key);
    void table_changed(const std::set<EndpointId>& changed);
    Task<Status> work();
    Task<Status> sync(ObjectKey key);
    [[nodiscard]] std::optional<CiliumEndpoint> wanted(const ObjectKey& key, const PublishedPod& pod) const;

    ObjectStore& store_;
    Table<EndpointId, EndpointRow>& table_;
    IpAddress node_ip_;
    FindPod find_pod_;
    Logger log_{"endpoint-publisher"};
    std::map<EndpointId, ObjectKey> pod_of_;
    std::map<ObjectKey, EndpointId> endpoint_of_;
    std::set<ObjectKey> dirty_;
    Controller controller_;
    Table<EndpointId, EndpointRow>::Watch watch_;
};

}  // namespace axo
