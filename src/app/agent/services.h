// The agent's part in services: opens the maps, runs the module that fills them, and does what it calls for: answers on
// health check node ports, ends sockets whose backend went.
//
// Nothing of the maps is touched before the sources have been listed once, so a restart is not felt.
// Thread: the loop's only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "app/agent/config.h"
#include "app/agent/service_plan.h"
#include "datapath/datapath.h"
#include "datapath/socket_terminator.h"
#include "features/endpoint/pods.h"
#include "features/service/health_server.h"
#include "features/service/module.h"
#include "io/http.h"
#include "maps/lb_map.h"
#include "maps/lb_tables.h"

namespace axo {

// What the engine and the module are told; pure.
service::ModuleSettings service_settings(const Config& config, const ServicePlan& plan);
// Host ports of one pod, for its endpoint's addresses.
std::vector<service::HostPort> host_ports(const std::vector<PodHostPort>& ports, const EndpointRow& endpoint);
// The device whose address other nodes know this one by: traffic among nodes leaves through it. "": none has it.
std::string direct_routing_device(const DatapathDecisions& decisions);
// given: direct-routing-device. What to say about it; "": it is that device, or not given.
std::string direct_routing_device_warning(const std::string& given, const DatapathDecisions& decisions);

class AgentServices {
public:
    struct Callbacks {
        ObjectVerdicts verdicts;
        std::function<std::vector<std::string>()> pod_namespaces;  // paths
        std::function<void()> synced;                              // what the sources say is in force
    };
    // Opens the maps that the datapath has made.
    static Result<std::unique_ptr<AgentServices>> create(EventLoop& loop, ControllerRegistry& registry,
                                                         ObjectStore& store, const Config& config,
                                                         const ServicePlan& plan, Datapath& datapath,
                                                         Callbacks callbacks);
    AgentServices(const AgentServices&) = delete;
    AgentServices& operator=(const AgentServices&) = delete;

    Status start();
    [[nodiscard]] service::ServiceModule& module() { return *module_; }
    [[nodiscard]] const service::ServiceModule& module() const { return *module_; }
    [[nodiscard]] bool synced() const { return synced_; }
    // Nothing: services are not served at sockets.
    [[nodiscard]] const SocketTerminator* terminator() const { return terminator_.get(); }
    // Health check node ports that are answered.
    [[nodiscard]] std::size_t health_ports() const { return health_ ? health_->listening() : 0; }

private:
    AgentServices(EventLoop& loop, LbMaps maps, LbTables tables, Callbacks callbacks);
    void serve_kube_proxy_healthz(const Config& config);
    void start_terminator(const BpfPaths& paths, const ServicePlan& plan);

    EventLoop& loop_;
    Logger log_{"service"};
    Callbacks callbacks_;
    LbMaps maps_;
    LbTables tables_;
    std::unique_ptr<service::HealthServer> health_;
    std::unique_ptr<SocketTerminator> terminator_;
    std::unique_ptr<service::ServiceModule> module_;  // calls what stands above
    std::unique_ptr<HttpServer> healthz_;
    bool synced_ = false;
};

}  // namespace axo
