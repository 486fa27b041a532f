#include "features/nat/pressure.h"

#include <netinet/in.h>

#include <algorithm>

namespace axo::nat {

namespace {

constexpr std::uint32_t kHighPercent = 80, kNearlyExhaustedPercent = 95, kStepBack = 10;

bool above(std::uint32_t used, const PortRange& range, std::uint32_t percent) {
    return std::uint64_t{used} * 100 > std::uint64_t{range.size()} * percent;
}
bool below(std::uint32_t used, const PortRange& range, std::uint32_t percent) {
    return std::uint64_t{used} * 100 < std::uint64_t{range.size()} * percent;
}

bool is_echo(std::uint8_t protocol) {
    return protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6;
}

std::string protocol_name(std::uint8_t protocol) {
    switch (protocol) {
        case IPPROTO_TCP: return "TCP";
        case IPPROTO_UDP: return "UDP";
        case IPPROTO_ICMP: return "ICMP";
        case IPPROTO_ICMPV6: return "ICMPv6";
        case IPPROTO_SCTP: return "SCTP";
        default: return std::to_string(protocol);
    }
}

}  // namespace

std::string PortTuple::to_string() const {
    std::string text = protocol_name(protocol) + " " + source.to_string() + " -> ";
    if (is_echo(protocol)) return text + destination.to_string();
    return text + (destination.is_v6() ? "[" + destination.to_string() + "]" : destination.to_string()) + ":" +
           std::to_string(destination_port);
}

void PortUseCounter::add(const FlowRow& row) {
    constexpr std::uint16_t kReserves = FLOW_F_SNAT | FLOW_F_TRANSLATED;
    if ((row.value.flags & kReserves) != kReserves) return;
    if (static_cast<std::int32_t>(row.value.expires - now_tick_) < 0) return;
    // A connection keeps its own port where that is free, which need not be one of the range.
    if (row.source_port < range_.low || row.source_port > range_.high) return;
    ++used_[{.protocol = row.protocol,
             .source = row.source,
             .destination = row.destination,
             .destination_port = is_echo(row.protocol) ? std::uint16_t{0} : row.destination_port}];
}

std::vector<PortUse> PortUseCounter::top(std::size_t entries) const {
    std::vector<PortUse> all;
    all.reserve(used_.size());
    for (const auto& [tuple, used] : used_) all.push_back({tuple, used});
    std::ranges::stable_sort(all, std::greater<>{}, &PortUse::used);
    std::size_t keep = std::min(entries, all.size());
    while (keep < all.size() && !below(all[keep].used, range_, kHighPercent - kStepBack)) ++keep;
    all.resize(keep);
    return all;
}

std::vector<PressureTracker::Problem> PressureTracker::update(const std::vector<PortUse>& uses) {
    std::vector<Problem> crossed;
    std::map<PortTuple, State> next;
    for (const PortUse& use : uses) {
        const auto known = under_pressure_.find(use.tuple);
        const Level before = known == under_pressure_.end() ? Level::kNone : known->second.level;
        State state{.level = before, .used = use.used};
        if (above(use.used, range_, kNearlyExhaustedPercent)) {
            state.level = Level::kNearlyExhausted;
        } else if (below(use.used, range_, kHighPercent - kStepBack)) {
            continue;
        } else if (before == Level::kNearlyExhausted) {
            if (below(use.used, range_, kNearlyExhaustedPercent - kStepBack)) state.level = Level::kHigh;
        } else if (above(use.used, range_, kHighPercent)) {
            state.level = Level::kHigh;
        }
        if (state.level == Level::kNone) continue;
        if (state.level > before) crossed.push_back(describe(use.tuple, state));
        next.emplace(use.tuple, state);
    }
    under_pressure_ = std::move(next);
    return crossed;
}

std::vector<PressureTracker::Problem> PressureTracker::problems() const {
    std::vector<Problem> all;
    for (const auto& [tuple, state] : under_pressure_) all.push_back(describe(tuple, state));
    return all;
}

PressureTracker::Problem PressureTracker::describe(const PortTuple& tuple, const State& state) const {
    return {"NAT " + tuple.to_string(),
            std::to_string(state.used) + " of " + std::to_string(range_.size()) + " source ports (" +
                std::to_string(std::uint64_t{state.used} * 100 / range_.size()) +
                " %) are in use; new connections fail when there are none left. Spread the connections over more "
                "destination addresses or ports, over more nodes, or keep them open for further requests; exempt the "
                "destination from masquerading (ipv4-native-routing-cidr, ip-masq-agent) if it can route to pods"};
}

}  // namespace axo::nat
