// What the store says of services: Services, their EndpointSlices or Endpoints, and the labels of this node.
//
// An object that cannot be used is refused as a whole and its previous version stays in force. Thread: the loop's only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "features/service/desired.h"
#include "io/object_store.h"
#include "io/object_watch.h"

namespace axo::service {

class ServiceSources {
public:
    struct Callbacks {
        std::function<void()> changed;  // the engine has something to compute
        std::function<void()> synced;   // every kind has been listed once, and told to the engine
        ObjectVerdicts verdicts;
    };
    // watch_nodes: the labels of this node are those of its Node object, and addresses of nodes those of all of them.
    ServiceSources(ObjectStore& store, EngineSettings settings, bool watch_nodes, ServiceEngine& engine,
                   Callbacks callbacks);
    ~ServiceSources();
    ServiceSources(const ServiceSources&) = delete;
    ServiceSources& operator=(const ServiceSources&) = delete;

    void start();
    void set_node(ServiceNode node);

private:
    void service(const ObjectKey& key, const Service& service);
    void slices(const ObjectKey& key, ServiceEngine::SliceKind kind, const std::string& service,
                std::vector<SliceData> data);
    void one_synced();

    ObjectStore& store_;
    EngineSettings settings_;
    bool watch_nodes_;
    ServiceEngine& engine_;
    Callbacks callbacks_;
    ServiceNode node_;
    std::map<ObjectKey, Service> node_dependent_;  // Services that look at the node's labels: few
    std::set<std::string> refused_;                // Services that define() refused, by where
    std::vector<std::unique_ptr<ObjectStore::Watch>> watches_;
    std::size_t unsynced_ = 0;
};

}  // namespace axo::service
