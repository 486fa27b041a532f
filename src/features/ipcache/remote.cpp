#include "features/ipcache/remote.h"

#include "io/resources.h"
#include "model/cilium_endpoint.h"

namespace axo {

RemoteEndpoints::RemoteEndpoints(ObjectStore& store, Ipcache& ipcache, Callbacks callbacks)
    : ipcache_(ipcache), callbacks_(std::move(callbacks)) {
    watch_ = watch_objects<CiliumEndpoint>(
        store, resources::kCiliumEndpoint,
        {.upserted = [this](const ObjectKey& key, const CiliumEndpoint& endpoint) { upserted(key, endpoint); },
         .deleted = [this](const ObjectKey& key) { deleted(key); },
         .synced = callbacks_.synced,
         .verdicts = callbacks_.verdicts});
}

void RemoteEndpoints::upserted(const ObjectKey& key, const CiliumEndpoint& endpoint) {
    const std::string claimant = "cep/" + key.to_string();
    callbacks_.endpoint(key, endpoint.identity, LabelSet::from_strings(endpoint.identity_labels), endpoint.named_ports);
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
