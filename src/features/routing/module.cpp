#include "features/routing/module.h"

#include <linux/rtnetlink.h>

#include <algorithm>

#include "base/file.h"
#include "features/routing/own_routes.h"

namespace axo {
namespace {

// A pod that comes or goes is a burst of link changes; one look at the routes serves them all.
constexpr auto kSettle = std::chrono::milliseconds(100);
constexpr auto kPlanInterval = std::chrono::seconds(60);

const Logger& log() {
    static const Logger logger("routing");
    return logger;
}

bool in_our_place(const Route& route) {
    return route.table == RT_TABLE_MAIN && route.priority == 0;
}

bool marked_as_ours(const Route& route, IfIndex host_device, const std::set<Prefix>& direct) {
    if (!in_our_place(route) || route.protocol != RTPROT_KERNEL || route.type != RTN_UNICAST) return false;
    if (route.destination.address().is_link_local() || route.destination.address().is_multicast()) return false;
    if (host_device.value != 0 && route.link == host_device) return true;
    return route.gateway && direct.contains(route.destination);
}

WantedRoute to_wanted(const Route& route) {
    return {.gateway = route.gateway.value_or(IpAddress{}),
            .link = route.link,
            .source = route.source.value_or(IpAddress{}),
            .mtu = route.mtu,
            .link_scope = route.scope == RT_SCOPE_LINK};
}

Route to_route(const Prefix& destination, const WantedRoute& wanted) {
    Route route;
    route.destination = destination;
    if (wanted.gateway) route.gateway = wanted.gateway;
    route.link = wanted.link;
    if (wanted.source) route.source = wanted.source;
    route.mtu = wanted.mtu;
    route.protocol = RTPROT_KERNEL;
    route.scope = wanted.link_scope ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
    return route;
}

std::string describe(const Route& route) {
    return route.destination.to_string() + (route.gateway ? " via " + route.gateway->to_string() : "") + " dev " +
           route.link.to_string() + " proto " + std::to_string(route.protocol);
}

// What cannot be read is reported and forgotten: such routes then count as foreign and stay.
std::set<Prefix> read_remembered(const std::string& path) {
    std::set<Prefix> destinations;
    if (path.empty()) return destinations;
    const auto text = read_file(path);
    if (!text) {
        if (text.error().code != Code::kNotFound)
            log().warn("Routes of the previous run are not known", {{"path", path}, text.error()});
        return destinations;
    }
    const auto json = nlohmann::json::parse(*text, nullptr, false);
    const bool valid = json.is_object() && json.contains("direct-routes") && json["direct-routes"].is_array();
    if (!valid) {
        log().warn("Routes of the previous run are not known: not a JSON object with a list direct-routes",
                   {{"path", path}});
        return destinations;
    }
    for (const auto& item : json["direct-routes"]) {
        const auto prefix =
            item.is_string() ? Prefix::parse_cidr(item.get_ref<const std::string&>()) : fail(Code::kDataLoss, "");
        if (prefix && prefix->length() > 0) destinations.insert(*prefix);
    }
    return destinations;
}

RoutingNode to_routing_node(const NodeRow& row) {
    return {.name = row.name,
            .local = row.local,
            .pod_cidrs = row.pod_cidrs,
            .ipv4 = row.node_ip(Family::kIpv4),
            .ipv6 = row.node_ip(Family::kIpv6)};
}

}  // namespace

Result<std::unique_ptr<RoutingModule>> RoutingModule::start(EventLoop& loop, ControllerRegistry& registry,
                                                            Table<std::string, NodeRow>& nodes,
                                                            const RoutingSettings& settings,
                                                            const std::string& state_file) {
    TRY_ASSIGN(Netlink netlink, Netlink::open());
    TRY_ASSIGN(NetlinkMonitor monitor, NetlinkMonitor::open());
    return std::unique_ptr<RoutingModule>(new RoutingModule(loop, registry, nodes, settings, std::move(netlink),
                                                            std::move(monitor), state_file,
                                                            read_remembered(state_file)));
}

RoutingModule::RoutingModule(EventLoop& loop, ControllerRegistry& registry, Table<std::string, NodeRow>& nodes,
                             const RoutingSettings& settings, Netlink netlink, NetlinkMonitor monitor,
                             std::string state_file, std::set<Prefix> remembered)
    : loop_(loop),
      nodes_(nodes),
      settings_(settings),
      netlink_(std::move(netlink)),
      monitor_(std::move(monitor)),
      state_file_(std::move(state_file)),
      remembered_(std::move(remembered)) {
    reconciler_ = std::make_unique<RouteReconciler>(
        loop, registry, "routes",
        RouteReconciler::Operations{
            .list = [this] { return list(); },
            .put = [this](const Prefix& destination, const WantedRoute& wanted) { return put(destination, wanted); },
            .remove = [this](const Prefix& destination) { return remove(destination); },
            .describe = [](const Prefix& destination) { return "route " + destination.to_string(); },
            .committed = {}});
    planner_ =
        std::make_unique<Controller>(loop, registry, "route-planner", [this] { return recompute(); }, kPlanInterval);
    watch_ = nodes_.watch([this](const std::set<std::string>&) { planner_->trigger(); });
    readable_ = loop_.on_readable(monitor_.fd(), [this] {
        const auto changes = monitor_.drain();
        if (changes.links || changes.addresses || changes.routes) kernel_changed();
    });
}

void RoutingModule::set_settings(const RoutingSettings& settings) {
    if (settings == settings_) return;
    settings_ = settings;
    planner_->trigger();
}

Status RoutingModule::flush() {
    const auto planned = recompute();
    TRY(reconciler_->flush());
    return planned;
}

void RoutingModule::kernel_changed() {
    if (settle_) return;
    settle_ = loop_.after(kSettle, [this] {
        settle_ = {};
        planner_->trigger();
        reconciler_->resync();
    });
}

Status RoutingModule::recompute() {
    std::vector<RoutingNode> nodes;
    for (const auto& [name, row] : nodes_.rows()) nodes.push_back(to_routing_node(row));
    std::map<IpAddress, NextHop> next_hops;
    for (const IpAddress& address : addresses_to_look_up(settings_, nodes)) {
        NextHop hop;
        if (const auto found = netlink_.lookup(address); found) {
            hop = {.gateway = found->gateway.value_or(IpAddress{}),
                   .link = found->link,
                   .unicast = found->type == RTN_UNICAST};
        } else {
            hop.error = found.error().message;
        }
        next_hops.emplace(address, std::move(hop));
    }
    RoutingPlan plan = plan_routes(settings_, nodes, next_hops);
    for (const auto& [node, why] : plan.errors) {
        if (!plan_.errors.contains(node) || plan_.errors.at(node) != why)
            log().warn("No route to the pods of a node", {{"node", node}, {"error", why}});
    }
    for (const auto& [node, why] : plan.skipped) {
        if (!plan_.skipped.contains(node)) log().info("Node left to other routes", {{"node", node}, {"reason", why}});
    }
    plan_ = std::move(plan);
    TRY(remember(plan_.routes));
    reconciler_->set_desired(plan_.routes, nodes_.initialized());
    if (!plan_.errors.empty()) {
        const auto& first = plan_.errors.begin()->second;
        return fail(
            Code::kFailedPrecondition,
            first + (plan_.errors.size() > 1 ? " (and " + std::to_string(plan_.errors.size() - 1) + " more)" : ""));
    }
    return {};
}

// Written before a route is installed, so that there is never a route of ours that is not known as one.
Status RoutingModule::remember(const std::map<Prefix, WantedRoute>& routes) {
    std::set<Prefix> next;
    for (const auto& [destination, route] : routes) {
        if (route.link != settings_.host_device) next.insert(destination);
    }
    // What was wanted before stays known until it is seen to be gone.
    for (const Prefix& destination : remembered_) {
        if (!listed_ || ours_.contains(destination)) next.insert(destination);
    }
    if (next == remembered_) return {};
    remembered_ = std::move(next);
    if (state_file_.empty()) return {};
    nlohmann::json list = nlohmann::json::array();
    for (const Prefix& destination : remembered_) list.push_back(destination.to_string());
    return write_atomic(state_file_, nlohmann::json{{"direct-routes", std::move(list)}}.dump() + "\n");
}

bool RoutingModule::is_ours(const Route& route) const {
    return marked_as_ours(route, settings_.host_device, remembered_);
}

Result<std::map<Prefix, WantedRoute>> RoutingModule::list() {
    TRY_ASSIGN(const auto routes, netlink_.routes());
    listed_ = true;
    ours_.clear();
    foreign_.clear();
    std::map<Prefix, WantedRoute> actual;
    for (const Route& route : routes) {
        if (is_ours(route)) {
            ours_[route.destination].push_back(route);
            const WantedRoute found = to_wanted(route);
            const auto [entry, fresh] = actual.emplace(route.destination, found);
            // Of siblings the reconciler is shown one that is wrong, so that it puts things right.
            const auto wanted = plan_.routes.find(route.destination);
            if (!fresh && wanted != plan_.routes.end() && found != wanted->second) entry->second = found;
        } else if (in_our_place(route) && plan_.routes.contains(route.destination)) {
            foreign_.emplace(route.destination, describe(route));
        }
    }
    return actual;
}

Status RoutingModule::put(const Prefix& destination, const WantedRoute& wanted) {
    if (const auto foreign = foreign_.find(destination); foreign != foreign_.end()) {
        return fail(Code::kAlreadyExists, "a route that is not ours is in its place (" + foreign->second +
                                              "): remove that route, or take the range out of the pod CIDRs");
    }
    const Route route = to_route(destination, wanted);
    auto& present = ours_[destination];
    if (present.size() > 1) {
        for (const Route& sibling : std::exchange(present, {})) {
            if (to_wanted(sibling) != wanted) TRY(netlink_.remove_route(sibling));
        }
    }
    TRY(netlink_.put_route(route));
    present = {route};
    return {};
}

Status RoutingModule::remove(const Prefix& destination) {
    const auto found = ours_.find(destination);
    if (found == ours_.end()) return {};
    for (const Route& route : found->second) TRY(netlink_.remove_route(route));
    ours_.erase(found);
    return {};
}

Result<std::vector<Route>> list_own_routes(const std::string& state_file, IfIndex host_device) {
    TRY_ASSIGN(Netlink netlink, Netlink::open());
    TRY_ASSIGN(std::vector<Route> routes, netlink.routes());
    const std::set<Prefix> direct = read_remembered(state_file);
    std::erase_if(routes, [&](const Route& route) { return !marked_as_ours(route, host_device, direct); });
    return routes;
}

Status RoutingModule::remove_everything(const std::string& state_file, IfIndex host_device) {
    TRY_ASSIGN(const std::vector<Route> routes, list_own_routes(state_file, host_device));
    TRY_ASSIGN(Netlink netlink, Netlink::open());
    for (const Route& route : routes) TRY(netlink.remove_route(route));
    return state_file.empty() ? Status{} : remove_file(state_file);
}

}  // namespace axo
