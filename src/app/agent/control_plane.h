// Everything the agent is made of, constructed once, in the order its parts depend on each other.
//
//   start():  kernel features, devices, store, API        answers /healthz with what is waited for
//   run_datapath(): once the node has pod CIDRs           datapath, endpoints, ipcache, routes, health: ready
//
// Members are declared in order of construction; destruction is the reverse. Nothing in the kernel or in the
// store is taken down at the end: traffic does not depend on this process. Thread: the loop's only.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "app/agent/cni_conf.h"
#include "app/agent/config.h"
#include "app/agent/datapath_port.h"
#include "app/agent/host_trial.h"
#include "app/agent/hubble.h"
#include "app/agent/ipam.h"
#include "app/agent/services.h"
#include "datapath/prefilter.h"
#include "features/endpoint/module.h"
#include "features/endpoint/publisher.h"
#include "features/health/module.h"
#include "features/health/namespace.h"
#include "features/identity/module.h"
#include "features/ipcache/module.h"
#include "features/ipcache/remote.h"
#include "features/monitor/module.h"
#include "features/nat/module.h"
#include "features/nat/netfilter.h"
#include "features/nat/stats.h"
#include "features/node/annotator.h"
#include "features/node/module.h"
#include "features/policy/module.h"
#include "features/routing/module.h"
#include "io/http.h"
#include "io/push_server.h"
#include "kernel/features.h"
#include "kernel/netlink.h"
#include "model/pod_ip_pool.h"

namespace axo {

class AgentApi;

policy::NamedPorts policy_named_ports(const std::vector<NamedPort>& ports);

// Objects and files that were refused, by where they are; what is corrected disappears.
class Rejections {
public:
    void reject(const std::string& where, const Error& error);
    void accept(const std::string& where) { all_.erase(where); }
    // For those who watch objects; they must not outlive this.
    [[nodiscard]] ObjectVerdicts verdicts() {
        return {.rejected = [this](const std::string& where, const Error& error) { reject(where, error); },
                .accepted = [this](const std::string& where) { accept(where); }};
    }
    [[nodiscard]] const std::map<std::string, std::string>& all() const { return all_; }

private:
    std::map<std::string, std::string> all_;
};

class ControlPlane {
public:
    // started_at: when the process began, for start-ms.
    ControlPlane(EventLoop& loop, Config config, std::chrono::steady_clock::time_point started_at);
    ~ControlPlane();
    ControlPlane(const ControlPlane&) = delete;
    ControlPlane& operator=(const ControlPlane&) = delete;

    // An error means that this agent cannot run here at all. fatal: the same, found out later.
    Status start(std::function<void(const Error&)> fatal);
    // What is still in memory goes to disk.
    void stop();

private:
    friend class AgentApi;

    Status decide_local_addresses();
    void wait_for_store(const Error& error);
    void start_with_store();
    void run_datapath_when_possible();
    Status run_datapath(const std::vector<PoolAllocation>& pools);
    // control_plane_ipam.cpp
    AddressPool make_address_pool();
    Status reserve_own_addresses();
    [[nodiscard]] std::vector<PoolAllocation> told_pools() const;
    [[nodiscard]] bool complete(const std::vector<PoolAllocation>& pools) const;
    [[nodiscard]] std::string waiting_for_cidrs() const;
    void remember_pools(const std::vector<PoolAllocation>& pools);
    void pools_changed(const std::vector<PoolAllocation>& pools);
    [[nodiscard]] std::optional<LocalNode::Pools> wanted_pools() const;
    Task<Result<std::string>> choose_pool_of(Family family, std::string owner);
    [[nodiscard]] std::string pool_refusal_of(const std::string& pool) const;
    void watch_ip_pools();
    void annotate_node();
    EndpointServices endpoint_services();
    // Of cluster identities, reserved ones and prefixes.
    [[nodiscard]] LabelSet labels_of(IdentityId id) const;
    void start_host_endpoint();
    void start_health_endpoint();
    Status start_policy();
    policy::Subject policy_subject(const EndpointRow& endpoint);
    void set_node_labels(std::optional<LabelSet> labels);
    void claim_node(const std::string& name);
    Status start_services();
    void update_host_ports(const EndpointRow& endpoint);
    void update_service_nodes();
    void start_events();
    void serve_monitor_socket();
    void start_nat_rules();
    Status start_nat_stats();
    void protect_node_port_range();
    void update_nat_rules();
    void update_ways_out(const std::vector<InterfaceAddress>& addresses);
    void start_cluster_watches();
    void update_host_addresses();
    void publish_node();
    void watch_kubernetes_node();
    void write_node_state();
    void replay_deletions(int attempts_left);
    void all_sources_synced();
    void start_enforcing();
    void check_ready();

    EventLoop& loop_;
    const Config config_;
    const std::chrono::steady_clock::time_point started_at_;
    Logger log_{"agent"};
    std::function<void(const Error&)> fatal_;
    ControllerRegistry controllers_;
    Rejections rejections_;
    KernelFeatures features_;
    std::string instance_id_;
    NodeState node_state_;
    LocalNode local_node_;
    ServicePlan plan_;
    DatapathDecisions early_;  // devices and addresses, before the datapath runs
    std::unique_ptr<ObjectStore> store_;
    AddressPool pool_;
    std::unique_ptr<NodeManager> nodes_;
    std::unique_ptr<AgentApi> api_;

    // From here on: once the node has pod CIDRs. The first two outlive the datapath, whose ring thread calls them.
    std::unique_ptr<MonitorHub> monitor_;
    std::unique_ptr<PushServer> monitor_socket_;
    std::unique_ptr<AgentHubble> hubble_;  // nothing: enable-hubble is off
    std::unique_ptr<Datapath> datapath_;
    std::unique_ptr<DatapathPort> port_;
    std::unique_ptr<Ipcache> ipcache_;
    std::unique_ptr<IdentityManager> identities_;
    std::unique_ptr<PodLabels> pods_;
    std::unique_ptr<policy::PolicyModule> policy_;
    std::unique_ptr<HostTrial> host_trial_;
    TaskGroup store_questions_;
    std::unique_ptr<nat::NatModule> nat_;
    std::unique_ptr<nat::Netfilter> netfilter_;
    std::unique_ptr<nat::NatStats> nat_stats_;  // nothing: source ports are not counted
    std::unique_ptr<AgentServices> services_;
    std::unique_ptr<Prefilter> prefilter_;  // nothing: enable-xdp-prefilter is off
    std::unique_ptr<EndpointManager> endpoints_;
    std::unique_ptr<RoutingModule> routing_;
    std::unique_ptr<EndpointPublisher> publisher_;
    std::unique_ptr<RemoteEndpoints> remote_;
    std::unique_ptr<HealthChecker> health_;
    std::unique_ptr<CniConf> cni_conf_;
    std::unique_ptr<Netlink> netlink_;
    std::unique_ptr<NetlinkMonitor> address_monitor_;
    std::unique_ptr<ObjectStore::Watch> kubernetes_node_watch_, ip_pool_watch_;
    std::unique_ptr<NodeAnnotator> annotator_;  // nothing: annotate-k8s-node is off
    std::map<std::string, PodIpPool> ip_pools_;
    EventLoop::Handle address_readable_, deletion_retry_, address_settle_, store_patience_, store_retry_,
        restore_patience_;
    Table<std::string, NodeRow>::Watch node_watch_;
    Table<EndpointId, EndpointRow>::Watch endpoint_watch_;
    Table<IdentityId, IdentityRow>::Watch identity_watch_;
    std::set<IpAddress> api_server_;
    std::set<IpAddress> host_addresses_;
    std::map<std::string, std::vector<IdentityId>> node_identities_;  // by node's name
    std::optional<LabelSet> node_labels_;  // of the Node object; without one: of the CiliumNode
    std::map<std::uint32_t, std::string> interface_names_;

    bool restored_node_ = false;  // an earlier run's addresses and pod CIDRs were used
    bool store_optional_ = false;
    bool nodes_synced_ = false, remote_synced_ = false, identities_synced_ = false, policy_synced_ = false;
    bool enforcing_ = false;  // policies are put into force
    bool pods_synced_ = false;
    std::string waiting_for_ = "the start";  // "": ready
    std::int64_t datapath_ready_ms_ = 0, start_ms_ = 0;
};

}  // namespace axo
