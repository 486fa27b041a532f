// Policy in this agent: from the objects of the store to what the datapath enforces for each endpoint.
//
//   sources -> engine -> images -> slabs, references -> prefixes into the ipcache
//
// Nothing is put into force before every source has been listed once: until then restored endpoints keep the policy
// that an earlier agent left, and new ones have none and are closed. An endpoint whose policy does not fit (no memory,
// too many rules) is closed, never half open, and says so. Thread: the loop's only.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>

#include "base/log.h"
#include "features/policy/desired.h"
#include "features/policy/sources.h"
#include "maps/generations.h"
#include "maps/policy_map.h"
#include "runtime/controller.h"
#include "runtime/event_loop.h"
#include "runtime/metrics.h"
#include "runtime/reconciler.h"

namespace axo::policy {

struct ModuleSettings {
    SourceSettings sources;
    EngineSettings engine;
    bool audit = false;  // policy-audit-mode: of every endpoint
};

class PolicyModule {
public:
    struct Callbacks {
        // Prefixes outside the cluster that policies tell apart, and their identities: all of them, to be in the
        // ipcache when it returns.
        std::function<void(const std::map<Prefix, IdentityId>&)> prefixes;
        // Addresses of the API server.
        std::function<void(const std::set<IpAddress>&)> api_server;
        // The host endpoint's policy is about to change, has changed: whoever watches answers with confirm_host or
        // roll_back_host.
        std::function<void()> host_changing, host_changed;
        std::function<void(const std::string& where, const Error&)> rejected;
        std::function<void(const std::string& where)> accepted;
    };
    PolicyModule(EventLoop& loop, ControllerRegistry& registry, ObjectStore& store, ModuleSettings settings,
                 PolicySlabs& slabs, Generations& generations, Callbacks callbacks);
    ~PolicyModule();
    PolicyModule(const PolicyModule&) = delete;
    PolicyModule& operator=(const PolicyModule&) = delete;

    // Before start(): the numbers that prefixes had in an earlier run stay theirs.
    void restore_prefixes(const std::map<Prefix, IdentityId>& prefixes);
    // synced runs once, when what the sources say is in force.
    void start(std::function<void()> synced);

    void set_identity(IdentityId id, const LabelSet& labels);
    void remove_identity(IdentityId id);
    // The identity of remote nodes with these labels, of remote-node scope: it never leaves this node. Counted: given
    // back as often as taken. Nodes of equal labels share one.
    IdentityId take_node_identity(const LabelSet& labels);
    void give_back_node_identity(IdentityId id);
    [[nodiscard]] bool knows_identity(IdentityId id) const { return engine_.identities().find(id) != nullptr; }
    // Named ports of a pod somewhere in the cluster, for egress rules. owner: whoever says so, e.g. "cep/ns/name".
    void set_named_ports(const std::string& owner, IdentityId id, NamedPorts ports);
    // The endpoint's policy is in force when it returns, if the sources have spoken.
    Status set_endpoint(EndpointId id, Subject subject, bool audit);
    void remove_endpoint(EndpointId id);
    // What is outstanding is in force when it returns.
    void flush();
    // Ends the trial of the host endpoint's policy. Rolled back, the one that was confirmed last is in force until the
    // policies say something else again.
    void confirm_host();
    void roll_back_host(const std::string& why);

    [[nodiscard]] const PolicySources& sources() const { return sources_; }
    [[nodiscard]] const PolicyEngine& engine() const { return engine_; }
    // Identities of prefixes, and the labels of one: "cidr:10.0.0.0/8", "reserved:world".
    [[nodiscard]] const std::map<Prefix, IdentityId>& prefixes() const { return prefixes_; }
    [[nodiscard]] LabelSet labels_of_prefix(const Prefix& prefix) const;
    // Grows with every policy that comes, changes or goes; what is told here is in force.
    [[nodiscard]] std::uint64_t revision() const { return applied_revision_; }
    [[nodiscard]] bool audited(EndpointId id) const;
    // Why the endpoint is closed; null: it is not.
    [[nodiscard]] const Error* error(EndpointId id) const;
    // What the rule looks at, in Cilium's words for verdicts: "L3-Only", "L3-L4", "L4-Only", "all", "L3-Proto", …;
    // "none": no rule decided.
    [[nodiscard]] std::string match_of(const RuleInfo& rule) const;
    [[nodiscard]] const ReconcileCounters& counters() const { return counters_; }
    [[nodiscard]] PolicySlabs::Usage usage() const { return slabs_.usage(); }
    // How long changes took. The set must not outlive this.
    void add_metrics(MetricSet& set) const;

private:
    using Clock = std::chrono::steady_clock;
    struct Endpoint {
        bool audit = false;
        bool compared = false;  // with what an earlier run left
        std::optional<PolicyLocation> location;
        std::optional<Error> error;
    };
    // What the host endpoint is told. Not the image: that is another one with every pod that comes.
    struct HostState {
        std::vector<std::pair<Origin, Spec>> policies;
        bool closed = false, audit = false;
        friend bool operator==(const HostState&, const HostState&) = default;
    };
    // What goes back into force if the host endpoint's new policy cuts the node off. A node that starts has none: it is
    // open again, as before its policy was known.
    struct Trial {
        EndpointId endpoint;
        std::uint32_t reference = 0;
        std::optional<PolicyLocation> location;
        std::optional<HostState> state;
    };

    void schedule();
    void apply();
    void prepare_prefixes(const Policy& policy);
    bool give_identities(const std::vector<Prefix>& prefixes);
    void note_change();
    void regenerate(EndpointId id);
    void switch_endpoint(EndpointId id);
    void take_over(EndpointId id, Endpoint& endpoint);
    Result<PolicyLocation> place(const std::vector<policy_row>& rows);
    void use(PolicyLocation location);
    void leave(PolicyLocation location);
    [[nodiscard]] HostState host_state(EndpointId id, bool closed) const;
    void free_retired();
    void wait_and_free(std::shared_ptr<PolicySlabs::Retired> batch);
    void set_api_server(const std::set<IpAddress>& addresses);
    [[nodiscard]] bool hold_api_server(CidrChanges& changes);
    IdentityId allocate(const Prefix& prefix);

    EventLoop& loop_;
    Logger log_{"policy"};
    ModuleSettings settings_;
    PolicySlabs& slabs_;
    Generations& generations_;
    Callbacks callbacks_;
    PolicyEngine engine_;
    PolicySources sources_;
    std::map<EndpointId, Endpoint> endpoints_;
    std::map<PolicyLocation, std::uint32_t> uses_;
    std::unordered_multimap<std::uint64_t, PolicyLocation> by_digest_;
    std::map<Prefix, IdentityId> prefixes_, remembered_;
    std::set<std::uint32_t> prefix_numbers_;
    std::uint32_t next_prefix_number_;
    struct NodeIdentity {
        IdentityId id;
        std::uint32_t uses = 0;
    };
    std::map<std::string, NodeIdentity> node_identities_;  // by label key
    std::uint32_t next_node_number_;
    // Pods of one identity mostly have the same ports.
    struct NamedPortsOwner {
        IdentityId id;
        const NamedPorts* ports;  // in named_ports_
    };
    std::map<IdentityId, std::map<NamedPorts, std::uint32_t>> named_ports_;  // owners of each set
    std::map<std::string, NamedPortsOwner> named_ports_of_;
    std::set<IpAddress> api_server_;
    std::set<Prefix> prepared_;         // for policies that are not in force yet
    std::set<Prefix> api_server_held_;  // have an identity because they are the API server's
    std::set<EndpointId> outstanding_;  // audit changed, or there was no room for the image
    ReconcileCounters counters_;
    MetricTimes regeneration_{"endpoint_regeneration_time_stats_seconds",
                              "Endpoint regeneration time stats labeled by the scope"};
    MetricTimes delay_{"policy_implementation_delay",
                       "Time between a policy change and it being fully deployed into the datapath"};
    std::vector<Clock::time_point> changed_;  // policies, that are not in force yet
    std::uint64_t revision_ = 1, applied_revision_ = 0;
    std::optional<Trial> trial_;
    std::optional<HostState> host_in_force_;  // of the host endpoint; nothing: an earlier run's
    std::optional<HostState> rolled_back_;    // must not come back
    bool synced_ = false, scheduled_ = false;
    bool freeing_ = false, more_retired_ = false;
    EventLoop::Handle freeing_again_;
    std::function<void()> when_synced_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
    Controller retry_;
};

}  // namespace axo::policy
