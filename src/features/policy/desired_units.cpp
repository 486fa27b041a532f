// Units: who shares an image, and when it is computed.
#include "features/policy/desired.h"

#include <algorithm>

namespace axo::policy {

void PolicyEngine::mark(Unit& unit) {
    if (unit.dirty) return;
    unit.dirty = true;
    dirty_.push_back(&unit);
}

void PolicyEngine::mark(const std::vector<SelectorId>& selectors) {
    for (const SelectorId selector : selectors) {
        for (const SpecEntry* spec : selector_users_[selector]) {
            for (Unit* unit : spec->units) mark(*unit);
        }
    }
}

void PolicyEngine::mark_named_ports(const NamedPorts& ports) {
    for (const SpecEntry* spec : in_force_with_egress_names_) {
        const auto& names = spec->names[index_of(Direction::kEgress)];
        if (std::ranges::none_of(ports, [&](const auto& port) { return names.contains(port.first); })) continue;
        for (Unit* unit : spec->units) mark(*unit);
    }
}

void PolicyEngine::mark_all() {
    for (auto& [key, unit] : units_) mark(unit);
}

bool PolicyEngine::is_init(const Subject& subject) const {
    return settings_.enforce_init && !subject.host && subject.labels.has_reserved("init");
}

UnitKey PolicyEngine::key_of(const SubjectEntry& entry) const {
    UnitKey key;
    key.host = entry.subject.host;
    key.init = is_init(entry.subject);
    key.mode = settings_.mode;
    for (const SpecEntry* spec : entry.specs) {
        key.specs.push_back(spec->serial);
        for (const std::string& name : spec->names[index_of(Direction::kIngress)]) {
            if (const auto port = entry.subject.named_ports.find(name); port != entry.subject.named_ports.end()) {
                key.named_ports.insert(*port);
            }
        }
    }
    return key;
}

Unit& PolicyEngine::unit_for(const SubjectEntry& entry) {
    const auto [at, inserted] = units_.try_emplace(key_of(entry));
    Unit& unit = at->second;
    if (!inserted) return unit;
    unit.key = &at->first;
    unit.specs = entry.specs;
    std::vector<SelectedSpec> selected;
    for (SpecEntry* spec : unit.specs) {
        spec->units.push_back(&unit);
        selected.push_back({spec->policy.get(), spec->index});
    }
    for (const Direction direction : kDirections) {
        const std::size_t side = index_of(direction);
        unit.enforcement[side] = enforcement(selected, direction, entry.subject.labels, entry.subject.host);
        if (!unit.enforcement[side].enforced) continue;
        unit.default_names[side] = default_name(direction, unit.enforcement[side]);
        acquire_name(unit.default_names[side], {nullptr, 0, 0, direction, unit.enforcement[side]});
    }
    mark(unit);
    return unit;
}

void PolicyEngine::leave_unit(EndpointId id, SubjectEntry& entry) {
    reassign_.insert(id);
    if (entry.unit == nullptr) return;
    Unit& unit = *entry.unit;
    entry.unit = nullptr;
    unit.subjects.erase(id);
    if (unit.subjects.empty()) drop_unit(unit);
}

void PolicyEngine::drop_unit(Unit& unit) {
    for (SpecEntry* spec : unit.specs) std::erase(spec->units, &unit);
    if (unit.dirty) std::erase(dirty_, &unit);
    std::string names[2] = {std::move(unit.default_names[0]), std::move(unit.default_names[1])};
    units_.erase(units_.find(*unit.key));
    for (const std::string& name : names) {
        if (!name.empty()) release_name(name);
    }
}

std::shared_ptr<const PolicyImage> PolicyEngine::shared(PolicyImage image) {
    const auto [first, last] = images_.equal_range(image.hash);
    for (auto at = first; at != last; ++at) {
        if (auto known = at->second.lock(); known && *known == image) return known;
    }
    if (images_.size() > 2 * units_.size() + 16) {
        std::erase_if(images_, [](const auto& entry) { return entry.second.expired(); });
    }
    const std::uint64_t hash = image.hash;
    auto fresh = std::make_shared<const PolicyImage>(std::move(image));
    images_.emplace(hash, fresh);
    return fresh;
}

void PolicyEngine::rebuild(Unit& unit) {
    UnitCompiler compiler(cache_, named_port_index_, [this](const std::string& name) { return cookies_.cookie(name); });
    const ImageDirection ingress = compiler.compile(unit, Direction::kIngress, settings_.allow_localhost);
    const ImageDirection egress = compiler.compile(unit, Direction::kEgress, settings_.allow_localhost);
    Result<PolicyImage> image = builder_.build(ingress, egress, cache_.numbers());
    unit.dirty = false;
    if (image) {
        unit.image = shared(std::move(*image));
        unit.error.reset();
    } else {
        unit.image = nullptr;
        unit.error = std::move(image).error();
    }
}

std::vector<EndpointId> PolicyEngine::changes() {
    std::set<EndpointId> candidates = std::move(reassign_);
    reassign_.clear();
    for (const EndpointId id : candidates) {
        SubjectEntry& entry = subjects_.at(id);
        entry.unit = &unit_for(entry);
        entry.unit->subjects.insert(id);
    }
    for (Unit* unit : dirty_) {
        rebuild(*unit);
        candidates.insert(unit->subjects.begin(), unit->subjects.end());
    }
    dirty_.clear();
    std::vector<EndpointId> changed;
    for (const EndpointId id : candidates) {
        SubjectEntry& entry = subjects_.at(id);
        const Unit& unit = *entry.unit;
        const bool same_error = unit.error ? entry.error && entry.error->message == unit.error->message : !entry.error;
        if (same_error && entry.image == unit.image) continue;
        entry.image = unit.image;
        entry.error = unit.error;
        changed.push_back(id);
    }
    return changed;
}

std::shared_ptr<const PolicyImage> PolicyEngine::image(EndpointId id) const {
    const auto at = subjects_.find(id);
    return at == subjects_.end() ? nullptr : at->second.image;
}

const Error* PolicyEngine::error(EndpointId id) const {
    const auto at = subjects_.find(id);
    return at == subjects_.end() || !at->second.error ? nullptr : &*at->second.error;
}

std::optional<Lookup> PolicyEngine::decide(EndpointId id, Direction direction, IdentityId peer, std::uint8_t protocol,
                                           std::uint16_t port) const {
    const auto at = subjects_.find(id);
    if (at == subjects_.end()) return std::nullopt;
    if (at->second.error) return Lookup{.action = POLICY_DENY, .matched = false, .cookie = POLICY_COOKIE_CLOSED};
    if (!at->second.image) return std::nullopt;
    return lookup(at->second.image->rows, direction, peer, protocol, port);
}

}  // namespace axo::policy
