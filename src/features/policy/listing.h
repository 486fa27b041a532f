// What an image says, entry by entry: for `bpf policy get` and the endpoint's status. Pure. Thread: any.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/types.h"
#include "features/policy/image.h"

namespace axo::policy {

struct ImageEntry {
    Direction direction = Direction::kIngress;
    IdentityId identity;  // 0: everybody whom the image does not name
    bool all_protocols = false;
    policy_slot protocol = POLICY_SLOT_OTHER;  // of all_protocols == false
    std::uint16_t first = 0, last = 65535;     // ports, or ICMP types
    Lookup verdict;
};

// The entries that rules decide, not those that the direction's default does. Those of a named identity are left out
// where they equal those of everybody. At most `limit` of them.
std::vector<ImageEntry> list_image(std::span<const policy_row> rows, Direction direction, std::size_t limit);
// Identities that the image names.
std::vector<IdentityId> named_identities(std::span<const policy_row> rows, Direction direction);
// "80/TCP", "8080-8090/UDP", "8/ICMP", "ANY"
std::string port_text(const ImageEntry& entry);

}  // namespace axo::policy
