#include "features/ipam/block_space.h"

#include <algorithm>

#include "features/ipam/address_math.h"

namespace axo {
namespace {

// Block numbers must fit 64 bits with room to count them.
constexpr int kMaxBlockBits = 62;

int block_shift(const BlockSpace::Range& range) {
    return range.cidr.address().bits() - range.mask_size;
}

// First and last block of the range that the overlapping CIDR touches.
std::pair<std::uint64_t, std::uint64_t> block_span(const BlockSpace::Range& range, const Prefix& cidr) {
    if (cidr.contains(range.cidr)) return {0, range.blocks - 1};
    const Uint128 offset = address_number(cidr.address()) - address_number(range.cidr.address());
    const auto first = static_cast<std::uint64_t>(offset >> block_shift(range));
    if (cidr.length() >= range.mask_size) return {first, first};
    return {first, first + (std::uint64_t{1} << (range.mask_size - cidr.length())) - 1};
}

}  // namespace

Status BlockSpace::check(const Prefix& cidr, int mask_size) const {
    const int bits = cidr.address().bits();
    if (mask_size < cidr.length() || mask_size > bits) {
        return fail(Code::kOutOfRange, std::to_string(mask_size) + "; accepted: " + std::to_string(cidr.length()) +
                                           " (the length of " + cidr.to_string() + ") to " + std::to_string(bits));
    }
    if (mask_size - cidr.length() > kMaxBlockBits) {
        return fail(Code::kOutOfRange, std::to_string(mask_size) + "; accepted: at most " +
                                           std::to_string(cidr.length() + kMaxBlockBits) + " for " + cidr.to_string());
    }
    for (const Range& other : ranges_) {
        if (!other.cidr.overlaps(cidr)) continue;
        return fail(Code::kAlreadyExists, "requested CIDR " + cidr.to_string() + " collides with " +
                                              other.cidr.to_string() +
                                              (other.pool.empty() ? std::string() : " of pool " + other.pool) +
                                              "; accepted: CIDRs that do not overlap");
    }
    return {};
}

Status BlockSpace::add(const std::string& pool, const Prefix& cidr, int mask_size) {
    TRY(check(cidr, mask_size));
    Range range;
    range.pool = pool;
    range.cidr = cidr;
    range.mask_size = mask_size;
    range.blocks = std::uint64_t{1} << (mask_size - cidr.length());
    range.free = FreeRanges(0, range.blocks - 1);
    for (const auto& [first, claim] : claims_) {
        if (claim.cidr.overlaps(cidr)) count_in(range, claim.cidr);
    }
    ranges_.push_back(std::move(range));
    return {};
}

void BlockSpace::remove(const Prefix& cidr) {
    std::erase_if(ranges_, [&](const Range& range) { return range.cidr == cidr; });
}

const BlockSpace::Range* BlockSpace::range_of(const Prefix& cidr) const {
    for (const Range& range : ranges_) {
        if (range.cidr.contains(cidr)) return &range;
    }
    return nullptr;
}

bool BlockSpace::has(const std::string& pool, Family family) const {
    return std::ranges::any_of(ranges_,
                               [&](const Range& range) { return range.pool == pool && range.cidr.family() == family; });
}

const BlockSpace::Claim* BlockSpace::overlapping(const Prefix& cidr, const std::string& except) const {
    // A claim that covers the CIDR begins at or before it, and none lies between them.
    auto at = claims_.upper_bound(cidr.address());
    if (at != claims_.begin()) {
        const auto before = std::prev(at);
        if (before->second.cidr.overlaps(cidr) && (except.empty() || before->second.holder != except))
            return &before->second;
    }
    for (; at != claims_.end() && cidr.contains(at->first); ++at) {
        if (except.empty() || at->second.holder != except) return &at->second;
    }
    return nullptr;
}

std::string BlockSpace::list(const std::string& pool, Family family) const {
    std::string text;
    for (const Range& range : ranges_) {
        if (range.pool != pool || range.cidr.family() != family) continue;
        if (!text.empty()) text += ", ";
        text += range.cidr.to_string();
    }
    return text;
}

void BlockSpace::count_in(Range& range, const Prefix& claim) const {
    const auto [first, last] = block_span(range, claim);
    range.free.take_range(first, last);
    ++range.used;
}

void BlockSpace::occupy(const Prefix& cidr, const std::string& holder) {
    claims_.insert_or_assign(cidr.address(), Claim{cidr, holder});
    for (Range& range : ranges_) {
        if (range.cidr.overlaps(cidr)) count_in(range, cidr);
    }
}

void BlockSpace::vacate(const Prefix& cidr) {
    claims_.erase(cidr.address());
    for (Range& range : ranges_) {
        if (!range.cidr.overlaps(cidr)) continue;
        --range.used;
        // Several claims smaller than a block may share it.
        const bool shared =
            cidr.length() > range.mask_size && overlapping(Prefix(cidr.address(), range.mask_size), {}) != nullptr;
        if (shared) continue;
        const auto [first, last] = block_span(range, cidr);
        range.free.give_range(first, last);
    }
}

std::optional<Prefix> BlockSpace::next(const std::string& pool, Family family) const {
    for (const Range& range : ranges_) {
        if (range.pool != pool || range.cidr.family() != family) continue;
        const auto block = range.free.next_free(0);
        if (!block) continue;
        const Uint128 number =
            address_number(range.cidr.address()) + (static_cast<Uint128>(*block) << block_shift(range));
        return Prefix(address_from_number(family, number), range.mask_size);
    }
    return std::nullopt;
}

std::string BlockSpace::exhausted(const std::string& pool, Family family) const {
    std::string full;
    int mask_size = 0;
    for (const Range& range : ranges_) {
        if (range.pool != pool || range.cidr.family() != family) continue;
        mask_size = range.mask_size;
        if (!full.empty()) full += ", ";
        full += range.cidr.to_string() + " (" + std::to_string(range.blocks) + " blocks, " +
                std::to_string(range.used) + " node CIDRs)";
    }
    return "no free " + std::string(family_name(family)) + " /" + std::to_string(mask_size) + " in " + full;
}

}  // namespace axo
