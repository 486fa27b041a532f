// What the engine is made of: the specs in force, and the units: all endpoints that the same specs select
// in the same way, which therefore have one image. Pure. Thread: one.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "features/policy/image.h"
#include "features/policy/selector_cache.h"
#include "features/policy/types.h"

namespace axo::policy {

struct NamedPort {
    Protocol protocol = Protocol::kTcp;
    std::uint16_t port = 0;
    friend auto operator<=>(const NamedPort&, const NamedPort&) = default;
};
using NamedPorts = std::map<std::string, std::set<NamedPort>>;
// Of arrays with an element per direction.
inline std::size_t index_of(Direction direction) {
    return direction == Direction::kIngress ? 0 : 1;
}
inline constexpr Direction kDirections[] = {Direction::kIngress, Direction::kEgress};

// Does a range with a name mean a port of this protocol?
bool fits_protocol(const PortRange& range, Protocol protocol);

// Why, and by whom, a direction of a subject is closed for everything that no rule allows.
struct Enforcement {
    bool enforced = false;
    bool always = false;            // enable-policy=always
    bool init = false;              // the pod's labels are not known yet
    std::vector<Origin> closed_by;  // policies that select the subject; sorted
    friend bool operator==(const Enforcement&, const Enforcement&) = default;
};

// Names in the cookie table. A rule's stays when the policy gets another version.
std::string rule_name(const Origin& origin, const Rule& rule);
std::string default_name(Direction direction, const Enforcement& enforcement);

struct Unit;

// A spec of a policy. What its rules need is held only while some subject is selected by it.
struct SpecEntry {
    std::shared_ptr<const Policy> policy;
    std::size_t index = 0;     // in the policy
    std::uint64_t serial = 0;  // tells entries apart, also from those of earlier versions of the policy
    std::uint32_t subjects = 0;
    std::vector<std::vector<SelectorId>> peers;   // by rule, as in Rule::peers
    std::optional<SelectorId> requires_of[2];     // by direction
    std::vector<SelectorId> selectors;            // all of the above, each once
    std::set<std::string, std::less<>> names[2];  // named ports in rules, by direction
    std::vector<std::string> rule_names;          // by rule: its name in the cookie table
    std::vector<Unit*> units;

    [[nodiscard]] const Spec& spec() const { return policy->specs[index]; }
    // By precedence among rules of the same kind: by origin and place in it.
    static bool before(const SpecEntry* a, const SpecEntry* b);
};

// What all endpoints of a unit have in common.
struct UnitKey {
    std::vector<std::uint64_t> specs;  // serials, in order
    bool host = false;
    bool init = false;
    EnforcementMode mode = EnforcementMode::kDefault;
    NamedPorts named_ports;  // only those that ingress rules ask for
    friend auto operator<=>(const UnitKey&, const UnitKey&) = default;
};

struct Unit {
    const UnitKey* key = nullptr;
    std::vector<SpecEntry*> specs;  // in order
    std::set<EndpointId> subjects;
    Enforcement enforcement[2];
    std::string default_names[2];  // of the default denials in the cookie table; empty: not enforced
    std::shared_ptr<const PolicyImage> image;
    std::optional<Error> error;  // why there is no image
    bool dirty = false;
};

// Which identities have a port of a name.
using NamedPortIndex = std::map<std::string, std::map<NamedPort, std::set<IdentityId>>, std::less<>>;

// Turns a unit's rules into what the image builder wants.
class UnitCompiler {
public:
    // cookie_of(name in the cookie table)
    using CookieOf = std::function<std::uint32_t(const std::string&)>;
    UnitCompiler(const SelectorCache& cache, const NamedPortIndex& named_ports, CookieOf cookie_of)
        : cache_(cache), named_ports_(named_ports), cookie_of_(std::move(cookie_of)) {}

    // The result refers to the cache and to this object.
    ImageDirection compile(const Unit& unit, Direction direction, bool allow_localhost);

private:
    struct Peers {
        bool everybody = false;
        std::vector<const std::vector<Slot>*> members;
    };

    void add_rule(const Unit& unit, const SpecEntry& spec, std::size_t rule, ImageDirection& out);
    Peers peers_of(const SpecEntry& spec, std::size_t rule);
    Peers narrowed(const Peers& peers, const std::vector<Slot>& to);
    const std::vector<Slot>& keep(std::vector<Slot> slots);

    const SelectorCache& cache_;
    const NamedPortIndex& named_ports_;
    CookieOf cookie_of_;
    std::vector<const std::vector<Slot>*> requires_;  // members of what the direction's endpoint selectors also demand
    std::deque<std::vector<Slot>> kept_;
};

}  // namespace axo::policy
