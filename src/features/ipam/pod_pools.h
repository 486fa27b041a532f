// PodPools: which block of which CiliumPodIPPool belongs to which node (IPAM mode multi-pool).
//
// The operator's side. A node asks for a number of addresses per pool and gets blocks of the pool's mask size until
// their usable addresses suffice; what it holds is claimed first (claim), for all nodes before the first grant.
// Blocks are only ever added: taking them away is the node's agent's part, which knows what pods use.
// Pools' CIDRs must not overlap, within a pool or between pools. A CIDR or a pool that goes leaves what nodes hold of
// it with them, and nobody else gets that.
// Errors: one text per pool, which begins with `pool "name": `. Pure. Thread: the loop's only.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "features/ipam/block_space.h"
#include "model/cilium_node.h"
#include "model/pod_ip_pool.h"

namespace axo {

class PodPools {
public:
    PodPools(bool ipv4, bool ipv6) : ipv4_(ipv4), ipv6_(ipv6) {}

    // Adds the pool or changes it. kAlreadyExists: a CIDR overlaps another pool's; kFailedPrecondition: the mask size
    // of a pool in use; kInvalidArgument. On error the pool stays as it was.
    Status set_pool(const PodIpPool& pool);
    void remove_pool(const std::string& name);
    [[nodiscard]] bool has_pool(const std::string& name) const { return pools_.contains(name); }

    // Records what the node holds, all of it: what is no longer in the list is free. Says what is wrong with it; a CIDR
    // that somebody else holds is not recorded.
    std::vector<std::string> claim(const std::string& node, const std::vector<PoolAllocation>& allocated);
    struct Grant {
        std::map<std::string, std::vector<Prefix>> added;  // by pool
        std::vector<std::string> errors;
    };
    // Hands out what is missing; as much as there is.
    Grant grant(const std::string& node, const std::vector<PoolRequest>& requested);
    void release(const std::string& node);

    // What the node holds, by pool.
    [[nodiscard]] std::map<std::string, std::vector<Prefix>> held(const std::string& node) const;

private:
    struct Pool {
        std::map<Family, PodIpPool::FamilyPool> families;
    };
    [[nodiscard]] bool in_use(const std::string& pool, Family family) const;
    void grant_family(const std::string& node, const std::string& pool, Family family, std::uint64_t needed,
                      Grant& grant);

    bool ipv4_, ipv6_;
    BlockSpace space_;
    std::map<std::string, Pool> pools_;
    std::map<std::string, std::map<std::string, std::set<Prefix>>> nodes_;  // node, pool
};

// The errors as one text, which goes to status.ipam.operator-status.error, and of such a text (Cilium's operator's too)
// why the pool hands out nothing; "": it does not say so.
std::string pool_errors_text(const std::vector<std::string>& errors);
std::string pool_refusal(std::string_view text, const std::string& pool);

// "default=ipv4-cidrs:10.0.0.0/16,10.1.0.0/16;ipv4-mask-size:24;ipv6-cidrs:fd00::/104;ipv6-mask-size:120", several
// separated by spaces or commas, or as a JSON object of names and the rest: auto-create-cilium-pod-ip-pools.
Result<std::vector<PodIpPool>> parse_pool_list(std::string_view text);

}  // namespace axo
