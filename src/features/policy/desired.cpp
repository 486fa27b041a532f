#include "features/policy/desired.h"

#include <algorithm>

#include "features/policy/match.h"

namespace axo::policy {
namespace {

LabelSet host_labels() {
    return LabelSet::reserved("host");
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

}  // namespace

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

}  // namespace axo::policy
