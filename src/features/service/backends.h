// Numbers of backends: which entry of cilium_lb_backends each address has, how many selections lead to it, and in which
// state it is there.
//
// A number that nobody leads to any more is free in the map at once, and becomes another address only after a grace
// period: programs may still have it in hand. Thread: the loop's only.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "features/service/types.h"
#include "maps/lb_map.h"

namespace axo::service {

class Backends {
public:
    Backends(LbMaps& maps, std::map<std::string, std::uint8_t> zones);

    // What an earlier agent left keeps its numbers; what is not acquired until drop_unused() goes then.
    void adopt();
    // kResourceExhausted: all numbers are taken.
    Result<std::uint32_t> acquire(const Backend& backend);
    // Whether nobody leads to it any more.
    bool release(const Backend& backend);
    // Takes back an acquire whose number no table ever had: no grace period is needed.
    void cancel(const Backend& backend);
    // Addresses that nobody acquired since adopt().
    std::vector<LbAddress> drop_unused();

    // 0: unknown.
    [[nodiscard]] std::uint32_t id(const LbAddress& address) const;
    [[nodiscard]] std::uint32_t pod_id(std::uint32_t id) const { return entries_.at(id).pod_id; }
    [[nodiscard]] std::size_t size() const { return count_; }
    [[nodiscard]] std::uint32_t capacity() const { return maps_.capacity(); }

    // Numbers that wait for a grace period since the last call.
    std::vector<std::uint32_t> take_freed() { return std::exchange(freed_, {}); }
    [[nodiscard]] bool any_freed() const { return !freed_.empty(); }
    // Their grace period is over.
    void reuse(const std::vector<std::uint32_t>& ids);

    struct Counters {
        std::uint64_t unchanged_at_start = 0, added = 0, updated = 0, removed = 0;
    };
    [[nodiscard]] const Counters& counters() const { return counters_; }

private:
    struct Entry {
        std::uint32_t uses = 0, active = 0;  // selections that lead to it, those of them that take it for active
        std::uint32_t pod_id = 0;
        bool taken = false;    // not to be given to another address
        bool adopted = false;  // stays until drop_unused(), used or not
        bool compared = true;  // with what was adopted
    };
    // Ids by address, in a table that holds only numbers: the addresses stand in the map. Open addressing.
    static constexpr std::uint32_t kEmpty = 0, kErased = UINT32_MAX;
    [[nodiscard]] static std::size_t hash(const LbAddress& address);
    [[nodiscard]] std::size_t slot_of(const LbAddress& address) const;  // of slots_, or its size: not there
    void insert(const LbAddress& address, std::uint32_t id);
    void grow();

    void write(std::uint32_t id, const Backend& backend);
    std::uint32_t pod_number(const IpAddress& address);
    void drop(const LbAddress& address, std::uint32_t id);

    LbMaps& maps_;
    std::map<std::string, std::uint8_t> zones_;
    std::vector<std::uint32_t> slots_;
    std::size_t count_ = 0, occupied_ = 0;  // of slots_: ids, ids and what was erased
    std::vector<Entry> entries_;            // by id
    std::vector<std::uint32_t> freed_;
    std::uint32_t next_ = 1;
    // IPv6 only: numbers are hashes there, and must not be two pods'.
    struct Pod {
        IpAddress address;
        std::uint32_t uses = 0;
    };
    std::unordered_map<std::uint32_t, Pod> pods6_;
    Counters counters_;
};

}  // namespace axo::service
