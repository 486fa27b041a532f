// NetworkPolicy (networking.k8s.io/v1), checked as Kubernetes' API server checks it. Read only.
// Thread: any (values).
#pragma once

#include <optional>
#include <vector>

#include "model/meta.h"
#include "model/policy_rule.h"

namespace axo {

struct NetworkPolicy {
    static constexpr std::string_view kApiVersion = "networking.k8s.io/v1";
    static constexpr std::string_view kKind = "NetworkPolicy";

    // Either ip_block alone or at least one of the selectors.
    struct Peer {
        std::optional<LabelSelector> pod_selector;
        std::optional<LabelSelector> namespace_selector;
        std::optional<PolicyCidrRule> ip_block;  // cidr and except only
        friend bool operator==(const Peer&, const Peer&) = default;
    };
    struct Rule {
        std::vector<Peer> peers;        // empty: everybody
        std::vector<PolicyPort> ports;  // TCP, UDP or SCTP; empty: every port and protocol
        friend bool operator==(const Rule&, const Rule&) = default;
    };

    ObjectMeta metadata;
    LabelSelector pod_selector;
    std::vector<Rule> ingress, egress;
    // policyTypes, or what follows from its absence. Rules of a direction that it does not name have no effect.
    bool affects_ingress = false;
    bool affects_egress = false;

    static Result<NetworkPolicy> parse(const Json& json);
    friend bool operator==(const NetworkPolicy&, const NetworkPolicy&) = default;
};

}  // namespace axo
