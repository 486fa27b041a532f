#include "features/ipcache/remote.h"

#include "io/resources.h"

namespace axo {

RemoteEndpoints::RemoteEndpoints(ObjectStore& store, Ipcache& ipcache, bool slices, Callbacks callbacks)
    : ipcache_(ipcache), callbacks_(std::move(callbacks)) {
    if (slices)
        watch_slices(store);
    else
        watch_endpoints(store);
}

void RemoteEndpoints::watch_endpoints(ObjectStore& store) {
    watch_ = watch_objects<CiliumEndpoint>(store, resources::kCiliumEndpoint,
                                           {.upserted =
                                                [this](const ObjectKey& key, const CiliumEndpoint& endpoint) {
                                                    upserted(key, CiliumEndpointSlice::endpoint_of(endpoint),
                                                             LabelSet::from_strings(endpoint.identity_labels));
                                                },
                                            .deleted = [this](const ObjectKey& key) { deleted(key); },
                                            .synced = callbacks_.synced,
                                            .verdicts = callbacks_.verdicts});
}

void RemoteEndpoints::watch_slices(ObjectStore& store) {
    watch_ = watch_objects<CiliumEndpointSlice>(
        store, resources::kCiliumEndpointSlice,
        {.upserted = [this](const ObjectKey& key,
                            const CiliumEndpointSlice& slice) { slice_upserted(key.name, slice); },
         .deleted = [this](const ObjectKey& key) { slice_deleted(key.name); },
         .synced = callbacks_.synced,
         .verdicts = callbacks_.verdicts});
}

// An endpoint that moves from one slice to another stands in both for a while, and is gone when it stands in none.
void RemoteEndpoints::slice_upserted(const std::string& name, const CiliumEndpointSlice& slice) {
    std::set<ObjectKey> before = std::exchange(endpoints_of_[name], {});
    for (const CiliumEndpointSlice::Endpoint& endpoint : slice.endpoints) {
        const ObjectKey key{slice.name_space, endpoint.name};
        before.erase(key);
        endpoints_of_[name].insert(key);
        slices_of_[key].insert(name);
        upserted(key, endpoint, {});
    }
    for (const ObjectKey& key : before) {
        std::set<std::string>& in = slices_of_[key];
        in.erase(name);
        if (!in.empty()) continue;
        slices_of_.erase(key);
        deleted(key);
    }
}

void RemoteEndpoints::slice_deleted(const std::string& name) {
    CiliumEndpointSlice empty;
    slice_upserted(name, empty);
    endpoints_of_.erase(name);
}

void RemoteEndpoints::upserted(const ObjectKey& key, const CiliumEndpointSlice::Endpoint& endpoint,
                               const LabelSet& labels) {
    const std::string claimant = "cep/" + key.to_string();
    callbacks_.endpoint(key, endpoint.identity, labels, endpoint.named_ports);
    if (callbacks_.is_local(endpoint.node_ip)) {
        own_.insert(key);
        ipcache_.withdraw(claimant);
        callbacks_.own_seen(key);
        return;
    }
    own_.erase(key);
    IpcacheRows rows;
    for (const EndpointAddressPair& pair : endpoint.addressing) {
        rows.merge(remote_endpoint_rows(ipcache_.settings(), {.k8s_namespace = key.name_space,
                                                              .name = key.name,
                                                              .identity = endpoint.identity,
                                                              .node_ip = endpoint.node_ip,
                                                              .ipv4 = pair.ipv4,
                                                              .ipv6 = pair.ipv6}));
    }
    ipcache_.claim(claimant, std::move(rows));
}

void RemoteEndpoints::deleted(const ObjectKey& key) {
    if (own_.erase(key) != 0) callbacks_.own_gone(key);
    ipcache_.withdraw("cep/" + key.to_string());
    callbacks_.endpoint(key, IdentityId{}, {}, {});
}

}  // namespace axo
