// Which frontends a Service or a pod would like to have, and where they lead.
#include <netinet/in.h>

#include <array>
#include <span>

#include "features/service/desired_state.h"
#include "features/service/select.h"

namespace axo::service {
namespace {

// The endpoints of one port in one family.
std::vector<Candidate> candidates_of(std::span<const std::vector<SliceData>* const> objects,
                                     const Definition::Port& port, const Definition& definition, Family family,
                                     SharedText node) {
    std::vector<Candidate> candidates;
    for (const std::vector<SliceData>* slices : objects) {
        for (const SliceData& slice : *slices) {
            if (slice.family != family) continue;
            for (const SliceData::Port& target : slice.ports) {
                if (target.name != port.name || target.protocol != port.protocol || target.port == 0) continue;
                candidates.reserve(candidates.size() + slice.endpoints.size());
                for (std::size_t number = 0; number < slice.endpoints.size(); ++number) {
                    const SliceData::Endpoint& endpoint = slice.endpoints[number];
                    candidates.push_back({.address = {endpoint.address, target.port, port.protocol},
                                          .ready = endpoint.ready || definition.publish_not_ready,
                                          .serving = endpoint.serving,
                                          .terminating = endpoint.terminating,
                                          .local = !node.empty() && endpoint.node == node,
                                          .node = endpoint.node,
                                          .zone = endpoint.zone,
                                          .hints = slice.hints.empty() ? nullptr : &slice.hints[number]});
                }
            }
        }
    }
    normalise(candidates);
    return candidates;
}

// The checksum of SCTP covers its ports and cannot be brought up to date: what would need another port is left out.
// Returns how many that are.
std::size_t leave_out_port_translation(Selection& selection, std::uint16_t port) {
    const auto differs = [&](const Backend& backend) { return backend.address.port != port; };
    selection.usable -= static_cast<std::uint32_t>(
        std::count_if(selection.backends.begin(), selection.backends.begin() + selection.usable, differs));
    return std::erase_if(selection.backends, differs);
}

IpAddress any_address(Family family) {
    return family == Family::kIpv6 ? IpAddress::v6(std::array<std::uint8_t, 16>{})
                                   : IpAddress::v4(std::array<std::uint8_t, 4>{});
}

}  // namespace

void ServiceEngine::wanted_of_service(State& state, std::vector<Wanted>& wanted, std::string& problem) {
    const Definition& definition = *state.definition;
    const ServiceInfo& info = *definition.info;
    std::vector<const std::vector<SliceData>*> objects;
    for (const SliceKind kind : {SliceKind::kEndpointSlice, SliceKind::kEndpoints}) {
        if (!objects.empty()) break;
        for (const State::Object& object : state.objects) {
            if (object.kind == kind) objects.push_back(&object.slices);
        }
    }
    const bool ranges = !info.source_ranges.empty();
    std::size_t not_ready = 0;
    for (const Family family : {Family::kIpv4, Family::kIpv6}) {
        const auto of_family = [family](const IpAddress& ip) { return ip.family() == family; };
        const bool cluster = std::ranges::any_of(definition.cluster_ips, of_family);
        if (!cluster && std::ranges::none_of(definition.ingress_ips, of_family) &&
            std::ranges::none_of(definition.external_ips, of_family)) {
            continue;
        }
        for (std::size_t number = 0; number < definition.ports.size(); ++number) {
            const Definition::Port& port = definition.ports[number];
            const std::vector<Candidate> candidates = candidates_of(objects, port, definition, family, node_);
            const auto all = state.shared(select_cluster(candidates, definition.hints, node_, zone_));
            std::shared_ptr<const Selection> local;
            if (info.external_local || info.internal_local) local = state.shared(select_local(candidates));
            if (all->usable == 0) not_ready = std::max(not_ready, candidates.size());

            const auto add = [&](const IpAddress& ip, std::uint16_t frontend_port, FrontendType type) {
                Wanted one;
                one.key = {ip, frontend_port, port.protocol, LB_SCOPE_EXTERNAL};
                one.type = type;
                one.port_name = port.name;
                if (type == FrontendType::kClusterIp) {
                    one.local_only = info.internal_local;
                    one.maglev = info.maglev && settings_.external_cluster_ip;
                } else {
                    one.local_only = info.external_local;
                    one.maglev = info.maglev;
                }
                one.source_ranges = ranges && (type == FrontendType::kLoadBalancer || settings_.source_range_all_types);
                one.external = one.local_only ? local : all;
                if (one.local_only && type != FrontendType::kClusterIp) one.internal = all;
                std::size_t left_out = 0;
                for (auto* selection : {&one.external, &one.internal}) {
                    if (port.protocol != IPPROTO_SCTP || !*selection) continue;
                    Selection rest = **selection;
                    if (const auto count = leave_out_port_translation(rest, frontend_port); count != 0) {
                        left_out += count;
                        *selection = state.shared(std::move(rest));
                    }
                }
                if (left_out != 0) {
                    state.add_problem(problem, "spec.ports[" + std::to_string(number) + "]: " + one.key.to_string() +
                                                   ": SCTP cannot be led to another port; accepted: a targetPort of " +
                                                   std::to_string(frontend_port));
                }
                wanted.push_back(std::move(one));
            };
            if (definition.cluster_ip_frontends) {
                for (const IpAddress& ip : definition.cluster_ips) {
                    if (of_family(ip)) add(ip, port.port, FrontendType::kClusterIp);
                }
            }
            for (const IpAddress& ip : definition.ingress_ips) {
                if (of_family(ip)) add(ip, port.port, FrontendType::kLoadBalancer);
            }
            if (cluster && definition.node_port_frontends && port.node_port != 0)
                add(any_address(family), port.node_port, FrontendType::kNodePort);
            for (const IpAddress& ip : definition.external_ips) {
                if (of_family(ip)) add(ip, port.port, FrontendType::kExternalIp);
            }
        }
        if (settings_.health_check_load_balancer_ip) wanted_health_checks(state, family, wanted);
    }
    if (not_ready != 0)
        state.add_problem(problem, "0 of " + std::to_string(not_ready) + " endpoints are ready: it cannot be reached");
}

void ServiceEngine::wanted_health_checks(State& state, Family family, std::vector<Wanted>& wanted) {
    const auto own = std::ranges::find(health_addresses_, family, &IpAddress::family);
    if (state.health_port == 0 || own == health_addresses_.end()) return;
    for (const IpAddress& ip : state.definition->ingress_ips) {
        if (ip.family() != family) continue;
        Wanted one;
        one.key = {ip, state.health_port, IPPROTO_TCP, LB_SCOPE_EXTERNAL};
        one.type = FrontendType::kLoadBalancer;
        one.external = state.shared(one_local({*own, state.health_port, IPPROTO_TCP}));
        wanted.push_back(std::move(one));
    }
}

void ServiceEngine::wanted_of_pod(State& state, std::vector<Wanted>& wanted) {
    for (const HostPort& port : state.rare().host_ports) {
        for (const IpAddress& pod : port.pods) {
            if (port.address && port.address.family() != pod.family()) continue;
            if (pod.is_v6() ? !settings_.ipv6 : !settings_.ipv4) continue;
            Wanted one;
            one.key = {port.address ? port.address : any_address(pod.family()), port.port, port.protocol,
                       LB_SCOPE_EXTERNAL};
            one.type = FrontendType::kHostPort;
            one.external = state.shared(one_local({pod, port.pod_port, port.protocol}));
            wanted.push_back(std::move(one));
        }
    }
}

Selection ServiceEngine::one_local(const LbAddress& address) const {
    return {.backends = {{.address = address,
                          .state = BackendState::kActive,
                          .local = true,
                          .weight = 1,
                          .node = node_,
                          .zone = zone_}},
            .usable = 1};
}

}  // namespace axo::service
