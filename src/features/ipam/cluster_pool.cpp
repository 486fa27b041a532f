#include "features/ipam/cluster_pool.h"

#include <algorithm>

#include "features/ipam/address_math.h"

namespace axo {
namespace {

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

std::unexpected<Error> bad_flag(std::string_view flag, const std::string& problem) {
    return fail(Code::kInvalidArgument, std::string(flag) + ": " + problem);
}

}  // namespace

Result<ClusterPool> ClusterPool::create(const ClusterPoolConfig& config) {
    ClusterPool made;
    const auto add = [&made](Family family, const std::vector<Prefix>& cidrs, int mask_size) -> Status {
        for (const Prefix& cidr : cidrs) {
            if (cidr.family() != family) {
                return bad_flag(cidr_flag(family),
                                cidr.to_string() + "; accepted: CIDRs of family " + std::string(family_name(family)));
            }
            if (auto added = made.space_.add({}, cidr, mask_size); !added) {
                const bool mask = added.error().code == Code::kOutOfRange;
                return bad_flag(mask ? mask_flag(family) : cidr_flag(family), added.error().message);
            }
        }
        return {};
    };
    TRY(add(Family::kIpv4, config.ipv4_cidrs, config.ipv4_mask_size));
    TRY(add(Family::kIpv6, config.ipv6_cidrs, config.ipv6_mask_size));
    return made;
}

bool ClusterPool::has_family(Family family) const {
    return space_.has({}, family);
}

Status ClusterPool::claim(const std::string& node, const std::vector<Prefix>& cidrs) {
    // What was assigned may not be back from the store yet: given back now, it would be the next node's, too.
    const auto holds = [held = cidrs_of(node)](const Prefix& cidr) {
        return std::ranges::find(held, cidr) != held.end();
    };
    if (!cidrs.empty() && std::ranges::all_of(cidrs, holds)) return {};
    for (const Prefix& cidr : cidrs) {
        if (!has_family(cidr.family())) {
            return fail(Code::kFailedPrecondition,
                        "unable to allocate CIDR [" + joined(cidrs) + "] since allocator for " +
                            std::string(family_name(cidr.family())) +
                            " addresses does not exist; enable the family and set " +
                            std::string(cidr_flag(cidr.family())) + ", or remove the CIDR from spec.ipam.podCIDRs");
        }
        if (space_.range_of(cidr) == nullptr) {
            return fail(Code::kOutOfRange, "allocator not configured for the requested CIDR " + cidr.to_string() +
                                               "; accepted: CIDRs inside " + std::string(cidr_flag(cidr.family())) +
                                               " " + space_.list({}, cidr.family()));
        }
        if (const BlockSpace::Claim* other = space_.overlapping(cidr, node)) {
            return fail(Code::kAlreadyExists, "requested CIDR (" + cidr.to_string() + ") is already allocated: node " +
                                                  other->holder + " holds " + other->cidr.to_string() +
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
    for (const Prefix& cidr : cidrs) space_.occupy(cidr, node);
    if (!cidrs.empty()) nodes_[node] = cidrs;
    return {};
}

Result<std::vector<Prefix>> ClusterPool::assign(const std::string& node) {
    const std::vector<Prefix> held = cidrs_of(node);
    std::vector<Prefix> fresh;
    for (const Family family : {Family::kIpv4, Family::kIpv6}) {
        const bool has = std::ranges::any_of(held, [family](const Prefix& cidr) { return cidr.family() == family; });
        if (has || !has_family(family)) continue;
        const auto block = space_.next({}, family);
        if (!block) {
            const std::string flag(cidr_flag(family));
            return fail(Code::kResourceExhausted, "allocator full: " + space_.exhausted({}, family) + " of " + flag +
                                                      "; add a CIDR to " + flag + " or remove unused nodes");
        }
        fresh.push_back(*block);
    }
    std::vector<Prefix> all = held;
    for (const Prefix& block : fresh) {
        space_.occupy(block, node);
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
    for (const Prefix& cidr : cidrs) space_.vacate(cidr);
}

std::vector<Prefix> ClusterPool::cidrs_of(const std::string& node) const {
    const auto held = nodes_.find(node);
    return held == nodes_.end() ? std::vector<Prefix>{} : held->second;
}

std::string ClusterPool::holder_of(const Prefix& cidr) const {
    const BlockSpace::Claim* claim = space_.overlapping(cidr, {});
    return claim == nullptr ? std::string() : claim->holder;
}

}  // namespace axo
