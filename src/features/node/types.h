// Rows of the nodes table: what this agent knows of every node of the cluster, itself included.
// Thread: any (values).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/ip.h"
#include "model/cilium_node.h"

namespace axo {

// Key of the table: the node's name.
struct NodeRow {
    std::string name;
    std::string cluster;
    bool local = false;
    std::map<std::string, std::string> labels;
    std::vector<NodeAddress> addresses;
    std::vector<Prefix> pod_cidrs;
    IpAddress health_ipv4, health_ipv6;
    std::string boot_id;
    std::string instance_id;  // of the agent process that owns the object
    std::string source;       // "local", "custom-resource"

    // The address other nodes reach it by: the first InternalIP of the family, else ExternalIP; unset if none.
    [[nodiscard]] IpAddress node_ip(Family family) const {
        for (const char* type : {"InternalIP", "ExternalIP"}) {
            for (const NodeAddress& address : addresses) {
                if (address.type == type && address.ip.family() == family) return address.ip;
            }
        }
        return {};
    }
    // cilium_host's address.
    [[nodiscard]] IpAddress router_ip(Family family) const {
        for (const NodeAddress& address : addresses) {
            if (address.type == "CiliumInternalIP" && address.ip.family() == family) return address.ip;
        }
        return {};
    }
    [[nodiscard]] Prefix pod_cidr(Family family) const {
        for (const Prefix& cidr : pod_cidrs) {
            if (cidr.family() == family) return cidr;
        }
        return {};
    }
    friend bool operator==(const NodeRow&, const NodeRow&) = default;
};

}  // namespace axo
