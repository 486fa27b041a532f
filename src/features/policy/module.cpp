#include "features/policy/module.h"

#include <algorithm>

#include "base/elapsed.h"
#include "features/policy/match.h"

namespace axo::policy {
namespace {

// Local scope: bits 24 to 31 are 1 (contracts: identities of prefixes never leave their node).
constexpr std::uint32_t kLocalFirst = (1U << 24) + 1;
constexpr std::uint32_t kLocalLast = (1U << 24) + 0xFFFFFF;
constexpr std::uint32_t kNodeFirst = (2U << 24) + 1;

// What an endpoint gets whose own policy does not fit: nothing passes.
std::vector<policy_row> closed_image() {
    std::vector<policy_row> rows(2);
    for (policy_row& row : rows) {
        row = {};
        row.direction.flags = POLICY_DIR_F_ENFORCED;
        row.direction.default_cookie = POLICY_COOKIE_CLOSED;
    }
    return rows;
}

}  // namespace

PolicyModule::PolicyModule(EventLoop& loop, ControllerRegistry& registry, ObjectStore& store, ModuleSettings settings,
                           PolicySlabs& slabs, Generations& generations, Callbacks callbacks)
    : loop_(loop),
      settings_(std::move(settings)),
      slabs_(slabs),
      generations_(generations),
      callbacks_(std::move(callbacks)),
      engine_(settings_.engine),
      sources_(store, settings_.sources,
               {.upserted =
                    [this](std::shared_ptr<const Policy> policy) {
                        prepare_prefixes(*policy);
                        engine_.upsert_policy(std::move(policy));
                        note_change();
                    },
                .removed =
                    [this](const Origin& origin) {
                        engine_.remove_policy(origin.kind, origin.k8s_namespace, origin.name);
                        note_change();
                    },
                .synced =
                    [this] {
                        synced_ = true;
                        schedule();
                    },
                .api_server = [this](const std::set<IpAddress>& addresses) { set_api_server(addresses); },
                .rejected = callbacks_.rejected,
                .accepted = callbacks_.accepted}),
      next_prefix_number_(kLocalFirst),
      next_node_number_(kNodeFirst),
      retry_(loop, registry, "endpoint-policies", [this]() -> Status {
          apply();
          for (const auto& [id, endpoint] : endpoints_) {
              if (endpoint.error)
                  return fail(endpoint.error->code, "endpoint " + id.to_string() + ": " + endpoint.error->message);
          }
          return {};
      }) {
    slabs_.set_retire_callback([this] { free_retired(); });
    if (const auto digest = slabs_.digest(PolicySlabs::open_policy()))
        by_digest_.emplace(*digest, PolicySlabs::open_policy());
    uses_[PolicySlabs::open_policy()] = 1;  // it stays
}

PolicyModule::~PolicyModule() {
    slabs_.set_retire_callback({});
}

void PolicyModule::start(std::function<void()> synced) {
    when_synced_ = std::move(synced);
    // Endpoints that went while no agent ran: their numbers will be others'.
    for (std::uint32_t number = 1; number < GENERATION_ENDPOINTS; ++number) {
        const EndpointId id(static_cast<std::uint16_t>(number));
        if (endpoints_.contains(id) || generations_.policy(id) == 0) continue;
        Endpoint gone;
        take_over(id, gone);
        generations_.set_policy(id, 0);
        if (gone.location) leave(*gone.location);
    }
    sources_.start();
}

void PolicyModule::schedule() {
    if (scheduled_) return;
    scheduled_ = true;
    loop_.post([this, alive = std::weak_ptr<bool>(alive_)] {
        if (alive.expired()) return;
        scheduled_ = false;
        apply();
    });
}

void PolicyModule::note_change() {
    ++revision_;
    changed_.push_back(Clock::now());
    schedule();
}

void PolicyModule::flush() {
    apply();
}

// Prefixes that a policy is about to distinguish get identities under the policies before it. So there is no moment in
// which an address still passes as part of a wider prefix that the new policy allows.
void PolicyModule::prepare_prefixes(const Policy& policy) {
    if (!synced_) return;
    const std::vector<Prefix> added = engine_.cidrs_added_by(policy);
    if (added.empty()) return;
    if (!give_identities(added)) return;
    prepared_.insert(added.begin(), added.end());
    for (const EndpointId id : engine_.changes()) regenerate(id);
    callbacks_.prefixes(prefixes_);
}

// Whether any of them had none.
bool PolicyModule::give_identities(const std::vector<Prefix>& prefixes) {
    bool given = false;
    for (const Prefix& prefix : prefixes) {
        if (prefixes_.contains(prefix)) continue;
        const IdentityId id = allocate(prefix);
        prefixes_.emplace(prefix, id);
        engine_.upsert_identity(id, labels_of_prefix(prefix), prefix);
        given = true;
    }
    return given;
}

// The API server's addresses are told from the world also where no rule has their prefix: toEntities: kube-apiserver
// means them wherever it runs. A node's address stays the node's. Whether any of them had no identity.
bool PolicyModule::hold_api_server(CidrChanges& changes) {
    std::set<Prefix> held;
    for (const IpAddress& address : api_server_) held.emplace(address, address.bits());
    std::erase_if(changes.removed, [&](const Prefix& prefix) { return held.contains(prefix); });
    if (held == api_server_held_) return false;
    const std::vector<Prefix> of_rules = engine_.cidrs();  // sorted
    for (const Prefix& prefix : api_server_held_) {
        if (!held.contains(prefix) && !std::ranges::binary_search(of_rules, prefix)) changes.removed.push_back(prefix);
    }
    api_server_held_ = std::move(held);
    return give_identities({api_server_held_.begin(), api_server_held_.end()});
}

// Images first, then prefixes: an address changes its identity when every image knows the new one.
void PolicyModule::apply() {
    if (!synced_) return;
    const std::uint64_t revision = revision_;
    CidrChanges cidrs = engine_.take_cidr_changes();
    if (const auto prepared = std::exchange(prepared_, {}); !prepared.empty()) {
        // The engine never told of those whose policy went before it was in force.
        const std::vector<Prefix> wanted = engine_.cidrs();
        std::ranges::set_difference(prepared, wanted, std::back_inserter(cidrs.removed));
    }
    bool given = hold_api_server(cidrs);
    given |= give_identities(cidrs.added);
    std::set<EndpointId> changed = std::exchange(outstanding_, {});
    for (const EndpointId id : engine_.changes()) changed.insert(id);
    for (const EndpointId id : changed) regenerate(id);
    if (given || !cidrs.removed.empty()) {
        std::vector<IdentityId> unused;
        for (const Prefix& prefix : cidrs.removed) {
            const auto gone = prefixes_.extract(prefix);
            if (gone) unused.push_back(gone.mapped());
        }
        callbacks_.prefixes(prefixes_);
        for (const IdentityId id : unused) {
            engine_.remove_identity(id);
            prefix_numbers_.erase(id.value);
        }
        if (!unused.empty()) schedule();
    }
    applied_revision_ = revision;
    for (const Clock::time_point since : std::exchange(changed_, {}))
        delay_.observe({{"source", "kubernetes"}}, seconds_since(since));
    for (const auto& [prefix, id] : std::exchange(remembered_, {})) {
        if (!prefixes_.contains(prefix)) prefix_numbers_.erase(id.value);
    }
    if (when_synced_) std::exchange(when_synced_, {})();
}

void PolicyModule::restore_prefixes(const std::map<Prefix, IdentityId>& prefixes) {
    for (const auto& [prefix, id] : prefixes) {
        if (id.value < kLocalFirst || id.value > kLocalLast || !prefix_numbers_.insert(id.value).second) continue;
        remembered_.emplace(prefix, id);
        next_prefix_number_ = std::max(next_prefix_number_, id.value + 1);
    }
}

// Numbers go round before one is used again: an event that is still on its way keeps its meaning.
IdentityId PolicyModule::allocate(const Prefix& prefix) {
    if (const auto known = remembered_.find(prefix); known != remembered_.end()) return known->second;
    for (;;) {
        if (next_prefix_number_ > kLocalLast) next_prefix_number_ = kLocalFirst;
        const std::uint32_t number = next_prefix_number_++;
        if (prefix_numbers_.insert(number).second) return IdentityId(number);
    }
}

LabelSet PolicyModule::labels_of_prefix(const Prefix& prefix) const {
    LabelSet labels{cidr_label(prefix)};
    const bool both = settings_.sources.context.ipv4 && settings_.sources.context.ipv6;
    labels.merge(LabelSet::reserved(!both ? "world" : prefix.family() == Family::kIpv4 ? "world-ipv4" : "world-ipv6"));
    if (prefix.is_host() && api_server_.contains(prefix.address())) labels.merge(LabelSet::reserved("kube-apiserver"));
    return labels;
}

void PolicyModule::set_api_server(const std::set<IpAddress>& addresses) {
    const std::set<IpAddress> before = std::exchange(api_server_, addresses);
    for (const auto& [prefix, id] : prefixes_) {
        if (prefix.is_host() && before.contains(prefix.address()) != addresses.contains(prefix.address()))
            engine_.upsert_identity(id, labels_of_prefix(prefix), prefix);
    }
    callbacks_.api_server(addresses);
    schedule();
}

void PolicyModule::set_identity(IdentityId id, const LabelSet& labels) {
    const KnownIdentity* known = engine_.identities().find(id);
    if (known != nullptr && known->labels == labels) return;
    engine_.upsert_identity(id, labels);
    schedule();
}

void PolicyModule::remove_identity(IdentityId id) {
    engine_.remove_identity(id);
    schedule();
}

IdentityId PolicyModule::take_node_identity(const LabelSet& labels) {
    NodeIdentity& entry = node_identities_[labels.key()];
    if (entry.uses++ == 0) {
        entry.id = IdentityId(next_node_number_++);
        set_identity(entry.id, labels);
    }
    return entry.id;
}

void PolicyModule::give_back_node_identity(IdentityId id) {
    const auto entry =
        std::ranges::find_if(node_identities_, [id](const auto& known) { return known.second.id == id; });
    if (entry == node_identities_.end() || --entry->second.uses != 0) return;
    node_identities_.erase(entry);
    remove_identity(id);
}

void PolicyModule::set_named_ports(const std::string& owner, IdentityId id, NamedPorts ports) {
    std::set<IdentityId> touched;
    if (const auto before = named_ports_of_.find(owner); before != named_ports_of_.end()) {
        const auto [old_id, old_ports] = before->second;
        if (old_id == id && *old_ports == ports) return;
        named_ports_of_.erase(before);
        auto& sets = named_ports_[old_id];
        const auto set = sets.find(*old_ports);
        if (--set->second == 0) {
            sets.erase(set);
            touched.insert(old_id);
        }
    }
    if (!ports.empty()) {
        const auto [set, fresh] = named_ports_[id].try_emplace(std::move(ports), 0);
        ++set->second;
        named_ports_of_[owner] = {id, &set->first};
        if (fresh) touched.insert(id);
    }
    for (const IdentityId identity : touched) {
        NamedPorts all;
        for (const auto& [named, owners] : named_ports_[identity]) {
            for (const auto& [name, numbers] : named) all[name].insert(numbers.begin(), numbers.end());
        }
        if (named_ports_[identity].empty()) named_ports_.erase(identity);
        engine_.set_named_ports(identity, std::move(all));
    }
    if (!touched.empty()) schedule();
}

Status PolicyModule::set_endpoint(EndpointId id, Subject subject, bool audit) {
    const auto [entry, inserted] = endpoints_.try_emplace(id);
    Endpoint& endpoint = entry->second;
    // At once: whatever is placed from now on must not lie where an image is in force.
    if (inserted) take_over(id, endpoint);
    if (endpoint.audit != audit) outstanding_.insert(id);
    endpoint.audit = audit;
    engine_.upsert_subject(id, std::move(subject));
    apply();
    if (endpoint.error) return forward_error(Error(*endpoint.error));
    return {};
}

void PolicyModule::remove_endpoint(EndpointId id) {
    engine_.remove_subject(id);
    outstanding_.erase(id);
    auto gone = endpoints_.extract(id);
    if (!gone) return;
    generations_.set_policy(id, 0);
    if (gone.mapped().location) leave(*gone.mapped().location);
    ++counters_.removed;
    schedule();
}

bool PolicyModule::audited(EndpointId id) const {
    const auto found = endpoints_.find(id);
    return settings_.audit || (found != endpoints_.end() && found->second.audit);
}

const Error* PolicyModule::error(EndpointId id) const {
    const auto found = endpoints_.find(id);
    return found == endpoints_.end() || !found->second.error ? nullptr : &*found->second.error;
}

std::string PolicyModule::match_of(const RuleInfo& info) const {
    if (info.kind == RuleInfo::Kind::kLocalhost) return "L3-Only";
    if (info.kind != RuleInfo::Kind::kRule) return "none";
    const auto row = sources_.rows().find({info.origin.kind, {info.origin.k8s_namespace, info.origin.name}});
    if (row == sources_.rows().end() || !row->second.policy || info.spec_index >= row->second.policy->specs.size())
        return "none";
    for (const Rule& rule : row->second.policy->specs[info.spec_index].rules) {
        if (rule.path != info.path) continue;
        const bool l3 = !std::ranges::any_of(rule.peers, selects_everybody);
        if (rule.ports.empty()) return l3 ? "L3-Only" : "all";
        const bool ports = std::ranges::any_of(rule.ports, [](const PortRange& range) {
            return !range.name.empty() || range.first != 0 || range.last != 65535;
        });
        if (ports) return l3 ? "L3-L4" : "L4-Only";
        return l3 ? "L3-Proto" : "Proto-Only";
    }
    return "none";
}

// What an earlier agent put into force counts as placed here.
void PolicyModule::take_over(EndpointId id, Endpoint& endpoint) {
    const std::uint32_t reference = generations_.policy(id);
    if (reference == 0) return;
    const auto location = PolicyLocation::of_reference(reference);
    if (!uses_.contains(location)) {
        if (auto adopted = slabs_.adopt(location); !adopted) {
            log_.warn("An endpoint's earlier policy is not readable; it is replaced",
                      {{"endpointID", id.value}, adopted.error()});
            return;
        }
        if (const auto digest = slabs_.digest(location)) by_digest_.emplace(*digest, location);
    }
    use(location);
    endpoint.location = location;
}

void PolicyModule::regenerate(EndpointId id) {
    const auto start = Clock::now();
    switch_endpoint(id);
    regeneration_.observe({{"scope", "total"}, {"status", error(id) != nullptr ? "failure" : "success"}},
                          seconds_since(start));
}

void PolicyModule::add_metrics(MetricSet& set) const {
    regeneration_.add_to(set);
    delay_.add_to(set);
}

void PolicyModule::switch_endpoint(EndpointId id) {
    const auto found = endpoints_.find(id);
    if (found == endpoints_.end()) return;
    Endpoint& endpoint = found->second;
    const bool first = !std::exchange(endpoint.compared, true);

    const std::string where = "policy of endpoint " + id.to_string();
    const auto image = engine_.image(id);
    const Error* error = engine_.error(id);
    Result<PolicyLocation> placed = PolicyLocation{};
    std::uint32_t flags = POLICY_REF_F_INGRESS | POLICY_REF_F_EGRESS;
    std::optional<Error> problem;
    if (error != nullptr || !image) {
        problem = error != nullptr ? *error : Error{Code::kInternal, "there is no image of it", 0};
    } else if (placed = place(image->rows); placed) {
        flags = image->ref_flags & ~POLICY_REF_F_READY;
    } else {
        problem = placed.error();
        outstanding_.insert(id);
    }
    if (problem) {
        ++counters_.failed;
        if (!endpoint.error) retry_.trigger();
        endpoint.error = problem;
        callbacks_.rejected(where, Error{problem->code, problem->message + "; the endpoint is closed", 0});
    } else if (endpoint.error) {
        endpoint.error.reset();
        callbacks_.accepted(where);
        retry_.trigger();  // has nothing left to do, and says so
    }
    const bool host = engine_.subject(id) != nullptr && engine_.subject(id)->host;
    std::optional<HostState> state;
    if (host) state = host_state(id, problem.has_value());
    if (host && rolled_back_) {
        if (rolled_back_ == state) {
            if (!problem) leave(*placed);
            return;
        }
        rolled_back_.reset();
        callbacks_.accepted("host policy");
    }
    if (problem) {
        placed = place(closed_image());
        if (!placed) {
            // Not even two rows: nothing is in force, and nothing passes.
            outstanding_.insert(id);
            generations_.set_policy(id, 0);
            if (endpoint.location) leave(*std::exchange(endpoint.location, {}));
            return;
        }
    }
    if (audited(id) && !problem) flags |= POLICY_REF_F_AUDIT;
    const std::uint32_t reference = placed->reference(flags);
    if (reference == generations_.policy(id)) {
        leave(*placed);  // place() counted it once more
        if (first) ++counters_.unchanged_at_start;
        if (host) host_in_force_ = std::move(state);
        return;
    }
    ++(generations_.policy(id) == 0 ? counters_.added : counters_.updated);
    const bool starts = generations_.policy(id) == 0;
    const bool on_trial =
        host && host_in_force_ != state && (starts ? !state->policies.empty() : endpoint.location.has_value());
    if (on_trial) {
        callbacks_.host_changing();
        if (!trial_) {
            trial_ = Trial{id, generations_.policy(id), starts ? std::nullopt : endpoint.location, host_in_force_};
            if (trial_->location) use(*trial_->location);
        }
    }
    generations_.set_policy(id, reference);
    const auto before = std::exchange(endpoint.location, *placed);
    if (before) leave(*before);
    if (host) host_in_force_ = std::move(state);
    if (on_trial) callbacks_.host_changed();
}

PolicyModule::HostState PolicyModule::host_state(EndpointId id, bool closed) const {
    HostState state{.policies = {}, .closed = closed, .audit = audited(id)};
    const Subject* subject = engine_.subject(id);
    if (subject == nullptr) return state;
    for (const SelectedSpec& selected : engine_.selected_by(subject->labels, true))
        state.policies.emplace_back(selected.policy->origin, selected.spec());
    return state;
}

void PolicyModule::confirm_host() {
    if (!trial_) return;
    if (trial_->location) leave(*trial_->location);
    trial_.reset();
}

void PolicyModule::roll_back_host(const std::string& why) {
    if (!trial_) return;
    const Trial trial = *std::exchange(trial_, {});
    const auto found = endpoints_.find(trial.endpoint);
    if (found == endpoints_.end()) {
        if (trial.location) leave(*trial.location);
        return;
    }
    generations_.set_policy(trial.endpoint, trial.reference);
    const auto refused = std::exchange(found->second.location, trial.location);
    if (refused) leave(*refused);
    rolled_back_ = std::exchange(host_in_force_, trial.state);
    callbacks_.rejected("host policy", Error{Code::kAborted,
                                             "rolled back: " + why +
                                                 (trial.location ? "; the host policy before it is in force"
                                                                 : "; the node is open, as it started,") +
                                                 " until the policies that select this node change",
                                             0});
}

// The location of equal rows if there is one; counted as used.
Result<PolicyLocation> PolicyModule::place(const std::vector<policy_row>& rows) {
    const std::uint64_t digest = PolicySlabs::digest(rows);
    const auto [first, last] = by_digest_.equal_range(digest);
    for (auto candidate = first; candidate != last; ++candidate) {
        const auto there = slabs_.image(candidate->second);
        if (there && there->size_bytes() == rows.size() * sizeof(policy_row) &&
            std::equal(rows.begin(), rows.end(), there->begin(), [](const policy_row& a, const policy_row& b) {
                return std::equal(std::begin(a.rules), std::end(a.rules), std::begin(b.rules));
            })) {
            use(candidate->second);
            return candidate->second;
        }
    }
    TRY_ASSIGN(const PolicyLocation location, slabs_.place(rows));
    by_digest_.emplace(digest, location);
    use(location);
    return location;
}

void PolicyModule::use(PolicyLocation location) {
    ++uses_[location];
}

void PolicyModule::leave(PolicyLocation location) {
    const auto entry = uses_.find(location);
    if (entry == uses_.end() || --entry->second != 0) return;
    uses_.erase(entry);
    std::erase_if(by_digest_, [location](const auto& known) { return known.second == location; });
    slabs_.retire(location);
}

void PolicyModule::free_retired() {
    if (freeing_) {
        more_retired_ = true;  // the slabs do not say so again
        return;
    }
    freeing_ = true;
    loop_.post([this, alive = std::weak_ptr<bool>(alive_)] {
        if (alive.expired()) return;
        more_retired_ = false;
        wait_and_free(std::make_shared<PolicySlabs::Retired>(slabs_.take_retired()));
    });
}

void PolicyModule::wait_and_free(std::shared_ptr<PolicySlabs::Retired> batch) {
    loop_.run_blocking([batch] { return batch->wait(); },
                       [this, alive = std::weak_ptr<bool>(alive_), batch](const Status& waited) {
                           if (alive.expired()) return;
                           if (!waited) {
                               log_.warn("Memory of replaced policies cannot be reused yet", {waited.error()});
                               freeing_again_ =
                                   loop_.after(std::chrono::seconds(1), [this, batch] { wait_and_free(batch); });
                               return;
                           }
                           slabs_.free(*batch);
                           freeing_ = false;
                           if (more_retired_) free_retired();
                           // There may be room now for what did not fit.
                           if (!outstanding_.empty()) schedule();
                       });
}

}  // namespace axo::policy
