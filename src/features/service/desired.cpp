#include "features/service/desired.h"

#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <tuple>
#include <unordered_set>

#include "features/service/select.h"

namespace axo::service {

// A frontend as a Service would like to have it.
struct ServiceEngine::Wanted {
    FrontendKey key;  // of external scope
    FrontendType type = FrontendType::kClusterIp;
    SharedText port_name;
    std::shared_ptr<const Selection> external, internal;  // internal: null unless there are two scopes
    bool local_only = false;                              // of the external scope, or of the only one
    bool source_ranges = false;
    bool maglev = false;
};

// A Service, or a pod with host ports.
struct ServiceEngine::State {
    struct Object {
        SliceKind kind;
        std::string name;
        std::vector<SliceData> slices;
    };
    std::string_view key;  // stands in states_
    ServiceName name;
    bool pod = false;
    bool known = false;  // there is such an object
    bool queued = false;
    std::unique_ptr<Definition> definition;
    std::vector<Object> objects;
    std::vector<HostPort> host_ports;
    // What has been told.
    std::shared_ptr<const ServiceInfo> info;
    std::vector<std::pair<FrontendKey, FrontendRow>> frontends;  // ordered
    std::vector<FrontendKey> claims;                             // ordered
    std::vector<IpAddress> cluster_addresses, balancer_addresses;
    std::uint16_t health_port = 0;
    std::string problem;
    std::vector<std::string> orphans;

    [[nodiscard]] bool used() const { return known || !objects.empty() || !host_ports.empty(); }
    [[nodiscard]] std::string where() const { return (pod ? "Pod " : "Service ") + name.to_string(); }
    [[nodiscard]] const FrontendRow* told(const FrontendKey& frontend) const {
        const auto found = std::ranges::lower_bound(frontends, frontend, {}, [](const auto& one) { return one.first; });
        return found == frontends.end() || found->first != frontend ? nullptr : &found->second;
    }
    // What was told already is told as the same object.
    [[nodiscard]] std::shared_ptr<const Selection> shared(Selection selection) const {
        for (const auto& [frontend, row] : frontends) {
            if (*row.selection == selection) return row.selection;
        }
        return std::make_shared<const Selection>(std::move(selection));
    }
    void add_problem(std::string& to, const std::string& text) const { to += (to.empty() ? "" : "; ") + text; }
};

// Who would like to have a frontend.
struct ServiceEngine::Claim {
    struct Claimant {
        State* state;
        FrontendType type;

        [[nodiscard]] auto precedence() const {
            const int rank = type == FrontendType::kClusterIp ? 0 : type == FrontendType::kHostPort ? 2 : 1;
            const std::string_view created = state->definition ? state->definition->created : std::string_view();
            return std::tuple(rank, created.empty() ? std::string_view("~") : created, state->key);
        }
    };
    Claimant holder;
    std::vector<Claimant> others;

    // The best one becomes the holder.
    void decide() {
        for (Claimant& other : others) {
            if (other.precedence() < holder.precedence()) std::swap(other, holder);
        }
    }
};

std::size_t ServiceEngine::ClaimHash::operator()(const FrontendKey& key) const noexcept {
    return std::hash<IpAddress>{}(key.address) ^ (std::size_t{key.port} << 8 | key.protocol) * 0x9E3779B97F4A7C15ULL;
}

ServiceEngine::ServiceEngine(EngineSettings settings) : settings_(std::move(settings)), node_(settings_.node_name) {}
ServiceEngine::~ServiceEngine() = default;

ServiceEngine::State& ServiceEngine::state(const std::string& key) {
    const auto [entry, fresh] = states_.try_emplace(key);
    if (fresh) {
        entry->second = std::make_unique<State>();
        entry->second->key = entry->first;
    }
    return *entry->second;
}

void ServiceEngine::touch(State& state) {
    if (std::exchange(state.queued, true)) return;
    dirty_.push_back(&state);
}

void ServiceEngine::set_service(const ServiceName& name, std::optional<Definition> definition) {
    State& one = state(name.to_string());
    one.name = name;
    one.known = true;
    defined_ += definition.has_value();
    defined_ -= one.definition != nullptr;
    one.definition = definition ? std::make_unique<Definition>(std::move(*definition)) : nullptr;
    touch(one);
}

void ServiceEngine::remove_service(const ServiceName& name) {
    const auto found = states_.find(name.to_string());
    if (found == states_.end()) return;
    State& one = *found->second;
    one.known = false;
    defined_ -= one.definition != nullptr;
    one.definition.reset();
    touch(one);
}

namespace {

std::size_t owner_hash(ServiceEngine::SliceKind kind, const std::string& name_space, const std::string& object) {
    return std::hash<std::string>{}(name_space + "/" + object) * 2 + static_cast<std::size_t>(kind);
}

}  // namespace

ServiceEngine::State* ServiceEngine::owner_of(SliceKind kind, const std::string& name_space,
                                              const std::string& object) {
    const auto has = [&](const State& one) {
        return one.name.name_space == name_space && !one.pod &&
               std::ranges::any_of(
                   one.objects, [&](const State::Object& known) { return known.kind == kind && known.name == object; });
    };
    const auto known = owners_.find(owner_hash(kind, name_space, object));
    if (known == owners_.end()) return nullptr;
    if (has(*known->second)) return known->second;
    // Two of one hash.
    for (const auto& [key, one] : states_) {
        if (has(*one)) return one.get();
    }
    return nullptr;
}

void ServiceEngine::drop_slices(State& state, SliceKind kind, const std::string& object) {
    std::erase_if(state.objects,
                  [&](const State::Object& known) { return known.kind == kind && known.name == object; });
    const auto owner = owners_.find(owner_hash(kind, state.name.name_space, object));
    if (owner != owners_.end() && owner->second == &state) owners_.erase(owner);
    touch(state);
}

void ServiceEngine::set_slices(const ServiceName& service, SliceKind kind, const std::string& object,
                               std::vector<SliceData> slices) {
    const bool gone = slices.empty() || service.name.empty();
    State* before = owner_of(kind, service.name_space, object);
    if (before != nullptr && (gone || before->name != service)) drop_slices(*before, kind, object);
    if (gone) return;
    State& one = state(service.to_string());
    one.name = service;
    owners_.insert_or_assign(owner_hash(kind, service.name_space, object), &one);
    const auto entry = std::ranges::find_if(
        one.objects, [&](const State::Object& known) { return known.kind == kind && known.name == object; });
    if (entry == one.objects.end()) {
        one.objects.push_back({kind, object, std::move(slices)});
        std::ranges::sort(one.objects, {}, [](const State::Object& known) { return std::tie(known.kind, known.name); });
        one.objects.shrink_to_fit();
    } else {
        if (entry->slices == slices) return;
        entry->slices = std::move(slices);
    }
    touch(one);
}

void ServiceEngine::set_zone(const std::string& zone) {
    const SharedText text(zone);
    if (text == zone_) return;
    zone_ = text;
    for (auto& [key, one] : states_) {
        if (one->definition && one->definition->hints) touch(*one);
    }
}

void ServiceEngine::set_host_ports(const ServiceName& pod, std::vector<HostPort> ports) {
    const std::string key = "pod:" + pod.to_string();
    if (ports.empty() && !states_.contains(key)) return;
    State& one = state(key);
    if (one.host_ports == ports) return;
    one.name = pod;
    one.pod = true;
    one.host_ports = std::move(ports);
    touch(one);
}

void ServiceEngine::set_node_addresses(std::set<IpAddress> addresses) {
    std::ranges::set_symmetric_difference(node_addresses_, addresses,
                                          std::inserter(touched_addresses_, touched_addresses_.end()));
    node_addresses_ = std::move(addresses);
}

ServiceEngine::Changes ServiceEngine::take_changes(std::size_t limit) {
    Changes changes;
    std::size_t done = 0;
    // Services that lose or win a frontend meanwhile are appended.
    for (; done < dirty_.size() && done < limit; ++done) {
        State& one = *dirty_[done];
        one.queued = false;
        recompute(one, changes);
        if (!one.used() && !one.queued) states_.erase(std::string(one.key));
    }
    dirty_.erase(dirty_.begin(), dirty_.begin() + static_cast<std::ptrdiff_t>(done));
    for (const IpAddress& address : std::exchange(touched_addresses_, {})) {
        const auto found = virtual_addresses_.find(address);
        if (found == virtual_addresses_.end()) continue;
        const auto type = virtual_type(address);
        if (type != found->second.told) changes.virtual_addresses.emplace_back(address, type);
        found->second.told = type;
        if (found->second.cluster_ip + found->second.load_balancer == 0) virtual_addresses_.erase(found);
    }
    return changes;
}

std::optional<FrontendType> ServiceEngine::virtual_type(const IpAddress& address) const {
    const auto found = virtual_addresses_.find(address);
    if (found == virtual_addresses_.end() || node_addresses_.contains(address)) return std::nullopt;
    if (found->second.cluster_ip != 0) return FrontendType::kClusterIp;
    if (found->second.load_balancer != 0) return FrontendType::kLoadBalancer;
    return std::nullopt;
}

void ServiceEngine::update_virtual_addresses(State& state, std::set<IpAddress>& touched) {
    const auto update = [&](std::vector<IpAddress>& told, std::vector<IpAddress> now,
                            std::uint32_t VirtualAddress::* count) {
        if (told == now) return;
        for (const IpAddress& address : now) ++(virtual_addresses_[address].*count);
        for (const IpAddress& address : told) --(virtual_addresses_[address].*count);
        touched.insert(now.begin(), now.end());
        touched.insert(told.begin(), told.end());
        told = std::move(now);
    };
    const Definition* definition = state.definition.get();
    const bool any = definition != nullptr && !definition->ports.empty();
    update(state.cluster_addresses,
           any && definition->cluster_ip_frontends ? definition->cluster_ips : std::vector<IpAddress>{},
           &VirtualAddress::cluster_ip);
    update(state.balancer_addresses, any ? definition->ingress_ips : std::vector<IpAddress>{},
           &VirtualAddress::load_balancer);
}

void ServiceEngine::recompute(State& state, Changes& changes) {
    std::string problem;
    std::vector<Wanted> wanted;
    if (state.definition) {
        problem = state.definition->problem;
        // Rows of an unchanged Service keep its info.
        if (!state.info || !(*state.info == *state.definition->info)) state.info = state.definition->info;
        state.definition->info = state.info;
        wanted_of_service(state, wanted, problem);
    } else if (!state.host_ports.empty() && settings_.host_ports) {
        if (!state.info) {
            ServiceInfo info;
            info.name = state.name;
            info.maglev = settings_.maglev;
            info.dsr = settings_.dsr;
            state.info = std::make_shared<const ServiceInfo>(std::move(info));
        }
        wanted_of_pod(state, wanted);
    }
    emit_frontends(state, std::move(wanted), problem, changes);
    update_virtual_addresses(state, touched_addresses_);
    update_health_port(state, problem, changes);
    if (problem != state.problem) {
        changes.problems.emplace_back(state.where(), problem);
        state.problem = std::move(problem);
    }
    std::vector<std::string> orphans;
    if (!state.known && !state.pod) {
        for (const State::Object& object : state.objects) {
            if (object.kind == SliceKind::kEndpointSlice) orphans.push_back(object.name);
        }
    }
    const auto where = [&state](const std::string& object) {
        return "EndpointSlice " + state.name.name_space + "/" + object;
    };
    for (const std::string& object : state.orphans) {
        if (std::ranges::find(orphans, object) == orphans.end()) changes.orphans.emplace_back(where(object), "");
    }
    for (const std::string& object : orphans) {
        if (std::ranges::find(state.orphans, object) == state.orphans.end())
            changes.orphans.emplace_back(where(object), state.name.name);
    }
    state.orphans = std::move(orphans);
}

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
                for (const SliceData::Endpoint& endpoint : slice.endpoints) {
                    candidates.push_back({.address = {endpoint.address, target.port, port.protocol},
                                          .ready = endpoint.ready || definition.publish_not_ready,
                                          .serving = endpoint.serving,
                                          .terminating = endpoint.terminating,
                                          .local = !node.empty() && endpoint.node == node,
                                          .node = endpoint.node,
                                          .zone = endpoint.zone,
                                          .hints = endpoint.hints.get()});
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
    }
    if (not_ready != 0)
        state.add_problem(problem, "0 of " + std::to_string(not_ready) + " endpoints are ready: it cannot be reached");
}

void ServiceEngine::wanted_of_pod(State& state, std::vector<Wanted>& wanted) {
    for (const HostPort& port : state.host_ports) {
        for (const IpAddress& pod : port.pods) {
            if (port.address && port.address.family() != pod.family()) continue;
            if (pod.is_v6() ? !settings_.ipv6 : !settings_.ipv4) continue;
            Selection selection;
            selection.backends.push_back({.address = {pod, port.pod_port, port.protocol},
                                          .state = BackendState::kActive,
                                          .local = true,
                                          .weight = 1,
                                          .node = node_,
                                          .zone = zone_});
            selection.usable = 1;
            Wanted one;
            one.key = {port.address ? port.address : any_address(pod.family()), port.port, port.protocol,
                       LB_SCOPE_EXTERNAL};
            one.type = FrontendType::kHostPort;
            one.external = state.shared(std::move(selection));
            wanted.push_back(std::move(one));
        }
    }
}

const ServiceEngine::State* ServiceEngine::claim(State& state, const Wanted& wanted) {
    const auto [entry, first] = claims_.try_emplace(wanted.key, Claim{{&state, wanted.type}, {}});
    Claim& claim = entry->second;
    if (!first) {
        const State* before = claim.holder.state;
        const auto mine = std::ranges::find(claim.others, &state, &Claim::Claimant::state);
        if (before == &state) {
            claim.holder.type = wanted.type;
        } else if (mine != claim.others.end()) {
            mine->type = wanted.type;
        } else {
            claim.others.push_back({&state, wanted.type});
        }
        claim.decide();
        if (claim.holder.state != before) {
            // The others say who has it.
            if (claim.holder.state != &state) touch(*claim.holder.state);
            for (const Claim::Claimant& other : claim.others) {
                if (other.state != &state) touch(*other.state);
            }
        }
    }
    return claim.holder.state;
}

void ServiceEngine::release(State& state, const FrontendKey& key) {
    const auto entry = claims_.find(key);
    if (entry == claims_.end()) return;
    Claim& claim = entry->second;
    if (claim.holder.state != &state) {
        std::erase_if(claim.others, [&](const Claim::Claimant& one) { return one.state == &state; });
        return;
    }
    if (claim.others.empty()) {
        claims_.erase(entry);
        return;
    }
    claim.holder = claim.others.back();
    claim.others.pop_back();
    claim.decide();
    touch(*claim.holder.state);
    for (const Claim::Claimant& other : claim.others) touch(*other.state);
}

void ServiceEngine::emit_frontends(State& state, std::vector<Wanted> wanted, std::string& problem, Changes& changes) {
    // Of several of one key the first counts: types come in their order of precedence.
    std::ranges::stable_sort(wanted, {}, &Wanted::key);
    std::vector<std::pair<FrontendKey, FrontendRow>> rows;
    std::vector<FrontendKey> claims;
    rows.reserve(wanted.size());
    claims.reserve(wanted.size());
    for (Wanted& one : wanted) {
        if (!claims.empty() && claims.back() == one.key) continue;
        claims.push_back(one.key);
        if (const State* holder = claim(state, one); holder != &state) {
            state.add_problem(problem, std::string(type_name(one.type)) + " " + one.key.to_string() + ": " +
                                           holder->where() +
                                           " has it already; accepted: an address and port of its own");
            continue;
        }
        FrontendRow row{.type = one.type,
                        .id = 0,
                        .port_name = one.port_name,
                        .two_scopes = one.internal != nullptr,
                        .local_only = one.local_only,
                        .source_ranges = one.source_ranges,
                        .maglev = one.maglev,
                        .service = state.info,
                        .selection = std::move(one.external)};
        rows.emplace_back(one.key, row);
        if (one.internal) {
            row.local_only = false;
            row.selection = std::move(one.internal);
            one.key.scope = LB_SCOPE_INTERNAL;
            rows.emplace_back(one.key, std::move(row));
        }
    }
    for (const FrontendKey& key : state.claims) {
        if (!std::ranges::binary_search(claims, key)) release(state, key);
    }
    for (auto& [key, row] : rows) {
        const FrontendRow* told = state.told(key);
        if (told == nullptr || !(*told == row)) changes.frontends.emplace_back(key, row);
    }
    const std::vector<std::pair<FrontendKey, FrontendRow>> before = std::exchange(state.frontends, std::move(rows));
    state.claims = std::move(claims);
    for (const auto& [key, row] : before) {
        if (state.told(key) != nullptr) continue;
        // Whoever has it now may have told so already.
        FrontendKey external = key;
        external.scope = LB_SCOPE_EXTERNAL;
        const auto claim = claims_.find(external);
        if (claim != claims_.end() && claim->second.holder.state->told(key) != nullptr) continue;
        changes.frontends.emplace_back(key, std::nullopt);
    }
}

void ServiceEngine::update_health_port(State& state, std::string& problem, Changes& changes) {
    const std::uint16_t port = state.definition ? state.definition->info->health_check_node_port : std::uint16_t{0};
    if (state.health_port != 0 && state.health_port != port) {
        health_ports_.erase(state.health_port);
        for (auto& [key, other] : states_) {
            const bool waits = other->definition && other->health_port == 0 &&
                               other->definition->info->health_check_node_port == state.health_port;
            if (waits) touch(*other);
        }
        state.health_port = 0;
        changes.health_ports = true;
    }
    if (port == 0) return;
    if (state.health_port == 0) {
        if (const auto other = health_ports_.find(port); other != health_ports_.end()) {
            state.add_problem(problem, "spec.healthCheckNodePort: " + std::to_string(port) + ": Service " +
                                           other->second.service.to_string() +
                                           " has it already; accepted: a port of its own");
            return;
        }
        state.health_port = port;
    }
    const Family family =
        state.definition->cluster_ips.empty() ? Family::kIpv4 : state.definition->cluster_ips.front().family();
    std::unordered_set<IpAddress> local;
    for (const State::Object& object : state.objects) {
        for (const SliceData& slice : object.slices) {
            if (slice.family != family || slice.ports.empty()) continue;
            for (const SliceData::Endpoint& endpoint : slice.endpoints) {
                const bool ready = endpoint.ready || state.definition->publish_not_ready;
                if (ready && !node_.empty() && endpoint.node == node_) local.insert(endpoint.address);
            }
        }
    }
    HealthPort now{state.name, static_cast<std::uint32_t>(local.size())};
    HealthPort& told = health_ports_[port];
    if (told == now) return;
    told = std::move(now);
    changes.health_ports = true;
}

}  // namespace axo::service
