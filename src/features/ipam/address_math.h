// Addresses as numbers, for layouts inside CIDRs. Thread: any.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/ip.h"

namespace axo {

__extension__ using Uint128 = unsigned __int128;

inline std::string_view family_name(Family family) {
    return family == Family::kIpv4 ? "IPv4" : "IPv6";
}

inline Uint128 address_number(const IpAddress& ip) {
    Uint128 number = 0;
    for (const std::uint8_t byte : ip.bytes()) number = number << 8 | byte;
    return number;
}

inline IpAddress address_from_number(Family family, Uint128 number) {
    if (family == Family::kIpv4) {
        std::array<std::uint8_t, 4> bytes{};
        for (int i = 3; i >= 0; --i, number >>= 8)
            bytes[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(number);
        return IpAddress::v4(bytes);
    }
    std::array<std::uint8_t, 16> bytes{};
    for (int i = 15; i >= 0; --i, number >>= 8) bytes[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(number);
    return IpAddress::v6(bytes);
}

// How far `ip` is behind the CIDR's address; `ip` must lie in it. Saturates at 2^64-1.
inline std::uint64_t offset_in(const Prefix& cidr, const IpAddress& ip) {
    const Uint128 offset = address_number(ip) - address_number(cidr.address());
    return offset > UINT64_MAX ? UINT64_MAX : static_cast<std::uint64_t>(offset);
}

// Addresses that a pod can have: the first and the last of everything bigger than /31 (/127) are never handed out.
// Saturates at 2^64-1.
inline std::uint64_t usable_addresses(const Prefix& cidr) {
    const bool reserve_ends = cidr.address().bits() - cidr.length() > 1;
    return reserve_ends ? cidr.size() - 2 : cidr.size();
}

// A number from 0 to bound inclusive.
inline std::uint64_t bounded(std::uint64_t random, std::uint64_t bound) {
    return bound == UINT64_MAX ? random : random % (bound + 1);
}

}  // namespace axo
