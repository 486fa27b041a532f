// Keeps the routes to pods equal to what the nodes table asks for, also when somebody else removes them.
//
// A route is ours when it is in the main table with protocol kernel and the default metric (as Cilium marks its
// routes) and either leads to cilium_host or has a gateway and a destination that this module has wanted at some time;
// the latter are remembered in a state file, so that a node that went while the agent was down is cleaned up after.
// Everything else is foreign: it is never changed, and where it stands in the way the error says so.
// Thread: the loop's only.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>

#include "features/node/types.h"
#include "features/routing/desired.h"
#include "features/routing/types.h"
#include "kernel/netlink.h"
#include "runtime/controller.h"
#include "runtime/event_loop.h"
#include "runtime/reconciler.h"
#include "runtime/table.h"

namespace axo {

class RoutingModule {
public:
    // In the calling thread's network namespace. state_file: JSON, "<state dir>/routes.json"; "": nothing is
    // remembered.
    static Result<std::unique_ptr<RoutingModule>> start(EventLoop& loop, ControllerRegistry& registry,
                                                        Table<std::string, NodeRow>& nodes,
                                                        const RoutingSettings& settings, const std::string& state_file);
    // Removes all routes that are ours; for uninstall.
    static Status remove_everything(const std::string& state_file, IfIndex host_device);
    RoutingModule(const RoutingModule&) = delete;
    RoutingModule& operator=(const RoutingModule&) = delete;

    // E.g. after cilium_host was made again, or the MTU changed.
    void set_settings(const RoutingSettings& settings);
    // Computes and applies now instead of on the next turn.
    Status flush();

    using RouteReconciler = Reconciler<Prefix, WantedRoute>;
    [[nodiscard]] const RouteReconciler& reconciler() const { return *reconciler_; }
    // By node name; see RoutingPlan.
    [[nodiscard]] const std::map<std::string, std::string>& node_errors() const { return plan_.errors; }
    [[nodiscard]] const std::map<std::string, std::string>& skipped_nodes() const { return plan_.skipped; }

private:
    RoutingModule(EventLoop& loop, ControllerRegistry& registry, Table<std::string, NodeRow>& nodes,
                  const RoutingSettings& settings, Netlink netlink, NetlinkMonitor monitor, std::string state_file,
                  std::set<Prefix> remembered);

    Status recompute();
    Status remember(const std::map<Prefix, WantedRoute>& routes);
    void kernel_changed();

    [[nodiscard]] bool is_ours(const Route& route) const;
    Result<std::map<Prefix, WantedRoute>> list();
    Status put(const Prefix& destination, const WantedRoute& wanted);
    Status remove(const Prefix& destination);

    EventLoop& loop_;
    Table<std::string, NodeRow>& nodes_;
    RoutingSettings settings_;
    Netlink netlink_;
    NetlinkMonitor monitor_;
    std::string state_file_;
    std::set<Prefix> remembered_;  // destinations of direct routes that were ever wanted and may still be there
    bool listed_ = false;
    RoutingPlan plan_;
    std::map<Prefix, std::vector<Route>> ours_;  // as last read or written; more than one: IPv6 siblings
    std::map<Prefix, std::string> foreign_;      // routes of others where ours would go
    std::unique_ptr<RouteReconciler> reconciler_;
    std::unique_ptr<Controller> planner_;
    Table<std::string, NodeRow>::Watch watch_;
    EventLoop::Handle readable_;
    EventLoop::Handle settle_;
};

}  // namespace axo
