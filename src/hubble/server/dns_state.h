// What pods were answered by DNS, as text for the agent's next start: connections outlive a restart, so the names of
// what they go to should as well.
//
// JSON: {"version": 1, "pods": [{"endpoint", "owner", "lookups": [{"name", "time", "ttl", "ips"}]}]}, times in
// nanoseconds since the epoch. Thread: any (functions of their arguments).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "hubble/core/dns_names.h"

namespace axo::hubble {

// Who has an endpoint's number: numbers are used again.
using EndpointOwners = std::map<std::uint32_t, std::string>;

// Of endpoints that have an owner.
std::string dns_state_text(const std::vector<DnsNames::Lookup>& lookups, const EndpointOwners& owners);

// Of endpoints whose owner is still the same. name: of the text, for errors.
Result<std::vector<DnsNames::Lookup>> parse_dns_state(const std::string& text, const std::string& name,
                                                      const EndpointOwners& owners);

}  // namespace axo::hubble
