// The agent's addresses: the pure host-scope allocator with the agent's clock, timers and owners.
// Thread: the loop's only.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "features/endpoint/types.h"
#include "features/ipam/host_scope.h"
#include "runtime/event_loop.h"

namespace axo {

class AddressPool {
public:
    AddressPool(EventLoop& loop, bool ipv4, bool ipv6);

    // The first call makes the pool usable. A CIDR that is gone leaves its addresses with their owners.
    Status set_cidrs(const std::vector<Prefix>& cidrs);
    [[nodiscard]] bool ready() const { return allocator_.has_value(); }

    struct Lease {
        IpAddress ipv4, ipv6;
        std::string uuid4, uuid6;  // "" unless the lease expires
    };
    // family kNone: one of each enabled family, all or nothing. expires: comes back after 10 minutes unless confirmed.
    Result<Lease> allocate(Family family, const std::string& owner, bool expires);
    Status allocate_address(const IpAddress& ip, const std::string& owner);
    Status release(const IpAddress& ip);
    Status confirm(const IpAddress& ip, const std::string& uuid);
    // For the node itself: `wanted` if that can be had, else a free one.
    Result<IpAddress> reserve(Family family, const IpAddress& wanted, const std::string& owner);

    // The endpoint's addresses become its own, whether or not they were allocated before.
    Status claim(const EndpointRow& endpoint);
    void release(const EndpointRow& endpoint);

    // nullptr before the first set_cidrs.
    [[nodiscard]] const HostScopeAllocator* allocator() const { return allocator_ ? &*allocator_ : nullptr; }

private:
    void schedule_expiration();

    EventLoop& loop_;
    Logger log_{"ipam"};
    bool ipv4_, ipv6_;
    std::optional<HostScopeAllocator> allocator_;
    EventLoop::Handle expiration_;
};

// Uniform over 64 bits, seeded by the system.
RandomSource system_random();

}  // namespace axo
