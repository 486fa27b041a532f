#include "features/policy/desired.h"

#include <algorithm>
#include <tuple>

#include "features/policy/match.h"

namespace axo::policy {
namespace {

constexpr Direction kDirections[] = {Direction::kIngress, Direction::kEgress};

std::size_t index_of(Direction direction) {
    return direction == Direction::kIngress ? 0 : 1;
}

LabelSet host_labels() {
    return LabelSet::reserved("host");
}

// '\0' stands in no name of Kubernetes.
std::string rule_name(const Origin& origin, const Rule& rule) {
    std::string name = origin.kind;
    for (const std::string* part : {&origin.k8s_namespace, &origin.name, &rule.path}) {
        name += '\0';
        name += *part;
    }
    name += '\0';
    name += direction_text(rule.direction);
    name += rule.deny ? " deny" : " allow";
    return name;
}

template <class Visit>
void for_each_cidr(const Spec& spec, Visit visit) {
    for (const Rule& rule : spec.rules) {
        for (const Selector& peer : rule.peers) {
            if (!peer.cidr) continue;
            visit(peer.cidr->cidr);
            for (const Prefix& except : peer.cidr->except) visit(except);
        }
    }
}

std::string default_name(Direction direction, const Enforcement& enforcement) {
    std::string name = "default deny ";
    name += direction_text(direction);
    if (enforcement.always) name += " always";
    if (enforcement.init) name += " init";
    for (const Origin& origin : enforcement.closed_by) {
        for (const std::string* part : {&origin.kind, &origin.k8s_namespace, &origin.name}) {
            name += '\0';
            name += *part;
        }
    }
    return name;
}

}  // namespace

std::string to_text(const Enforcement& enforcement) {
    if (!enforcement.enforced) return "not enforced: no policy closes it";
    if (!enforcement.closed_by.empty()) {
        std::string text = "default deny from ";
        for (std::size_t i = 0; i < enforcement.closed_by.size(); ++i) {
            if (i > 0) text += ", ";
            text += enforcement.closed_by[i].to_string();
        }
        return text;
    }
    if (enforcement.init) return "default deny because the pod's labels are not known yet (reserved:init)";
    return "default deny because of enable-policy=always";
}

std::string RuleInfo::to_string() const {
    switch (kind) {
        case Kind::kNone: return "no policy is enforced";
        case Kind::kLocalhost: return "allow-localhost: a node may reach its own pods";
        case Kind::kClosed: return "the endpoint is closed: its own policy does not fit into an image";
        case Kind::kDefaultDeny: return axo::policy::to_text(enforcement);
        case Kind::kRule: break;
    }
    return origin.to_string() + ", " + path;
}

PolicyEngine::PolicyEngine(EngineSettings settings) : settings_(settings) {
    cache_.upsert({identity::kHost, host_labels(), std::nullopt});
}

PolicyEngine::~PolicyEngine() = default;

std::unique_ptr<PolicyEngine> PolicyEngine::clone() const {
    auto copy = std::make_unique<PolicyEngine>(settings_);
    for (const auto& [id, slot] : cache_.identities()) {
        const KnownIdentity* known = cache_.find(id);
        copy->upsert_identity(id, known->labels, known->cidr);
    }
    for (const auto& [id, ports] : named_ports_) copy->set_named_ports(id, ports);
    for (const auto& [key, entry] : policies_) copy->upsert_policy(entry.policy);
    for (const auto& [id, entry] : subjects_) copy->upsert_subject(id, entry.subject);
    return copy;
}

// Policies.

void PolicyEngine::upsert_policy(std::shared_ptr<const Policy> policy) {
    PolicyEntry& entry = policies_[{policy->origin.kind, policy->origin.k8s_namespace, policy->origin.name}];
    if (entry.policy && *entry.policy == *policy) return;
    PolicyEntry old = std::move(entry);
    entry = {std::move(policy), {}};
    for (std::size_t index = 0; index < entry.policy->specs.size(); ++index) {
        auto spec = std::make_unique<SpecEntry>();
        spec->policy = entry.policy;
        spec->index = index;
        spec->serial = next_serial_++;
        (spec->spec().selects_nodes ? node_specs_ : pod_specs_).add(spec.get(), spec->spec().subject);
        attach_everywhere(*spec);
        entry.specs.push_back(std::move(spec));
    }
    // After the new ones, so that what both need is not computed again.
    for (const std::unique_ptr<SpecEntry>& spec : old.specs) detach_everywhere(*spec);
}

void PolicyEngine::remove_policy(const std::string& kind, const std::string& k8s_namespace, const std::string& name) {
    const auto at = policies_.find({kind, k8s_namespace, name});
    if (at == policies_.end()) return;
    for (const std::unique_ptr<SpecEntry>& spec : at->second.specs) detach_everywhere(*spec);
    policies_.erase(at);
}

void PolicyEngine::attach_everywhere(SpecEntry& spec) {
    if (settings_.mode == EnforcementMode::kNever) return;
    for (auto& [id, entry] : subjects_) {
        if (entry.subject.host == spec.spec().selects_nodes && matches(spec.spec().subject, entry.subject.labels)) {
            attach(spec, id, entry);
        }
    }
}

void PolicyEngine::detach_everywhere(SpecEntry& spec) {
    for (auto& [id, entry] : subjects_) {
        if (spec.subjects == 0) break;
        if (std::ranges::binary_search(entry.specs, &spec, SpecEntry::before)) detach(spec, id, entry);
    }
    (spec.spec().selects_nodes ? node_specs_ : pod_specs_).remove(&spec, spec.spec().subject);
}

void PolicyEngine::attach(SpecEntry& spec, EndpointId id, SubjectEntry& subject) {
    leave_unit(id, subject);
    subject.specs.insert(std::ranges::lower_bound(subject.specs, &spec, SpecEntry::before), &spec);
    if (spec.subjects++ == 0) put_in_force(spec);
}

void PolicyEngine::detach(SpecEntry& spec, EndpointId id, SubjectEntry& subject) {
    leave_unit(id, subject);
    subject.specs.erase(std::ranges::lower_bound(subject.specs, &spec, SpecEntry::before));
    if (--spec.subjects == 0) put_out_of_force(spec);
}

void PolicyEngine::put_in_force(SpecEntry& spec) {
    const Spec& value = spec.spec();
    for (std::size_t index = 0; index < value.rules.size(); ++index) {
        const Rule& rule = value.rules[index];
        std::vector<SelectorId>& peers = spec.peers.emplace_back();
        for (const Selector& peer : rule.peers) peers.push_back(cache_.acquire(peer));
        spec.selectors.insert(spec.selectors.end(), peers.begin(), peers.end());
        for (const PortRange& port : rule.ports) {
            if (!port.name.empty()) spec.names[index_of(rule.direction)].insert(port.name);
        }
        std::string name = rule_name(spec.policy->origin, rule);
        acquire_name(name, {spec.policy, spec.index, index, rule.direction, {}});
        spec.rule_names.push_back(std::move(name));
    }
    for (const Direction direction : kDirections) {
        const std::vector<Requirement>& all =
            direction == Direction::kIngress ? value.ingress_requires : value.egress_requires;
        if (all.empty()) continue;
        Selector selector;
        selector.labels = LabelQuery{all};
        spec.requires_of[index_of(direction)] = cache_.acquire(selector);
        spec.selectors.push_back(*spec.requires_of[index_of(direction)]);
    }
    std::ranges::sort(spec.selectors);
    const auto repeated = std::ranges::unique(spec.selectors);
    spec.selectors.erase(repeated.begin(), repeated.end());
    selector_users_.resize(cache_.selector_limit());
    for (const SelectorId selector : spec.selectors) selector_users_[selector].push_back(&spec);
    if (!spec.names[index_of(Direction::kEgress)].empty()) in_force_with_egress_names_.insert(&spec);
    count_cidrs(value, +1);
}

void PolicyEngine::put_out_of_force(SpecEntry& spec) {
    for (const SelectorId selector : spec.selectors) std::erase(selector_users_[selector], &spec);
    for (const std::vector<SelectorId>& peers : spec.peers) {
        for (const SelectorId selector : peers) cache_.release(selector);
    }
    for (std::optional<SelectorId>& required : spec.requires_of) {
        if (required) cache_.release(*required);
        required.reset();
    }
    for (const std::string& name : spec.rule_names) release_name(name);
    in_force_with_egress_names_.erase(&spec);
    count_cidrs(spec.spec(), -1);
    spec.selectors.clear();
    spec.peers.clear();
    spec.rule_names.clear();
    for (auto& names : spec.names) names.clear();
}

void PolicyEngine::count_cidrs(const Spec& spec, int delta) {
    const auto count = [&](const Prefix& prefix) {
        if (prefix.length() == 0) return;
        CidrUse& use = cidrs_[prefix];
        use.uses += static_cast<std::uint32_t>(delta);
        if ((use.uses > 0) == use.told) {
            changed_cidrs_.erase(prefix);
            if (use.uses == 0) cidrs_.erase(prefix);
        } else {
            changed_cidrs_.insert(prefix);
        }
    };
    for_each_cidr(spec, count);
}

std::vector<Prefix> PolicyEngine::cidrs() const {
    std::vector<Prefix> prefixes;
    for (const auto& [prefix, use] : cidrs_) {
        if (use.uses > 0) prefixes.push_back(prefix);
    }
    return prefixes;
}

CidrChanges PolicyEngine::take_cidr_changes() {
    CidrChanges changes;
    for (const Prefix& prefix : changed_cidrs_) {
        const auto at = cidrs_.find(prefix);
        if (at->second.uses > 0) {
            at->second.told = true;
            changes.added.push_back(prefix);
        } else {
            cidrs_.erase(at);
            changes.removed.push_back(prefix);
        }
    }
    changed_cidrs_.clear();
    return changes;
}

std::vector<Prefix> PolicyEngine::cidrs_added_by(const Policy& policy) const {
    std::set<Prefix> added;
    const auto add = [&](const Prefix& prefix) {
        const auto known = cidrs_.find(prefix);
        if (prefix.length() > 0 && (known == cidrs_.end() || known->second.uses == 0)) added.insert(prefix);
    };
    for (const Spec& spec : policy.specs) {
        const bool selects =
            settings_.mode != EnforcementMode::kNever && std::ranges::any_of(subjects_, [&](const auto& entry) {
                const Subject& subject = entry.second.subject;
                return subject.host == spec.selects_nodes && matches(spec.subject, subject.labels);
            });
        if (!selects) continue;
        for_each_cidr(spec, add);
    }
    return {added.begin(), added.end()};
}

void PolicyEngine::acquire_name(const std::string& name, Named named) {
    named_[name] = std::move(named);
    if (cookies_.acquire(name)) mark_all();
}

void PolicyEngine::release_name(const std::string& name) {
    if (cookies_.release(name)) mark_all();
    if (cookies_.cookie(name) == POLICY_COOKIE_NONE) named_.erase(name);
}

// Identities.

void PolicyEngine::upsert_identity(IdentityId id, LabelSet labels, std::optional<Prefix> cidr) {
    const bool known = cache_.find(id) != nullptr;
    mark(cache_.upsert({id, std::move(labels), cidr}));
    if (const auto ports = named_ports_.find(id); !known && ports != named_ports_.end()) {
        mark_named_ports(ports->second);
    }
}

void PolicyEngine::remove_identity(IdentityId id) {
    if (id == identity::kHost) {
        upsert_identity(id, host_labels());
        return;
    }
    if (cache_.find(id) == nullptr) return;
    mark(cache_.remove(id));
    if (const auto ports = named_ports_.find(id); ports != named_ports_.end()) mark_named_ports(ports->second);
}

void PolicyEngine::set_named_ports(IdentityId id, NamedPorts ports) {
    NamedPorts& known = named_ports_[id];
    if (known != ports) {
        for (const auto& [name, values] : known) {
            const auto at = named_port_index_.find(name);
            for (const NamedPort& value : values) {
                const auto holders = at->second.find(value);
                holders->second.erase(id);
                if (holders->second.empty()) at->second.erase(holders);
            }
            if (at->second.empty()) named_port_index_.erase(at);
        }
        for (const auto& [name, values] : ports) {
            for (const NamedPort& value : values) named_port_index_[name][value].insert(id);
        }
        mark_named_ports(known);
        mark_named_ports(ports);
        known = std::move(ports);
    }
    if (known.empty()) named_ports_.erase(id);
}

const NamedPorts* PolicyEngine::named_ports(IdentityId id) const {
    const auto at = named_ports_.find(id);
    return at == named_ports_.end() ? nullptr : &at->second;
}

// Subjects.

void PolicyEngine::upsert_subject(EndpointId id, Subject subject) {
    const auto [at, inserted] = subjects_.try_emplace(id);
    SubjectEntry& entry = at->second;
    if (!inserted && entry.subject == subject) return;
    leave_unit(id, entry);
    const bool same = !inserted && entry.subject.host == subject.host && entry.subject.labels == subject.labels;
    if (!same) deselect_specs(id, entry);
    entry.subject = std::move(subject);
    if (!same) select_specs(id, entry);
}

void PolicyEngine::remove_subject(EndpointId id) {
    const auto at = subjects_.find(id);
    if (at == subjects_.end()) return;
    leave_unit(id, at->second);
    deselect_specs(id, at->second);
    subjects_.erase(at);
    reassign_.erase(id);
}

void PolicyEngine::select_specs(EndpointId id, SubjectEntry& subject) {
    if (settings_.mode == EnforcementMode::kNever) return;
    std::vector<SpecEntry*> found;
    (subject.subject.host ? node_specs_ : pod_specs_).match(subject.subject.labels, [&](SpecEntry* spec) {
        found.push_back(spec);
    });
    for (SpecEntry* spec : found) attach(*spec, id, subject);
}

void PolicyEngine::deselect_specs(EndpointId id, SubjectEntry& subject) {
    while (!subject.specs.empty()) detach(*subject.specs.back(), id, subject);
}

void PolicyEngine::set_mode(EnforcementMode mode) {
    if (mode == settings_.mode) return;
    for (auto& [id, entry] : subjects_) {
        leave_unit(id, entry);
        deselect_specs(id, entry);
    }
    settings_.mode = mode;
    for (auto& [id, entry] : subjects_) select_specs(id, entry);
}

const Subject* PolicyEngine::subject(EndpointId id) const {
    const auto at = subjects_.find(id);
    return at == subjects_.end() ? nullptr : &at->second.subject;
}

std::vector<EndpointId> PolicyEngine::subjects() const {
    std::vector<EndpointId> ids;
    for (const auto& [id, entry] : subjects_) ids.push_back(id);
    return ids;
}

// Units.

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

// Rules by cookie, and what explanations ask.

RuleInfo PolicyEngine::info(std::uint32_t cookie, const Named& named) const {
    RuleInfo info;
    info.cookie = cookie;
    info.direction = named.direction;
    if (!named.policy) {
        info.kind = RuleInfo::Kind::kDefaultDeny;
        info.enforcement = named.enforcement;
        return info;
    }
    const Rule& rule = named.policy->specs[named.spec].rules[named.rule];
    info.kind = RuleInfo::Kind::kRule;
    info.deny = rule.deny;
    info.origin = named.policy->origin;
    info.spec_index = named.spec;
    info.path = rule.path;
    info.text = axo::policy::to_text(rule);
    return info;
}

std::optional<RuleInfo> PolicyEngine::rule(std::uint32_t cookie) const {
    RuleInfo result;
    result.cookie = cookie;
    if (cookie == POLICY_COOKIE_NONE) return result;
    if (cookie == POLICY_COOKIE_LOCALHOST || cookie == POLICY_COOKIE_CLOSED) {
        result.kind = cookie == POLICY_COOKIE_CLOSED ? RuleInfo::Kind::kClosed : RuleInfo::Kind::kLocalhost;
        return result;
    }
    const std::string* name = cookies_.name(cookie);
    if (name == nullptr) return std::nullopt;
    return info(cookie, named_.at(*name));
}

std::vector<RuleInfo> PolicyEngine::rules() const {
    std::vector<RuleInfo> all;
    for (const auto& [name, named] : named_) all.push_back(info(cookies_.cookie(name), named));
    std::ranges::sort(all, [](const RuleInfo& a, const RuleInfo& b) {
        const auto place = [](const RuleInfo& one) {
            return std::tie(one.kind, one.direction, one.origin, one.spec_index, one.path, one.cookie);
        };
        return place(a) < place(b);
    });
    return all;
}

std::uint32_t PolicyEngine::cookie(const Origin& origin, const Rule& rule) const {
    return cookies_.cookie(rule_name(origin, rule));
}

std::vector<SelectedSpec> PolicyEngine::selected_by(const LabelSet& labels, bool host) const {
    if (settings_.mode == EnforcementMode::kNever) return {};
    std::vector<SpecEntry*> found;
    (host ? node_specs_ : pod_specs_).match(labels, [&](SpecEntry* spec) { found.push_back(spec); });
    std::ranges::sort(found, SpecEntry::before);
    std::vector<SelectedSpec> specs;
    for (const SpecEntry* spec : found) specs.push_back({spec->policy.get(), spec->index});
    return specs;
}

Enforcement PolicyEngine::enforcement(const std::vector<SelectedSpec>& specs, Direction direction,
                                      const LabelSet& labels, bool host) const {
    Enforcement result;
    if (settings_.mode == EnforcementMode::kNever) return result;
    result.always = settings_.mode == EnforcementMode::kAlways;
    result.init = settings_.enforce_init && !host && labels.has_reserved("init");
    for (const SelectedSpec& selected : specs) {
        const Spec& spec = selected.spec();
        const bool closes = direction == Direction::kIngress ? spec.default_deny_ingress : spec.default_deny_egress;
        if (!closes) continue;
        // Specs come by policy: equal origins stand together.
        if (result.closed_by.empty() || result.closed_by.back() != selected.policy->origin) {
            result.closed_by.push_back(selected.policy->origin);
        }
    }
    result.enforced = result.always || result.init || !result.closed_by.empty();
    return result;
}

std::vector<std::shared_ptr<const Policy>> PolicyEngine::policies() const {
    std::vector<std::shared_ptr<const Policy>> all;
    for (const auto& [key, entry] : policies_) all.push_back(entry.policy);
    return all;
}

}  // namespace axo::policy
