// Pods that started before the agent did and so have no endpoint: cluster DNS above all. Restarting them gives them
// one. A pod is left alone for its first 30 seconds and for 5 minutes after it was restarted; one goes at a time, so
// that a service keeps some of its pods. Pure. Thread: any one at a time.
#pragma once

#include <chrono>
#include <map>
#include <optional>

#include "features/operator/types.h"
#include "model/time.h"

namespace axo {

class UnmanagedPods {
public:
    // The pod to restart now, if any.
    std::optional<ObjectKey> next(const std::map<ObjectKey, OperatorPodRow>& pods,
                                  const std::map<ObjectKey, OperatorEndpointRow>& endpoints, WallTime now);
    // That was done.
    void restarted(const ObjectKey& pod, WallTime now) { restarts_[pod] = now; }

private:
    std::map<ObjectKey, WallTime> restarts_;
};

}  // namespace axo
