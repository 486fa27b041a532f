#include "features/operator/pod_restarter.h"

#include "base/log.h"
#include "io/resources.h"

namespace axo {

PodRestarter::PodRestarter(EventLoop& loop, ControllerRegistry& registry, ObjectStore& store, OperatorTables& tables,
                           Duration interval)
    : store_(store),
      tables_(tables),
      interval_(interval),
      controller_(loop, registry, "restart-unmanaged-pods", [this] { return work(); }, interval) {}

Task<Status> PodRestarter::work() {
    if (interval_ <= Duration{0} || !tables_.pods.initialized() || !tables_.endpoints.initialized()) co_return Status{};
    // Endpoints that cannot be read are no reason to restart anything.
    if (tables_.unreadable_objects()) co_return Status{};
    const auto pod = unmanaged_.next(tables_.pods.rows(), tables_.endpoints.rows(), std::chrono::system_clock::now());
    if (!pod) co_return Status{};
    CO_TRY(store_.remove(resources::kPod, *pod));
    unmanaged_.restarted(*pod, std::chrono::system_clock::now());
    static const Logger log("unmanaged-pods");
    log.info("pod restarted: it has no CiliumEndpoint, so it started before its node's agent did",
             {{"pod", pod->to_string()}});
    co_return Status{};
}

}  // namespace axo
