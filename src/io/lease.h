// Leader election by a Lease object (coordination.k8s.io/v1), as client-go does it.
//
// The holder renews renewTime; another candidate takes over when leaseDurationSeconds have passed,
// by its own monotonic clock, since it last saw the lease change. Thread: the loop's only.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "io/object_store.h"
#include "runtime/event_loop.h"

namespace axo {

struct LeaseConfig {
    ObjectKey lease{"kube-system", "cilium-operator-resource-lock"};
    std::string identity;  // unique per candidate
    Duration lease_duration = std::chrono::seconds(15);
    Duration renew_deadline = std::chrono::seconds(10);
    Duration retry_period = std::chrono::seconds(2);
};

class LeaderElection {
public:
    struct Callbacks {
        std::function<void()> started_leading;
        std::function<void()> stopped_leading;  // lost it; the process should give up what it does as leader
    };
    LeaderElection(EventLoop& loop, ObjectStore& store, LeaseConfig config, Callbacks callbacks);
    // Releases the lease when held, if the store answers at once; else see resign.
    ~LeaderElection();
    LeaderElection(const LeaderElection&) = delete;
    LeaderElection& operator=(const LeaderElection&) = delete;

    // Is no candidate any more; ends when the lease is released, so that a successor need not wait.
    Task<Status> resign();
    [[nodiscard]] bool is_leader() const;
    [[nodiscard]] std::string holder() const;  // "" when nobody is known to hold it

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace axo
