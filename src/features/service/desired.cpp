#include "features/service/desired_state.h"

#include <algorithm>
#include <tuple>

namespace axo::service {

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

std::size_t owner_hash(ServiceEngine::SliceKind kind, std::string_view name_space, const std::string& object) {
    return std::hash<std::string>{}(std::string(name_space) + "/" + object) * 2 + static_cast<std::size_t>(kind);
}

}  // namespace

ServiceEngine::State* ServiceEngine::owner_of(SliceKind kind, const std::string& name_space,
                                              const std::string& object) {
    const auto has = [&](const State& one) {
        return one.name_space() == name_space && !one.pod &&
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
    const auto owner = owners_.find(owner_hash(kind, state.name_space(), object));
    if (owner != owners_.end() && owner->second == &state) owners_.erase(owner);
    touch(state);
}

void ServiceEngine::set_slices(const ServiceName& service, SliceKind kind, const std::string& object,
                               std::vector<SliceData> slices) {
    const bool gone = slices.empty() || service.name.empty();
    State* before = owner_of(kind, service.name_space, object);
    if (before != nullptr && (gone || before->full_name() != service.to_string())) drop_slices(*before, kind, object);
    if (gone) return;
    State& one = state(service.to_string());
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

void ServiceEngine::set_health_addresses(std::vector<IpAddress> addresses) {
    if (addresses == health_addresses_) return;
    health_addresses_ = std::move(addresses);
    if (!settings_.health_check_load_balancer_ip) return;
    for (auto& [key, one] : states_) {
        if (one->health_port != 0) touch(*one);
    }
}

void ServiceEngine::set_host_ports(const ServiceName& pod, std::vector<HostPort> ports) {
    const std::string key = std::string(State::kPodPrefix) + pod.to_string();
    if (ports.empty() && !states_.contains(key)) return;
    State& one = state(key);
    if (one.rare().host_ports == ports) return;
    one.pod = true;
    one.set_rare(&State::Rare::host_ports, std::move(ports));
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
    const auto update = [&](const std::vector<IpAddress>& told, const std::vector<IpAddress>& now,
                            std::uint32_t VirtualAddress::* count) {
        if (told == now) return;
        for (const IpAddress& address : now) ++(virtual_addresses_[address].*count);
        for (const IpAddress& address : told) --(virtual_addresses_[address].*count);
        touched.insert(now.begin(), now.end());
        touched.insert(told.begin(), told.end());
    };
    const Definition* definition = state.definition.get();
    const bool any = definition != nullptr && !definition->ports.empty();
    const std::vector<IpAddress> none;
    const auto& cluster = any && definition->cluster_ip_frontends ? definition->cluster_ips : none;
    update(state.cluster_addresses, cluster, &VirtualAddress::cluster_ip);
    state.cluster_addresses = cluster;
    const auto& balancer = any ? definition->ingress_ips : none;
    update(state.rare().balancer_addresses, balancer, &VirtualAddress::load_balancer);
    state.set_rare(&State::Rare::balancer_addresses, balancer);
}

void ServiceEngine::recompute(State& state, Changes& changes) {
    std::string problem;
    std::vector<Wanted> wanted;
    if (state.definition) problem = state.definition->problem;
    update_health_port(state, problem, changes);
    if (state.definition) {
        // Rows of an unchanged Service keep its info.
        if (!state.info || !(*state.info == *state.definition->info)) state.info = state.definition->info;
        state.definition->info = state.info;
        wanted_of_service(state, wanted, problem);
    } else if (!state.rare().host_ports.empty() && settings_.host_ports) {
        if (!state.info) {
            ServiceInfo info;
            info.name = state.name();
            info.maglev = settings_.maglev;
            info.dsr = settings_.dsr;
            state.info = std::make_shared<const ServiceInfo>(std::move(info));
        }
        wanted_of_pod(state, wanted);
    }
    emit_frontends(state, std::move(wanted), problem, changes);
    update_virtual_addresses(state, touched_addresses_);
    if (problem != state.rare().problem) {
        changes.problems.emplace_back(state.where(), problem);
        state.set_rare(&State::Rare::problem, std::move(problem));
    }
    std::vector<std::string> orphans;
    if (!state.known && !state.pod) {
        for (const State::Object& object : state.objects) {
            if (object.kind == SliceKind::kEndpointSlice) orphans.push_back(object.name);
        }
    }
    const auto where = [&state](const std::string& object) {
        return "EndpointSlice " + std::string(state.name_space()) + "/" + object;
    };
    const std::vector<std::string>& told = state.rare().orphans;
    for (const std::string& object : told) {
        if (std::ranges::find(orphans, object) == orphans.end()) changes.orphans.emplace_back(where(object), "");
    }
    for (const std::string& object : orphans) {
        if (std::ranges::find(told, object) == told.end())
            changes.orphans.emplace_back(where(object), state.name().name);
    }
    state.set_rare(&State::Rare::orphans, std::move(orphans));
}

}  // namespace axo::service
