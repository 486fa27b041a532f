// Hubble in this agent: who is who, what the server answers from, and the server itself. Only made when enable-hubble
// says so; nothing of it is in the way of the datapath or of the control loop.
//
//   tables of the loop -> names, peers, agent events;  ring reader's thread -> observe();  server's thread -> clients
//
// Outlives the datapath, whose thread calls observe(); the tables may go before it. Thread: the loop's, except
// observe().
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "app/agent/hubble_config.h"
#include "features/endpoint/module.h"
#include "features/endpoint/pods.h"
#include "features/identity/types.h"
#include "features/ipcache/module.h"
#include "features/node/types.h"
#include "features/policy/module.h"
#include "features/service/module.h"
#include "hubble/core/flow_metrics.h"
#include "hubble/core/observer.h"
#include "hubble/rpc/server.h"
#include "hubble/server/agent_events.h"
#include "hubble/server/dns_state.h"
#include "hubble/server/exporter.h"
#include "hubble/server/history_store.h"
#include "hubble/server/peers.h"
#include "io/file_watch.h"
#include "io/http.h"
#include "runtime/event_loop.h"
#include "runtime/table.h"

namespace axo {

class AgentHubble {
public:
    struct Tables {
        Table<std::string, NodeRow>& nodes;
        Table<EndpointId, EndpointRow>& endpoints;
        Table<IdentityId, IdentityRow>& identities;
        service::FrontendTable& frontends;
        Ipcache& ipcache;
        policy::PolicyModule& policy;
        PodLabels& pods;
        // Of cluster identities, reserved ones and prefixes.
        std::function<LabelSet(IdentityId)> labels_of;
        std::function<std::uint64_t()> events_lost;  // by the datapath's ring, since it exists
    };
    AgentHubble(EventLoop& loop, const HubbleConfig& config, const std::string& cluster, const std::string& node,
                Tables tables);
    ~AgentHubble();
    AgentHubble(const AgentHubble&) = delete;
    AgentHubble& operator=(const AgentHubble&) = delete;

    // On the ring reader's thread.
    void observe(const flow_event& event, std::span<const std::byte> message) { observer_.observe(event, message); }
    // What pods were answered, by DNS, and forgetting it. Thread: any.
    [[nodiscard]] hubble::NameTable& names() { return observer_.names(); }
    void set_node_labels(const std::map<std::string, std::string>& labels);
    // What the next agent takes up is on disk. Blocks; for the agent's end, while there still are tables.
    void flush_state();
    // Gets what the agent does from now on, each a flow.AgentEvent on the wire, but for services.
    void tap_agent_events(std::function<void(const std::string& event)> tap) { events_.set_tap(std::move(tap)); }

    struct Status {
        std::string error;    // "": it serves
        std::string warning;  // what else is not as it should be
        hubble::Observer::Status observer;
        std::optional<hubble::HistoryStore::Status> history;  // nothing: none is kept
        hubble::Exporters::Status exporters;
    };
    [[nodiscard]] Status status() const;
    // "": there are none; "Ok", or why not.
    [[nodiscard]] std::string metrics_state() const;

private:
    void serve();
    void keep_history();
    void start_exporters();
    void serve_metrics();
    [[nodiscard]] std::string metrics_text() const;
    void forget_pod(const std::string& name_space, const std::string& pod);
    void watch_certificates();
    void load_certificates();
    void listen();
    // Success if one of them can be had.
    static axo::Status listen_on_any(const std::vector<IpAddress>& addresses,
                                     const std::function<axo::Status(const IpAddress&)>& listen);
    void watch_tables();
    void ipcache_changed(const Prefix& prefix, const IpcacheRow* now);
    // now: who has it by the ipcache; nullptr: nobody.
    void name_address(const IpAddress& address, const IpcacheRow* now);
    void endpoints_changed(const std::set<EndpointId>& changed);
    void frontends_changed(const std::set<service::FrontendKey>& changed);
    void nodes_changed(const std::set<std::string>& changed);
    void name_rule(const hubble::RuleRef& rule);
    void look();  // once a second
    // Names that pods were answered: of the agent before, for the agent after.
    void restore_dns_names();
    void keep_dns_names();
    [[nodiscard]] hubble::EndpointOwners endpoint_owners() const;
    void policies_changed();
    [[nodiscard]] std::vector<hubble::Workload> workloads_of(const std::string& name_space,
                                                             const std::string& pod) const;

    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // for posts that outlive it
    EventLoop& loop_;
    Logger log_{"hubble"};
    const HubbleConfig config_;
    Tables tables_;
    hubble::Observer observer_;
    hubble::AgentEvents events_;
    hubble::Peers peers_;
    std::unique_ptr<hubble::FlowMetrics> metrics_;   // nothing: hubble-metrics is empty
    std::unique_ptr<hubble::HistoryStore> history_;  // nothing: hubble-history-path is empty
    hubble::Exporters exporters_{observer_};
    std::unique_ptr<rpc::Server> server_;
    std::unique_ptr<HttpServer> metrics_server_;
    std::string metrics_error_;
    std::unique_ptr<FileWatch> flow_logs_watch_;
    struct FlowLogs {
        std::map<std::string, hubble::ExportSettings> all;
        std::uint64_t applied = 0, failed = 0;
        std::int64_t last_applied = 0;  // seconds
        std::size_t hash = 0;
    } flow_logs_;
    std::deque<std::pair<std::chrono::steady_clock::time_point, std::pair<std::string, std::string>>> gone_pods_;
    enum class Part { kHistory, kServer, kSocket, kCertificates, kPort };
    std::map<Part, std::string> errors_;  // of those that do not do what they should
    bool listening_ = false;
    std::vector<std::unique_ptr<FileWatch>> certificate_watches_;
    Table<std::string, NodeRow>::Watch node_watch_;
    Table<EndpointId, EndpointRow>::Watch endpoint_watch_;
    Table<IdentityId, IdentityRow>::Watch identity_watch_;
    Table<service::FrontendKey, service::FrontendRow>::Watch frontend_watch_;
    std::map<EndpointId, EndpointRow> endpoints_;  // as last seen
    std::map<IpAddress, EndpointId> endpoint_of_;
    std::map<policy::PolicySources::Key, std::shared_ptr<const policy::Policy>> policies_;
    std::uint64_t policy_revision_ = 0, events_lost_ = 0, ring_lost_ = 0;
    std::uint64_t dns_kept_ = 0;  // changes of names that are in the file
    std::chrono::steady_clock::time_point dns_kept_at_;
    EventLoop::Handle tick_, reload_;
};

}  // namespace axo
