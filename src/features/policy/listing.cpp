#include "features/policy/listing.h"

#include <algorithm>
#include <array>

namespace axo::policy {
namespace {

struct Ports {
    policy_slot slot;
    std::uint16_t first, last;
    std::uint16_t segment;
};

constexpr std::array<std::uint8_t, POLICY_SLOTS> kProtocolOfSlot = {255, 6, 17, 132, 1, 58, 112, 2};
constexpr std::array<const char*, POLICY_SLOTS> kSlotText = {"other", "TCP",    "UDP",  "SCTP",
                                                             "ICMP",  "ICMPv6", "VRRP", "IGMP"};

// Neighbouring ports of one segment as one range.
std::vector<Ports> port_ranges(std::span<const policy_row> rows, const policy_direction& direction) {
    std::vector<Ports> ranges;
    const policy_protocols& protocols = rows[direction.ports].protocols;
    const auto block = [&](std::uint32_t number, std::uint32_t entry) {
        const std::size_t row = direction.ports + 1 + std::size_t{number} * 16 + entry / 16;
        return rows[row].shorts[entry % 16];
    };
    for (std::uint32_t slot = 0; slot < POLICY_SLOTS; ++slot) {
        const auto add = [&](std::uint32_t first, std::uint32_t last, std::uint16_t segment) {
            if (!ranges.empty() && ranges.back().slot == static_cast<policy_slot>(slot) &&
                ranges.back().segment == segment) {
                ranges.back().last = static_cast<std::uint16_t>(last);
            } else {
                ranges.push_back({static_cast<policy_slot>(slot), static_cast<std::uint16_t>(first),
                                  static_cast<std::uint16_t>(last), segment});
            }
        };
        if (protocols.directory[slot] == 0) {
            add(0, 65535, protocols.segment[slot]);
            continue;
        }
        for (std::uint32_t high = 0; high < 256; ++high) {
            const std::uint16_t entry = block(protocols.directory[slot] - 1U, high);
            if ((entry & POLICY_PORT_BLOCK) == 0) {
                add(high << 8, high << 8 | 255, entry);
                continue;
            }
            for (std::uint32_t low = 0; low < 256; ++low)
                add(high << 8 | low, high << 8 | low, block(entry & ~POLICY_PORT_BLOCK, low));
        }
    }
    return ranges;
}

}  // namespace

std::vector<IdentityId> named_identities(std::span<const policy_row> rows, Direction direction) {
    std::vector<IdentityId> ids;
    const policy_direction& header = rows[direction == Direction::kIngress ? 0 : 1].direction;
    if (header.stride == 0) return ids;
    for (std::uint32_t row = 0; row <= header.identity_mask; ++row) {
        for (const std::uint32_t id : rows[header.identities + row].bucket.identity) {
            if (id != 0) ids.emplace_back(id);
        }
    }
    std::ranges::sort(ids);
    return ids;
}

std::vector<ImageEntry> list_image(std::span<const policy_row> rows, Direction direction, std::size_t limit) {
    std::vector<ImageEntry> entries;
    const policy_direction& header = rows[direction == Direction::kIngress ? 0 : 1].direction;
    if (header.stride == 0) return entries;
    const std::vector<Ports> ranges = port_ranges(rows, header);
    const auto decide = [&](IdentityId id, const Ports& ports) {
        return lookup(rows, direction, id, kProtocolOfSlot[ports.slot], ports.first);
    };
    std::vector<Lookup> everybody;
    for (const Ports& ports : ranges) everybody.push_back(decide(IdentityId{}, ports));

    std::vector<IdentityId> ids{IdentityId{}};
    std::ranges::copy(named_identities(rows, direction), std::back_inserter(ids));
    for (const IdentityId id : ids) {
        std::vector<Lookup> verdicts;
        for (const Ports& ports : ranges)
            verdicts.push_back(id.value == 0 ? everybody[verdicts.size()] : decide(id, ports));
        const bool uniform = std::ranges::all_of(verdicts, [&](const Lookup& one) { return one == verdicts.front(); });
        if (uniform) {
            if (!verdicts.front().matched || (id.value != 0 && verdicts == everybody)) continue;
            if (entries.size() == limit) return entries;
            entries.push_back(
                {.direction = direction, .identity = id, .all_protocols = true, .verdict = verdicts.front()});
            continue;
        }
        for (std::size_t i = 0; i < ranges.size(); ++i) {
            if (!verdicts[i].matched || (id.value != 0 && verdicts[i] == everybody[i])) continue;
            const ImageEntry entry{.direction = direction,
                                   .identity = id,
                                   .protocol = ranges[i].slot,
                                   .first = ranges[i].first,
                                   .last = ranges[i].last,
                                   .verdict = verdicts[i]};
            // Ranges differ by rules that do not concern this identity.
            if (!entries.empty() && entries.back().identity == id && entries.back().protocol == entry.protocol &&
                entries.back().last + 1 == entry.first && entries.back().verdict == entry.verdict) {
                entries.back().last = entry.last;
                continue;
            }
            if (entries.size() == limit) return entries;
            entries.push_back(entry);
        }
    }
    return entries;
}

std::string port_text(const ImageEntry& entry) {
    if (entry.all_protocols) return "ANY";
    const std::string protocol = kSlotText[entry.protocol];
    if (entry.first == 0 && entry.last == 65535) return protocol;
    const std::string first = std::to_string(entry.first);
    return (entry.first == entry.last ? first : first + "-" + std::to_string(entry.last)) + "/" + protocol;
}

}  // namespace axo::policy
