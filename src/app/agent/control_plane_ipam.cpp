// The agent's side of address management: where pod CIDRs come from, and which pool a pod's address is of.
#include "app/agent/control_plane.h"
#include "features/ipam/pod_pools.h"
#include "features/ipam/pool_choice.h"
#include "io/resources.h"
#include "model/node.h"

namespace axo {

AddressPool ControlPlane::make_address_pool() {
    return AddressPool(
        loop_,
        {.default_pool = config_.ipam == "multi-pool" ? config_.default_pool : "default",
         .pools = {.on_demand = config_.ipam == "multi-pool",
                   .pre_allocate =
                       config_.ipam == "multi-pool" ? config_.pre_allocate : decltype(config_.pre_allocate){},
                   .ipv4 = config_.ipv4,
                   .ipv6 = config_.ipv6}},
        {.choose = [this](Family family, std::string owner) { return choose_pool_of(family, std::move(owner)); },
         .changed =
             [this] {
                 if (nodes_) publish_node();
             },
         .refusal = [this](const std::string& pool) { return pool_refusal_of(pool); }});
}

// This node's labels and, with ipam=kubernetes, its pod CIDRs, which this agent copies into its CiliumNode.
void ControlPlane::watch_kubernetes_node() {
    if (config_.annotate_node)
        annotator_ = std::make_unique<NodeAnnotator>(loop_, controllers_, *store_, config_.node_name);
    kubernetes_node_watch_ =
        watch_objects<Node>(*store_, resources::kNode,
                            {.upserted =
                                 [this](const ObjectKey& key, const Node& node) {
                                     if (key.name != config_.node_name) return;
                                     if (config_.ipam == "kubernetes") {
                                         const std::string where = "Node " + key.name + " pod CIDRs";
                                         if (auto cidrs = kubernetes_pod_cidrs(node)) {
                                             rejections_.accept(where);
                                             local_node_.pod_cidrs = std::move(*cidrs);
                                         } else {
                                             rejections_.reject(where, cidrs.error());
                                         }
                                     }
                                     if (annotator_) annotator_->seen(node.metadata.annotations);
                                     set_node_labels(LabelSet::from_map(node.metadata.labels, label_source::kK8s));
                                     publish_node();
                                 },
                             .deleted =
                                 [this](const ObjectKey& key) {
                                     if (key.name != config_.node_name) return;
                                     if (annotator_) annotator_->seen(std::nullopt);
                                     set_node_labels(std::nullopt);
                                     publish_node();
                                 },
                             .verdicts = rejections_.verdicts()},
                            {.fields = {{"metadata.name", config_.node_name}}});
}

void ControlPlane::annotate_node() {
    if (annotator_ && datapath_ && nodes_->own()) annotator_->set_wanted(kubernetes_annotations(*nodes_->own()));
}

// Pools choose pods by selectors.
void ControlPlane::watch_ip_pools() {
    if (config_.ipam != "multi-pool") return;
    ip_pool_watch_ = watch_objects<PodIpPool>(
        *store_, resources::kCiliumPodIpPool,
        {.upserted =
             [this](const ObjectKey& key, PodIpPool pool) {
                 const auto skip = pool.metadata.annotations.find(std::string(kSkipMasqueradeAnnotation));
                 if (skip != pool.metadata.annotations.end() && skip->second == "true") {
                     log_.warn("Annotation has no effect in this version: the pool's pods are masqueraded like others",
                               {{"pool", key.name}, {"annotation", skip->first}});
                 }
                 ip_pools_.insert_or_assign(key.name, std::move(pool));
             },
         .deleted = [this](const ObjectKey& key) { ip_pools_.erase(key.name); },
         .verdicts = rejections_.verdicts()});
}

Task<Result<std::string>> ControlPlane::choose_pool_of(Family family, std::string owner) {
    const std::size_t slash = owner.find('/');
    if (config_.ipam != "multi-pool" || slash == std::string::npos) co_return pool_.default_pool();
    const ObjectKey pod{owner.substr(0, slash), owner.substr(slash + 1)};
    CO_AWAIT(const auto info, pods_->fetch(pod));
    const auto objects = info ? pods_->objects(pod) : std::nullopt;
    if (!objects) {
        // A directory need not hold Pods; an API server does.
        if (!config_.object_store.starts_with("kubernetes:")) co_return pool_.default_pool();
        co_return fail(Code::kUnavailable, "no address for " + owner + ": its Pod object is not known (yet)");
    }
    co_return choose_pool(family, *objects->pod, objects->name_space, ip_pools_, pool_.default_pool());
}

// Only what the operator said of what this node asks for now.
std::string ControlPlane::pool_refusal_of(const std::string& pool) const {
    if (!nodes_ || !nodes_->own()) return {};
    const CiliumNode& own = *nodes_->own();
    const bool asked = std::ranges::any_of(own.pools_requested, [&](const PoolRequest& request) {
        return request.pool == pool && request.ipv4 >= pool_.pools().needed(pool, Family::kIpv4) &&
               request.ipv6 >= pool_.pools().needed(pool, Family::kIpv6);
    });
    return asked ? pool_refusal(own.operator_error, pool) : std::string();
}

std::optional<LocalNode::Pools> ControlPlane::wanted_pools() const {
    if (config_.ipam != "multi-pool") return std::nullopt;
    LocalNode::Pools pools{pool_.pools().requested(), pool_.given_back(), pool_.pools().allocated()};
    take_away(pools.held, pools.given_back);
    return pools;
}

// What the store says that this node has. Nothing is set up under a name that may be another agent's.
std::vector<PoolAllocation> ControlPlane::told_pools() const {
    if (!nodes_->established() || !nodes_->own()) return {};
    const CiliumNode& own = *nodes_->own();
    if (config_.ipam == "multi-pool") return own.pools_allocated;
    if (own.pod_cidrs.empty()) return {};
    return {{pool_.default_pool(), own.pod_cidrs}};
}

bool ControlPlane::complete(const std::vector<PoolAllocation>& pools) const {
    const auto has = [&](Family family) {
        return std::ranges::any_of(pools, [&](const PoolAllocation& pool) {
            return pool.pool == pool_.default_pool() &&
                   std::ranges::any_of(pool.cidrs, [&](const Prefix& cidr) { return cidr.family() == family; });
        });
    };
    return (!config_.ipv4 || has(Family::kIpv4)) && (!config_.ipv6 || has(Family::kIpv6));
}

void ControlPlane::remember_pools(const std::vector<PoolAllocation>& pools) {
    node_state_.pod_cidrs.clear();
    for (const PoolAllocation& pool : pools)
        node_state_.pod_cidrs.insert(node_state_.pod_cidrs.end(), pool.cidrs.begin(), pool.cidrs.end());
    node_state_.pools = config_.ipam == "multi-pool" ? pools : std::vector<PoolAllocation>{};
}

void ControlPlane::pools_changed(const std::vector<PoolAllocation>& pools) {
    const std::string where = "CiliumNode " + config_.node_name + " spec.ipam";
    // Also when nothing is new: who waits for an address looks at what the operator says.
    if (auto changed = pool_.set_allocated(pools); !changed) return rejections_.reject(where, changed.error());
    rejections_.accept(where);
    const std::vector<Prefix> before = node_state_.pod_cidrs;
    remember_pools(pools);
    if (node_state_.pod_cidrs == before) return;
    log_.info("Pod CIDRs of this node changed", {{"count", node_state_.pod_cidrs.size()}});
    write_node_state();
    update_nat_rules();
}

std::string ControlPlane::waiting_for_cidrs() const {
    const std::string node = config_.node_name;
    if (config_.ipam == "kubernetes") {
        return "pod CIDRs: Node " + node +
               " has no spec.podCIDRs of every enabled family yet (kube-controller-manager "
               "writes them with --allocate-node-cidrs)";
    }
    std::string waiting =
        config_.ipam == "multi-pool"
            ? "pod CIDRs: the operator has not handed out CIDRs of CiliumPodIPPool " + pool_.default_pool() +
                  " to CiliumNode " + node + " yet"
            : "pod CIDRs: the operator has not written spec.ipam.podCIDRs of CiliumNode " + node + " yet";
    if (nodes_->own() && !nodes_->own()->operator_error.empty())
        waiting += "; it says: " + nodes_->own()->operator_error;
    return waiting;
}

void ControlPlane::run_datapath_when_possible() {
    const std::vector<PoolAllocation> told = told_pools();
    if (datapath_) {
        if (complete(told)) pools_changed(told);
        return;
    }
    // After a restart what was true before does: nobody waits for a store that is slow or gone.
    std::vector<PoolAllocation> before = node_state_.pools;
    if (config_.ipam != "multi-pool" && !node_state_.pod_cidrs.empty())
        before = {{pool_.default_pool(), node_state_.pod_cidrs}};
    const std::vector<PoolAllocation>& pools = complete(told) ? told : before;
    if (!complete(pools)) {
        const std::string waiting = waiting_for_cidrs();
        if (waiting != waiting_for_) log_.info("Waiting for " + waiting);
        waiting_for_ = waiting;
        return;
    }
    if (auto done = run_datapath(pools); !done) fatal_(done.error());
}

Status ControlPlane::reserve_own_addresses() {
    // The device knows best what other nodes and pods use now.
    const auto device = netlink_->link("cilium_host");
    if (device) {
        if (const auto addresses = netlink_->addresses()) {
            for (const InterfaceAddress& address : *addresses) {
                if (address.link != device->index || address.address.is_link_local()) continue;
                (address.address.is_v4() ? node_state_.router_ipv4 : node_state_.router_ipv6) = address.address;
            }
        }
    }
    const CiliumNode* own = nodes_->own() ? &*nodes_->own() : nullptr;
    const auto reserve = [&](Family family, IpAddress& ip, const IpAddress& configured, const IpAddress& published,
                             const char* owner) -> Status {
        if (configured) {
            // local-router-ipv4/6 may lie outside the pod CIDRs.
            (void)pool_.allocate_address(configured, owner);
            ip = configured;
            return {};
        }
        TRY_ASSIGN(ip, pool_.reserve(family, ip ? ip : published, owner));
        return {};
    };
    const bool health = config_.health_checking && config_.endpoint_health_checking;
    if (config_.ipv4) {
        TRY(reserve(Family::kIpv4, node_state_.router_ipv4, config_.router_ipv4,
                    own ? own->address(node_address::kCiliumInternalIp, Family::kIpv4) : IpAddress{}, "router"));
        if (health)
            TRY(reserve(Family::kIpv4, node_state_.health_ipv4, {}, own ? own->health_ipv4 : IpAddress{}, "health"));
    }
    if (config_.ipv6) {
        TRY(reserve(Family::kIpv6, node_state_.router_ipv6, config_.router_ipv6,
                    own ? own->address(node_address::kCiliumInternalIp, Family::kIpv6) : IpAddress{}, "router"));
        if (health)
            TRY(reserve(Family::kIpv6, node_state_.health_ipv6, {}, own ? own->health_ipv6 : IpAddress{}, "health"));
    }
    if (!health) node_state_.health_ipv4 = node_state_.health_ipv6 = {};
    return {};
}

}  // namespace axo
