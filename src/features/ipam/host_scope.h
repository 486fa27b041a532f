// HostScopeAllocator: hands out the addresses of one node's pod CIDRs.
//
// Several CIDRs per family, used in the order given. The first and the last address of every CIDR bigger
// than /31 (IPv6: /127) are never handed out. Memory and time follow what is allocated, not the CIDRs' size,
// so a /8 or a /64 costs nothing. No I/O, no clock: the generator and the times are the caller's.
//
// Use: allocate() or, for addresses known from before a restart, allocate_specific(); release() by address.
// A CNI ADD asks for expire_after(): the address comes back by expire() unless confirm() is called with the
// uuid in time. Owners are free text ("default/web", "router", "health").
// Errors: kResourceExhausted (names CIDRs and counts), kOutOfRange (not in the CIDRs, or reserved),
// kAlreadyExists (names the owner), kNotFound. Thread: the loop's only.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "features/ipam/free_ranges.h"

namespace axo {

// Uniform over all 64-bit values.
using RandomSource = std::function<std::uint64_t()>;

class HostScopeAllocator {
public:
    using TimePoint = std::chrono::steady_clock::time_point;
    enum class Strategy {
        kRandom,  // a random free address: a freed one is not reused soon
        kNext,    // the next one after the last handed out
    };
    struct Allocation {
        std::string owner;
        std::string expiration_uuid;  // "" once confirmed or when none was asked for
        std::optional<TimePoint> expires;
    };

    // CIDRs of one list must not overlap.
    static Result<HostScopeAllocator> create(std::vector<Prefix> cidrs, RandomSource random,
                                             Strategy strategy = Strategy::kRandom);

    // Replaces the CIDRs. Addresses that are in none of the new ones stay allocated until released: see strays().
    Status set_cidrs(std::vector<Prefix> cidrs);
    [[nodiscard]] const std::vector<Prefix>& cidrs() const { return cidrs_; }

    Result<IpAddress> allocate(Family family, std::string owner);
    Status allocate_specific(const IpAddress& ip, std::string owner);
    Status release(const IpAddress& ip);

    // Lets the allocation end at `deadline` unless confirmed before; returns the uuid to confirm with.
    Result<std::string> expire_after(const IpAddress& ip, TimePoint deadline);
    // kFailedPrecondition when the uuid is another one or the address does not expire.
    Status confirm(const IpAddress& ip, const std::string& uuid);
    // Releases what was not confirmed in time and returns it.
    std::vector<std::pair<IpAddress, Allocation>> expire(TimePoint now);
    // When expire() is due next; nullopt: nothing expires.
    [[nodiscard]] std::optional<TimePoint> next_expiration() const;

    [[nodiscard]] const std::map<IpAddress, Allocation>& allocations() const { return allocations_; }
    // "" when it is not allocated.
    [[nodiscard]] std::string owner_of(const IpAddress& ip) const;
    // Allocated addresses that are in no CIDR (any more).
    [[nodiscard]] std::vector<IpAddress> strays() const;
    // Addresses that can be handed out at all, and that are (strays not counted). Capacity saturates at 2^64-1.
    [[nodiscard]] std::uint64_t capacity(Family family) const;
    [[nodiscard]] std::uint64_t used(Family family) const;
    // "5/254 allocated from 10.0.0.0/24, 10.0.7.0/24", as `status` shows it; "" without CIDRs of the family.
    [[nodiscard]] std::string describe(Family family) const;

private:
    struct Range {
        Prefix cidr;
        std::uint64_t first = 0;  // usable offsets from the CIDR's address
        std::uint64_t last = 0;
        FreeRanges free;
        std::uint64_t used = 0;
        std::uint64_t cursor = 0;
    };

    HostScopeAllocator(RandomSource random, Strategy strategy) : random_(std::move(random)), strategy_(strategy) {}
    Range* range_of(const IpAddress& ip);
    [[nodiscard]] std::string cidr_list(Family family) const;

    RandomSource random_;
    Strategy strategy_;
    std::vector<Prefix> cidrs_;
    std::vector<Range> ranges_;
    std::map<IpAddress, Allocation> allocations_;
};

// A version 4 UUID out of two random numbers.
std::string make_uuid(std::uint64_t high, std::uint64_t low);

}  // namespace axo
