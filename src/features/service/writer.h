// Puts frontends into the maps of services, each as a whole: backends, table, what affinity and source ranges need, the
// entry; only then goes what it had before. What has moved is told to the generations at the end of a batch.
//
// Numbers are stable: a frontend keeps its own as long as it lives, and across restarts, because those that an earlier
// agent gave are read from the maps. Thread: the loop's only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "features/service/backends.h"
#include "features/service/types.h"
#include "maps/generations.h"
#include "maps/lb_map.h"
#include "maps/lb_tables.h"
#include "runtime/reconciler.h"

namespace axo::service {

class LbWriter {
public:
    struct Settings {
        std::map<std::string, std::uint8_t> zones;  // numbers of zones
        bool external_cluster_ip = false;
    };
    LbWriter(LbMaps& maps, LbTables& tables, Generations& generations, Settings settings,
             std::function<void(const LbAddress&)> backend_gone);
    ~LbWriter();

    // Reads what an earlier agent left. An unreadable table costs only its own frontend, which is written anew.
    Status adopt();

    // In force when it returns; the number of the frontend. maglev: the table of a row that wants one and has more than
    // one usable backend, indices into the selection. On an error what was in force before stays.
    Result<std::uint16_t> put(const FrontendKey& key, const FrontendRow& row, const std::vector<std::uint16_t>* maglev);
    // Whether put() would want a table that nobody computed yet.
    [[nodiscard]] bool needs_maglev(const FrontendRow& row) const;
    Status remove(const FrontendKey& key);
    // An entry that refuses the address' other ports; nullopt: none.
    Status put_virtual_address(const IpAddress& address, std::optional<FrontendType> type);
    // Everything that belongs there has been put: what else an earlier agent left goes, but for host ports unless they
    // are complete too.
    void finish(bool host_ports);

    // Where flows to this node's own addresses have to look again when a port of all of them comes or goes; empty: all.
    void set_node_addresses(const std::set<IpAddress>& addresses) { node_addresses_ = addresses; }
    // Tells the generations and the callback; at the end of each batch.
    void commit();

    // Seconds; 0: nobody has this group.
    [[nodiscard]] std::uint32_t affinity_timeout(std::uint32_t group) const;
    [[nodiscard]] const Backends& backends() const { return backends_; }
    Backends& backends() { return backends_; }
    [[nodiscard]] std::size_t frontends() const { return entries_.size(); }
    [[nodiscard]] ReconcileCounters counters() const;

private:
    // Whose backends affinity may choose from: a port of a Service, in one family, under one policy.
    struct Role {
        std::uint32_t port_id = 0;
        std::uint32_t uses = 0;
        std::map<std::uint32_t, std::uint32_t> matches;  // pod -> backend id, as they stand in the map
    };
    struct Group {
        std::uint32_t number = 0, uses = 0, seconds = 0;
    };
    // The numbers of a selection's backends, and their tables.
    struct Placed {
        std::shared_ptr<const Selection> selection;
        std::vector<std::uint32_t> ids;
        LbTable random;
        std::optional<LbTable> maglev;
        std::uint32_t uses = 0;
    };
    // What few frontends have.
    struct Extra {
        std::string role;     // "": no affinity
        ServiceName service;  // of the role
        std::vector<Prefix> ranges;
    };
    struct Entry {
        lb_service value{};
        const Selection* selection = nullptr;  // null: an earlier agent's, or an address' other ports
        std::unique_ptr<Extra> extra;
        bool adopted = false;  // and not put yet: it holds a table of its own

        [[nodiscard]] const std::vector<Prefix>& ranges() const {
            static const std::vector<Prefix> none;
            return extra ? extra->ranges : none;
        }
    };
    struct KeyHash {
        std::size_t operator()(const FrontendKey& key) const noexcept {
            return std::hash<IpAddress>{}(key.address) ^
                   (std::size_t{key.port} << 16 | std::size_t{key.protocol} << 8 | key.scope) * 0x9E3779B97F4A7C15ULL;
        }
    };

    Status acquire(const FrontendRow& row, const std::vector<std::uint16_t>* maglev);
    void release(const Selection* selection);
    Result<std::uint16_t> take_number();
    [[nodiscard]] lb_service value_of(const FrontendKey& key, const FrontendRow& row) const;
    Status put_entry(const FrontendKey& key, const FrontendRow& row, Entry& entry, lb_service& value);
    // Affinity: the numbers of the Service and of its port, which the row's entry shares with others.
    std::string take_role(const FrontendKey& key, const FrontendRow& row, const lb_service& before, lb_service& value);
    void release_role(const std::string& name, const ServiceName& service);
    Status write_matches(Role& role, const Placed& placed);
    void trim_matches(Role& role, const Placed& placed);
    // Whether backends that the old selection had are missing in the new one: their flows look again.
    void backends_moved(const Selection* before, const Selection& now);
    Status write_value(const FrontendKey& key, Entry& entry, const lb_service& value, bool fresh);
    Status erase_entry(const FrontendKey& key, Entry& entry);
    void frontend_moved(const FrontendKey& key);

    LbMaps& maps_;
    LbTables& tables_;
    Generations& generations_;
    Backends backends_;
    Settings settings_;
    std::function<void(const LbAddress&)> backend_gone_;
    std::unordered_map<FrontendKey, Entry, KeyHash> entries_;
    std::unordered_map<const Selection*, Placed> placed_;
    std::map<std::string, Role> roles_;  // by Service, port, family, policy
    std::map<ServiceName, Group> groups_;
    std::unordered_map<std::uint32_t, std::uint32_t> timeouts_;  // of groups
    std::set<std::uint32_t> used_groups_, used_ports_;           // numbers that are given
    std::uint32_t next_group_ = 1, next_port_ = 1;
    std::vector<bool> numbers_;  // of frontends: taken
    std::uint16_t next_number_ = 1;
    std::map<std::pair<std::uint8_t, std::uint16_t>, std::uint32_t> ports_;  // frontends of the unspecified address
    std::map<std::uint32_t, std::map<std::uint32_t, std::uint32_t>> adopted_matches_;  // port -> pod -> backend
    std::set<LbSourceRange> adopted_ranges_;                                           // of no entry
    std::set<IpAddress> node_addresses_;
    // Since the last commit.
    std::set<IpAddress> moved_;
    bool node_moved_ = false;
    std::vector<LbAddress> gone_;
    ReconcileCounters counters_;
};

}  // namespace axo::service
