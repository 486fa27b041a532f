#include "features/ipam/cluster_pool.h"

#include <algorithm>

#include "features/ipam/address_math.h"

namespace axo {
namespace {

// Block numbers must fit 64 bits with room to count them.
constexpr int kMaxBlockBits = 62;

std::string_view family_name(Family family) {
    return family == Family::kIpv4 ? "IPv4" : "IPv6";
}
std::string_view cidr_flag(Family family) {
    return family == Family::kIpv4 ? "cluster-pool-ipv4-cidr" : "cluster-pool-ipv6-cidr";
}
std::string_view mask_flag(Family family) {
    return family == Family::kIpv4 ? "cluster-pool-ipv4-mask-size" : "cluster-pool-ipv6-mask-size";
}

std::string joined(const std::vector<Prefix>& cidrs) {
    std::string text;
    for (const Prefix& cidr : cidrs) text += (text.empty() ? "" : " ") + cidr.to_string();
    return text;
}

std::unexpected<Error> bad_flag(std::string_view flag, std::string value, std::string accepted) {
    std::string text(flag);
    text.append(": ").append(value).append("; accepted: ").append(accepted);
    return fail(Code::kInvalidArgument, std::move(text));
}

int block_shift(const Prefix& pool, int mask_size) {
    return pool.address().bits() - mask_size;
}

// First and last block of the pool that the CIDR touches.
std::pair<std::uint64_t, std::uint64_t> block_span(const Prefix& pool, int mask_size, const Prefix& cidr) {
    const int shift = block_shift(pool, mask_size);
    const Uint128 offset = address_number(cidr.address()) - address_number(pool.address());
    const auto first = static_cast<std::uint64_t>(offset >> shift);
    if (cidr.length() >= mask_size) return {first, first};
    return {first, first + (std::uint64_t{1} << (mask_size - cidr.length())) - 1};
}

}  // namespace

Result<ClusterPool> ClusterPool::create(const ClusterPoolConfig& config) {
    ClusterPool made;
    const auto add = [&made](Family family, const std::vector<Prefix>& cidrs, int mask_size) -> Status {
        for (const Prefix& cidr : cidrs) {
            if (cidr.family() != family) {
                return bad_flag(cidr_flag(family), cidr.to_string(),
                                "CIDRs of family " + std::string(family_name(family)));
            }
            const int bits = cidr.address().bits();
            if (mask_size < cidr.length() || mask_size > bits) {
                return bad_flag(mask_flag(family), std::to_string(mask_size),
                                std::to_string(cidr.length()) + " (the length of " + cidr.to_string() + ") to " +
                                    std::to_string(bits));
            }
            const int block_bits = mask_size - cidr.length();
            if (block_bits > kMaxBlockBits) {
                return bad_flag(
                    mask_flag(family), std::to_string(mask_size),
                    "at most " + std::to_string(cidr.length() + kMaxBlockBits) + " for " + cidr.to_string());
            }
            for (const Pool& other : made.pools_) {
                if (other.cidr.overlaps(cidr)) {
                    return bad_flag(cidr_flag(family),
                                    "requested CIDR " + cidr.to_string() + " collides with " + other.cidr.to_string(),
                                    "CIDRs that do not overlap");
                }
            }
            Pool pool;
            pool.cidr = cidr;
            pool.mask_size = mask_size;
            pool.blocks = std::uint64_t{1} << block_bits;
            pool.free = FreeRanges(0, pool.blocks - 1);
            made.pools_.push_back(std::move(pool));
        }
        return {};
    };
    TRY(add(Family::kIpv4, config.ipv4_cidrs, config.ipv4_mask_size));
    TRY(add(Family::kIpv6, config.ipv6_cidrs, config.ipv6_mask_size));
    return made;
}

bool ClusterPool::has_family(Family family) const {
    return std::ranges::any_of(pools_, [family](const Pool& pool) { return pool.cidr.family() == family; });
}

ClusterPool::Pool* ClusterPool::pool_of(const Prefix& cidr) {
    for (Pool& pool : pools_) {
        if (pool.cidr.contains(cidr)) return &pool;
    }
    return nullptr;
}

const ClusterPool::Claim* ClusterPool::overlapping(const Prefix& cidr, const std::string& except_node) const {
    // A claim that covers the CIDR begins at or before it, and none lies between them.
    auto at = claims_.upper_bound(cidr.address());
    if (at != claims_.begin()) {
        const auto before = std::prev(at);
        if (before->second.cidr.overlaps(cidr) && before->second.node != except_node) return &before->second;
    }
    for (; at != claims_.end() && cidr.contains(at->first); ++at) {
        if (at->second.node != except_node) return &at->second;
    }
    return nullptr;
}

void ClusterPool::occupy(const Prefix& cidr, const std::string& node) {
    claims_.insert_or_assign(cidr.address(), Claim{cidr, node});
    Pool& pool = *pool_of(cidr);
    const auto [first, last] = block_span(pool.cidr, pool.mask_size, cidr);
    pool.free.take_range(first, last);
    ++pool.used;
}

void ClusterPool::vacate(const Prefix& cidr) {
    claims_.erase(cidr.address());
    Pool& pool = *pool_of(cidr);
    --pool.used;
    const auto [first, last] = block_span(pool.cidr, pool.mask_size, cidr);
    // Several claims smaller than a block may share it.
    const bool shared =
        cidr.length() > pool.mask_size && overlapping(Prefix(cidr.address(), pool.mask_size), {}) != nullptr;
    if (!shared) pool.free.give_range(first, last);
}

Status ClusterPool::claim(const std::string& node, const std::vector<Prefix>& cidrs) {
    for (const Prefix& cidr : cidrs) {
        if (!has_family(cidr.family())) {
            return fail(Code::kFailedPrecondition,
                        "unable to allocate CIDR [" + joined(cidrs) + "] since allocator for " +
                            std::string(family_name(cidr.family())) +
                            " addresses does not exist; enable the family and set " +
                            std::string(cidr_flag(cidr.family())) + ", or remove the CIDR from spec.ipam.podCIDRs");
        }
        if (pool_of(cidr) == nullptr) {
            return fail(Code::kOutOfRange, "allocator not configured for the requested CIDR " + cidr.to_string() +
                                               "; accepted: CIDRs inside " + std::string(cidr_flag(cidr.family())) +
                                               " " + pool_list(cidr.family()));
        }
        if (const Claim* other = overlapping(cidr, node)) {
            return fail(Code::kAlreadyExists, "requested CIDR (" + cidr.to_string() + ") is already allocated: node " +
                                                  other->node + " holds " + other->cidr.to_string() +
                                                  "; clear spec.ipam.podCIDRs of this node to get a free one");
        }
    }
    for (std::size_t i = 0; i < cidrs.size(); ++i) {
        for (std::size_t j = 0; j < i; ++j) {
            if (cidrs[i].overlaps(cidrs[j])) {
                return fail(Code::kInvalidArgument, "requested CIDR (" + cidrs[i].to_string() + ") overlaps " +
                                                        cidrs[j].to_string() + " of the same node");
            }
        }
    }
    release(node);
    for (const Prefix& cidr : cidrs) occupy(cidr, node);
    if (!cidrs.empty()) nodes_[node] = cidrs;
    return {};
}

std::string ClusterPool::pool_list(Family family) const {
    std::string text;
    for (const Pool& pool : pools_) {
        if (pool.cidr.family() != family) continue;
        if (!text.empty()) text += ", ";
        text += pool.cidr.to_string();
    }
    return text;
}

Result<Prefix> ClusterPool::next_block(Family family) {
    std::string full;
    int mask_size = 0;
    for (Pool& pool : pools_) {
        if (pool.cidr.family() != family) continue;
        mask_size = pool.mask_size;
        if (const auto block = pool.free.next_free(0)) {
            const int shift = block_shift(pool.cidr, pool.mask_size);
            const Uint128 number = address_number(pool.cidr.address()) + (static_cast<Uint128>(*block) << shift);
            return Prefix(address_from_number(family, number), pool.mask_size);
        }
        if (!full.empty()) full += ", ";
        full += pool.cidr.to_string() + " (" + std::to_string(pool.blocks) + " blocks, " + std::to_string(pool.used) +
                " node CIDRs)";
    }
    return fail(Code::kResourceExhausted, "allocator full: no free " + std::string(family_name(family)) + " /" +
                                              std::to_string(mask_size) + " in " + std::string(cidr_flag(family)) +
                                              " " + full + "; add a CIDR to " + std::string(cidr_flag(family)) +
                                              " or remove unused nodes");
}

Result<std::vector<Prefix>> ClusterPool::assign(const std::string& node) {
    const std::vector<Prefix> held = cidrs_of(node);
    std::vector<Prefix> fresh;
    for (const Family family : {Family::kIpv4, Family::kIpv6}) {
        const bool has = std::ranges::any_of(held, [family](const Prefix& cidr) { return cidr.family() == family; });
        if (has || !has_family(family)) continue;
        TRY_ASSIGN(const Prefix block, next_block(family));
        fresh.push_back(block);
    }
    std::vector<Prefix> all = held;
    for (const Prefix& block : fresh) {
        occupy(block, node);
        all.push_back(block);
    }
    std::ranges::stable_sort(all, {}, [](const Prefix& cidr) { return cidr.family(); });
    if (!fresh.empty()) nodes_[node] = all;
    return all;
}

void ClusterPool::release(const std::string& node) {
    const auto held = nodes_.find(node);
    if (held == nodes_.end()) return;
    const std::vector<Prefix> cidrs = std::move(held->second);
    nodes_.erase(held);
    for (const Prefix& cidr : cidrs) vacate(cidr);
}

std::vector<Prefix> ClusterPool::cidrs_of(const std::string& node) const {
    const auto held = nodes_.find(node);
    return held == nodes_.end() ? std::vector<Prefix>{} : held->second;
}

std::string ClusterPool::holder_of(const Prefix& cidr) const {
    const Claim* claim = overlapping(cidr, {});
    return claim == nullptr ? std::string() : claim->node;
}

}  // namespace axo
