// The agent's addresses: the pure pools of the node with the agent's clock, timers and owners.
//
// An address that is not there when it is asked for, because the operator has to hand out a CIDR first or the pod's
// object is not known yet, is waited for: kPatience, and not longer than until the operator says why not.
// Thread: the loop's only.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "features/endpoint/types.h"
#include "features/ipam/node_pools.h"
#include "runtime/task.h"

namespace axo {

class AddressPool {
public:
    struct Settings {
        std::string default_pool = "default";
        NodePoolsSettings pools;
    };
    struct Hooks {
        // Which pool an owner's address comes from; kUnavailable: not known yet.
        std::function<Task<Result<std::string>>(Family, std::string owner)> choose;
        // What the node should ask for or give back may be different: see pools().
        std::function<void()> changed = [] {};
        // Why the operator hands out nothing of the pool; "": it has not said anything.
        std::function<std::string(const std::string& pool)> refusal = [](const std::string&) { return std::string(); };
    };
    AddressPool(EventLoop& loop, Settings settings, Hooks hooks);

    // The first call makes the pool usable. A CIDR that is gone leaves its addresses with their owners.
    Status set_allocated(const std::vector<PoolAllocation>& allocated);
    // From now on CIDRs that are not used go back: all addresses in use are known.
    void start_giving_back();
    [[nodiscard]] bool ready() const { return !pools_.allocated().empty(); }

    struct Lease {
        IpAddress ipv4, ipv6;
        std::string uuid4, uuid6;  // "" unless the lease expires
    };
    // family kNone: one of each enabled family, all or nothing. pool "": the owner's. expires: comes back after 10
    // minutes unless confirmed.
    Task<Result<Lease>> allocate(Family family, std::string pool, std::string owner, bool expires);
    Status allocate_address(const IpAddress& ip, const std::string& owner);
    Status release(const IpAddress& ip);
    Status confirm(const IpAddress& ip, const std::string& uuid);
    // For the node itself, of the default pool: `wanted` if that can be had, else a free one.
    Result<IpAddress> reserve(Family family, const IpAddress& wanted, const std::string& owner);

    // The endpoint's addresses become its own, whether or not they were allocated before.
    Status claim(const EndpointRow& endpoint);
    void release(const EndpointRow& endpoint);

    [[nodiscard]] const NodePools& pools() const { return pools_; }
    [[nodiscard]] const std::string& default_pool() const { return settings_.default_pool; }
    // CIDRs that the node can do without.
    [[nodiscard]] const std::set<Prefix>& given_back() const { return given_back_; }

private:
    Task<Result<IpAddress>> allocate_one(Family family, std::string pool, std::string owner);
    void touched();
    void review();
    void schedule_expiration();

    EventLoop& loop_;
    Logger log_{"ipam"};
    Settings settings_;
    Hooks hooks_;
    NodePools pools_;
    bool giving_back_ = false;
    bool touched_ = false;
    std::set<Prefix> given_back_;
    Waiters<Result<bool>> waiting_;  // for other CIDRs
    EventLoop::Handle expiration_, review_, soon_;
};

// Uniform over 64 bits, seeded by the system.
RandomSource system_random();

}  // namespace axo
