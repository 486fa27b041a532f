// ClusterPool: which block of the cluster's CIDRs belongs to which node (IPAM mode cluster-pool).
//
// The operator's side: for each family several CIDRs, cut into blocks of the mask size. What nodes already
// hold is claimed first (claim), then nodes without get the next free block in list order (assign). All or
// nothing per node. Errors carry Cilium's texts, followed by what to do:
//   kResourceExhausted "allocator full", kAlreadyExists "requested CIDR (…) is already allocated",
//   kOutOfRange "allocator not configured for the requested CIDR …", kFailedPrecondition for a family
//   without a pool. Pure; memory follows the claimed blocks. Thread: the loop's only.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "features/ipam/block_space.h"

namespace axo {

struct ClusterPoolConfig {
    std::vector<Prefix> ipv4_cidrs;  // empty: the family is off
    int ipv4_mask_size = 24;
    std::vector<Prefix> ipv6_cidrs;
    int ipv6_mask_size = 120;
};

class ClusterPool {
public:
    // Errors name the flag.
    static Result<ClusterPool> create(const ClusterPoolConfig& config);

    // Records the CIDRs a node holds. A part of what it was given (its object is older than the assignment, or had its
    // other family switched on later) takes nothing from it. On error nothing of this call is recorded and what the
    // node held before stays claimed.
    Status claim(const std::string& node, const std::vector<Prefix>& cidrs);
    // Gives the node a block of each family it has none of; returns all it has, IPv4 first. On error nothing changes.
    Result<std::vector<Prefix>> assign(const std::string& node);
    void release(const std::string& node);

    // Empty when the node holds nothing.
    [[nodiscard]] std::vector<Prefix> cidrs_of(const std::string& node) const;
    // "" when nobody's claim overlaps.
    [[nodiscard]] std::string holder_of(const Prefix& cidr) const;
    [[nodiscard]] bool has_family(Family family) const;

private:
    BlockSpace space_;  // one pool, called ""
    std::map<std::string, std::vector<Prefix>> nodes_;
};

}  // namespace axo
