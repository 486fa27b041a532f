#include "app/agent/ipam.h"

#include <random>

namespace axo {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::minutes kExpiration{10};
// A CNI ADD's, which kubelet repeats.
constexpr std::chrono::seconds kPatience{10};
// Beyond that: until kubelet's next attempt has come.
constexpr std::chrono::seconds kDemandLife{90};
constexpr std::chrono::milliseconds kPodInterval{250};

std::string owner_of(const EndpointRow& endpoint) {
    switch (endpoint.kind) {
        case EndpointKind::kHealth: return "health";
        case EndpointKind::kHost: return "router";
        case EndpointKind::kPod: break;
    }
    return endpoint.k8s_pod.empty() ? "endpoint " + endpoint.id.to_string() : endpoint.pod_name();
}

std::unexpected<Error> no_cidr() {
    return fail(Code::kUnavailable, "the node has no pod CIDR yet");
}

}  // namespace

RandomSource system_random() {
    std::random_device device;
    std::seed_seq seed{device(), device(), device(), device()};
    return [generator = std::mt19937_64(seed)]() mutable { return generator(); };
}

AddressPool::AddressPool(EventLoop& loop, Settings settings, Hooks hooks)
    : loop_(loop), settings_(std::move(settings)), hooks_(std::move(hooks)), pools_(settings_.pools, system_random()) {}

Status AddressPool::set_allocated(const std::vector<PoolAllocation>& allocated) {
    TRY(pools_.set_allocated(allocated));
    review();
    waiting_.settle(true);
    return {};
}

void AddressPool::start_giving_back() {
    giving_back_ = true;
    touched();
}

Task<Result<AddressPool::Lease>> AddressPool::allocate(Family family, std::string pool, std::string owner,
                                                       bool expires) {
    if (!ready()) co_return no_cidr();
    if (family == Family::kIpv4 && !settings_.pools.ipv4)
        co_return fail(Code::kInvalidArgument, "family=ipv4: IPv4 is off (enable-ipv4=false)");
    if (family == Family::kIpv6 && !settings_.pools.ipv6)
        co_return fail(Code::kInvalidArgument, "family=ipv6: IPv6 is off (enable-ipv6=false)");
    Lease lease;
    if (settings_.pools.ipv4 && family != Family::kIpv6) {
        CO_TRY_ASSIGN(lease.ipv4, allocate_one(Family::kIpv4, pool, owner));
    }
    if (settings_.pools.ipv6 && family != Family::kIpv4) {
        CO_AWAIT(auto ip, allocate_one(Family::kIpv6, pool, owner));
        if (!ip) {
            if (lease.ipv4) (void)release(lease.ipv4);
            co_return forward_error(std::move(ip).error());
        }
        lease.ipv6 = *ip;
    }
    if (expires) {
        const auto deadline = Clock::now() + kExpiration;
        if (lease.ipv4) {
            CO_TRY_ASSIGN(lease.uuid4, pools_.expire_after(lease.ipv4, deadline));
        }
        if (lease.ipv6) {
            CO_TRY_ASSIGN(lease.uuid6, pools_.expire_after(lease.ipv6, deadline));
        }
        schedule_expiration();
    }
    co_return lease;
}

Task<Result<IpAddress>> AddressPool::allocate_one(Family family, std::string pool, std::string owner) {
    const auto deadline = Clock::now() + kPatience;
    while (pool.empty()) {
        CO_AWAIT(auto chosen, hooks_.choose(family, owner));
        if (chosen) {
            pool = std::move(*chosen);
            break;
        }
        if (chosen.error().code != Code::kUnavailable || Clock::now() >= deadline)
            co_return forward_error(std::move(chosen).error());
        auto pause = sleep_for(loop_, kPodInterval);
        co_await std::move(pause);
    }
    for (bool asked = false;; asked = true) {
        auto ip = pools_.allocate(pool, family, owner);
        if (ip) {
            touched();
            co_return ip;
        }
        if (!settings_.pools.on_demand) co_return ip;
        pools_.ask(pool, family, owner, Clock::now() + kDemandLife);
        const std::string refusal = asked ? hooks_.refusal(pool) : std::string();
        const auto left = deadline - Clock::now();
        if (!refusal.empty() || left <= Clock::duration{0}) {
            co_return fail(Code::kResourceExhausted,
                           std::move(ip).error().message + "; " +
                               (refusal.empty() ? "the operator has not handed out another one in time"
                                                : "the operator says: " + refusal));
        }
        review();
        // Woken or not: it is tried again.
        auto woken = within(loop_, left, "another CIDR", waiting_.wait());
        (void)co_await std::move(woken);
    }
}

Status AddressPool::allocate_address(const IpAddress& ip, const std::string& owner) {
    if (!ready()) return no_cidr();
    TRY(pools_.allocate_specific(ip, owner));
    touched();
    return {};
}

Status AddressPool::release(const IpAddress& ip) {
    TRY(pools_.release(ip));
    touched();
    return {};
}

Status AddressPool::confirm(const IpAddress& ip, const std::string& uuid) {
    return pools_.confirm(ip, uuid);
}

Result<IpAddress> AddressPool::reserve(Family family, const IpAddress& wanted, const std::string& owner) {
    if (!ready()) return no_cidr();
    touched();
    if (wanted && pools_.owner_of(wanted) == owner) return wanted;
    if (wanted && pools_.allocate_specific(wanted, owner)) return wanted;
    return pools_.allocate(settings_.default_pool, family, owner);
}

Status AddressPool::claim(const EndpointRow& endpoint) {
    if (endpoint.external_ipam) return {};
    IpAddress first;
    for (const IpAddress& ip : {endpoint.ipv4, endpoint.ipv6}) {
        if (!ip) continue;
        if (!ready()) return no_cidr();
        if (const NodePools::Allocation* known = pools_.find(ip)) {
            const std::string owner = known->owner, uuid = known->expiration_uuid;
            if ((owner == "router" || owner == "health") && owner != owner_of(endpoint)) {
                if (first) (void)pools_.release(first);
                return fail(Code::kAlreadyExists, "address " + ip.to_string() + " is the node's own (" + owner + ")");
            }
            if (!uuid.empty()) (void)pools_.confirm(ip, uuid);
            continue;
        }
        if (auto done = pools_.allocate_specific(ip, owner_of(endpoint)); !done) {
            // A pod that outlived a change of the node's CIDRs keeps its address.
            if (done.error().code == Code::kOutOfRange && endpoint.state == EndpointState::kRestoring) continue;
            if (first) (void)pools_.release(first);
            return done;
        }
        first = ip;
    }
    touched();
    return {};
}

void AddressPool::release(const EndpointRow& endpoint) {
    if (endpoint.external_ipam) return;
    for (const IpAddress& ip : {endpoint.ipv4, endpoint.ipv6}) {
        if (ip) (void)pools_.release(ip);
    }
    touched();
}

// Many addresses at once are one look.
void AddressPool::touched() {
    if (!settings_.pools.on_demand || touched_) return;
    touched_ = true;
    soon_ = loop_.after(Duration{0}, [this] { review(); });
}

void AddressPool::review() {
    if (!settings_.pools.on_demand) return;
    touched_ = false;
    if (giving_back_) given_back_ = pools_.review(Clock::now());
    hooks_.changed();
    const auto next = giving_back_ ? pools_.next_change() : std::nullopt;
    if (!next) return review_.cancel();
    review_ = loop_.after(std::max(*next - Clock::now(), Clock::duration{0}), [this] { review(); });
}

void AddressPool::schedule_expiration() {
    const auto next = pools_.next_expiration();
    if (!next) return;
    expiration_ = loop_.after(*next - Clock::now(), [this] {
        for (const auto& [ip, allocation] : pools_.expire(Clock::now())) {
            log_.info("Unconfirmed address released", {{"ip", ip.to_string()}, {"owner", allocation.owner}});
        }
        touched();
        schedule_expiration();
    });
}

}  // namespace axo
