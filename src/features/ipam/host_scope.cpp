#include "features/ipam/host_scope.h"

#include <algorithm>
#include <cstdio>

#include "features/ipam/address_math.h"

namespace axo {
namespace {

std::uint64_t saturating_add(std::uint64_t a, std::uint64_t b) {
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

}  // namespace

std::string make_uuid(std::uint64_t high, std::uint64_t low) {
    high = (high & ~0xf000ULL) | 0x4000ULL;
    low = (low & ~(3ULL << 62)) | (2ULL << 62);
    char text[40];
    std::snprintf(text, sizeof text, "%08x-%04x-%04x-%04x-%012llx", static_cast<unsigned>(high >> 32),
                  static_cast<unsigned>(high >> 16 & 0xffff), static_cast<unsigned>(high & 0xffff),
                  static_cast<unsigned>(low >> 48), static_cast<unsigned long long>(low & 0xffff'ffff'ffffULL));
    return text;
}

Result<HostScopeAllocator> HostScopeAllocator::create(std::vector<Prefix> cidrs, RandomSource random,
                                                      Strategy strategy) {
    HostScopeAllocator allocator(std::move(random), strategy);
    TRY(allocator.set_cidrs(std::move(cidrs)));
    return allocator;
}

Status HostScopeAllocator::set_cidrs(std::vector<Prefix> cidrs) {
    for (std::size_t i = 0; i < cidrs.size(); ++i) {
        if (!cidrs[i])
            return fail(Code::kInvalidArgument, "pod CIDRs: an empty CIDR; accepted: CIDRs such as 10.0.1.0/24");
        for (std::size_t j = 0; j < i; ++j) {
            if (cidrs[i].overlaps(cidrs[j])) {
                return fail(Code::kInvalidArgument, "pod CIDRs: " + cidrs[i].to_string() + " overlaps " +
                                                        cidrs[j].to_string() + "; accepted: CIDRs that do not overlap");
            }
        }
    }
    std::vector<Range> ranges;
    for (const Prefix& cidr : cidrs) {
        Range range;
        range.cidr = cidr;
        const std::uint64_t size = cidr.size();
        const bool reserve_ends = cidr.address().bits() - cidr.length() > 1;
        range.first = reserve_ends ? 1 : 0;
        range.last = reserve_ends ? size - 2 : size - 1;
        range.free = FreeRanges(range.first, range.last);
        range.cursor = range.first;
        ranges.push_back(std::move(range));
    }
    cidrs_ = std::move(cidrs);
    ranges_ = std::move(ranges);
    for (const auto& [ip, allocation] : allocations_) {
        if (Range* range = range_of(ip); range != nullptr && range->free.take(offset_in(range->cidr, ip)))
            ++range->used;
    }
    return {};
}

HostScopeAllocator::Range* HostScopeAllocator::range_of(const IpAddress& ip) {
    for (Range& range : ranges_) {
        if (range.cidr.contains(ip)) return &range;
    }
    return nullptr;
}

std::string HostScopeAllocator::cidr_list(Family family) const {
    std::string list;
    for (const Prefix& cidr : cidrs_) {
        if (cidr.family() != family) continue;
        if (!list.empty()) list += ", ";
        list += cidr.to_string();
    }
    return list;
}

Result<IpAddress> HostScopeAllocator::allocate(Family family, std::string owner) {
    bool any = false;
    for (Range& range : ranges_) {
        if (range.cidr.family() != family) continue;
        any = true;
        const std::uint64_t start =
            strategy_ == Strategy::kRandom ? range.first + bounded(random_(), range.last - range.first) : range.cursor;
        const auto offset = range.free.next_free(start);
        if (!offset) continue;
        range.free.take(*offset);
        ++range.used;
        range.cursor = *offset == range.last ? range.first : *offset + 1;
        const IpAddress ip = range.cidr.address().plus(*offset);
        allocations_.insert_or_assign(ip, Allocation{std::move(owner), {}, {}});
        return ip;
    }
    if (!any) {
        return fail(Code::kResourceExhausted,
                    "no " + std::string(family_name(family)) + " address for " + owner +
                        ": the node has no pod CIDR of this family (CiliumNode spec.ipam.podCIDRs)");
    }
    return fail(Code::kResourceExhausted, "no " + std::string(family_name(family)) + " address for " + owner +
                                              ": range is full: " + describe(family) +
                                              "; delete pods or give the node a further pod CIDR");
}

Status HostScopeAllocator::allocate_specific(const IpAddress& ip, std::string owner) {
    if (const auto held = allocations_.find(ip); held != allocations_.end()) {
        return fail(Code::kAlreadyExists,
                    "address " + ip.to_string() + " for " + owner + ": already allocated to " + held->second.owner);
    }
    Range* range = range_of(ip);
    if (range == nullptr) {
        const std::string list = cidr_list(ip.family());
        return fail(Code::kOutOfRange,
                    "address " + ip.to_string() + " for " + owner + ": not in the node's pod CIDRs" +
                        (list.empty() ? " (none of this family)" : "; accepted: addresses of " + list));
    }
    if (!range->free.take(offset_in(range->cidr, ip))) {
        return fail(Code::kOutOfRange, "address " + ip.to_string() + " for " + owner + ": first or last of " +
                                           range->cidr.to_string() + ", which are never handed out");
    }
    ++range->used;
    allocations_.emplace(ip, Allocation{std::move(owner), {}, {}});
    return {};
}

Status HostScopeAllocator::release(const IpAddress& ip) {
    if (allocations_.erase(ip) == 0) return fail(Code::kNotFound, "address " + ip.to_string() + " is not allocated");
    if (Range* range = range_of(ip)) {
        range->free.give(offset_in(range->cidr, ip));
        --range->used;
    }
    return {};
}

Result<std::string> HostScopeAllocator::expire_after(const IpAddress& ip, TimePoint deadline) {
    const auto held = allocations_.find(ip);
    if (held == allocations_.end()) return fail(Code::kNotFound, "address " + ip.to_string() + " is not allocated");
    if (held->second.expires) {
        return fail(Code::kAlreadyExists,
                    "address " + ip.to_string() + " of " + held->second.owner + " expires already");
    }
    const std::uint64_t high = random_();
    held->second.expiration_uuid = make_uuid(high, random_());
    held->second.expires = deadline;
    return held->second.expiration_uuid;
}

Status HostScopeAllocator::confirm(const IpAddress& ip, const std::string& uuid) {
    const auto held = allocations_.find(ip);
    if (held == allocations_.end()) {
        return fail(Code::kNotFound,
                    "address " + ip.to_string() + " is not allocated: its allocation has expired or was released");
    }
    if (!held->second.expires) {
        return fail(Code::kFailedPrecondition,
                    "address " + ip.to_string() + " of " + held->second.owner + " does not expire");
    }
    if (held->second.expiration_uuid != uuid) {
        return fail(Code::kFailedPrecondition, "address " + ip.to_string() + ": expiration uuid \"" + uuid +
                                                   "\" is not the one of its present allocation to " +
                                                   held->second.owner);
    }
    held->second.expires.reset();
    held->second.expiration_uuid.clear();
    return {};
}

std::vector<std::pair<IpAddress, HostScopeAllocator::Allocation>> HostScopeAllocator::expire(TimePoint now) {
    std::vector<std::pair<IpAddress, Allocation>> expired;
    for (const auto& [ip, allocation] : allocations_) {
        if (allocation.expires && *allocation.expires <= now) expired.emplace_back(ip, allocation);
    }
    for (const auto& [ip, allocation] : expired) (void)release(ip);
    return expired;
}

std::optional<HostScopeAllocator::TimePoint> HostScopeAllocator::next_expiration() const {
    std::optional<TimePoint> next;
    for (const auto& [ip, allocation] : allocations_) {
        if (allocation.expires && (!next || *allocation.expires < *next)) next = allocation.expires;
    }
    return next;
}

std::string HostScopeAllocator::owner_of(const IpAddress& ip) const {
    const auto held = allocations_.find(ip);
    return held == allocations_.end() ? std::string() : held->second.owner;
}

std::vector<IpAddress> HostScopeAllocator::strays() const {
    std::vector<IpAddress> found;
    for (const auto& [ip, allocation] : allocations_) {
        const bool inside = std::ranges::any_of(cidrs_, [&ip = ip](const Prefix& cidr) { return cidr.contains(ip); });
        if (!inside) found.push_back(ip);
    }
    return found;
}

std::uint64_t HostScopeAllocator::capacity(Family family) const {
    std::uint64_t total = 0;
    for (const Range& range : ranges_) {
        if (range.cidr.family() == family) total = saturating_add(total, saturating_add(range.last - range.first, 1));
    }
    return total;
}

std::uint64_t HostScopeAllocator::used(Family family) const {
    std::uint64_t total = 0;
    for (const Range& range : ranges_) {
        if (range.cidr.family() == family) total += range.used;
    }
    return total;
}

std::string HostScopeAllocator::describe(Family family) const {
    const std::string list = cidr_list(family);
    if (list.empty()) return {};
    return std::to_string(used(family)) + "/" + std::to_string(capacity(family)) + " allocated from " + list;
}

}  // namespace axo
