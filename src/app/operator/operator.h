// Operator: candidacy for the lease, and the duties of whoever holds it.
//
// Without the lease it does nothing but wait; with it, it owns the duties (pod CIDRs, garbage collection)
// and drops them when the lease is lost. Thread: the loop's only.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "app/operator/config.h"
#include "app/operator/fenced_store.h"
#include "features/ipam/pod_cidr_controller.h"
#include "features/ipam/pod_pool_controller.h"
#include "features/operator/crds.h"
#include "features/operator/endpoint_gc.h"
#include "features/operator/identity_gc.h"
#include "features/operator/node_gc.h"
#include "features/operator/node_marker.h"
#include "features/operator/pod_restarter.h"
#include "features/operator/slice_writer.h"
#include "features/operator/unused_kinds.h"
#include "features/policy/validity.h"
#include "io/http.h"

namespace axo {

class Operator {
public:
    // candidate: unique among all candidates.
    Operator(EventLoop& loop, ObjectStore& store, const OperatorConfig& config, const std::string& candidate);
    ~Operator();
    Operator(const Operator&) = delete;
    Operator& operator=(const Operator&) = delete;

    // Gives up the duties, then the lease: so that a successor need not wait. Bounded.
    Task<Status> resign();

    [[nodiscard]] bool is_leader() const { return duties_ != nullptr; }
    // The duty's state while leading; nullptr otherwise, or when the IPAM mode has none.
    [[nodiscard]] const PodCidrController* pod_cidrs() const;

    // GET /healthz and /v1/healthz: 200 "ok"; /v1/status: leadership, controllers and counters.
    void handle(const HttpRequest& request, const std::shared_ptr<HttpResponder>& responder);
    // GET /metrics.
    void handle_metrics(const HttpRequest& request, const std::shared_ptr<HttpResponder>& responder) const;

private:
    struct Duties;
    [[nodiscard]] Json status() const;

    EventLoop& loop_;
    ObjectStore& store_;
    const OperatorConfig& config_;
    FencedStore fenced_;
    ControllerRegistry registry_;
    std::unique_ptr<Duties> duties_;
    std::unique_ptr<LeaderElection> election_;
};

}  // namespace axo
