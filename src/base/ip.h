// IP addresses, prefixes and MAC addresses as values.
//
// Addresses are kept in network byte order, as on the wire and in BPF maps; text forms follow
// RFC 5952 (IPv6) and dotted decimals (IPv4). An IpAddress knows its family; a default-constructed
// one is "unset" and prints as the empty string. Thread: any (values).
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace axo {

enum class Family : std::uint8_t { kNone = 0, kIpv4 = 4, kIpv6 = 6 };

class IpAddress {
public:
    constexpr IpAddress() = default;
    static IpAddress v4(std::array<std::uint8_t, 4> bytes);
    static IpAddress v4(std::uint32_t network_order);
    static IpAddress v6(std::array<std::uint8_t, 16> bytes);
    static IpAddress v6(const void* sixteen_bytes);
    static Result<IpAddress> parse(std::string_view text);

    [[nodiscard]] Family family() const { return family_; }
    [[nodiscard]] bool is_v4() const { return family_ == Family::kIpv4; }
    [[nodiscard]] bool is_v6() const { return family_ == Family::kIpv6; }
    explicit operator bool() const { return family_ != Family::kNone; }

    // 32, 128 or 0.
    [[nodiscard]] int bits() const;
    // 4 or 16 bytes, network order.
    [[nodiscard]] std::span<const std::uint8_t> bytes() const;
    // IPv4 only: the address as it stands in a packet.
    [[nodiscard]] std::uint32_t v4_network_order() const;
    [[nodiscard]] bool is_unspecified() const;
    [[nodiscard]] bool is_loopback() const;
    [[nodiscard]] bool is_link_local() const;
    [[nodiscard]] bool is_multicast() const;

    // The address `delta` further on; wraps at the end of the family's space.
    [[nodiscard]] IpAddress plus(std::uint64_t delta) const;
    [[nodiscard]] std::string to_string() const;

    friend auto operator<=>(const IpAddress&, const IpAddress&) = default;
    friend bool operator==(const IpAddress&, const IpAddress&) = default;

private:
    Family family_ = Family::kNone;
    std::array<std::uint8_t, 16> bytes_{};  // IPv4 uses the first four
};

class Prefix {
public:
    constexpr Prefix() = default;
    // Host bits of `address` are cleared. length outside 0..bits is an error in parse and clamped here.
    Prefix(const IpAddress& address, int length);
    static Prefix host(const IpAddress& address) { return {address, address.bits()}; }
    // "10.0.0.0/8" or a bare address, which means its host prefix.
    static Result<Prefix> parse(std::string_view text);
    // As parse, but host bits must be zero and a length must be given: what a pod CIDR has to look like.
    static Result<Prefix> parse_cidr(std::string_view text);

    [[nodiscard]] const IpAddress& address() const { return address_; }
    [[nodiscard]] int length() const { return length_; }
    [[nodiscard]] Family family() const { return address_.family(); }
    [[nodiscard]] bool is_host() const { return address_ && length_ == address_.bits(); }
    [[nodiscard]] bool contains(const IpAddress& address) const;
    [[nodiscard]] bool contains(const Prefix& other) const;
    [[nodiscard]] bool overlaps(const Prefix& other) const { return contains(other) || other.contains(*this); }
    // Number of addresses; saturates at 2^64-1.
    [[nodiscard]] std::uint64_t size() const;
    [[nodiscard]] std::string to_string() const;
    explicit operator bool() const { return static_cast<bool>(address_); }

    friend auto operator<=>(const Prefix&, const Prefix&) = default;
    friend bool operator==(const Prefix&, const Prefix&) = default;

private:
    IpAddress address_;
    int length_ = 0;
};

class MacAddress {
public:
    constexpr MacAddress() = default;
    explicit constexpr MacAddress(std::array<std::uint8_t, 6> bytes) : bytes_(bytes) {}
    static MacAddress from_bytes(const void* six_bytes);
    static Result<MacAddress> parse(std::string_view text);
    // A random locally administered unicast address.
    static MacAddress random();

    [[nodiscard]] const std::array<std::uint8_t, 6>& bytes() const { return bytes_; }
    [[nodiscard]] bool is_zero() const;
    [[nodiscard]] std::string to_string() const;        // aa:bb:cc:dd:ee:ff
    [[nodiscard]] std::string to_upper_string() const;  // AA:BB:…, as `map get cilium_lxc` prints it

    friend auto operator<=>(const MacAddress&, const MacAddress&) = default;
    friend bool operator==(const MacAddress&, const MacAddress&) = default;

private:
    std::array<std::uint8_t, 6> bytes_{};
};

}  // namespace axo

template <>
struct std::hash<axo::IpAddress> {
    std::size_t operator()(const axo::IpAddress& address) const noexcept;
};
template <>
struct std::hash<axo::Prefix> {
    std::size_t operator()(const axo::Prefix& prefix) const noexcept;
};
