// Which frontends exist and where they lead: a pure function of Services, their endpoints, this node and its host
// ports, computed anew only for what has changed.
//
// The rules are kube-proxy's, as far as both serve the same thing:
//  - an endpoint is usable when it is ready; terminating ones that still serve are used when nothing else is left;
//  - externalTrafficPolicy Local restricts traffic that comes from outside, internalTrafficPolicy Local that to the
//    ClusterIP; clients inside of the cluster reach external addresses under neither of both;
//  - topology hints count when every ready endpoint has one and one of them names this node or its zone.
// Of two Services that claim one address and port the older one has it: ClusterIPs before all others, host ports last,
// then by creationTimestamp, then by name.
// Thread: one at a time.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "features/service/definition.h"
#include "features/service/types.h"

namespace axo::service {

class ServiceEngine {
public:
    explicit ServiceEngine(EngineSettings settings);
    ~ServiceEngine();
    ServiceEngine(const ServiceEngine&) = delete;
    ServiceEngine& operator=(const ServiceEngine&) = delete;

    // Nothing: there is such a Service, but not for us.
    void set_service(const ServiceName& name, std::optional<Definition> definition);
    void remove_service(const ServiceName& name);
    // Data of an EndpointSlice, or of the slices that an Endpoints object was read into: those count only for Services
    // that have none of the former. A Service without a name, or empty data: the object is gone, or nobody's. An object
    // that changes its Service is taken from the old one.
    enum class SliceKind : std::uint8_t { kEndpointSlice, kEndpoints };
    void set_slices(const ServiceName& service, SliceKind kind, const std::string& object,
                    std::vector<SliceData> slices);
    void set_zone(const std::string& zone);
    // Where this node answers on health check node ports; one of each family.
    void set_health_addresses(std::vector<IpAddress> addresses);
    // Host ports of one pod. Empty: none any more.
    void set_host_ports(const ServiceName& pod, std::vector<HostPort> ports);
    // Addresses of nodes: a virtual address that is one of them hides none of its other ports.
    void set_node_addresses(std::set<IpAddress> addresses);

    struct Changes {
        // The latest state of each frontend; ids are the caller's. nullopt: gone.
        std::vector<std::pair<FrontendKey, std::optional<FrontendRow>>> frontends;
        // Addresses of which other ports are refused; nullopt: not any more.
        std::vector<std::pair<IpAddress, std::optional<FrontendType>>> virtual_addresses;
        // where -> what is wrong; "": nothing any more.
        std::vector<std::pair<std::string, std::string>> problems;
        // Objects with endpoints of a Service that does not exist, and its name; "": found, or gone.
        std::vector<std::pair<std::string, std::string>> orphans;
        bool health_ports = false;
        [[nodiscard]] bool empty() const {
            return frontends.empty() && virtual_addresses.empty() && problems.empty() && orphans.empty() &&
                   !health_ports;
        }
    };
    [[nodiscard]] bool dirty() const { return !dirty_.empty(); }
    // Computes what has changed since the last call, for at most `limit` Services.
    Changes take_changes(std::size_t limit = SIZE_MAX);

    [[nodiscard]] const std::map<std::uint16_t, HealthPort>& health_ports() const { return health_ports_; }
    [[nodiscard]] std::size_t services() const { return defined_; }

private:
    struct Wanted;
    struct State;
    struct Claim;
    // Address, port and protocol that Services may claim; the scope does not matter.
    struct ClaimHash {
        std::size_t operator()(const FrontendKey& key) const noexcept;
    };

    State& state(const std::string& key);
    void touch(State& state);
    // Who has the slices of an object now; null: nobody.
    State* owner_of(SliceKind kind, const std::string& name_space, const std::string& object);
    void drop_slices(State& state, SliceKind kind, const std::string& object);
    void recompute(State& state, Changes& changes);
    void wanted_of_service(State& state, std::vector<Wanted>& wanted, std::string& problem);
    // Health checks at the load balancer's addresses are this node's to answer.
    void wanted_health_checks(State& state, Family family, std::vector<Wanted>& wanted);
    void wanted_of_pod(State& state, std::vector<Wanted>& wanted);
    [[nodiscard]] Selection one_local(const LbAddress& address) const;
    // Whether the state has the claim afterwards; otherwise who has it.
    const State* claim(State& state, const Wanted& wanted);
    void release(State& state, const FrontendKey& key);
    void emit_frontends(State& state, std::vector<Wanted> wanted, std::string& problem, Changes& changes);
    void update_virtual_addresses(State& state, std::set<IpAddress>& touched);
    void update_health_port(State& state, std::string& problem, Changes& changes);
    [[nodiscard]] std::optional<FrontendType> virtual_type(const IpAddress& address) const;

    EngineSettings settings_;
    SharedText node_, zone_;
    std::vector<IpAddress> health_addresses_;
    std::unordered_map<std::string, std::unique_ptr<State>> states_;  // "ns/name", "pod:ns/name"
    // By hash of kind and name; who it is has to be confirmed.
    std::unordered_map<std::size_t, State*> owners_;
    std::vector<State*> dirty_;
    std::unordered_map<FrontendKey, Claim, ClaimHash> claims_;
    struct VirtualAddress {
        std::uint32_t cluster_ip = 0, load_balancer = 0;  // Services that have it as such
        std::optional<FrontendType> told;
    };
    std::unordered_map<IpAddress, VirtualAddress> virtual_addresses_;
    std::set<IpAddress> touched_addresses_;
    std::set<IpAddress> node_addresses_;
    std::map<std::uint16_t, HealthPort> health_ports_;
    std::size_t defined_ = 0;
};

}  // namespace axo::service
