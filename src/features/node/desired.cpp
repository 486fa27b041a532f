#include "features/node/desired.h"

#include <algorithm>

namespace axo {

CiliumNode desired_node(const std::optional<CiliumNode>& existing, const LocalNode& local) {
    CiliumNode node = existing.value_or(CiliumNode{});
    node.metadata.name = local.name;
    if (!local.labels.empty()) node.metadata.labels = local.labels;
    node.boot_id = local.boot_id;
    node.instance_id = local.instance_id;
    node.addresses = local.addresses;
    node.health_ipv4 = local.health_ipv4;
    node.health_ipv6 = local.health_ipv6;
    if (!local.pod_cidrs.empty()) node.pod_cidrs = local.pod_cidrs;
    if (local.pools) {
        node.pools_requested = local.pools->requested;
        if (!existing) node.pools_allocated = local.pools->held;
        take_away(node.pools_allocated, local.pools->given_back);
    }
    return node;
}

Result<std::vector<Prefix>> kubernetes_pod_cidrs(const Node& node) {
    std::vector<Prefix> cidrs = node.pod_cidrs;
    for (const Family family : {Family::kIpv4, Family::kIpv6}) {
        if (std::ranges::any_of(cidrs, [family](const Prefix& cidr) { return cidr.family() == family; })) continue;
        const std::string name = family == Family::kIpv4 ? "ipv4-pod-cidr" : "ipv6-pod-cidr";
        for (const char* prefix : {"network.cilium.io/", "io.cilium.network."}) {
            const auto annotation = node.metadata.annotations.find(prefix + name);
            if (annotation == node.metadata.annotations.end() || annotation->second.empty()) continue;
            const auto cidr = Prefix::parse_cidr(annotation->second);
            if (!cidr || cidr->family() != family) {
                return fail(Code::kInvalidArgument, "Node " + node.metadata.name + ": annotation " + annotation->first +
                                                        ": \"" + annotation->second + "\"; accepted: an " +
                                                        (family == Family::kIpv4 ? "IPv4" : "IPv6") +
                                                        " CIDR without host bits");
            }
            cidrs.push_back(*cidr);
            break;
        }
    }
    return cidrs;
}

std::map<std::string, std::string> kubernetes_annotations(const CiliumNode& node) {
    std::map<std::string, std::string> annotations;
    const auto add = [&](const char* name, const std::string& value) {
        if (!value.empty()) annotations.emplace(std::string("network.cilium.io/") + name, value);
    };
    const std::vector<Prefix> cidrs = node.all_pod_cidrs();
    const auto first = [&](Family family) {
        const auto found =
            std::ranges::find_if(cidrs, [family](const Prefix& cidr) { return cidr.family() == family; });
        return found == cidrs.end() ? std::string() : found->to_string();
    };
    add("ipv4-pod-cidr", first(Family::kIpv4));
    add("ipv6-pod-cidr", first(Family::kIpv6));
    add("ipv4-health-ip", node.health_ipv4.to_string());
    add("ipv6-health-ip", node.health_ipv6.to_string());
    add("ipv4-Ingress-ip", node.ingress_ipv4.to_string());
    add("ipv6-Ingress-ip", node.ingress_ipv6.to_string());
    add("ipv4-cilium-host", node.address(node_address::kCiliumInternalIp, Family::kIpv4).to_string());
    add("ipv6-cilium-host", node.address(node_address::kCiliumInternalIp, Family::kIpv6).to_string());
    return annotations;
}

NodeRow node_row(const CiliumNode& node, const std::string& cluster, bool local) {
    NodeRow row;
    row.name = node.metadata.name;
    row.cluster = cluster;
    row.local = local;
    row.labels = node.metadata.labels;
    row.addresses = node.addresses;
    row.pod_cidrs = node.all_pod_cidrs();
    row.health_ipv4 = node.health_ipv4;
    row.health_ipv6 = node.health_ipv6;
    row.boot_id = node.boot_id;
    row.instance_id = node.instance_id;
    row.source = local ? "local" : "custom-resource";
    return row;
}

std::optional<std::string> NodeSet::conflict(const NodeRow& row) const {
    for (const Prefix& cidr : row.pod_cidrs) {
        // The accepted ones are disjoint, so only the neighbours in order can overlap.
        auto next = cidrs_.lower_bound(cidr);
        if (next != cidrs_.begin()) {
            const auto previous = std::prev(next);
            if (previous->first.overlaps(cidr) && previous->second != row.name) {
                return "pod CIDR " + cidr.to_string() + " overlaps " + previous->first.to_string() + " of node " +
                       previous->second;
            }
        }
        for (; next != cidrs_.end() && next->first.overlaps(cidr); ++next) {
            if (next->second != row.name) {
                return "pod CIDR " + cidr.to_string() + " overlaps " + next->first.to_string() + " of node " +
                       next->second;
            }
        }
    }
    for (const NodeAddress& address : row.addresses) {
        const auto owner = addresses_.find(address.ip);
        if (owner != addresses_.end() && owner->second != row.name) {
            return "address " + address.ip.to_string() + " (" + address.type + ") is already that of node " +
                   owner->second;
        }
    }
    return std::nullopt;
}

void NodeSet::take(const NodeRow& row) {
    for (const Prefix& cidr : row.pod_cidrs) cidrs_.insert_or_assign(cidr, row.name);
    for (const NodeAddress& address : row.addresses) addresses_.insert_or_assign(address.ip, row.name);
    accepted_.insert_or_assign(row.name, row);
}

void NodeSet::drop(const std::string& name) {
    const auto row = accepted_.find(name);
    if (row == accepted_.end()) return;
    for (const Prefix& cidr : row->second.pod_cidrs) {
        if (const auto owner = cidrs_.find(cidr); owner != cidrs_.end() && owner->second == name) cidrs_.erase(owner);
    }
    for (const NodeAddress& address : row->second.addresses) {
        if (const auto owner = addresses_.find(address.ip); owner != addresses_.end() && owner->second == name)
            addresses_.erase(owner);
    }
    accepted_.erase(row);
}

NodeSet::Outcome NodeSet::upsert(NodeRow row) {
    Outcome outcome;
    const std::string name = row.name;
    const auto known = accepted_.find(name);
    if (known != accepted_.end() && known->second == row) {
        refused_.erase(name);
        reasons_.erase(name);
        outcome.refused = reasons_;
        return outcome;
    }
    if (row.local) {
        // This node's own addresses are facts; whoever else claims them is refused from now on.
        while (const auto reason = conflict(row)) {
            std::string rival;
            for (const auto& [other, theirs] : accepted_) {
                if (other == name) continue;
                const bool cidr = std::ranges::any_of(theirs.pod_cidrs, [&](const Prefix& mine) {
                    return std::ranges::any_of(row.pod_cidrs, [&](const Prefix& p) { return p.overlaps(mine); });
                });
                const bool address = std::ranges::any_of(theirs.addresses, [&](const NodeAddress& a) {
                    return std::ranges::any_of(row.addresses, [&](const NodeAddress& b) { return a.ip == b.ip; });
                });
                if (cidr || address) rival = other;
            }
            if (rival.empty()) break;
            refused_.insert_or_assign(rival, accepted_.at(rival));
            drop(rival);
            outcome.changed.insert(rival);
        }
    } else if (const auto reason = conflict(row)) {
        refused_.insert_or_assign(name, std::move(row));
        reasons_.insert_or_assign(name, *reason);
        outcome.refused = reasons_;
        return outcome;
    }
    refused_.erase(name);
    reasons_.erase(name);
    drop(name);
    take(row);
    outcome.changed.insert(name);
    reconsider(outcome);
    return outcome;
}

NodeSet::Outcome NodeSet::erase(const std::string& name) {
    Outcome outcome;
    refused_.erase(name);
    reasons_.erase(name);
    if (accepted_.contains(name)) {
        drop(name);
        outcome.changed.insert(name);
    }
    reconsider(outcome);
    return outcome;
}

void NodeSet::reconsider(Outcome& outcome) {
    for (auto refused = refused_.begin(); refused != refused_.end();) {
        if (const auto reason = conflict(refused->second)) {
            reasons_.insert_or_assign(refused->first, *reason);
            ++refused;
            continue;
        }
        drop(refused->first);
        take(refused->second);
        outcome.changed.insert(refused->first);
        reasons_.erase(refused->first);
        refused = refused_.erase(refused);
    }
    outcome.refused = reasons_;
}

}  // namespace axo
