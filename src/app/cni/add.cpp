// ADD: configuration, addresses, interface pair, endpoint; in reverse order back when a step fails.
#include <thread>

#include "app/cni/commands.h"
#include "app/cni/pod_interface.h"
#include "base/log.h"
#include "kernel/netns.h"

namespace axo::cni {
namespace {

const Logger kLog("cilium-cni");

struct Connection {
    Agent agent;
    AgentConfig config;
};

// An agent that is starting refuses connections or answers 503 for a moment; a pod need not fail for that.
Outcome<Connection> connect_and_configure(const Session& session) {
    const auto deadline = Agent::Clock::now() + session.patience;
    while (true) {
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Agent::Clock::now());
        TRY_ASSIGN(Agent agent, Agent::connect(session.socket_path, std::max(left, std::chrono::milliseconds(0)),
                                               session.call_timeout));
        auto config = agent.config();
        if (config) return Connection{std::move(agent), std::move(*config)};
        const bool passing =
            config.error().code == ErrorCode::kTryAgainLater || config.error().code == ErrorCode::kAgentUnreachable;
        if (!passing || Agent::Clock::now() + std::chrono::milliseconds(100) >= deadline)
            return std::unexpected(std::move(config.error()));
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
}

Done check_supported(const AgentConfig& config) {
    if (config.ipam_mode == "delegated-plugin") {
        return refuse(ErrorCode::kUnsupportedField, "the agent's IPAM mode \"delegated-plugin\" is not supported",
                      "set ipam to cluster-pool or kubernetes");
    }
    if (!config.datapath_mode.empty() && config.datapath_mode != "veth") {
        return refuse(ErrorCode::kUnsupportedField,
                      "the agent's datapath mode \"" + config.datapath_mode + "\" is not supported",
                      "set datapath-mode to veth");
    }
    return {};
}

std::string owner_of(const Request& request) {
    if (request.pod.name.empty()) return request.attachment.container_id;
    return request.pod.name_space + "/" + request.pod.name;
}

// Undoes, in the opposite order, whatever an ADD has got so far.
class Rollback {
public:
    Rollback(const Session& session, Agent& agent) : session_(session), agent_(agent) {}
    ~Rollback() {
        if (done_) return;
        if (interface_ != nullptr) interface_->remove(session_.request.attachment);
        if (!release_addresses_) return;
        agent_.release(lease_.v4, owner_of(session_.request));
        agent_.release(lease_.v6, owner_of(session_.request));
    }
    Rollback(const Rollback&) = delete;
    Rollback& operator=(const Rollback&) = delete;

    void allocated(Lease lease) {
        lease_ = std::move(lease);
        release_addresses_ = true;
    }
    void interface_made(PodInterface& interface) { interface_ = &interface; }
    void commit() { done_ = true; }

    // After a PUT that failed, or a later step. `status`: the answer, 0 for none. The host interface is ours alone,
    // so an endpoint of this attachment is either ours or the stale one that a 409 complains about.
    void endpoint_in_doubt(int status) {
        if (status == 0) {
            // The connection is lost and the agent may be half way: it must forget the container whenever it is back.
            // The addresses go with the endpoint, or with their lease.
            release_addresses_ = false;
            if (auto removed = remove_or_queue(session_, session_.request.attachment.container_id); !removed) {
                kLog.error("Failed to remove the endpoint of a failed ADD", {{"error", removed.error().message}});
            }
            return;
        }
        auto removed = agent_.remove_endpoint(session_.request.attachment);
        // A removed endpoint has given its addresses back; by now they may be another pod's.
        if (removed && *removed) release_addresses_ = false;
    }

private:
    const Session& session_;
    Agent& agent_;
    Lease lease_;
    PodInterface* interface_ = nullptr;
    bool release_addresses_ = false;
    bool done_ = false;
};

AddResult result_of(const PodInterfaceSpec& spec, const std::string& netns) {
    AddResult result;
    result.interfaces = {{spec.attachment.host_interface(), spec.host_mac.to_string(), {}, spec.device_mtu},
                         {spec.attachment.ifname, spec.mac.to_string(), netns, spec.device_mtu}};
    for (const FamilyLease* lease : {&spec.lease.v4, &spec.lease.v6}) {
        if (lease->address) result.ips.push_back({lease->address, lease->address.bits(), lease->gateway, 1});
    }
    for (const Route& route : pod_routes(spec.lease, IfIndex{}, spec.device_mtu, spec.route_mtu)) {
        result.routes.push_back({route.destination, route.gateway.value_or(IpAddress()), route.mtu});
    }
    return result;
}

}  // namespace

Outcome<std::string> run_add(const Session& session) {
    const Request& request = session.request;
    TRY_ASSIGN(const PodNamespace pod, PodNamespace::open(request.netns));
    TRY_ASSIGN(PodInterface interface, PodInterface::prepare(pod, request.attachment.ifname));
    TRY_ASSIGN(Connection connection, connect_and_configure(session));
    Agent& agent = connection.agent;
    const AgentConfig& config = connection.config;
    TRY(check_supported(config));

    Rollback rollback(session, agent);
    TRY_ASSIGN(const Lease lease, agent.allocate(owner_of(request)));
    rollback.allocated(lease);

    PodInterfaceSpec spec;
    spec.attachment = request.attachment;
    spec.lease = lease;
    spec.device_mtu = request.conf.mtu != 0 ? request.conf.mtu : config.device_mtu;
    spec.route_mtu = config.route_mtu;
    spec.gso_max_size = config.gso_max_size;
    spec.gro_max_size = config.gro_max_size;
    spec.mac = MacAddress::random();
    spec.host_mac = MacAddress::random();
    spec.reserved_ports = config.reserved_ports;
    spec.path_mtu_discovery = config.path_mtu_discovery;
    if (auto created = interface.create(pod, spec); !created) {
        return refuse(created.error().code == Code::kInvalidArgument ? ErrorCode::kInvalidConfig : ErrorCode::kIo,
                      "setting up the pod's interface", created.error());
    }
    rollback.interface_made(interface);

    PodEndpoint endpoint;
    endpoint.attachment = request.attachment;
    endpoint.pod = request.pod;
    endpoint.lease = lease;
    endpoint.netns = request.netns;
    endpoint.netns_cookie = netns_cookie(pod.fd()).value_or(0);
    endpoint.host_interface = request.attachment.host_interface();
    endpoint.host_index = interface.host_index().value;
    endpoint.mac = spec.mac;
    endpoint.host_mac = spec.host_mac;
    const auto wanted_mac = agent.create_endpoint(endpoint);
    if (!wanted_mac) {
        rollback.endpoint_in_doubt(wanted_mac.error().status);
        return std::unexpected(wanted_mac.error().error);
    }
    if (!wanted_mac->is_zero()) {
        if (auto set = interface.set_mac(request.attachment, *wanted_mac); !set) {
            rollback.endpoint_in_doubt(200);
            return refuse(ErrorCode::kIo, "setting the MAC address that the agent asks for", set.error());
        }
        spec.mac = *wanted_mac;
    }
    rollback.commit();
    return encode_result(result_of(spec, request.netns), request.conf.cni_version);
}

}  // namespace axo::cni
