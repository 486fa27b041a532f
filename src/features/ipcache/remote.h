// Pods of other nodes: CiliumEndpoint or CiliumEndpointSlice objects -> claims in the ipcache. Thread: the loop's only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>

#include "features/ipcache/module.h"
#include "io/object_watch.h"
#include "model/cilium_endpoint_slice.h"

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
    // slices: from CiliumEndpointSlices, which the operator writes, instead of CiliumEndpoints.
    RemoteEndpoints(ObjectStore& store, Ipcache& ipcache, bool slices, Callbacks callbacks);

private:
    void watch_endpoints(ObjectStore& store);
    void watch_slices(ObjectStore& store);
    void slice_upserted(const std::string& name, const CiliumEndpointSlice& slice);
    void slice_deleted(const std::string& name);
    void upserted(const ObjectKey& key, const CiliumEndpointSlice::Endpoint& endpoint, const LabelSet& labels);
    void deleted(const ObjectKey& key);

    Ipcache& ipcache_;
    Callbacks callbacks_;
    std::set<ObjectKey> own_;
    std::map<ObjectKey, std::set<std::string>> slices_of_;     // in which slices an endpoint stands
    std::map<std::string, std::set<ObjectKey>> endpoints_of_;  // of a slice
    std::unique_ptr<ObjectStore::Watch> watch_;
};

}  // namespace axo
