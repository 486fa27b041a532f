// Images of compiled policy: building them from rules and sets of identities, and reading them as the
// datapath does (bpf/api/policy.h). An image is a function of what the rules say about each identity
// number; not of the order in which anything arrived. Pure. Thread: one per builder; images are immutable.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "bpf/api/policy.h"
#include "features/policy/types.h"

namespace axo::policy {

using Slot = std::uint32_t;  // of an identity in the selector cache: dense, for use as an index

// A rule with everything resolved. Its number in the list is its precedence.
struct ImageRule {
    bool everybody = false;  // also identities that nobody knows; members are not looked at
    // The identities it selects: the union of these. They have to live until build returns.
    std::vector<const std::vector<Slot>*> members;
    bool all_ports = false;        // every protocol; ports are not looked at
    std::vector<PortRange> ports;  // numbers only
    policy_verdict verdict{};
};

struct ImageDirection {
    bool enforced = false;
    std::uint32_t default_cookie = POLICY_COOKIE_NONE;
    std::vector<ImageRule> rules;
};

struct PolicyImage {
    std::vector<policy_row> rows;
    std::uint64_t hash = 0;  // of the rows' bytes
    // POLICY_REF_F_READY, and POLICY_REF_F_INGRESS and _EGRESS of the directions that have to be looked up.
    std::uint32_t ref_flags = 0;

    [[nodiscard]] std::size_t bytes() const { return rows.size() * sizeof(policy_row); }
    [[nodiscard]] const policy_direction& direction(Direction direction) const {
        return rows[direction == Direction::kIngress ? 0 : 1].direction;
    }
    friend bool operator==(const PolicyImage& a, const PolicyImage& b);
};

class ImageBuilder {
public:
    // identities[slot]: the identity's number. kResourceExhausted if a limit of the format is exceeded
    // (rules, distinct sets of rules, port segments, rows): there is no image of a part of a policy.
    Result<PolicyImage> build(const ImageDirection& ingress, const ImageDirection& egress,
                              std::span<const std::uint32_t> identities);

private:
    Status add_direction(Direction direction, const ImageDirection& input, std::span<const std::uint32_t> identities,
                         std::vector<policy_row>& rows);

    std::vector<std::uint32_t> touched_;  // by slot: 1 + its place in found_; all 0 between builds
    std::vector<Slot> found_;
    std::vector<std::uint64_t> sets_;  // rule sets of found_
};

struct Lookup {
    std::uint8_t action = POLICY_DENY;  // enum policy_action
    bool matched = false;               // a rule decided; otherwise the direction's default
    std::uint32_t cookie = POLICY_COOKIE_NONE;
    std::uint16_t proxy_port = 0;  // network byte order
    std::uint8_t auth_type = 0;
    [[nodiscard]] bool allowed() const { return action != POLICY_DENY; }
    friend bool operator==(const Lookup&, const Lookup&) = default;
};

// What the datapath decides: the same steps over the same bytes. Port: destination port, or ICMP type.
Lookup lookup(std::span<const policy_row> rows, Direction direction, IdentityId identity, std::uint8_t protocol,
              std::uint16_t port);

policy_slot slot_of_protocol(std::uint8_t protocol);

}  // namespace axo::policy
