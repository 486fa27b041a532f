#include "features/service/select.h"

#include <algorithm>

namespace axo::service {
namespace {

int rank(const Candidate& one) {
    return one.ready ? 3 : one.serving && one.terminating ? 2 : one.terminating ? 1 : 0;
}

bool names(const std::vector<SharedText>& texts, SharedText wanted) {
    return !wanted.empty() && std::ranges::find(texts, wanted) != texts.end();
}

enum class Topology { kNone, kNode, kZone };

Topology topology(const std::vector<Candidate>& candidates, SharedText node, SharedText zone) {
    bool all_nodes = true, all_zones = true, node_fits = false, zone_fits = false;
    for (const Candidate& one : candidates) {
        if (!one.ready) continue;
        all_nodes = all_nodes && one.hints != nullptr && !one.hints->nodes.empty();
        all_zones = all_zones && one.hints != nullptr && !one.hints->zones.empty();
        node_fits = node_fits || (one.hints != nullptr && names(one.hints->nodes, node));
        zone_fits = zone_fits || (one.hints != nullptr && names(one.hints->zones, zone));
    }
    if (all_nodes && node_fits) return Topology::kNode;
    return all_zones && zone_fits ? Topology::kZone : Topology::kNone;
}

Backend backend(const Candidate& one) {
    return {.address = one.address,
            .state = one.ready ? BackendState::kActive : BackendState::kTerminating,
            .local = one.local,
            .weight = 1,
            .node = one.node,
            .zone = one.zone};
}

// The chosen ones, then those that only keep what they have.
template <class Chosen, class Concerned>
Selection collect(const std::vector<Candidate>& candidates, Chosen chosen, Concerned concerned) {
    Selection selection;
    selection.backends.reserve(candidates.size());
    for (const Candidate& one : candidates) {
        if (chosen(one)) selection.backends.push_back(backend(one));
    }
    const auto fallback = [](const Candidate& one) { return !one.ready && one.serving && one.terminating; };
    const bool none = selection.backends.empty();
    if (none) {
        for (const Candidate& one : candidates) {
            if (concerned(one) && fallback(one)) selection.backends.push_back(backend(one));
        }
    }
    selection.usable = static_cast<std::uint32_t>(selection.backends.size());
    for (const Candidate& one : candidates) {
        if (concerned(one) && one.terminating && !one.ready && !(none && fallback(one)))
            selection.backends.push_back(backend(one));
    }
    selection.backends.shrink_to_fit();
    return selection;
}

}  // namespace

void normalise(std::vector<Candidate>& candidates) {
    std::ranges::stable_sort(candidates, [](const Candidate& a, const Candidate& b) {
        if (a.address != b.address) return a.address < b.address;
        return rank(a) > rank(b);
    });
    const auto [first, last] =
        std::ranges::unique(candidates, [](const Candidate& a, const Candidate& b) { return a.address == b.address; });
    candidates.erase(first, last);
}

Selection select_cluster(const std::vector<Candidate>& candidates, bool hints, SharedText node, SharedText zone) {
    const Topology mode = hints ? topology(candidates, node, zone) : Topology::kNone;
    return collect(
        candidates,
        [&](const Candidate& one) {
            if (!one.ready) return false;
            if (mode == Topology::kNode) return names(one.hints->nodes, node);
            return mode != Topology::kZone || names(one.hints->zones, zone);
        },
        [](const Candidate&) { return true; });
}

Selection select_local(const std::vector<Candidate>& candidates) {
    return collect(
        candidates, [](const Candidate& one) { return one.local && one.ready; },
        [](const Candidate& one) { return one.local; });
}

}  // namespace axo::service
