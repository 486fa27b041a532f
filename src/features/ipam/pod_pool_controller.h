// PodPoolController: the operator's IPAM mode multi-pool.
//
// Watches CiliumPodIPPools and gives every CiliumNode the CIDRs that suffice for what it asks for
// (spec.ipam.pools.requested → allocated), and says in status.ipam.operator-status.error and by an event what it could
// not give. What nodes hold is claimed first, in the order of their age. CIDRs are only added to an object: its agent
// takes them away, which is how they become free. A pool that cannot be used (it overlaps another one) stays as it
// was, with an event. A CIDR that was handed out belongs to its node until the node's object was seen with it and
// later without it.
// Thread: the loop's only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "features/ipam/pod_pools.h"
#include "features/operator/types.h"
#include "io/object_watch.h"
#include "runtime/controller.h"

namespace axo {

class PodPoolController {
public:
    struct Settings {
        bool ipv4 = true, ipv6 = false;
        std::vector<PodIpPool> create;  // made when they are missing, never changed
    };
    // Tells the world about an object; reason: PoolRefused, CIDRNotAvailable, CIDRAssignmentFailed.
    using Report = std::function<void(const ResourceType& type, const ObjectMeta& object, const std::string& reason,
                                      const std::string& message)>;

    PodPoolController(EventLoop& loop, ControllerRegistry& registry, ObjectStore& store, OperatorNodeTable& nodes,
                      Settings settings, Report report);

    [[nodiscard]] const PodPools& pools() const { return pools_; }
    // Pools that cannot be used, and why.
    [[nodiscard]] const std::map<std::string, std::string>& refused() const { return refused_; }

private:
    // CIDRs that were handed out and have not been seen in the node's object.
    struct Pending {
        std::map<std::string, std::set<Prefix>> cidrs;  // by pool
        std::chrono::steady_clock::time_point since;
    };
    struct Decision {
        ObjectKey key;
        OperatorNodeRow row;
        std::map<std::string, std::vector<Prefix>> added;
        std::string error;
    };
    Task<Status> reconcile();
    Task<Status> create_pools();
    void use_pools();
    Task<Status> check_pending();
    std::vector<Decision> decide();
    [[nodiscard]] std::vector<PoolAllocation> held(const ObjectKey& key, const CiliumNode& node);
    Task<Status> write(Decision decision);
    Task<Result<bool>> write_once(const Decision& decision);
    void take_back(const Decision& decision);
    void report(const Decision& decision);

    EventLoop& loop_;
    ObjectStore& store_;
    OperatorNodeTable& nodes_;
    Settings settings_;
    Report report_;
    PodPools pools_;
    std::map<std::string, PodIpPool> wanted_;
    std::map<std::string, std::string> refused_;
    std::map<ObjectKey, Pending> pending_;
    std::map<std::string, std::string> reported_;  // node: error last reported
    bool created_ = false, pools_synced_ = false;
    Controller controller_;
    EventLoop::Handle recheck_;
    OperatorNodeTable::Watch node_watch_;
    std::unique_ptr<ObjectStore::Watch> pool_watch_;
};

}  // namespace axo
