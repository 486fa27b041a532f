// Pods of other nodes: CiliumEndpoint objects -> claims in the ipcache. Thread: the loop's only.
#pragma once

#include <functional>
#include <memory>
#include <set>

#include "features/ipcache/module.h"
#include "io/object_watch.h"
#include "model/cilium_endpoint.h"

namespace axo {

class RemoteEndpoints {
public:
    struct Callbacks {
        std::function<bool(const IpAddress& node_ip)> is_local;
        std::function<void(const ObjectKey&)> own_seen, own_gone;  // objects of this node's pods
        // Who lives where in the cluster, this node included: called before the ipcache names the identity. 0: gone.
        std::function<void(const ObjectKey&, IdentityId, const LabelSet&, const std::vector<NamedPort>&)> endpoint;
        std::function<void()> synced;
        ObjectVerdicts verdicts;
    };
    RemoteEndpoints(ObjectStore& store, Ipcache& ipcache, Callbacks callbacks);

private:
    void upserted(const ObjectKey& key, const CiliumEndpoint& endpoint);
    void deleted(const ObjectKey& key);

    Ipcache& ipcache_;
    Callbacks callbacks_;
    std::set<ObjectKey> own_;
    std::unique_ptr<ObjectStore::Watch> watch_;
};

}  // namespace axo
