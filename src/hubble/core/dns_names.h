// Which names led a pod to an address, from the answers that it got; and how long each answer took.
//
// Bounded whatever pods ask: what was not used for longest goes. Names stay behind their time to live, because
// connections do. Thread: one (its owner's lock).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/ip.h"
#include "hubble/core/record.h"

namespace axo::hubble {

class DnsNames {
public:
    // The pod's question or its answer. Of an answer: the time since the question in ns, 0: that was not seen.
    std::uint64_t observe(const FlowRecord& record);
    // The names by which a pod of this node came to the address, sorted, without their last dots. Null: none.
    NamesRef names_of(std::uint32_t endpoint, const IpAddress& address);
    void forget(std::uint32_t endpoint);
    // Of all pods, names that this says; without their last dots.
    void forget_names(const std::function<bool(const std::string& name)>& says);
    // What one answer, the last one, told of a name. By pods, then names.
    struct Lookup {
        std::uint32_t endpoint = 0;
        std::string name;
        std::int64_t time_ns = 0;  // since the epoch
        std::uint32_t ttl = 0;     // seconds
        std::vector<IpAddress> ips;
    };
    [[nodiscard]] std::vector<Lookup> lookups() const;
    // Takes up what an earlier one knew, unless its time is over; of a time to come it counts as of now.
    // now_ns: CLOCK_MONOTONIC; wall_ns: since the epoch.
    void restore(const std::vector<Lookup>& lookups, std::int64_t now_ns, std::int64_t wall_ns);
    // Grows whenever lookups() has become another list.
    [[nodiscard]] std::uint64_t changes() const { return changes_; }

    static constexpr std::size_t kMaxAddresses = 16'384;  // of all pods
    static constexpr std::size_t kMaxNames = 16;          // of an address
    static constexpr std::size_t kMaxQueries = 8'192;     // without an answer yet
    static constexpr std::int64_t kKeepNs =
        3600LL * 1'000'000'000;  // after its time to live, a name goes if others come

private:
    struct Key {
        std::uint32_t endpoint = 0;
        IpAddress address;
        friend bool operator==(const Key&, const Key&) = default;
    };
    struct KeyHash {
        std::size_t operator()(const Key& key) const noexcept {
            return std::hash<IpAddress>{}(key.address) * 31 + key.endpoint;
        }
    };
    struct Name {
        std::string name;
        std::int64_t until_ns = 0;  // CLOCK_MONOTONIC
        std::int64_t time_ns = 0;   // since the epoch
        std::uint32_t ttl = 0;
    };
    struct Entry {
        std::vector<Name> names;
        NamesRef shown;
    };
    // Twice half of what there may be: the younger half, and the older one that goes as a whole when the younger is
    // full. What is used moves to the younger.
    template <class K, class V, class H>
    class Halves {
    public:
        explicit Halves(std::size_t most) : half_(most / 2) {}
        V* find(const K& key);
        V& at(const K& key);
        void erase(const K& key);
        template <class Test>
        void erase_if(Test test);
        void for_each(auto&& visit) const {
            for (const auto* half : {&young_, &old_})
                for (const auto& [key, value] : *half) visit(key, value);
        }
        [[nodiscard]] bool empty() const { return young_.empty() && old_.empty(); }

    private:
        void make_room();
        const std::size_t half_;
        std::unordered_map<K, V, H> young_, old_;
    };

    void learn(std::uint32_t endpoint, const IpAddress& address, const Name& name, std::int64_t now_ns);
    static NamesRef shown(const std::vector<Name>& names);

    Halves<Key, Entry, KeyHash> entries_{kMaxAddresses};
    Halves<std::uint64_t, std::int64_t, std::hash<std::uint64_t>> queries_{kMaxQueries};
    std::uint64_t changes_ = 0;
};

}  // namespace axo::hubble
