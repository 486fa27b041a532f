#include "features/ipam/pod_pools.h"

#include <algorithm>
#include <charconv>

#include "features/ipam/address_math.h"
#include "model/names.h"

namespace axo {
namespace {

// Blocks per request and pass: a request gone wrong does not empty the cluster's pool.
constexpr int kMaxGrant = 1024;

constexpr std::string_view kSeparator = " | ";
constexpr std::string_view kStays = " stays with the node until its pods are gone";
constexpr std::string_view kTaken = ") is already allocated: node ";

std::string about(const std::string& pool, const std::string& text) {
    return "pool \"" + pool + "\": " + text;
}

std::uint64_t usable(const std::set<Prefix>& cidrs, Family family) {
    std::uint64_t sum = 0;
    for (const Prefix& cidr : cidrs) {
        if (cidr.family() != family) continue;
        const std::uint64_t more = usable_addresses(cidr);
        sum = sum > UINT64_MAX - more ? UINT64_MAX : sum + more;
    }
    return sum;
}

}  // namespace

bool PodPools::in_use(const std::string& pool, Family family) const {
    return std::ranges::any_of(nodes_, [&](const auto& node) {
        const auto held = node.second.find(pool);
        return held != node.second.end() &&
               std::ranges::any_of(held->second, [family](const Prefix& cidr) { return cidr.family() == family; });
    });
}

Status PodPools::set_pool(const PodIpPool& wanted) {
    const std::string& name = wanted.metadata.name;
    std::map<Family, PodIpPool::FamilyPool> families;
    if (wanted.ipv4) families.emplace(Family::kIpv4, *wanted.ipv4);
    if (wanted.ipv6) families.emplace(Family::kIpv6, *wanted.ipv6);
    const auto known = pools_.find(name);
    if (known != pools_.end() && known->second.families == families) return {};

    BlockSpace next = space_;
    if (known != pools_.end()) {
        for (const auto& [family, old] : known->second.families) {
            const auto fresh = families.find(family);
            if (fresh != families.end() && fresh->second.mask_size != old.mask_size && in_use(name, family)) {
                return fail(Code::kFailedPrecondition, about(name, std::string(family_name(family)) + " maskSize " +
                                                                       std::to_string(fresh->second.mask_size) +
                                                                       "; accepted: " + std::to_string(old.mask_size) +
                                                                       " while nodes hold CIDRs of the pool"));
            }
            for (const Prefix& cidr : old.cidrs) next.remove(cidr);
        }
    }
    for (const auto& [family, pool] : families) {
        for (const Prefix& cidr : pool.cidrs) {
            if (auto added = next.add(name, cidr, pool.mask_size); !added) {
                const bool mask = added.error().code == Code::kOutOfRange;
                return fail(mask ? Code::kInvalidArgument : added.error().code,
                            about(name, std::string(family_name(family)) + (mask ? " maskSize " : ": ") +
                                            added.error().message));
            }
        }
    }
    space_ = std::move(next);
    pools_[name].families = std::move(families);
    return {};
}

void PodPools::remove_pool(const std::string& name) {
    const auto known = pools_.find(name);
    if (known == pools_.end()) return;
    for (const auto& [family, pool] : known->second.families) {
        for (const Prefix& cidr : pool.cidrs) space_.remove(cidr);
    }
    pools_.erase(known);
}

std::vector<std::string> PodPools::claim(const std::string& node, const std::vector<PoolAllocation>& allocated) {
    std::vector<std::string> errors;
    std::map<std::string, std::set<Prefix>> claimed;
    std::set<Prefix> wanted;
    for (const PoolAllocation& allocation : allocated) wanted.insert(allocation.cidrs.begin(), allocation.cidrs.end());
    auto& held = nodes_[node];
    std::set<Prefix> ours;  // kept from before
    for (const auto& [pool, cidrs] : held) {
        for (const Prefix& cidr : cidrs) {
            if (wanted.contains(cidr))
                ours.insert(cidr);
            else
                space_.vacate(cidr);
        }
    }

    for (const PoolAllocation& allocation : allocated) {
        for (const Prefix& cidr : allocation.cidrs) {
            if (!ours.contains(cidr)) {
                if (const BlockSpace::Claim* other = space_.overlapping(cidr, {})) {
                    errors.push_back(about(allocation.pool, "requested CIDR (" + cidr.to_string() +
                                                                std::string(kTaken) + other->holder + " holds " +
                                                                other->cidr.to_string()));
                    continue;
                }
                space_.occupy(cidr, node);
                ours.insert(cidr);
            }
            claimed[allocation.pool].insert(cidr);
            const BlockSpace::Range* range = space_.range_of(cidr);
            if (range != nullptr && range->pool == allocation.pool) continue;
            errors.push_back(about(
                allocation.pool, (has_pool(allocation.pool) ? "it has no CIDR that contains " : "it does not exist: ") +
                                     cidr.to_string() + std::string(kStays)));
        }
    }
    held = std::move(claimed);
    if (held.empty()) nodes_.erase(node);
    return errors;
}

PodPools::Grant PodPools::grant(const std::string& node, const std::vector<PoolRequest>& requested) {
    Grant grant;
    for (const PoolRequest& request : requested) {
        const std::uint64_t ipv4 = ipv4_ ? request.ipv4 : 0, ipv6 = ipv6_ ? request.ipv6 : 0;
        if (!has_pool(request.pool)) {
            if (ipv4 != 0 || ipv6 != 0) grant.errors.push_back(about(request.pool, "there is no such CiliumPodIPPool"));
            continue;
        }
        grant_family(node, request.pool, Family::kIpv4, ipv4, grant);
        grant_family(node, request.pool, Family::kIpv6, ipv6, grant);
    }
    return grant;
}

void PodPools::grant_family(const std::string& node, const std::string& pool, Family family, std::uint64_t needed,
                            Grant& grant) {
    if (needed == 0) return;
    const auto holds = [&] {
        const auto held = nodes_.find(node);
        if (held == nodes_.end()) return std::uint64_t{0};
        const auto cidrs = held->second.find(pool);
        return cidrs == held->second.end() ? 0 : usable(cidrs->second, family);
    };
    for (int i = 0; holds() < needed; ++i) {
        if (!space_.has(pool, family)) {
            grant.errors.push_back(about(pool, "it has no " + std::string(family_name(family)) + " CIDRs"));
            return;
        }
        const auto block = space_.next(pool, family);
        if (!block) {
            grant.errors.push_back(about(pool, "allocator full: " + space_.exhausted(pool, family) + " for node " +
                                                   node + ", which has " + std::to_string(holds()) + " of " +
                                                   std::to_string(needed) +
                                                   " addresses; add a CIDR to the CiliumPodIPPool"));
            return;
        }
        if (i == kMaxGrant) {
            grant.errors.push_back(about(pool, "node " + node + " asks for " + std::to_string(needed) +
                                                   " addresses; accepted: what " + std::to_string(kMaxGrant) +
                                                   " blocks hold, at once"));
            return;
        }
        space_.occupy(*block, node);
        nodes_[node][pool].insert(*block);
        grant.added[pool].push_back(*block);
    }
}

void PodPools::release(const std::string& node) {
    const auto held = nodes_.find(node);
    if (held == nodes_.end()) return;
    for (const auto& [pool, cidrs] : held->second) {
        for (const Prefix& cidr : cidrs) space_.vacate(cidr);
    }
    nodes_.erase(held);
}

std::map<std::string, std::vector<Prefix>> PodPools::held(const std::string& node) const {
    std::map<std::string, std::vector<Prefix>> all;
    if (const auto known = nodes_.find(node); known != nodes_.end()) {
        for (const auto& [pool, cidrs] : known->second) all[pool].assign(cidrs.begin(), cidrs.end());
    }
    return all;
}

std::string pool_errors_text(const std::vector<std::string>& errors) {
    std::string text;
    for (const std::string& error : errors) text += (text.empty() ? std::string() : std::string(kSeparator)) + error;
    return text;
}

std::string pool_refusal(std::string_view text, const std::string& pool) {
    const std::string ours = about(pool, ""), theirs = "from pool \"" + pool + "\"";
    while (!text.empty()) {
        const std::string_view one = text.substr(0, text.find(kSeparator));
        text.remove_prefix(std::min(one.size() + kSeparator.size(), text.size()));
        const bool kept = one.find(kStays) != std::string_view::npos || one.find(kTaken) != std::string_view::npos;
        if ((one.starts_with(ours) && !kept) || one.find(theirs) != std::string_view::npos) return std::string(one);
    }
    return {};
}

namespace {

std::vector<std::string_view> split(std::string_view text, std::string_view separators) {
    std::vector<std::string_view> parts;
    while (true) {
        const std::size_t start = text.find_first_not_of(separators);
        if (start == std::string_view::npos) return parts;
        text.remove_prefix(start);
        const std::size_t end = std::min(text.find_first_of(separators), text.size());
        parts.push_back(text.substr(0, end));
        text.remove_prefix(end);
    }
}

Result<PodIpPool> parse_pool(std::string_view text) {
    const auto wrong = [&](std::string_view accepted) {
        return fail(Code::kInvalidArgument, "\"" + std::string(text) + "\"; accepted: " + std::string(accepted));
    };
    const std::size_t equals = text.find('=');
    if (equals == std::string_view::npos || !is_dns_subdomain(std::string(text.substr(0, equals))))
        return wrong("NAME=ipv4-cidrs:CIDR,…;ipv4-mask-size:N;ipv6-cidrs:CIDR,…;ipv6-mask-size:N");
    Json spec = Json::object();
    for (const std::string_view field : split(text.substr(equals + 1), ";")) {
        const std::size_t colon = field.find(':');
        const std::string_view key = field.substr(0, colon);
        const std::string_view value = colon == std::string_view::npos ? "" : field.substr(colon + 1);
        const std::string family(key.substr(0, 4));
        if (key == "ipv4-cidrs" || key == "ipv6-cidrs") {
            for (const std::string_view cidr : split(value, ",")) spec[family]["cidrs"].push_back(std::string(cidr));
        } else if (key == "ipv4-mask-size" || key == "ipv6-mask-size") {
            int size = 0;
            const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), size);
            if (error != std::errc{} || end != value.data() + value.size())
                return wrong("a number as " + std::string(key));
            spec[family]["maskSize"] = size;
        } else {
            return wrong("the fields ipv4-cidrs, ipv4-mask-size, ipv6-cidrs, ipv6-mask-size");
        }
    }
    return PodIpPool::parse({{"apiVersion", PodIpPool::kApiVersion},
                             {"kind", PodIpPool::kKind},
                             {"metadata", {{"name", std::string(text.substr(0, equals))}}},
                             {"spec", std::move(spec)}});
}

}  // namespace

Result<std::vector<PodIpPool>> parse_pool_list(std::string_view text) {
    std::vector<PodIpPool> pools;
    if (const Json map = Json::parse(text, nullptr, false); map.is_object()) {
        for (const auto& [name, spec] : map.items()) {
            TRY_ASSIGN(PodIpPool pool,
                       parse_pool(name + "=" + (spec.is_string() ? spec.get<std::string>() : spec.dump())));
            pools.push_back(std::move(pool));
        }
        return pools;
    }
    // A comma before a NAME= begins the next pool, any other one belongs to a list of CIDRs.
    for (const std::string_view word : split(text, " \t\n")) {
        std::size_t start = 0;
        for (std::size_t comma = word.find(','); comma != std::string_view::npos; comma = word.find(',', comma + 1)) {
            const std::size_t equals = word.find('=', comma), next = word.find_first_of(",;:", comma + 1);
            if (equals == std::string_view::npos || (next != std::string_view::npos && next < equals)) continue;
            TRY_ASSIGN(PodIpPool pool, parse_pool(word.substr(start, comma - start)));
            pools.push_back(std::move(pool));
            start = comma + 1;
        }
        TRY_ASSIGN(PodIpPool pool, parse_pool(word.substr(start)));
        pools.push_back(std::move(pool));
    }
    return pools;
}

}  // namespace axo
