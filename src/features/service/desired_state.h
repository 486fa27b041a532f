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
    // What few of them have.
    struct Rare {
        std::vector<HostPort> host_ports;
        // What has been told.
        std::vector<FrontendKey> lost;  // claimed, and another's
        std::vector<IpAddress> balancer_addresses;
        std::string problem;
        std::vector<std::string> orphans;
        friend bool operator==(const Rare&, const Rare&) = default;
    };
    static constexpr std::string_view kPodPrefix = "pod:";
    std::string_view key;  // stands in states_
    bool pod = false;
    bool known = false;  // there is such an object
    bool queued = false;
    std::uint16_t health_port = 0;  // told
    std::unique_ptr<Definition> definition;
    std::vector<Object> objects;
    // What has been told.
    std::shared_ptr<const ServiceInfo> info;
    std::vector<std::pair<FrontendKey, FrontendRow>> frontends;  // ordered
    std::vector<IpAddress> cluster_addresses;
    std::unique_ptr<const Rare> few;  // null: nothing of it

    [[nodiscard]] const Rare& rare() const {
        static const Rare none;
        return few ? *few : none;
    }
    template <class Value>
    void set_rare(Value Rare::* what, Value value) {
        if (rare().*what == value) return;
        Rare changed = rare();
        changed.*what = std::move(value);
        few = changed == Rare{} ? nullptr : std::make_unique<const Rare>(std::move(changed));
    }

    // "ns/name"
    [[nodiscard]] std::string_view full_name() const { return pod ? key.substr(kPodPrefix.size()) : key; }
    [[nodiscard]] std::string_view name_space() const { return full_name().substr(0, full_name().find('/')); }
    [[nodiscard]] ServiceName name() const {
        return {std::string(name_space()), std::string(full_name().substr(name_space().size() + 1))};
    }
    [[nodiscard]] bool used() const { return known || !objects.empty() || !rare().host_ports.empty(); }
    [[nodiscard]] std::string where() const { return (pod ? "Pod " : "Service ") + std::string(full_name()); }
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
