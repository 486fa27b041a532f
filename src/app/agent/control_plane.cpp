#include "app/agent/control_plane.h"

#include "app/agent/api/api.h"
#include "app/agent/delete_queue.h"
#include "base/file.h"
#include "io/resources.h"
#include "kernel/locked_memory.h"
#include "kernel/netns.h"
#include "model/node.h"

namespace axo {

namespace {

std::int64_t milliseconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - start).count();
}

std::string boot_id() {
    std::string id = read_file("/proc/sys/kernel/random/boot_id").value_or("");
    while (!id.empty() && id.back() == '\n') id.pop_back();
    return id;
}

}  // namespace

void Rejections::reject(const std::string& where, const Error& error) {
    const auto [entry, fresh] = all_.insert_or_assign(where, error.message);
    if (fresh) Logger("agent").warn("Object refused; its previous version stays in force", {{"object", where}, error});
}

ControlPlane::ControlPlane(EventLoop& loop, Config config, std::chrono::steady_clock::time_point started_at)
    : loop_(loop), config_(std::move(config)), started_at_(started_at), pool_(make_address_pool()) {}

ControlPlane::~ControlPlane() = default;

void ControlPlane::stop() {
    if (endpoints_) endpoints_->flush_state();
    if (hubble_) hubble_->flush_state();
}

Status ControlPlane::start(std::function<void(const Error&)> fatal) {
    fatal_ = std::move(fatal);
    TRY(make_directories(config_.endpoint_state_dir()));
    TRY_ASSIGN(features_, probe_kernel_features());
    if (auto lifted = lift_locked_memory_limit(features_); !lifted)
        log_.error("Maps may not fit into the memory that this agent may have", {lifted.error()});
    TRY_ASSIGN(plan_, plan_services(config_, features_));
    TRY_ASSIGN(instance_id_, load_instance_id(config_.endpoint_state_dir() / "instance-id"));
    if (auto state = read_node_state(config_.endpoint_state_dir() / "node.json")) {
        if (state->name == config_.node_name) {
            node_state_ = *state;
            restored_node_ = true;
        }
    } else if (state.error().code != Code::kNotFound) {
        rejections_.reject((config_.endpoint_state_dir() / "node.json").string(), state.error());
    }
    TRY(decide_local_addresses());
    api_ = std::make_unique<AgentApi>(*this);
    TRY(api_->listen());
    auto store = open_object_store(config_.object_store, loop_, config_.kubernetes);
    if (!store) {
        // On a node that worked before, the store comes back or is mounted late; a first start needs the mistake told.
        if (!restored_node_) return forward_error(std::move(store).error());
        wait_for_store(store.error());
        return {};
    }
    store_ = std::move(*store);
    start_with_store();
    return {};
}

void ControlPlane::wait_for_store(const Error& error) {
    if (waiting_for_ != error.message)
        log_.error("The object store cannot be opened; pods keep their connections, it is tried again", {error});
    waiting_for_ = error.message;
    store_retry_ = loop_.after(std::chrono::seconds(1), [this] {
        auto store = open_object_store(config_.object_store, loop_, config_.kubernetes);
        if (!store) return wait_for_store(store.error());
        store_ = std::move(*store);
        start_with_store();
    });
}

void ControlPlane::start_with_store() {
    log_.info("Object store", {{"store", store_->describe()}});
    nodes_ = std::make_unique<NodeManager>(
        loop_, controllers_, *store_, config_.node_name, config_.cluster_name,
        NodeManager::Callbacks{
            .own_changed =
                [this](const CiliumNode&) {
                    run_datapath_when_possible();
                    annotate_node();  // of what was published before it was written
                },
            .synced =
                [this] {
                    nodes_synced_ = true;
                    run_datapath_when_possible();
                    all_sources_synced();
                },
            .verdicts = rejections_.verdicts(),
            .ask_owner =
                [this](const CiliumNode& theirs, const std::function<void(bool)>& answer) {
                    std::vector<IpAddress> addresses;
                    for (const NodeAddress& address : theirs.addresses) {
                        if (address.type == node_address::kInternalIp) addresses.push_back(address.ip);
                    }
                    auto alive = std::make_shared<bool>(false);
                    loop_.run_blocking(
                        [addresses, alive, port = config_.cluster_health_port, own = instance_id_]() -> Status {
                            *alive = other_agent_answers(addresses, port, own);
                            return {};
                        },
                        [alive, answer](const Status&) { answer(*alive); });
                },
            .refused = [this](const std::string& why) { fatal_(Error{Code::kFailedPrecondition, why, 0}); },
        });
    waiting_for_ = "CiliumNode " + config_.node_name;
    nodes_->start();
    watch_ip_pools();
    publish_node();
    watch_kubernetes_node();
    // After a restart what was true before does: a store that does not answer keeps nobody waiting.
    if (restored_node_)
        restore_patience_ = loop_.after(std::chrono::milliseconds(500), [this] { run_datapath_when_possible(); });
}

// The node's addresses are needed before the datapath can start: they are what the operator and others learn first.
Status ControlPlane::decide_local_addresses() {
    DatapathSettings settings = config_.datapath;
    settings.services = plan_.programs;
    // Not known yet and not looked at for this.
    settings.router_ipv4 = IpAddress::v4({169, 254, 0, 1});
    settings.router_ipv6 = IpAddress::parse("fe80::1").value();
    TRY_ASSIGN(early_, Datapath::decide(settings, features_));
    local_node_.name = config_.node_name;
    local_node_.cluster = config_.cluster_name;
    local_node_.boot_id = boot_id();
    local_node_.instance_id = instance_id_;
    return {};
}

void ControlPlane::publish_node() {
    const auto& decisions = datapath_ ? datapath_->decisions() : early_;
    LocalNode local = local_node_;
    local.addresses.clear();
    const auto add = [&](std::string_view type, const IpAddress& ip) {
        if (ip) local.addresses.push_back({std::string(type), ip});
    };
    add(node_address::kInternalIp, decisions.node_ipv4);
    add(node_address::kInternalIp, decisions.node_ipv6);
    // Before this agent's datapath runs, an earlier agent's addresses are still true.
    add(node_address::kCiliumInternalIp, node_state_.router_ipv4);
    add(node_address::kCiliumInternalIp, node_state_.router_ipv6);
    local.health_ipv4 = node_state_.health_ipv4;
    local.health_ipv6 = node_state_.health_ipv6;
    local.pools = wanted_pools();
    nodes_->publish(std::move(local));
    annotate_node();
}

Status ControlPlane::run_datapath(const std::vector<PoolAllocation>& pools) {
    TRY_ASSIGN(Netlink netlink, Netlink::open());
    netlink_ = std::make_unique<Netlink>(std::move(netlink));
    TRY(pool_.set_allocated(pools));
    node_state_.name = config_.node_name;
    remember_pools(pools);
    TRY(reserve_own_addresses());

    DatapathSettings settings = config_.datapath;
    settings.services = plan_.programs;
    settings.owner = config_.cluster_name + "/" + config_.node_name;
    settings.router_ipv4 = node_state_.router_ipv4;
    settings.router_ipv6 = node_state_.router_ipv6;
    TRY_ASSIGN(datapath_, Datapath::start(loop_, controllers_, settings, features_));
    const DatapathDecisions& decisions = datapath_->decisions();

    port_ = std::make_unique<DatapathPort>(loop_, *datapath_);
    ipcache_ =
        std::make_unique<Ipcache>(loop_, controllers_,
                                  IpcacheSettings{.ipv4 = config_.ipv4,
                                                  .ipv6 = config_.ipv6,
                                                  .tunnel = settings.tunnel_needed(),
                                                  .native = settings.routing == RoutingMode::kNative,
                                                  .underlay = decisions.underlay_ipv6 ? Family::kIpv6 : Family::kIpv4},
                                  Ipcache::operations(datapath_->ipcache(), datapath_->generations()));
    identities_ = std::make_unique<IdentityManager>(
        loop_, controllers_, *store_, system_random(),
        [this](IdentityId id) {
            return std::ranges::any_of(endpoints_->table().rows(),
                                       [id](const auto& entry) { return entry.second.identity == id; });
        },
        rejections_.verdicts());
    TRY_ASSIGN(LabelFilter filter, LabelFilter::create(config_.label_filter));
    pods_ = std::make_unique<PodLabels>(*store_, config_.node_name, config_.cluster_name, std::move(filter),
                                        rejections_.verdicts());
    TRY(start_policy());
    TRY(start_services());
    endpoints_ =
        std::make_unique<EndpointManager>(loop_, controllers_,
                                          EndpointSettings{.state_dir = config_.endpoint_state_dir(),
                                                           .identity_grace = config_.identity_change_grace_period},
                                          *port_, endpoint_services());
    TRY_ASSIGN(const std::vector<Link> links, netlink_->links());
    endpoints_->restore(links);
    update_host_addresses();
    start_host_endpoint();
    start_health_endpoint();
    endpoints_->set_complete();
    pool_.start_giving_back();

    RoutingSettings routing{.ipv4 = config_.ipv4,
                            .ipv6 = config_.ipv6,
                            .tunnel = config_.datapath.routing == RoutingMode::kTunnel,
                            .auto_direct_node_routes = config_.auto_direct_node_routes,
                            .skip_unreachable = config_.direct_routing_skip_unreachable,
                            .route_mtu = decisions.route_mtu,
                            .host_device = datapath_->host_device(),
                            .router_ipv4 = node_state_.router_ipv4,
                            .router_ipv6 = node_state_.router_ipv6};
    TRY_ASSIGN(routing_, RoutingModule::start(loop_, controllers_, nodes_->table(), routing,
                                              (config_.endpoint_state_dir() / "routes.json").string()));
    datapath_->set_change_callback([this, routing]() mutable {
        routing.route_mtu = datapath_->decisions().route_mtu;
        routing.host_device = datapath_->host_device();
        routing_->set_settings(routing);
        update_host_addresses();
        publish_node();
    });

    start_cluster_watches();
    replay_deletions(50);

    start_events();
    write_node_state();
    publish_node();
    if (auto monitor = NetlinkMonitor::open()) {
        address_monitor_ = std::make_unique<NetlinkMonitor>(std::move(*monitor));
        address_readable_ = loop_.on_readable(address_monitor_->fd(), [this] {
            if (!address_monitor_->drain().addresses || address_settle_) return;
            // Addresses come in bursts; one look at the end is enough.
            address_settle_ = loop_.after(std::chrono::milliseconds(20), [this] {
                address_settle_ = {};
                update_host_addresses();
            });
        });
    } else {
        log_.warn("Changes of the node's addresses are not noticed", {monitor.error()});
    }
    datapath_ready_ms_ = milliseconds_since(started_at_);
    waiting_for_ = "the first listing of the object store";
    if (restored_node_) {
        // What was there before this start works without the store.
        store_patience_ = loop_.after(std::chrono::seconds(1), [this] {
            store_optional_ = true;
            check_ready();
        });
    }
    all_sources_synced();
    check_ready();
    return {};
}

EndpointServices ControlPlane::endpoint_services() {
    return {
        .identity_of = [this](const LabelSet& labels) { return identities_->allocate(labels); },
        .identity_known = [this](IdentityId id, const LabelSet& labels) { identities_->remember(id, labels); },
        .claim_addresses = [this](const EndpointRow& endpoint) { return pool_.claim(endpoint); },
        .release_addresses = [this](const EndpointRow& endpoint) { pool_.release(endpoint); },
        .policy = [this](const EndpointRow& endpoint) -> Status {
            if (endpoint.kind == EndpointKind::kHost && !config_.policy.host_firewall) {
                datapath_->generations().set_host_endpoint(EndpointId(0));
                return {};
            }
            // Before the ipcache names it.
            if (is_cluster_identity(endpoint.identity)) policy_->set_identity(endpoint.identity, endpoint.labels);
            TRY(policy_->set_endpoint(endpoint.id, policy_subject(endpoint), endpoint.policy_audit));
            if (endpoint.kind == EndpointKind::kHost) datapath_->generations().set_host_endpoint(endpoint.id);
            return {};
        },
        .row_changed =
            [this](const EndpointRow& endpoint) {
                update_host_ports(endpoint);
                ipcache_->claim("endpoint/" + endpoint.id.to_string(), endpoint_rows(ipcache_->settings(), endpoint));
                // Failures stay with the reconciler, which retries them and shows them.
                (void)ipcache_->flush();
            },
        .row_removed =
            [this](const EndpointRow& endpoint) {
                update_host_ports(endpoint);
                policy_->remove_endpoint(endpoint.id);
                ipcache_->withdraw("endpoint/" + endpoint.id.to_string());
                (void)ipcache_->flush();
            },
        .pod_labels = [this](const ObjectKey& pod) { return pods_->find(pod); },
        .fetch_pod = [this](const ObjectKey& pod) { return pods_->fetch(pod); },
    };
}

void ControlPlane::start_host_endpoint() {
    if (endpoints_->find_kind(EndpointKind::kHost) != nullptr) return;
    EndpointRow host;
    host.kind = EndpointKind::kHost;
    host.interface_name = "cilium_host";
    endpoints_->create(host, [this](const Result<EndpointRow>& made) {
        if (!made) log_.warn("The host endpoint cannot be made", {made.error()});
    });
}

void ControlPlane::start_health_endpoint() {
    const std::string path = (config_.state_dir / "netns" / "health").string();
    const EndpointRow* known = endpoints_->find_kind(EndpointKind::kHealth);
    const DatapathDecisions& decisions = datapath_->decisions();
    const auto fill = [&](const HealthNamespace& made) {
        EndpointRow endpoint;
        endpoint.kind = EndpointKind::kHealth;
        endpoint.container_interface = kHealthPeer;
        endpoint.container_netns = path;
        endpoint.interface_name = kHealthDevice;
        endpoint.link = made.link;
        endpoint.mac = made.mac;
        endpoint.host_mac = made.host_mac;
        endpoint.ipv4 = node_state_.health_ipv4;
        endpoint.ipv6 = node_state_.health_ipv6;
        return endpoint;
    };
    if (config_.health_checking && config_.endpoint_health_checking) {
        auto made = ensure_health_namespace({.path = path,
                                             .ipv4 = node_state_.health_ipv4,
                                             .ipv6 = node_state_.health_ipv6,
                                             .router_ipv4 = node_state_.router_ipv4,
                                             .router_ipv6 = node_state_.router_ipv6,
                                             .device_mtu = decisions.device_mtu,
                                             .route_mtu = decisions.route_mtu});
        if (!made) {
            log_.error("The health endpoint cannot be made; other nodes will report it as unreachable", {made.error()});
        } else {
            const EndpointRow wanted = fill(*made);
            if (known != nullptr &&
                (known->link != wanted.link || known->mac != wanted.mac || known->host_mac != wanted.host_mac ||
                 known->ipv4 != wanted.ipv4 || known->ipv6 != wanted.ipv6)) {
                (void)endpoints_->remove(known->id);
                known = nullptr;
                // remove() gave the addresses back.
                if (wanted.ipv4) (void)pool_.allocate_address(wanted.ipv4, "health");
                if (wanted.ipv6) (void)pool_.allocate_address(wanted.ipv6, "health");
            }
            if (known == nullptr) {
                endpoints_->create(wanted, [this](const Result<EndpointRow>& done) {
                    if (!done) log_.error("The health endpoint cannot be made", {done.error()});
                });
            }
        }
    } else if (known != nullptr) {
        (void)endpoints_->remove(known->id);
        if (auto removed = remove_health_namespace(path); !removed)
            log_.warn("Unable to remove the health endpoint", {removed.error()});
    }
    if (!config_.health_checking) return;

    auto prober = Prober::create(loop_, config_.ipv4 || early_.node_ipv4, config_.ipv6 || early_.node_ipv6);
    if (!prober) {
        log_.error("Nodes are not probed", {prober.error()});
        return;
    }
    health_ = std::make_unique<HealthChecker>(loop_,
                                              HealthSettings{.ipv4 = config_.ipv4,
                                                             .ipv6 = config_.ipv6,
                                                             .endpoints = config_.endpoint_health_checking,
                                                             .port = config_.cluster_health_port,
                                                             .instance_id = instance_id_},
                                              nodes_->table(), std::move(*prober));
    if (auto listening = health_->listen(); !listening)
        log_.error("Health probes of other nodes are not answered", {listening.error()});
    if (config_.endpoint_health_checking) {
        for (const Family family : {Family::kIpv4, Family::kIpv6}) {
            if (!(family == Family::kIpv4 ? node_state_.health_ipv4 : node_state_.health_ipv6)) continue;
            auto listener = listen_in_namespace(path, family, config_.cluster_health_port);
            Status listening =
                listener ? health_->listen_fd(listener->release()) : Status(forward_error(listener.error()));
            if (!listening)
                log_.error("Health probes of this node's health endpoint are not answered", {listening.error()});
        }
    }
}

void ControlPlane::start_cluster_watches() {
    node_watch_ = nodes_->table().watch([this](const std::set<std::string>& changed) {
        for (const std::string& name : changed) {
            claim_node(name);
        }
        update_service_nodes();
        check_ready();
    });
    identity_watch_ = identities_->table().watch([this](const std::set<IdentityId>& changed) {
        for (const IdentityId id : changed) {
            if (const IdentityRow* row = identities_->table().find(id)) {
                policy_->set_identity(id, row->labels);
            } else {
                policy_->remove_identity(id);
            }
        }
    });
    identities_->start([this] {
        identities_synced_ = true;
        all_sources_synced();
    });
    pods_->start(
        [this](const ObjectKey& pod) {
            endpoints_->pod_changed(pod);
            for (const auto& [id, endpoint] : endpoints_->table().rows()) {
                if (endpoint.k8s_pod == pod.name && endpoint.k8s_namespace == pod.name_space)
                    update_host_ports(endpoint);
            }
        },
        [this] {
            pods_synced_ = true;
            services_->module().host_ports_complete();
        });
    if (auto started = services_->start(); !started)
        log_.error("Services are left as they are: their maps cannot be read", {started.error()});
    const IpAddress node_ip = datapath_->decisions().underlay_ipv6 || !datapath_->decisions().node_ipv4
                                  ? datapath_->decisions().node_ipv6
                                  : datapath_->decisions().node_ipv4;
    publisher_ = std::make_unique<EndpointPublisher>(loop_, controllers_, *store_, endpoints_->table(), node_ip,
                                                     [this](const ObjectKey& key) { return pods_->fetch(key); });
    remote_ = std::make_unique<RemoteEndpoints>(
        *store_, *ipcache_, config_.endpoint_slices,
        RemoteEndpoints::Callbacks{
            .is_local =
                [this](const IpAddress& ip) {
                    const DatapathDecisions& decisions = datapath_->decisions();
                    return ip && (ip == decisions.node_ipv4 || ip == decisions.node_ipv6);
                },
            .own_seen = [this](const ObjectKey& key) { publisher_->object_seen(key); },
            .own_gone = [this](const ObjectKey& key) { publisher_->object_gone(key); },
            .endpoint =
                [this](const ObjectKey& key, IdentityId id, const LabelSet& labels,
                       const std::vector<NamedPort>& ports) {
                    // The CiliumIdentity may come later than the pod that has it.
                    if (is_cluster_identity(id) && !policy_->knows_identity(id) && !labels.empty())
                        policy_->set_identity(id, labels);
                    policy_->set_named_ports("cep/" + key.to_string(), id, policy_named_ports(ports));
                },
            .synced =
                [this] {
                    remote_synced_ = true;
                    all_sources_synced();
                },
            .verdicts = rejections_.verdicts(),
        });
}

// Entries nobody claims may go once every source has said what it knows. Node rows reach the ipcache on a later turn.
void ControlPlane::all_sources_synced() {
    start_enforcing();
    if (!ipcache_ || !nodes_synced_ || !remote_synced_ || !policy_synced_) return;
    loop_.post([this] {
        loop_.post([this] {
            ipcache_->set_complete();
            check_ready();
        });
    });
}

// A policy that is in force before its peers are known takes nodes and pods for the world: the node's own would cut it
// off.
void ControlPlane::start_enforcing() {
    if (enforcing_ || !ipcache_ || !identities_synced_ || !nodes_synced_ || !remote_synced_) return;
    enforcing_ = true;
    // Once watches have told, and claims have written, what the listings say.
    loop_.post([this] {
        loop_.post([this] {
            (void)ipcache_->flush();  // failures stay with the reconciler
            policy_->start([this] {
                policy_synced_ = true;
                all_sources_synced();
            });
        });
    });
}

void ControlPlane::check_ready() {
    if (waiting_for_.empty() || !datapath_) return;
    const bool store_spoke = nodes_synced_ && remote_synced_ && policy_synced_ && services_->synced() &&
                             nodes_->table().find(config_.node_name) != nullptr;
    if (!store_spoke && !store_optional_) return;
    waiting_for_.clear();
    start_ms_ = milliseconds_since(started_at_);
    log_.info(
        "Agent is ready",
        {{"startMs", start_ms_}, {"datapathReadyMs", datapath_ready_ms_}, {"endpoints", endpoints_->table().size()}});
    if (!config_.cni_conf_dir.empty()) {
        cni_conf_ = std::make_unique<CniConf>(loop_, controllers_,
                                              CniConfSettings{.file = config_.cni_conf_dir,
                                                              .exclusive = config_.cni_exclusive,
                                                              .debug = config_.log_level == LogLevel::kDebug,
                                                              .log_file = config_.cni_log_file,
                                                              .custom = config_.read_cni_conf});
    }
    if (health_) health_->start();
    host_trial_->set_health(health_.get());
}

void ControlPlane::update_host_addresses() {
    const auto present = netlink_->addresses();
    if (!present) {
        log_.warn("Unable to read the node's addresses", {present.error()});
        return;
    }
    update_ways_out(*present);
    std::set<IpAddress> addresses;
    for (const InterfaceAddress& address : *present) {
        const bool wanted = address.address.is_v4() ? config_.ipv4 : config_.ipv6;
        if (wanted) addresses.insert(address.address);
    }
    for (const IpAddress& ip : {node_state_.router_ipv4, node_state_.router_ipv6}) {
        if (ip) addresses.insert(ip);
    }
    endpoints_->set_host_addresses(addresses);
    ipcache_->claim("host", host_rows(ipcache_->settings(), addresses));
    host_addresses_ = std::move(addresses);
    update_service_nodes();
}

void ControlPlane::write_node_state() {
    const std::filesystem::path path = config_.endpoint_state_dir() / "node.json";
    const std::string text = node_state_text(node_state_);
    if (read_file(path).value_or("") == text) return;
    loop_.run_blocking([path, text] { return write_atomic(path, text); },
                       [path](const Status& status) {
                           if (!status)
                               Logger("agent").warn("Unable to remember this node's addresses for a restart",
                                                    {status.error()});
                       });
}

void ControlPlane::replay_deletions(int attempts_left) {
    auto replayed = replay_delete_queue(
        config_.state_dir, [this](const std::string& container) { (void)endpoints_->remove_container(container); });
    if (replayed) return;
    if (replayed.error().code == Code::kUnavailable && attempts_left > 0) {
        deletion_retry_ =
            loop_.after(std::chrono::milliseconds(100), [this, attempts_left] { replay_deletions(attempts_left - 1); });
        return;
    }
    log_.warn("Queued deletions are not replayed", {replayed.error()});
}

}  // namespace axo
