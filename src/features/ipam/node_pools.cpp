#include "features/ipam/node_pools.h"

#include <algorithm>
#include <charconv>

#include "features/ipam/address_math.h"
#include "model/names.h"

namespace axo {
namespace {

std::unexpected<Error> not_allocated(const IpAddress& ip) {
    return fail(Code::kNotFound, "address " + ip.to_string() + " is not allocated");
}

std::uint64_t add(std::uint64_t a, std::uint64_t b) {
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

bool in_use(const HostScopeAllocator& allocator, const Prefix& cidr) {
    const auto first = allocator.allocations().lower_bound(cidr.address());
    return first != allocator.allocations().end() && cidr.contains(first->first);
}

}  // namespace

NodePools::NodePools(NodePoolsSettings settings, RandomSource random)
    : settings_(std::move(settings)), random_(std::make_shared<RandomSource>(std::move(random))) {}

Status NodePools::refresh(Pool& pool) {
    std::vector<Prefix> usable;
    std::ranges::copy_if(pool.cidrs, std::back_inserter(usable),
                         [&](const Prefix& cidr) { return !pool.leaving.contains(cidr); });
    if (usable == pool.allocator.cidrs()) return {};
    return pool.allocator.set_cidrs(std::move(usable));
}

Status NodePools::set_allocated(const std::vector<PoolAllocation>& allocated) {
    if (allocated == allocated_) return {};
    std::map<std::string, std::vector<Prefix>> wanted;
    std::vector<Prefix> all;
    for (const PoolAllocation& allocation : allocated) {
        for (const Prefix& cidr : allocation.cidrs) {
            wanted[allocation.pool].push_back(cidr);
            all.push_back(cidr);
        }
    }
    TRY(HostScopeAllocator::create(std::move(all), *random_));  // refuses overlaps, between pools too
    for (auto& [name, pool] : pools_) {
        if (!wanted.contains(name)) wanted[name];
    }
    for (auto& [name, cidrs] : wanted) {
        auto known = pools_.find(name);
        if (known == pools_.end()) {
            TRY_ASSIGN(HostScopeAllocator allocator,
                       HostScopeAllocator::create({}, [random = random_] { return (*random)(); }));
            known = pools_.emplace(name, Pool{std::move(allocator), {}, {}, {}}).first;
        }
        Pool& pool = known->second;
        pool.cidrs = std::move(cidrs);
        const auto gone = [&](const Prefix& cidr) { return std::ranges::find(pool.cidrs, cidr) == pool.cidrs.end(); };
        std::erase_if(pool.leaving, gone);
        std::erase_if(pool.idle_since, [&](const auto& entry) { return gone(entry.first); });
        TRY(refresh(pool));
        if (pool.cidrs.empty() && pool.allocator.allocations().empty()) pools_.erase(known);
    }
    allocated_ = allocated;
    return {};
}

NodePools::Pool* NodePools::pool_with(const IpAddress& ip) {
    return const_cast<Pool*>(std::as_const(*this).pool_with(ip));
}

const NodePools::Pool* NodePools::pool_with(const IpAddress& ip) const {
    for (const auto& [name, pool] : pools_) {
        if (pool.allocator.allocations().contains(ip)) return &pool;
    }
    return nullptr;
}

Result<IpAddress> NodePools::allocate(const std::string& name, Family family, const std::string& owner) {
    const auto pool = pools_.find(name);
    const bool has =
        pool != pools_.end() && std::ranges::any_of(pool->second.allocator.cidrs(),
                                                    [&](const Prefix& cidr) { return cidr.family() == family; });
    if (!has) {
        return fail(Code::kUnavailable, "no " + std::string(family_name(family)) + " address for " + owner +
                                            ": the node holds no such CIDR of pool \"" + name + "\"");
    }
    TRY_ASSIGN(const IpAddress ip, pool->second.allocator.allocate(family, owner));
    asked_.erase({owner, family});
    ++events_[family].allocated;
    return ip;
}

Status NodePools::allocate_specific(const IpAddress& ip, const std::string& owner) {
    if (const Allocation* held = find(ip)) {
        return fail(Code::kAlreadyExists,
                    "address " + ip.to_string() + " for " + owner + ": already allocated to " + held->owner);
    }
    std::string all;
    for (auto& [name, pool] : pools_) {
        const auto& cidrs = pool.allocator.cidrs();
        if (std::ranges::any_of(cidrs, [&](const Prefix& cidr) { return cidr.contains(ip); })) {
            TRY(pool.allocator.allocate_specific(ip, owner));
            ++events_[ip.family()].allocated;
            return {};
        }
        for (const Prefix& cidr : cidrs) all += (all.empty() ? "" : ", ") + cidr.to_string();
    }
    return fail(Code::kOutOfRange, "address " + ip.to_string() + " for " + owner + "; accepted: addresses in " +
                                       (all.empty() ? "pod CIDRs: there are none" : all));
}

Status NodePools::release(const IpAddress& ip) {
    Pool* pool = pool_with(ip);
    if (pool == nullptr) return not_allocated(ip);
    TRY(pool->allocator.release(ip));
    ++events_[ip.family()].released;
    return {};
}

Result<std::string> NodePools::expire_after(const IpAddress& ip, TimePoint deadline) {
    Pool* pool = pool_with(ip);
    if (pool == nullptr) return not_allocated(ip);
    return pool->allocator.expire_after(ip, deadline);
}

Status NodePools::confirm(const IpAddress& ip, const std::string& uuid) {
    Pool* pool = pool_with(ip);
    if (pool == nullptr) {
        return fail(Code::kNotFound,
                    "address " + ip.to_string() + " is not allocated: its allocation has expired or was released");
    }
    return pool->allocator.confirm(ip, uuid);
}

std::vector<std::pair<IpAddress, NodePools::Allocation>> NodePools::expire(TimePoint now) {
    std::vector<std::pair<IpAddress, Allocation>> expired;
    for (auto& [name, pool] : pools_) {
        for (auto& entry : pool.allocator.expire(now)) expired.push_back(std::move(entry));
    }
    for (const auto& [ip, allocation] : expired) ++events_[ip.family()].released;
    return expired;
}

std::optional<NodePools::TimePoint> NodePools::next_expiration() const {
    std::optional<TimePoint> next;
    for (const auto& [name, pool] : pools_) {
        const auto one = pool.allocator.next_expiration();
        if (one && (!next || *one < *next)) next = one;
    }
    return next;
}

const NodePools::Allocation* NodePools::find(const IpAddress& ip) const {
    const Pool* pool = pool_with(ip);
    return pool == nullptr ? nullptr : &pool->allocator.allocations().at(ip);
}

std::string NodePools::owner_of(const IpAddress& ip) const {
    const Allocation* held = find(ip);
    return held == nullptr ? std::string() : held->owner;
}

std::string NodePools::pool_of(const IpAddress& ip) const {
    for (const auto& [name, pool] : pools_) {
        if (pool.allocator.allocations().contains(ip)) return name;
    }
    for (const auto& [name, pool] : pools_) {
        if (std::ranges::any_of(pool.cidrs, [&](const Prefix& cidr) { return cidr.contains(ip); })) return name;
    }
    return {};
}

std::map<IpAddress, NodePools::Allocation> NodePools::allocations() const {
    std::map<IpAddress, Allocation> all;
    for (const auto& [name, pool] : pools_) {
        all.insert(pool.allocator.allocations().begin(), pool.allocator.allocations().end());
    }
    return all;
}

std::string NodePools::describe(Family family) const {
    std::string text;
    for (const auto& [name, pool] : pools_) {
        const std::string one = pool.allocator.describe(family);
        if (one.empty()) continue;
        if (!text.empty()) text += "; ";
        text += (settings_.on_demand ? name + " " : std::string()) + one;
    }
    return text;
}

void NodePools::ask(const std::string& pool, Family family, const std::string& owner, TimePoint until) {
    asked_.insert_or_assign({owner, family}, Asked{pool, until});
}

std::uint64_t NodePools::needed(const std::string& name, Family family) const {
    if (family == Family::kIpv4 ? !settings_.ipv4 : !settings_.ipv6) return 0;
    std::uint64_t count = 0;
    if (const auto pool = pools_.find(name); pool != pools_.end()) count = pool->second.allocator.used(family);
    for (const auto& [who, asked] : asked_) count += who.second == family && asked.pool == name ? 1 : 0;
    const auto ahead = settings_.pre_allocate.find(name);
    if (ahead == settings_.pre_allocate.end() || ahead->second == 0) return count;
    const std::uint64_t step = ahead->second;
    return (count + step + step - 1) / step * step;
}

std::vector<PoolRequest> NodePools::requested() const {
    std::vector<PoolRequest> requests;
    if (!settings_.on_demand) return requests;
    std::set<std::string> names;
    for (const auto& [name, count] : settings_.pre_allocate) names.insert(name);
    for (const auto& [name, pool] : pools_) names.insert(name);
    for (const auto& [who, asked] : asked_) names.insert(asked.pool);
    for (const std::string& name : names) {
        PoolRequest request{name, needed(name, Family::kIpv4), needed(name, Family::kIpv6)};
        if (request.ipv4 != 0 || request.ipv6 != 0) requests.push_back(std::move(request));
    }
    return requests;
}

void NodePools::review_family(const std::string& name, Pool& pool, Family family, TimePoint now) {
    std::uint64_t have = 0;
    for (const Prefix& cidr : pool.allocator.cidrs()) {
        if (cidr.family() == family) have = add(have, usable_addresses(cidr));
    }
    const std::uint64_t need = needed(name, family);
    // The last ones first: addresses are handed out of the first ones.
    for (auto cidr = pool.cidrs.rbegin(); cidr != pool.cidrs.rend(); ++cidr) {
        if (cidr->family() != family || pool.leaving.contains(*cidr)) continue;
        const std::uint64_t rest = have - std::min(have, usable_addresses(*cidr));
        if (in_use(pool.allocator, *cidr) || rest < need) {
            pool.idle_since.erase(*cidr);
            continue;
        }
        const auto [since, fresh] = pool.idle_since.try_emplace(*cidr, now);
        have = rest;
        if (now - since->second < settings_.grace) continue;
        pool.leaving.insert(*cidr);
        pool.idle_since.erase(since);
    }
}

std::set<Prefix> NodePools::review(TimePoint now) {
    std::erase_if(asked_, [now](const auto& entry) { return entry.second.until <= now; });
    std::set<Prefix> leaving;
    if (!settings_.on_demand) return leaving;
    for (auto pool = pools_.begin(); pool != pools_.end();) {
        for (const Family family : {Family::kIpv4, Family::kIpv6})
            review_family(pool->first, pool->second, family, now);
        (void)refresh(pool->second);  // a part of what was accepted
        leaving.insert(pool->second.leaving.begin(), pool->second.leaving.end());
        const bool empty = pool->second.cidrs.empty() && pool->second.allocator.allocations().empty();
        pool = empty ? pools_.erase(pool) : std::next(pool);
    }
    return leaving;
}

std::optional<NodePools::TimePoint> NodePools::next_change() const {
    std::optional<TimePoint> next;
    const auto at = [&next](TimePoint when) {
        if (!next || when < *next) next = when;
    };
    for (const auto& [who, asked] : asked_) at(asked.until);
    for (const auto& [name, pool] : pools_) {
        for (const auto& [cidr, since] : pool.idle_since) at(since + settings_.grace);
    }
    return next;
}

Result<std::map<std::string, std::uint64_t>> parse_pre_allocation(std::string_view text) {
    std::map<std::string, std::uint64_t> counts;
    const auto put = [&](const std::string& pool, std::string_view number) -> Status {
        std::uint64_t count = 0;
        const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), count);
        if (!is_dns_subdomain(pool) || error != std::errc{} || end != number.data() + number.size() || count > 65'536) {
            return fail(Code::kInvalidArgument, "\"" + pool + "=" + std::string(number) +
                                                    "\"; accepted: POOL=N[,POOL=N…] with N from 0 to 65536");
        }
        counts[pool] = count;
        return {};
    };
    if (const Json map = Json::parse(text, nullptr, false); map.is_object()) {
        for (const auto& [pool, count] : map.items())
            TRY(put(pool, count.is_string() ? count.get<std::string>() : count.dump()));
        return counts;
    }
    while (!text.empty()) {
        const std::string_view word = text.substr(0, text.find_first_of(", \t\n"));
        text.remove_prefix(std::min(word.size() + 1, text.size()));
        if (word.empty()) continue;
        const std::size_t equals = std::min(word.find('='), word.size());
        TRY(put(std::string(word.substr(0, equals)), word.substr(std::min(equals + 1, word.size()))));
    }
    return counts;
}

}  // namespace axo
