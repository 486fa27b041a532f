// BlockSpace: CIDRs cut into blocks, and who holds which.
//
// CIDRs belong to a pool and are cut by its mask size; a claim is a CIDR that somebody holds: a block, a part of
// one, several at once, or something that is in none of the CIDRs (any more). Claims never overlap, and no block that
// a claim touches is free. Pure; memory follows the claims, not the CIDRs' size. Thread: any one at a time.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "features/ipam/free_ranges.h"

namespace axo {

class BlockSpace {
public:
    struct Claim {
        Prefix cidr;
        std::string holder;
    };
    struct Range {
        std::string pool;
        Prefix cidr;
        int mask_size = 0;
        FreeRanges free;  // block numbers
        std::uint64_t blocks = 0;
        std::uint64_t used = 0;  // claims that touch it
    };

    // kOutOfRange: the mask size, kAlreadyExists: another CIDR overlaps; what is accepted, without the field's name.
    [[nodiscard]] Status check(const Prefix& cidr, int mask_size) const;
    // The same, and adds it. What is claimed of it stays claimed.
    Status add(const std::string& pool, const Prefix& cidr, int mask_size);
    // Claims stay.
    void remove(const Prefix& cidr);

    // nullptr: in none of them.
    [[nodiscard]] const Range* range_of(const Prefix& cidr) const;
    [[nodiscard]] const std::vector<Range>& ranges() const { return ranges_; }
    [[nodiscard]] bool has(const std::string& pool, Family family) const;
    // The first claim of somebody else that the CIDR meets; except "": of anybody.
    [[nodiscard]] const Claim* overlapping(const Prefix& cidr, const std::string& except) const;
    // "10.0.0.0/24, 10.1.0.0/24", in the order added.
    [[nodiscard]] std::string list(const std::string& pool, Family family) const;

    // Nobody's claim may overlap.
    void occupy(const Prefix& cidr, const std::string& holder);
    void vacate(const Prefix& cidr);
    // The first free block, in the order the CIDRs were added. Not occupied by this.
    [[nodiscard]] std::optional<Prefix> next(const std::string& pool, Family family) const;
    // Why there is none: "no free IPv4 /24 in 10.0.0.0/23 (2 blocks, 2 node CIDRs)".
    [[nodiscard]] std::string exhausted(const std::string& pool, Family family) const;

private:
    void count_in(Range& range, const Prefix& claim) const;

    std::vector<Range> ranges_;
    std::map<IpAddress, Claim> claims_;  // by first address; disjoint
};

}  // namespace axo
