#include "app/agent/ipam.h"

#include <random>

namespace axo {

namespace {

constexpr std::chrono::minutes kExpiration{10};

std::string owner_of(const EndpointRow& endpoint) {
    switch (endpoint.kind) {
        case EndpointKind::kHealth: return "health";
        case EndpointKind::kHost: return "router";
        case EndpointKind::kPod: break;
    }
    return endpoint.k8s_pod.empty() ? "endpoint " + endpoint.id.to_string() : endpoint.pod_name();
}

}  // namespace

RandomSource system_random() {
    std::random_device device;
    std::seed_seq seed{device(), device(), device(), device()};
    return [generator = std::mt19937_64(seed)]() mutable { return generator(); };
}

AddressPool::AddressPool(EventLoop& loop, bool ipv4, bool ipv6) : loop_(loop), ipv4_(ipv4), ipv6_(ipv6) {}

Status AddressPool::set_cidrs(const std::vector<Prefix>& cidrs) {
    if (allocator_) {
        if (allocator_->cidrs() == cidrs) return {};
        return allocator_->set_cidrs(cidrs);
    }
    TRY_ASSIGN(allocator_, HostScopeAllocator::create(cidrs, system_random()));
    return {};
}

Result<AddressPool::Lease> AddressPool::allocate(Family family, const std::string& owner, bool expires) {
    if (!allocator_) return fail(Code::kUnavailable, "the node has no pod CIDR yet");
    Lease lease;
    const auto one = [&](Family wanted, IpAddress& ip, std::string& uuid) -> Status {
        TRY_ASSIGN(ip, allocator_->allocate(wanted, owner));
        if (expires) {
            TRY_ASSIGN(uuid, allocator_->expire_after(ip, std::chrono::steady_clock::now() + kExpiration));
        }
        return {};
    };
    if (family == Family::kIpv4 && !ipv4_)
        return fail(Code::kInvalidArgument, "family=ipv4: IPv4 is off (enable-ipv4=false)");
    if (family == Family::kIpv6 && !ipv6_)
        return fail(Code::kInvalidArgument, "family=ipv6: IPv6 is off (enable-ipv6=false)");
    if (ipv4_ && family != Family::kIpv6) TRY(one(Family::kIpv4, lease.ipv4, lease.uuid4));
    if (ipv6_ && family != Family::kIpv4) {
        if (auto done = one(Family::kIpv6, lease.ipv6, lease.uuid6); !done) {
            if (lease.ipv4) (void)allocator_->release(lease.ipv4);
            return forward_error(std::move(done).error());
        }
    }
    if (expires) schedule_expiration();
    return lease;
}

Status AddressPool::allocate_address(const IpAddress& ip, const std::string& owner) {
    if (!allocator_) return fail(Code::kUnavailable, "the node has no pod CIDR yet");
    return allocator_->allocate_specific(ip, owner);
}

Status AddressPool::release(const IpAddress& ip) {
    if (!allocator_) return fail(Code::kNotFound, "address " + ip.to_string() + " is not allocated");
    return allocator_->release(ip);
}

Status AddressPool::confirm(const IpAddress& ip, const std::string& uuid) {
    if (!allocator_) return fail(Code::kNotFound, "address " + ip.to_string() + " is not allocated");
    return allocator_->confirm(ip, uuid);
}

Result<IpAddress> AddressPool::reserve(Family family, const IpAddress& wanted, const std::string& owner) {
    if (!allocator_) return fail(Code::kUnavailable, "the node has no pod CIDR yet");
    if (wanted && allocator_->owner_of(wanted) == owner) return wanted;
    if (wanted && allocator_->allocate_specific(wanted, owner)) return wanted;
    return allocator_->allocate(family, owner);
}

Status AddressPool::claim(const EndpointRow& endpoint) {
    if (endpoint.external_ipam) return {};
    IpAddress first;
    for (const IpAddress& ip : {endpoint.ipv4, endpoint.ipv6}) {
        if (!ip) continue;
        if (!allocator_) return fail(Code::kUnavailable, "the node has no pod CIDR yet");
        const auto known = allocator_->allocations().find(ip);
        if (known != allocator_->allocations().end()) {
            const std::string owner = known->second.owner, uuid = known->second.expiration_uuid;
            if ((owner == "router" || owner == "health") && owner != owner_of(endpoint)) {
                if (first) (void)allocator_->release(first);
                return fail(Code::kAlreadyExists, "address " + ip.to_string() + " is the node's own (" + owner + ")");
            }
            if (!uuid.empty()) (void)allocator_->confirm(ip, uuid);
            continue;
        }
        if (auto done = allocator_->allocate_specific(ip, owner_of(endpoint)); !done) {
            // A pod that outlived a change of the node's CIDRs keeps its address.
            if (done.error().code == Code::kOutOfRange && endpoint.state == EndpointState::kRestoring) continue;
            if (first) (void)allocator_->release(first);
            return done;
        }
        first = ip;
    }
    return {};
}

void AddressPool::release(const EndpointRow& endpoint) {
    if (endpoint.external_ipam || !allocator_) return;
    for (const IpAddress& ip : {endpoint.ipv4, endpoint.ipv6}) {
        if (ip) (void)allocator_->release(ip);
    }
}

void AddressPool::schedule_expiration() {
    const auto next = allocator_->next_expiration();
    if (!next) return;
    expiration_ = loop_.after(*next - std::chrono::steady_clock::now(), [this] {
        for (const auto& [ip, allocation] : allocator_->expire(std::chrono::steady_clock::now())) {
            log_.info("Unconfirmed address released", {{"ip", ip.to_string()}, {"owner", allocation.owner}});
        }
        schedule_expiration();
    });
}

}  // namespace axo
