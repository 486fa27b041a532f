// PodRestarter: restarts pods that have no endpoint, one at a time. Thread: the loop's only.
#pragma once

#include "features/operator/tables.h"
#include "features/operator/unmanaged_pods.h"
#include "runtime/controller.h"

namespace axo {

class PodRestarter {
public:
    // interval 0: never.
    PodRestarter(EventLoop& loop, ControllerRegistry& registry, ObjectStore& store, OperatorTables& tables,
                 Duration interval);

private:
    Task<Status> work();

    ObjectStore& store_;
    OperatorTables& tables_;
    Duration interval_;
    UnmanagedPods unmanaged_;
    Controller controller_;
};

}  // namespace axo
