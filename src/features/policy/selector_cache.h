// The identities of the cluster and, for each selector in use, which of them it takes. Incremental: an
// identity costs the selectors that it may fulfil, a selector the identities that may fulfil it.
// Pure. Thread: one.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/ip.h"
#include "base/types.h"
#include "features/policy/image.h"
#include "features/policy/query_index.h"
#include "features/policy/types.h"

namespace axo::policy {

struct KnownIdentity {
    IdentityId id;
    LabelSet labels;
    std::optional<Prefix> cidr;  // identities of prefixes only
    friend bool operator==(const KnownIdentity&, const KnownIdentity&) = default;
};

using SelectorId = std::uint32_t;

class SelectorCache {
public:
    // Both return the selectors whose members changed.
    std::vector<SelectorId> upsert(KnownIdentity identity);
    std::vector<SelectorId> remove(IdentityId id);

    // Equal selectors are one, whether written as endpoints or not; it lives until it was released as often.
    SelectorId acquire(const Selector& selector);
    void release(SelectorId id);
    [[nodiscard]] bool everybody(SelectorId id) const { return selectors_[id]->everybody; }
    // Sorted. Nothing for selectors of everybody. Valid until identities or selectors change.
    [[nodiscard]] const std::vector<Slot>& members(SelectorId id) const { return selectors_[id]->members; }
    // Above every SelectorId that was ever handed out.
    [[nodiscard]] std::size_t selector_limit() const { return selectors_.size(); }
    [[nodiscard]] std::size_t selector_count() const { return by_query_.size(); }

    // Every selector in use: its words, how often it is used, and whom it takes (everybody: id 0), sorted.
    void for_each(const std::function<void(const Selector&, std::uint32_t uses, std::vector<IdentityId>)>& visit) const;
    [[nodiscard]] const KnownIdentity* find(IdentityId id) const;
    [[nodiscard]] std::optional<Slot> slot(IdentityId id) const;
    // By slot; 0 where none is.
    [[nodiscard]] std::span<const std::uint32_t> numbers() const { return numbers_; }
    // The identity of the longest known prefix that holds the address.
    [[nodiscard]] std::optional<IdentityId> of_address(const IpAddress& address) const;
    [[nodiscard]] const std::unordered_map<IdentityId, Slot>& identities() const { return slots_; }

private:
    // What tells selectors apart.
    struct Query {
        std::optional<LabelQuery> labels;
        std::optional<CidrQuery> cidr;
        friend auto operator<=>(const Query&, const Query&) = default;
    };
    struct Entry {
        const Query* query = nullptr;  // key of by_query_
        std::uint32_t uses = 0;
        bool everybody = false;
        std::vector<Slot> members;
    };
    // Whoever has a label of some key and value.
    struct Holder {
        Slot slot;
        std::uint16_t source;  // into sources_
    };
    using Holders = StringMap<std::vector<Holder>>;  // by value

    std::vector<SelectorId> selectors_of(const KnownIdentity& identity) const;
    void add_identity(Slot slot);
    void drop_identity(Slot slot);
    void find_members(Entry& entry) const;
    void add_holders(const Requirement& requirement, const std::vector<Holder>& holders, const LabelQuery& query,
                     std::vector<Slot>& members) const;
    std::uint16_t source_number(const std::string& source);

    std::vector<KnownIdentity> identities_;  // by slot
    std::vector<std::uint32_t> numbers_;
    std::vector<Slot> free_slots_;
    std::unordered_map<IdentityId, Slot> slots_;
    StringMap<Holders> holders_;  // by key
    std::vector<std::string> sources_;
    std::set<std::pair<Prefix, Slot>> prefixes_;

    std::map<Query, SelectorId> by_query_;
    std::vector<std::unique_ptr<Entry>> selectors_;  // null where free
    std::vector<SelectorId> free_selectors_;
    QueryIndex<SelectorId> label_index_;
    std::unordered_map<Prefix, std::vector<SelectorId>> cidr_index_;
};

}  // namespace axo::policy
