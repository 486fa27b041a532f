// Policy in its own words: what NetworkPolicy, CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy
// come down to before anybody knows which pods exist.
//
// The translation (translate.h) makes these from objects; the engine (desired.h) turns them, with the
// identities of the cluster, into images for the datapath. Everything is canonical: equal policies
// compare equal. Thread: any (values).
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/types.h"

namespace axo::policy {

enum class Direction : std::uint8_t { kIngress, kEgress };
inline const char* direction_text(Direction direction) {
    return direction == Direction::kIngress ? "ingress" : "egress";
}

// One condition on a set of labels. Source "any" takes a label of that key from whatever source.
struct Requirement {
    enum class Op : std::uint8_t { kIn, kNotIn, kExists, kDoesNotExist };
    std::string source = "any";
    std::string key;
    Op op = Op::kExists;
    std::vector<std::string> values;  // sorted, unique; of kIn and kNotIn only
    friend auto operator<=>(const Requirement&, const Requirement&) = default;
};

// All of them have to hold; empty: every identity. Sorted, unique.
struct LabelQuery {
    std::vector<Requirement> all;
    friend auto operator<=>(const LabelQuery&, const LabelQuery&) = default;
};

// Addresses outside the cluster: identities of prefixes inside `cidr` and inside none of `except`.
// Identities without a prefix (pods, nodes) never match.
struct CidrQuery {
    Prefix cidr;
    std::vector<Prefix> except;  // sorted, unique
    friend auto operator<=>(const CidrQuery&, const CidrQuery&) = default;
};

// Exactly one of labels and cidr is set.
struct Selector {
    std::optional<LabelQuery> labels{};
    std::optional<CidrQuery> cidr{};
    bool endpoints = false;  // written as fromEndpoints or toEndpoints: fromRequires and toRequires narrow it
    friend auto operator<=>(const Selector&, const Selector&) = default;
};

enum class Protocol : std::uint8_t {  // IANA numbers
    kAny = 0,                         // of ports: TCP, UDP and SCTP; without ports: everything
    kIcmp = 1,
    kIgmp = 2,
    kTcp = 6,
    kUdp = 17,
    kIcmpv6 = 58,
    kVrrp = 112,
    kSctp = 132,
};
// "ANY", "TCP", "ICMPv6" …
const char* protocol_text(Protocol protocol);

// Ports, or ICMP types, of one protocol. first = 0, last = 65535: all of them.
struct PortRange {
    Protocol protocol = Protocol::kAny;
    std::uint16_t first = 0;
    std::uint16_t last = 65535;
    std::string name;  // a named port, resolved by the pod that receives; first and last are meaningless then
    friend auto operator<=>(const PortRange&, const PortRange&) = default;
};

// Which object a rule comes from and where in it; what explanations print.
struct Origin {
    std::string kind;           // CiliumNetworkPolicy, CiliumClusterwideNetworkPolicy, NetworkPolicy
    std::string k8s_namespace;  // "" for cluster-wide ones
    std::string name;
    std::string uid;
    friend auto operator<=>(const Origin&, const Origin&) = default;
    // "CiliumNetworkPolicy default/web"
    [[nodiscard]] std::string to_string() const;
};

// One entry of a policy's ingress, egress, ingressDeny or egressDeny with one element of its toPorts.
struct Rule {
    Direction direction = Direction::kIngress;
    bool deny = false;
    std::string path;  // "spec.ingress[0].toPorts[1]": where in the object
    // Any of them; empty: nobody. Everybody is one selector with an empty LabelQuery.
    std::vector<Selector> peers;
    // Any of them; empty: every protocol and port.
    std::vector<PortRange> ports;
    friend auto operator<=>(const Rule&, const Rule&) = default;
};

// One spec of an object: whom it concerns and what it says.
struct Spec {
    LabelQuery subject;
    bool selects_nodes = false;  // nodeSelector: the host endpoint of nodes with these labels
    bool default_deny_ingress = false;
    bool default_deny_egress = false;
    // fromRequires, toRequires: what endpoint selectors of every policy of the same subject and direction also demand.
    std::vector<Requirement> ingress_requires, egress_requires;
    std::string description;
    std::vector<Rule> rules;
    friend auto operator<=>(const Spec&, const Spec&) = default;
};

struct Policy {
    Origin origin;
    std::vector<Spec> specs;
    friend auto operator<=>(const Policy&, const Policy&) = default;
};

enum class EnforcementMode : std::uint8_t { kDefault, kAlways, kNever };  // enable-policy

}  // namespace axo::policy
