// NodePools: the addresses one node hands out, from one or more pools.
//
// A pool is what the node holds of it: CIDRs of both families, each pool an allocator of its own. Modes with fixed pod
// CIDRs have one pool. With pools on demand (IPAM mode multi-pool) it also says how many addresses the node needs of
// each pool, those in use and those asked for included, and which CIDRs it can do without:
//
//   needed = roundUp(in use + asked for + pre-allocation, pre-allocation)
//
// A CIDR without addresses in use goes when the others suffice for what is needed, and did for the grace time. From
// that moment nothing is handed out of it; only when the node's object has been seen without it may it come back.
// An address whose CIDR went for another reason stays with its owner. No I/O, no clock. Thread: the loop's only.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "features/ipam/host_scope.h"
#include "model/cilium_node.h"

namespace axo {

struct NodePoolsSettings {
    bool on_demand = false;                             // ask for CIDRs, and give them back
    std::map<std::string, std::uint64_t> pre_allocate;  // pool: addresses of each family to have free
    bool ipv4 = true, ipv6 = false;
    std::chrono::steady_clock::duration grace = std::chrono::seconds(5);
};

class NodePools {
public:
    using TimePoint = HostScopeAllocator::TimePoint;
    using Allocation = HostScopeAllocator::Allocation;

    NodePools(NodePoolsSettings settings, RandomSource random);

    // What the node holds now. On error (overlapping CIDRs) nothing changes.
    Status set_allocated(const std::vector<PoolAllocation>& allocated);
    [[nodiscard]] const std::vector<PoolAllocation>& allocated() const { return allocated_; }

    // kUnavailable: the node holds nothing of the pool in this family; kResourceExhausted: all of it is in use.
    Result<IpAddress> allocate(const std::string& pool, Family family, const std::string& owner);
    // In whichever pool has it; kOutOfRange: none.
    Status allocate_specific(const IpAddress& ip, const std::string& owner);
    Status release(const IpAddress& ip);
    Result<std::string> expire_after(const IpAddress& ip, TimePoint deadline);
    Status confirm(const IpAddress& ip, const std::string& uuid);
    std::vector<std::pair<IpAddress, Allocation>> expire(TimePoint now);
    [[nodiscard]] std::optional<TimePoint> next_expiration() const;

    [[nodiscard]] const Allocation* find(const IpAddress& ip) const;
    [[nodiscard]] std::string owner_of(const IpAddress& ip) const;
    // Of an address in use, or of the CIDR around it; "": none.
    [[nodiscard]] std::string pool_of(const IpAddress& ip) const;
    [[nodiscard]] std::map<IpAddress, Allocation> allocations() const;
    struct Events {
        std::uint64_t allocated = 0, released = 0;  // expired ones, too
    };
    // Since the start, by family.
    [[nodiscard]] const std::map<Family, Events>& events() const { return events_; }
    // "5/254 allocated from 10.0.0.0/24"; with several pools "blue 1/14 allocated from …; default …"; "": nothing.
    [[nodiscard]] std::string describe(Family family) const;

    // Somebody waits for an address; until it is there or `until` has passed, it counts as needed. The owner's second
    // call for a family replaces the first one.
    void ask(const std::string& pool, Family family, const std::string& owner, TimePoint until);
    [[nodiscard]] std::uint64_t needed(const std::string& pool, Family family) const;
    // Of every pool of which something is needed, by name. Empty unless on demand.
    [[nodiscard]] std::vector<PoolRequest> requested() const;
    // Takes out of use what the node can do without, and returns it: all CIDRs that its object should lose. Forgets who
    // waited too long.
    std::set<Prefix> review(TimePoint now);
    // When review() may say something else next, without anything else happening.
    [[nodiscard]] std::optional<TimePoint> next_change() const;

private:
    struct Pool {
        HostScopeAllocator allocator;
        std::vector<Prefix> cidrs;
        std::set<Prefix> leaving;
        std::map<Prefix, TimePoint> idle_since;
    };
    struct Asked {
        std::string pool;
        TimePoint until;
    };

    Pool* pool_with(const IpAddress& ip);
    [[nodiscard]] const Pool* pool_with(const IpAddress& ip) const;
    void review_family(const std::string& name, Pool& pool, Family family, TimePoint now);
    static Status refresh(Pool& pool);

    NodePoolsSettings settings_;
    std::shared_ptr<RandomSource> random_;
    std::vector<PoolAllocation> allocated_;
    std::map<std::string, Pool> pools_;
    std::map<std::pair<std::string, Family>, Asked> asked_;  // by owner
    std::map<Family, Events> events_;
};

// "default=8,blue=16", or a JSON object: ipam-multi-pool-pre-allocation.
Result<std::map<std::string, std::uint64_t>> parse_pre_allocation(std::string_view text);

}  // namespace axo
