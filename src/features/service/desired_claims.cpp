// Who gets a frontend that several would like to have, and what is told of it.
#include <unordered_set>

#include "features/service/desired_state.h"

namespace axo::service {

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
    std::vector<FrontendKey> claims, lost;  // ordered
    rows.reserve(wanted.size());
    claims.reserve(wanted.size());
    for (Wanted& one : wanted) {
        if (!claims.empty() && claims.back() == one.key) continue;
        claims.push_back(one.key);
        if (const State* holder = claim(state, one); holder != &state) {
            lost.push_back(one.key);
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
    const auto release_unclaimed = [&](const FrontendKey& key) {
        if (key.scope == LB_SCOPE_EXTERNAL && !std::ranges::binary_search(claims, key)) release(state, key);
    };
    for (const auto& [key, row] : state.frontends) release_unclaimed(key);
    for (const FrontendKey& key : state.rare().lost) release_unclaimed(key);
    state.set_rare(&State::Rare::lost, std::move(lost));
    for (auto& [key, row] : rows) {
        const FrontendRow* told = state.told(key);
        if (told == nullptr || !(*told == row)) changes.frontends.emplace_back(key, row);
    }
    const std::vector<std::pair<FrontendKey, FrontendRow>> before = std::exchange(state.frontends, std::move(rows));
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
    HealthPort now{state.name(), static_cast<std::uint32_t>(local.size())};
    HealthPort& told = health_ports_[port];
    if (told == now) return;
    told = std::move(now);
    changes.health_ports = true;
}

}  // namespace axo::service
