// What policy says about traffic, whether or not it has happened: who decides, and if it is denied, what
// would have to change. Pure. Thread: any, as long as nobody changes the engine.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "features/policy/desired.h"

namespace axo::policy {

struct Traffic {
    std::uint8_t protocol = 6;  // IANA number
    std::uint16_t port = 0;     // destination port, or ICMP type
};

// A rule that would allow the traffic if one thing about it were different.
struct NearMiss {
    RuleInfo rule;
    bool peer_matches = false;  // only its ports do not; otherwise only its peers do not
    std::string ports;          // what it allows to its peers: "TCP/443"
    // What the peer would need for the selector that comes closest: "label k8s:app=web (it has k8s:app=db)".
    std::vector<std::string> missing;
};

struct Explanation {
    Direction direction = Direction::kIngress;
    std::string subject;  // "endpoint 12 (k8s:app=web)"
    std::string peer;     // "identity 300 (k8s:app=client)"
    std::string traffic;  // "TCP/80"
    bool allowed = false;
    RuleInfo decided_by;
    Enforcement enforcement;
    std::vector<RuleInfo> denies, allows;  // all rules that match, by precedence
    std::vector<NearMiss> nearest;         // of denied traffic only; closest first
    std::vector<std::string> notes;        // what limits the answer
};

// What an endpoint of this node does with traffic from (ingress) or to (egress) the peer, as its image says.
// kNotFound: no such endpoint. kUnavailable: its policy has not been computed.
Result<Explanation> explain(const PolicyEngine& engine, EndpointId subject, Direction direction, IdentityId peer,
                            const Traffic& traffic);
// The same for pods of other nodes: what follows from the policies known here. Their own node decides; notes say so,
// and whether nothing can be said. kNotFound: no such identity.
Result<Explanation> explain_remote(const PolicyEngine& engine, IdentityId subject, Direction direction, IdentityId peer,
                                   const Traffic& traffic);

// "TCP/80", "ICMP type 8", "protocol 47"
std::string to_text(const Traffic& traffic);
// Sentences for people, several lines.
std::string to_text(const Explanation& explanation);

}  // namespace axo::policy
