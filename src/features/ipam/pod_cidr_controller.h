// PodCidrController: the operator's IPAM mode cluster-pool.
//
// Gives every CiliumNode a pod CIDR of each enabled family (spec.ipam.podCIDRs) and says in
// status.ipam.operator-status.error and by an event why one could not get it. What nodes hold counts first:
// nodes without an error before those with one, then the older, then by name, so a restart decides as
// before. Of two nodes that claim overlapping CIDRs the one that had it first keeps it; the other gets the
// error and is tried again whenever anything changes. A node that was removed and comes back gets what it had
// if that is still free. Objects that are as they should be are not written.
// Thread: the loop's only.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "features/ipam/cluster_pool.h"
#include "features/operator/types.h"
#include "runtime/controller.h"

namespace axo {

class PodCidrController {
public:
    // Tells the world about a node's new error; reason: CIDRNotAvailable (pool full) or CIDRAssignmentFailed.
    using Report = std::function<void(const CiliumNode& node, const std::string& reason, const std::string& message)>;

    PodCidrController(EventLoop& loop, ControllerRegistry& registry, ObjectStore& store, OperatorNodeTable& nodes,
                      ClusterPool pool, Report report);

    struct Counters {
        std::uint64_t unchanged_at_start = 0;
        std::uint64_t written = 0;
        std::uint64_t failed = 0;
    };
    [[nodiscard]] const Counters& counters() const { return counters_; }
    [[nodiscard]] const ClusterPool& pool() const { return pool_; }
    [[nodiscard]] bool started() const { return started_; }

private:
    // What one node is to be given, or told.
    struct Decision {
        ObjectKey key;
        OperatorNodeRow row;  // that it was made for
        std::vector<Prefix> cidrs;
        std::string error, reason;
    };
    Task<Status> reconcile();
    std::vector<Decision> decide();
    // Returns whether anything was written.
    Task<Result<bool>> write(Decision decision);
    Task<Result<bool>> write_once(const Decision& decision);
    void assign(Decision& decision);
    void report(const Decision& decision);

    ObjectStore& store_;
    OperatorNodeTable& nodes_;
    ClusterPool pool_;
    Report report_;
    std::map<std::string, std::string> reported_;        // node -> error last reported
    std::map<std::string, std::vector<Prefix>> former_;  // what nodes had that are gone
    Counters counters_;
    bool started_ = false;
    Controller controller_;
    OperatorNodeTable::Watch watch_;
};

}  // namespace axo
