// Services in this agent: from the objects of the store to the maps that sockets and packets are translated by.
//
//   sources -> engine -> frontends table, backends, tables of backends -> entries of frontends -> generations
//
// Nothing of the maps is removed before every source has been listed once: until then what an earlier agent wrote stays
// in force. Numbers of frontends, backends and affinity groups are taken over from the maps, so an undisturbed restart
// writes nothing. What does not fit (map full) is reported for its Service; all others go on.
// Thread: the loop's only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/log.h"
#include "features/service/desired.h"

#include "io/object_store.h"
#include "maps/generations.h"
#include "maps/lb_map.h"
#include "maps/lb_tables.h"
#include "runtime/controller.h"
#include "runtime/event_loop.h"
#include "runtime/metrics.h"
#include "runtime/reconciler.h"
#include "runtime/table.h"

namespace axo::service {

using FrontendTable = Table<FrontendKey, FrontendRow>;

struct ModuleSettings {
    EngineSettings engine;
    std::uint32_t maglev_table_size = 16381;            // bpf-lb-maglev-table-size: one of maglev_table_sizes()
    std::string maglev_hash_seed = "JLfvgnHc2kaSUFaI";  // bpf-lb-maglev-hash-seed: 12 bytes in base64
    std::map<std::string, std::uint8_t> zones;          // fixed-zone-mapping
    bool watch_nodes = true;                            // Node objects; false: set_node tells
};

class ServiceModule {
public:
    struct Callbacks {
        // where: "Service ns/name", "EndpointSlice ns/name", …; accepted: nothing is wrong there any more.
        std::function<void(const std::string& where, const Error&)> rejected;
        std::function<void(const std::string& where)> accepted;
        // No frontend leads to it any more and its connections have lost it: sockets may be ended.
        std::function<void(const LbAddress&)> backend_gone;
        // port -> what it answers; all of them.
        std::function<void(const std::map<std::uint16_t, HealthPort>&)> health_ports;
    };
    // maglev_hash_seed and maglev_table_size have been checked with check_maglev_settings (maglev.h).
    ServiceModule(EventLoop& loop, ControllerRegistry& registry, ObjectStore& store, ModuleSettings settings,
                  LbMaps& maps, LbTables& tables, Generations& generations, Callbacks callbacks);
    ~ServiceModule();
    ServiceModule(const ServiceModule&) = delete;
    ServiceModule& operator=(const ServiceModule&) = delete;

    // Takes over what the maps hold. synced runs once, when what the sources say is in force.
    Status start(std::function<void()> synced);
    // Host ports of one pod of this node; owner "ns/pod", an empty list: none any more.
    void set_host_ports(const std::string& owner, std::vector<HostPort> ports);
    // What a restarted agent restored has been told: host ports of an earlier run that nobody named may go.
    void host_ports_complete();
    // Addresses of all nodes of the cluster.
    void set_node_addresses(std::set<IpAddress> addresses);
    void set_node(ServiceNode node);
    // What is outstanding is in force when it returns (but for Maglev tables that are being computed).
    void flush();

    [[nodiscard]] const FrontendTable& frontends() const { return frontends_; }
    [[nodiscard]] FrontendTable& frontends() { return frontends_; }
    // 0: nobody leads to it.
    [[nodiscard]] std::uint32_t backend_id(const LbAddress& address) const;
    struct Problem {
        std::string where, message;
    };
    // What is wrong at this moment.
    [[nodiscard]] std::vector<Problem> problems() const;
    [[nodiscard]] ReconcileCounters counters() const;
    // How long changes took. The set must not outlive this.
    void add_metrics(MetricSet& set) const;
    struct Usage {
        std::size_t services = 0, frontends = 0, backends = 0;
        SlabArena::Usage tables;
    };
    [[nodiscard]] Usage usage() const;

private:
    struct Impl;
    EventLoop& loop_;
    FrontendTable frontends_;
    std::unique_ptr<Impl> impl_;
};

}  // namespace axo::service
