// Policies, identities and endpoints -> images, incrementally.
//
// Whoever changes something here asks for take_cidr_changes, gives the added prefixes identities and upserts
// these, and then asks for changes: the endpoints whose images are to be written.
// The result is a function of what was last said about each object, not of the order; equal contents
// are one PolicyImage object. Pure: no I/O, no clock. Thread: one.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "features/policy/cookies.h"
#include "features/policy/image.h"
#include "features/policy/query_index.h"
#include "features/policy/selector_cache.h"
#include "features/policy/types.h"
#include "features/policy/unit.h"
#include "model/labels.h"

namespace axo::policy {

struct EngineSettings {
    EnforcementMode mode = EnforcementMode::kDefault;
    bool allow_localhost = true;  // identity host may reach pods of its node unless a rule denies it
    // Pods whose labels are not known yet (reserved:init) get nothing but what policies allow them, as in Cilium.
    bool enforce_init = true;
};

struct Subject {
    LabelSet labels;         // of the host endpoint: the node's labels
    NamedPorts named_ports;  // its containers' ports
    bool host = false;       // selected by specs with selects_nodes, and only by these
    friend bool operator==(const Subject&, const Subject&) = default;
};

struct CidrChanges {
    std::vector<Prefix> added, removed;  // sorted
};

// What a cookie of an event or flow stands for.
struct RuleInfo {
    enum class Kind : std::uint8_t { kNone, kLocalhost, kClosed, kDefaultDeny, kRule };
    Kind kind = Kind::kNone;
    std::uint32_t cookie = POLICY_COOKIE_NONE;
    Direction direction = Direction::kIngress;
    // Of rules only:
    bool deny = false;
    Origin origin;
    std::size_t spec_index = 0;
    std::string path;  // "spec.ingress[0].toPorts[1]"
    std::string text;  // "allow ingress from app=web, to TCP/80"
    // Of default denials only:
    Enforcement enforcement;
    // "CiliumNetworkPolicy default/web, spec.ingress[0]", "default deny from CiliumNetworkPolicy default/web", …
    [[nodiscard]] std::string to_string() const;
    friend bool operator==(const RuleInfo&, const RuleInfo&) = default;
};
std::string to_text(const Enforcement& enforcement);

// A spec that selects some subject.
struct SelectedSpec {
    const Policy* policy;
    std::size_t index;
    [[nodiscard]] const Spec& spec() const { return policy->specs[index]; }
};

class PolicyEngine {
public:
    explicit PolicyEngine(EngineSettings settings = {});
    ~PolicyEngine();
    PolicyEngine(const PolicyEngine&) = delete;
    PolicyEngine& operator=(const PolicyEngine&) = delete;
    // The same contents; what changes() and take_cidr_changes() already told the other is told again.
    [[nodiscard]] std::unique_ptr<PolicyEngine> clone() const;

    // Replaces the policy of the same kind, namespace and name.
    void upsert_policy(std::shared_ptr<const Policy> policy);
    void remove_policy(const std::string& kind, const std::string& k8s_namespace, const std::string& name);
    // `cidr`: for identities of prefixes. Identity host is known from the start.
    void upsert_identity(IdentityId id, LabelSet labels, std::optional<Prefix> cidr = std::nullopt);
    void remove_identity(IdentityId id);
    // The named ports of the pods that have the identity, for egress rules; empty: none. Independent of
    // upsert_identity.
    void set_named_ports(IdentityId id, NamedPorts ports);
    void upsert_subject(EndpointId id, Subject subject);
    void remove_subject(EndpointId id);
    void set_mode(EnforcementMode mode);

    // Computes what is outstanding. The endpoints whose image or error is another one than when this was last asked;
    // sorted.
    std::vector<EndpointId> changes();
    // As of the last changes(). Null for unknown endpoints, and for those whose policy does not fit into an image.
    [[nodiscard]] std::shared_ptr<const PolicyImage> image(EndpointId id) const;
    // Why the endpoint's policy does not fit into an image; null if it does.
    [[nodiscard]] const Error* error(EndpointId id) const;
    // What its image says; a policy that does not fit closes the endpoint. Nothing before the first changes().
    [[nodiscard]] std::optional<Lookup> decide(EndpointId id, Direction direction, IdentityId peer,
                                               std::uint8_t protocol, std::uint16_t port) const;

    // Prefixes that rules in force tell apart, and that therefore need an identity each. Never /0: that is the world.
    [[nodiscard]] std::vector<Prefix> cidrs() const;
    CidrChanges take_cidr_changes();
    // Those that the policy would add. Who gives them identities, writes the images that this changes, and then the
    // ipcache, all before upsert_policy, has no moment in which an address is judged by what neither version says.
    [[nodiscard]] std::vector<Prefix> cidrs_added_by(const Policy& policy) const;

    // Of rules in force; nothing for cookies that have no meaning (any more).
    [[nodiscard]] std::optional<RuleInfo> rule(std::uint32_t cookie) const;
    [[nodiscard]] std::vector<RuleInfo> rules() const;
    // 0 if the rule is not in force.
    [[nodiscard]] std::uint32_t cookie(const Origin& origin, const Rule& rule) const;

    // For explanations.
    [[nodiscard]] const EngineSettings& settings() const { return settings_; }
    [[nodiscard]] const SelectorCache& identities() const { return cache_; }
    [[nodiscard]] const NamedPorts* named_ports(IdentityId id) const;
    [[nodiscard]] const Subject* subject(EndpointId id) const;
    [[nodiscard]] std::vector<EndpointId> subjects() const;
    // In order of precedence. Pointers live until the policies change.
    [[nodiscard]] std::vector<SelectedSpec> selected_by(const LabelSet& labels, bool host) const;
    [[nodiscard]] Enforcement enforcement(const std::vector<SelectedSpec>& specs, Direction direction,
                                          const LabelSet& labels, bool host) const;
    [[nodiscard]] std::vector<std::shared_ptr<const Policy>> policies() const;

private:
    struct PolicyKey {
        std::string kind, k8s_namespace, name;
        friend auto operator<=>(const PolicyKey&, const PolicyKey&) = default;
    };
    struct PolicyEntry {
        std::shared_ptr<const Policy> policy;
        std::vector<std::unique_ptr<SpecEntry>> specs;
    };
    struct SubjectEntry {
        Subject subject;
        std::vector<SpecEntry*> specs;  // in order
        Unit* unit = nullptr;
        std::shared_ptr<const PolicyImage> image;
        std::optional<Error> error;
    };
    struct CidrUse {
        std::uint32_t uses = 0;
        bool told = false;
    };
    // What a name in the cookie table stands for.
    struct Named {
        std::shared_ptr<const Policy> policy;  // null: default denial
        std::size_t spec = 0, rule = 0;
        Direction direction = Direction::kIngress;
        Enforcement enforcement;
    };

    void attach(SpecEntry& spec, EndpointId id, SubjectEntry& subject);
    void detach(SpecEntry& spec, EndpointId id, SubjectEntry& subject);
    void attach_everywhere(SpecEntry& spec);
    void detach_everywhere(SpecEntry& spec);
    void select_specs(EndpointId id, SubjectEntry& subject);
    void deselect_specs(EndpointId id, SubjectEntry& subject);
    void put_in_force(SpecEntry& spec);
    void put_out_of_force(SpecEntry& spec);
    void count_cidrs(const Spec& spec, int delta);
    void acquire_name(const std::string& name, Named named);
    void release_name(const std::string& name);

    void mark(Unit& unit);
    void mark(const std::vector<SelectorId>& selectors);
    void mark_named_ports(const NamedPorts& ports);
    void mark_all();
    UnitKey key_of(const SubjectEntry& subject) const;
    Unit& unit_for(const SubjectEntry& subject);
    void leave_unit(EndpointId id, SubjectEntry& subject);
    void drop_unit(Unit& unit);
    void rebuild(Unit& unit);
    std::shared_ptr<const PolicyImage> shared(PolicyImage image);
    bool is_init(const Subject& subject) const;
    RuleInfo info(std::uint32_t cookie, const Named& named) const;

    EngineSettings settings_;
    SelectorCache cache_;
    std::vector<std::vector<SpecEntry*>> selector_users_;  // by SelectorId
    std::map<IdentityId, NamedPorts> named_ports_;
    NamedPortIndex named_port_index_;
    std::map<PolicyKey, PolicyEntry> policies_;
    QueryIndex<SpecEntry*> pod_specs_, node_specs_;
    std::uint64_t next_serial_ = 1;
    std::set<SpecEntry*> in_force_with_egress_names_;
    std::map<EndpointId, SubjectEntry> subjects_;
    std::set<EndpointId> reassign_;  // those without a unit
    std::map<UnitKey, Unit> units_;
    std::vector<Unit*> dirty_;
    std::map<Prefix, CidrUse> cidrs_;
    std::set<Prefix> changed_cidrs_;
    CookieTable cookies_;
    std::unordered_map<std::string, Named> named_;
    ImageBuilder builder_;
    std::unordered_multimap<std::uint64_t, std::weak_ptr<const PolicyImage>> images_;  // by hash
};

}  // namespace axo::policy
