// What the engine knows of each Service between two computations; for the files of the engine only.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "features/service/desired.h"

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

}  // namespace axo::service
