// Netfilter rules as text: which chains are wanted, and the iptables-restore script that leads there from what
// iptables-save prints. Pure; chains, comments and marks are Cilium's. Thread: any (no state).
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"

namespace axo::nat {

// One of our chains: jumped to from a built-in one by a "feeder" rule. Without rules it is not to be there.
struct Chain {
    std::string table;                 // "nat", "raw"
    std::string name;                  // "CILIUM_POST_nat"
    std::string hook;                  // "POSTROUTING"
    std::vector<std::string> rules{};  // without "-A CILIUM_POST_nat "
    bool partial = false;              // made before everything was known: rules that stand there are left
    friend bool operator==(const Chain&, const Chain&) = default;
};

// A route of the node, for masquerading to its source address.
struct SourceRoute {
    Prefix destination;  // length 0: default
    std::string device;
    IpAddress source;
    friend bool operator==(const SourceRoute&, const SourceRoute&) = default;
};

struct RuleSettings {
    bool masquerade4 = false, masquerade6 = false;
    bool random_fully = false;
    std::vector<std::string> out_interfaces{};  // "eth+"; empty: all but our own
    bool to_route_source = false;
    Prefix native_cidr4{}, native_cidr6{};  // reached with pods' own addresses; unset: the pod CIDRs themselves
    bool no_conntrack = false;
    bool feeder_rules = true;
    bool prepend = true;
    friend bool operator==(const RuleSettings&, const RuleSettings&) = default;
};

// What the cluster looks like from here.
struct RuleState {
    std::vector<Prefix> pod_cidrs{};          // of this node
    std::vector<IpAddress> node_addresses{};  // of all nodes
    std::vector<SourceRoute> routes{};
    bool all_nodes = true;  // false: more of them will come; what an earlier agent wrote spares them
    friend bool operator==(const RuleState&, const RuleState&) = default;
};

// Whether the rules have to be looked at again; not for each of the nodes of which more will come.
bool asks_for_look(const RuleState& before, const RuleState& now);

// All chains this agent may have in a family's tables; those that are off are empty.
std::vector<Chain> wanted_chains(const RuleSettings& settings, const RuleState& state, Family family);

// The script for `iptables-restore --noflush` that makes the chains of one table right; "": they are. saved: what
// `iptables-save -t <table>` printed. Chains that are right are not touched: a rule behind our last one says what it is
// made from.
std::string correct_chains(std::string_view saved, const std::vector<Chain>& chains, const std::string& table,
                           const RuleSettings& settings);

// kube-proxy's rules for ClusterIPs leave KUBE-SERVICES: pods' packets are translated before netfilter sees them, and
// node ports, external IPs and load balancers stay kube-proxy's. The node's own processes go on reaching ClusterIPs by
// rules of ours (CILIUM_OUTPUT_nat), which refer to none of kube-proxy's chains: it must be able to remove them.
struct Adaptation {
    std::string script;     // "": nothing to do
    std::size_t taken = 0;  // rules taken out
    std::size_t host_rules = 0;
};
Adaptation adapt_kube_proxy(std::string_view saved, const RuleSettings& settings);

}  // namespace axo::nat
