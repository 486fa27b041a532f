#include "app/agent/services.h"

#include <netinet/in.h>

#include "model/json.h"
#include "model/json_text.h"
#include "model/time.h"

namespace axo {

service::ModuleSettings service_settings(const Config& config, const ServicePlan& plan) {
    const ServiceConfig& services = config.services;
    service::ModuleSettings settings;
    settings.engine = {.node_name = config.node_name,
                       .ipv4 = config.ipv4,
                       .ipv6 = config.ipv6,
                       .node_ports = plan.node_port,
                       .external_ips = plan.external_ips,
                       .host_ports = plan.host_port,
                       .session_affinity = plan.session_affinity,
                       .maglev = services.algorithm == LB_MAGLEV,
                       .algorithm_annotation = services.algorithm_annotation,
                       .mode_annotation = services.mode_annotation,
                       .dsr = services.mode == LB_MODE_DSR,
                       .external_cluster_ip = plan.programs.external_cluster_ip,
                       .service_topology = services.topology,
                       .source_range_all_types = plan.programs.source_range_all_types,
                       .health_check_node_port = plan.node_port && services.health_check_node_port,
                       .health_check_load_balancer_ip =
                           plan.node_port && services.health_check_node_port && services.health_check_load_balancer_ip,
                       .proxy_name = services.proxy_name};
    settings.maglev_table_size = services.maglev_table_size;
    settings.maglev_hash_seed = services.maglev_hash_seed;
    settings.watch_nodes = false;  // the control plane watches this node's object already
    return settings;
}

std::vector<service::HostPort> host_ports(const std::vector<PodHostPort>& ports, const EndpointRow& endpoint) {
    std::vector<service::HostPort> all;
    for (const PodHostPort& port : ports) {
        service::HostPort row{.port = port.port,
                              .protocol = port.protocol == "UDP"    ? std::uint8_t{IPPROTO_UDP}
                                          : port.protocol == "SCTP" ? std::uint8_t{IPPROTO_SCTP}
                                                                    : std::uint8_t{IPPROTO_TCP},
                              .address = port.address.is_unspecified() ? IpAddress{} : port.address,
                              .pod_port = port.container_port,
                              .pods = {}};
        for (const IpAddress& ip : {endpoint.ipv4, endpoint.ipv6}) {
            if (ip) row.pods.push_back(ip);
        }
        all.push_back(std::move(row));
    }
    return all;
}

std::string direct_routing_device(const DatapathDecisions& decisions) {
    for (const NativeDevice& device : decisions.devices) {
        for (const IpAddress& ip : device.addresses) {
            if (ip == decisions.node_ipv4 || ip == decisions.node_ipv6) return device.name;
        }
    }
    return {};
}

std::string direct_routing_device_warning(const std::string& given, const DatapathDecisions& decisions) {
    const std::string used = direct_routing_device(decisions);
    if (given.empty() || given == used) return {};
    std::string devices;
    for (const NativeDevice& device : decisions.devices) devices += (devices.empty() ? "" : ", ") + device.name;
    return "direct-routing-device='" + given + "': " +
           (used.empty() ? "no native device (" + devices + ") has the node's address"
                         : "'" + used + "' is used, because it has the node's address") +
           "; give the node an address of the wanted device, or remove the setting";
}

AgentServices::AgentServices(EventLoop& loop, LbMaps maps, LbTables tables, Callbacks callbacks)
    : loop_(loop), callbacks_(std::move(callbacks)), maps_(std::move(maps)), tables_(std::move(tables)) {}

Result<std::unique_ptr<AgentServices>> AgentServices::create(EventLoop& loop, ControllerRegistry& registry,
                                                             ObjectStore& store, const Config& config,
                                                             const ServicePlan& plan, Datapath& datapath,
                                                             Callbacks callbacks) {
    const BpfPaths& paths = config.datapath.paths;
    TRY_ASSIGN(LbMaps maps, LbMaps::open(paths));
    TRY_ASSIGN(LbTables tables, LbTables::open(paths.map(map_name::kLbTables)));
    std::unique_ptr<AgentServices> services(
        new AgentServices(loop, std::move(maps), std::move(tables), std::move(callbacks)));
    if (const std::string warning =
            direct_routing_device_warning(config.services.direct_routing_device, datapath.decisions());
        !warning.empty())
        services->log_.warn(warning);
    services->health_ = std::make_unique<service::HealthServer>(loop, registry, services->callbacks_.verdicts.rejected,
                                                                services->callbacks_.verdicts.accepted);
    services->start_terminator(paths, plan);
    AgentServices* self = services.get();
    services->module_ = std::make_unique<service::ServiceModule>(
        loop, registry, store, service_settings(config, plan), services->maps_, services->tables_,
        datapath.generations(),
        service::ServiceModule::Callbacks{
            .rejected = services->callbacks_.verdicts.rejected,
            .accepted = services->callbacks_.verdicts.accepted,
            .backend_gone =
                [self](const LbAddress& backend) {
                    if (self->terminator_) self->terminator_->backend_gone(backend);
                },
            .health_ports =
                [self](const std::map<std::uint16_t, service::HealthPort>& ports) { self->health_->set_ports(ports); },
        });
    services->serve_kube_proxy_healthz(config);
    return services;
}

void AgentServices::start_terminator(const BpfPaths& paths, const ServicePlan& plan) {
    if (!plan.socket_lb) return;
    auto maps = SocketMaps::open(paths);
    if (!maps) {
        log_.warn("Sockets of backends that go are not ended", {maps.error()});
        return;
    }
    auto made = SocketTerminator::create(
        loop_, std::move(*maps),
        {.tcp = plan.programs.sockets.terminate_pod_connections, .pod_namespaces = callbacks_.pod_namespaces});
    if (made) {
        terminator_ = std::move(*made);
    } else {
        log_.warn("Sockets of backends that go are not ended", {made.error()});
    }
}

Status AgentServices::start() {
    return module_->start([this] {
        synced_ = true;
        callbacks_.synced();
    });
}

// What load balancers in front of the cluster ask kube-proxy.
void AgentServices::serve_kube_proxy_healthz(const Config& config) {
    const ServiceConfig& services = config.services;
    if (services.healthz_port == 0) return;
    healthz_ = std::make_unique<HttpServer>(
        loop_, [this](const HttpRequest& request, const std::shared_ptr<HttpResponder>& responder) {
            HttpResponse response;
            if (request.path != "/healthz") {
                response.status = 404;
            } else {
                const std::string now = format_time_nano(std::chrono::system_clock::now());
                response.status = synced_ ? 200 : 503;
                response.body = json_text(Json{{"lastUpdated", now}, {"currentTime", now}}) + "\n";
            }
            responder->send(std::move(response));
        });
    if (auto listening = healthz_->listen_tcp(services.healthz_address, services.healthz_port); !listening)
        log_.error("kube-proxy's /healthz is not served", {listening.error()});
}

}  // namespace axo
