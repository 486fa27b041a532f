// The spec of CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy as it is written, checked for everything that
// does not depend on settings or on other objects. What it means: features/policy/translate.h. Thread: any (values).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "model/labels.h"
#include "model/policy_selector.h"

namespace axo {

// Exactly one of cidr, group and group_selector.
struct PolicyCidrRule {
    std::optional<PolicyCidr> cidr;
    std::string group;                            // name of a CiliumCIDRGroup
    std::optional<LabelSelector> group_selector;  // of labels of CiliumCIDRGroups
    std::vector<PolicyCidr> except;               // inside cidr when that is given
    friend bool operator==(const PolicyCidrRule&, const PolicyCidrRule&) = default;
};

// Exactly one of name and selector.
struct PolicyServiceReference {
    std::string name_space;  // "": of any namespace
    std::string name;
    std::optional<LabelSelector> selector;  // of the Services' own labels
    friend bool operator==(const PolicyServiceReference&, const PolicyServiceReference&) = default;
};

struct PolicyPort {
    std::uint16_t first = 0;  // 0: every port of the protocol
    std::uint16_t last = 0;   // = first unless there is an endPort
    std::string name;         // a named port in lower case; the numbers are meaningless then
    std::string protocol;     // ANY, TCP, UDP, SCTP, VRRP, IGMP
    friend bool operator==(const PolicyPort&, const PolicyPort&) = default;
};

struct PolicyIcmpField {
    Family family = Family::kIpv4;
    std::uint8_t type = 0;
    friend bool operator==(const PolicyIcmpField&, const PolicyIcmpField&) = default;
};

// One element of ingress, ingressDeny, egress or egressDeny. At most one of the kinds of peers has elements.
struct PolicyEntry {
    bool peers_given = false;  // some list of peers is there, if only an empty one
    bool nobody = false;       // … and one of them is empty: nobody is selected
    std::vector<LabelSelector> endpoints;
    std::vector<LabelSelector> nodes;
    std::vector<LabelSelector> required;  // fromRequires, toRequires
    std::vector<std::string> entities;
    std::vector<PolicyCidr> cidrs;
    std::vector<PolicyCidrRule> cidr_set;
    std::vector<PolicyServiceReference> services;
    std::vector<std::vector<PolicyPort>> to_ports;    // element by element; empty: no such restriction
    std::vector<std::vector<PolicyIcmpField>> icmps;  // likewise; not together with to_ports
    friend bool operator==(const PolicyEntry&, const PolicyEntry&) = default;
};

struct PolicySpec {
    std::string path;  // "spec", "specs[1]"
    // Exactly one of the two.
    std::optional<LabelSelector> endpoint_selector;
    std::optional<LabelSelector> node_selector;
    std::vector<PolicyEntry> ingress, ingress_deny, egress, egress_deny;
    std::optional<bool> default_deny_ingress, default_deny_egress;  // enableDefaultDeny
    std::vector<Label> labels;
    std::string description;
    std::string log;
    // What is written with members that are not enforced yet (DNS names, L7, TLS, listeners, authentication, groups
    // of cloud providers), by path: "spec.egress[0].toFQDNs". Empty ones and authentication "disabled" do not count.
    std::map<std::string, Json> unenforced;
    friend bool operator==(const PolicySpec&, const PolicySpec&) = default;
};

PolicySpec read_policy_spec(const JsonReader& reader);

inline constexpr std::size_t kMaxPolicyPorts = 40;       // in one element of toPorts
inline constexpr std::size_t kMaxPolicyIcmpFields = 40;  // in one element of icmps

// toPorts of an entry; deny: of ingressDeny or egressDeny, which know ports only.
std::vector<std::vector<PolicyPort>> read_policy_ports(const JsonReader& entry, bool deny,
                                                       std::map<std::string, Json>& unenforced);
std::vector<std::vector<PolicyIcmpField>> read_policy_icmps(const JsonReader& entry);

}  // namespace axo
