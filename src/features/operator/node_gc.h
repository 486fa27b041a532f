// NodeGc: ties CiliumNodes to the cluster's Node objects, where there are any.
//
// A CiliumNode whose Node exists gets an owner reference to it; one whose owning Node has been gone for the
// grace time is removed. CiliumNodes that never had a Node (clusters without Node objects) stay, and so does
// whoever carries the annotation cilium.io/do-not-gc. Thread: the loop's only.
#pragma once

#include <map>
#include <set>

#include "features/operator/tables.h"
#include "runtime/controller.h"

namespace axo {

struct NodeGcConfig {
    Duration interval = std::chrono::minutes(5);  // 0: nothing is removed
    Duration grace = std::chrono::seconds(10);
};

class NodeGc {
public:
    NodeGc(EventLoop& loop, ControllerRegistry& registry, ObjectStore& store, OperatorTables& tables,
           NodeGcConfig config);

    Task<Status> collect();

private:
    Task<Status> adopt(ObjectKey key, std::string node_uid);

    EventLoop& loop_;
    ObjectStore& store_;
    OperatorTables& tables_;
    NodeGcConfig config_;
    std::map<ObjectKey, std::chrono::steady_clock::time_point> candidates_;
    std::set<ObjectKey> had_node_;  // their Node was seen by this process
    Controller controller_;
    EventLoop::Handle recheck_;
    OperatorNodeTable::Watch cilium_node_watch_;
    KubeNodeTable::Watch node_watch_;
};

}  // namespace axo
