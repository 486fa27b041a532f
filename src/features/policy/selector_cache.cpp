#include "features/policy/selector_cache.h"

#include <algorithm>

namespace axo::policy {
namespace {

void insert_sorted(std::vector<Slot>& slots, Slot slot) {
    slots.insert(std::ranges::lower_bound(slots, slot), slot);
}
void erase_sorted(std::vector<Slot>& slots, Slot slot) {
    slots.erase(std::ranges::lower_bound(slots, slot));
}

}  // namespace

const KnownIdentity* SelectorCache::find(IdentityId id) const {
    const auto at = slots_.find(id);
    return at == slots_.end() ? nullptr : &identities_[at->second];
}

std::optional<Slot> SelectorCache::slot(IdentityId id) const {
    const auto at = slots_.find(id);
    return at == slots_.end() ? std::nullopt : std::optional(at->second);
}

std::uint16_t SelectorCache::source_number(const std::string& source) {
    const auto number = static_cast<std::size_t>(std::ranges::find(sources_, source) - sources_.begin());
    if (number == sources_.size()) sources_.push_back(source);
    return static_cast<std::uint16_t>(number);
}

std::vector<SelectorId> SelectorCache::selectors_of(const KnownIdentity& identity) const {
    std::vector<SelectorId> found;
    label_index_.match(identity.labels, [&](SelectorId id) {
        if (!selectors_[id]->everybody) found.push_back(id);
    });
    for (const Prefix& prefix : prefixes_of(identity.id, identity.cidr)) {
        for (int length = prefix.length(); length >= 0 && !cidr_index_.empty(); --length) {
            const auto at = cidr_index_.find(Prefix(prefix.address(), length));
            if (at == cidr_index_.end()) continue;
            for (const SelectorId id : at->second) {
                if (matches(*selectors_[id]->query->cidr, prefix)) found.push_back(id);
            }
        }
    }
    std::ranges::sort(found);
    return found;
}

void SelectorCache::add_identity(Slot slot) {
    const KnownIdentity& identity = identities_[slot];
    for (const Label& label : identity.labels) {
        auto key = holders_.find(label.key);
        if (key == holders_.end()) key = holders_.emplace(label.key, Holders{}).first;
        std::vector<Holder>& holders = key->second[label.value];
        holders.insert(std::ranges::lower_bound(holders, slot, {}, &Holder::slot), {slot, source_number(label.source)});
    }
    for (const Prefix& prefix : prefixes_of(identity.id, identity.cidr)) prefixes_.emplace(prefix, slot);
}

void SelectorCache::drop_identity(Slot slot) {
    const KnownIdentity& identity = identities_[slot];
    for (const Label& label : identity.labels) {
        const auto key = holders_.find(label.key);
        const auto value = key->second.find(label.value);
        value->second.erase(std::ranges::lower_bound(value->second, slot, {}, &Holder::slot));
        if (value->second.empty()) key->second.erase(value);
        if (key->second.empty()) holders_.erase(key);
    }
    for (const Prefix& prefix : prefixes_of(identity.id, identity.cidr)) prefixes_.erase({prefix, slot});
}

std::vector<SelectorId> SelectorCache::upsert(KnownIdentity identity) {
    std::vector<SelectorId> before;
    Slot slot = 0;
    if (const auto at = slots_.find(identity.id); at != slots_.end()) {
        slot = at->second;
        if (identities_[slot] == identity) return {};
        before = selectors_of(identities_[slot]);
        drop_identity(slot);
    } else if (!free_slots_.empty()) {
        slot = free_slots_.back();
        free_slots_.pop_back();
    } else {
        slot = static_cast<Slot>(identities_.size());
        identities_.emplace_back();
        numbers_.push_back(0);
    }
    slots_[identity.id] = slot;
    numbers_[slot] = identity.id.value;
    identities_[slot] = std::move(identity);
    add_identity(slot);

    const std::vector<SelectorId> after = selectors_of(identities_[slot]);
    std::vector<SelectorId> changed;
    std::ranges::set_symmetric_difference(before, after, std::back_inserter(changed));
    for (const SelectorId id : changed) {
        if (std::ranges::binary_search(after, id)) {
            insert_sorted(selectors_[id]->members, slot);
        } else {
            erase_sorted(selectors_[id]->members, slot);
        }
    }
    return changed;
}

std::vector<SelectorId> SelectorCache::remove(IdentityId id) {
    const auto at = slots_.find(id);
    if (at == slots_.end()) return {};
    const Slot slot = at->second;
    std::vector<SelectorId> changed = selectors_of(identities_[slot]);
    for (const SelectorId selector : changed) erase_sorted(selectors_[selector]->members, slot);
    drop_identity(slot);
    identities_[slot] = {};
    numbers_[slot] = 0;
    slots_.erase(at);
    free_slots_.push_back(slot);
    return changed;
}

void SelectorCache::add_holders(const Requirement& requirement, const std::vector<Holder>& holders,
                                const LabelQuery& query, std::vector<Slot>& members) const {
    for (const Holder& holder : holders) {
        if (requirement.source != label_source::kAny && sources_[holder.source] != requirement.source) continue;
        if (query.all.size() == 1 || matches(query, identities_[holder.slot].labels)) members.push_back(holder.slot);
    }
}

void SelectorCache::find_members(Entry& entry) const {
    std::vector<Slot>& members = entry.members;
    if (entry.query->labels) {
        const LabelQuery& query = *entry.query->labels;
        const Requirement* best = narrowest(query);
        if (best == nullptr) {
            for (const auto& [id, slot] : slots_) {
                if (matches(query, identities_[slot].labels)) members.push_back(slot);
            }
        } else if (const auto key = holders_.find(best->key); key == holders_.end()) {
            return;
        } else if (best->op == Requirement::Op::kExists) {
            for (const auto& [value, holders] : key->second) add_holders(*best, holders, query, members);
        } else {
            for (const std::string& value : best->values) {
                const auto holders = key->second.find(value);
                if (holders != key->second.end()) add_holders(*best, holders->second, query, members);
            }
        }
    } else if (entry.query->cidr) {
        const CidrQuery& query = *entry.query->cidr;
        for (auto at = prefixes_.lower_bound({query.cidr, 0}); at != prefixes_.end(); ++at) {
            if (!query.cidr.contains(at->first)) break;
            if (matches(query, at->first)) members.push_back(at->second);
        }
    }
    std::ranges::sort(members);
    members.shrink_to_fit();
}

SelectorId SelectorCache::acquire(const Selector& selector) {
    const auto [at, inserted] = by_query_.try_emplace(Query{selector.labels, selector.cidr}, 0);
    if (!inserted) {
        ++selectors_[at->second]->uses;
        return at->second;
    }
    if (free_selectors_.empty()) {
        at->second = static_cast<SelectorId>(selectors_.size());
        selectors_.emplace_back();
    } else {
        at->second = free_selectors_.back();
        free_selectors_.pop_back();
    }
    auto entry = std::make_unique<Entry>();
    entry->query = &at->first;
    entry->uses = 1;
    entry->everybody = selects_everybody(selector);
    if (!entry->everybody) {
        find_members(*entry);
        if (at->first.labels) label_index_.add(at->second, *at->first.labels);
        if (at->first.cidr) cidr_index_[at->first.cidr->cidr].push_back(at->second);
    }
    selectors_[at->second] = std::move(entry);
    return at->second;
}

void SelectorCache::release(SelectorId id) {
    Entry& entry = *selectors_[id];
    if (--entry.uses > 0) return;
    if (!entry.everybody) {
        if (entry.query->labels) label_index_.remove(id, *entry.query->labels);
        if (entry.query->cidr) {
            const auto at = cidr_index_.find(entry.query->cidr->cidr);
            std::erase(at->second, id);
            if (at->second.empty()) cidr_index_.erase(at);
        }
    }
    by_query_.erase(by_query_.find(*entry.query));
    selectors_[id].reset();
    free_selectors_.push_back(id);
}

std::optional<IdentityId> SelectorCache::of_address(const IpAddress& address) const {
    for (int length = address.bits(); length >= 0; --length) {
        const Prefix prefix(address, length);
        const auto at = prefixes_.lower_bound({prefix, 0});
        if (at != prefixes_.end() && at->first == prefix) return identities_[at->second].id;
    }
    return std::nullopt;
}

void SelectorCache::for_each(
    const std::function<void(const Selector&, std::uint32_t uses, std::vector<IdentityId>)>& visit) const {
    for (const auto& [query, id] : by_query_) {
        const Entry& entry = *selectors_[id];
        std::vector<IdentityId> taken;
        for (const Slot slot : entry.members) taken.emplace_back(numbers_[slot]);
        if (entry.everybody) taken.emplace_back(0U);
        std::ranges::sort(taken);
        visit(Selector{.labels = query.labels, .cidr = query.cidr}, entry.uses, std::move(taken));
    }
}

}  // namespace axo::policy
