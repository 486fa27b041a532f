#include "base/ip.h"

#include <arpa/inet.h>
#include <sys/random.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>

namespace axo {

IpAddress IpAddress::v4(std::array<std::uint8_t, 4> bytes) {
    IpAddress address;
    address.family_ = Family::kIpv4;
    std::copy(bytes.begin(), bytes.end(), address.bytes_.begin());
    return address;
}

IpAddress IpAddress::v4(std::uint32_t network_order) {
    std::array<std::uint8_t, 4> bytes{};
    std::memcpy(bytes.data(), &network_order, 4);
    return v4(bytes);
}

IpAddress IpAddress::v6(std::array<std::uint8_t, 16> bytes) {
    IpAddress address;
    address.family_ = Family::kIpv6;
    address.bytes_ = bytes;
    return address;
}

IpAddress IpAddress::v6(const void* sixteen_bytes) {
    std::array<std::uint8_t, 16> bytes{};
    std::memcpy(bytes.data(), sixteen_bytes, 16);
    return v6(bytes);
}

Result<IpAddress> IpAddress::parse(std::string_view text) {
    const std::string copy(text);
    std::array<std::uint8_t, 16> raw{};
    if (::inet_pton(AF_INET, copy.c_str(), raw.data()) == 1) {
        return v4({raw[0], raw[1], raw[2], raw[3]});
    }
    if (::inet_pton(AF_INET6, copy.c_str(), raw.data()) == 1) return v6(raw);
    return fail(Code::kInvalidArgument, "\"" + copy + "\" is not an IP address");
}

int IpAddress::bits() const {
    switch (family_) {
        case Family::kIpv4: return 32;
        case Family::kIpv6: return 128;
        case Family::kNone: break;
    }
    return 0;
}

std::span<const std::uint8_t> IpAddress::bytes() const {
    return {bytes_.data(), static_cast<std::size_t>(bits() / 8)};
}

std::uint32_t IpAddress::v4_network_order() const {
    std::uint32_t value = 0;
    std::memcpy(&value, bytes_.data(), 4);
    return value;
}

bool IpAddress::is_unspecified() const {
    return family_ != Family::kNone && std::ranges::all_of(bytes(), [](std::uint8_t byte) { return byte == 0; });
}

bool IpAddress::is_loopback() const {
    if (is_v4()) return bytes_[0] == 127;
    if (!is_v6()) return false;
    return bytes_[15] == 1 &&
           std::all_of(bytes_.begin(), bytes_.end() - 1, [](std::uint8_t byte) { return byte == 0; });
}

bool IpAddress::is_link_local() const {
    if (is_v4()) return bytes_[0] == 169 && bytes_[1] == 254;
    return is_v6() && bytes_[0] == 0xfe && (bytes_[1] & 0xc0) == 0x80;
}

bool IpAddress::is_multicast() const {
    if (is_v4()) return (bytes_[0] & 0xf0) == 0xe0;
    return is_v6() && bytes_[0] == 0xff;
}

IpAddress IpAddress::plus(std::uint64_t delta) const {
    IpAddress sum = *this;
    std::uint64_t carry = delta;
    for (int i = bits() / 8 - 1; i >= 0 && carry != 0; --i) {
        const auto index = static_cast<std::size_t>(i);
        const std::uint64_t digit = sum.bytes_[index] + (carry & 0xff);
        sum.bytes_[index] = static_cast<std::uint8_t>(digit);
        carry = (carry >> 8) + (digit >> 8);
    }
    return sum;
}

std::string IpAddress::to_string() const {
    if (family_ == Family::kNone) return {};
    char text[INET6_ADDRSTRLEN] = {};
    ::inet_ntop(is_v4() ? AF_INET : AF_INET6, bytes_.data(), text, sizeof(text));
    return text;
}

namespace {

bool same_leading_bits(const IpAddress& a, const IpAddress& b, int length) {
    const auto left = a.bytes();
    const auto right = b.bytes();
    const auto whole = static_cast<std::size_t>(length / 8);
    if (!std::equal(left.begin(), left.begin() + static_cast<std::ptrdiff_t>(whole), right.begin())) return false;
    const int rest = length % 8;
    if (rest == 0) return true;
    const auto mask = static_cast<std::uint8_t>(0xff << (8 - rest));
    return (left[whole] & mask) == (right[whole] & mask);
}

IpAddress masked(const IpAddress& address, int length) {
    std::array<std::uint8_t, 16> bytes{};
    const auto source = address.bytes();
    for (std::size_t i = 0; i < source.size(); ++i) {
        const int kept = std::clamp(length - static_cast<int>(i) * 8, 0, 8);
        bytes[i] = static_cast<std::uint8_t>(source[i] & (0xff << (8 - kept)));
    }
    if (address.is_v4()) return IpAddress::v4({bytes[0], bytes[1], bytes[2], bytes[3]});
    return IpAddress::v6(bytes);
}

}  // namespace

Prefix::Prefix(const IpAddress& address, int length) : length_(std::clamp(length, 0, address.bits())) {
    address_ = address ? masked(address, length_) : address;
}

Result<Prefix> Prefix::parse(std::string_view text) {
    const auto slash = text.find('/');
    TRY_ASSIGN(const IpAddress address, IpAddress::parse(text.substr(0, slash)));
    if (slash == std::string_view::npos) return Prefix::host(address);
    const auto digits = text.substr(slash + 1);
    int length = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), length);
    if (error != std::errc{} || end != digits.data() + digits.size() || length < 0 || length > address.bits()) {
        return fail(Code::kInvalidArgument,
                    "\"" + std::string(text) + "\": prefix length must be 0 to " + std::to_string(address.bits()));
    }
    return Prefix(address, length);
}

Result<Prefix> Prefix::parse_cidr(std::string_view text) {
    const auto slash = text.find('/');
    if (slash == std::string_view::npos) {
        return fail(Code::kInvalidArgument, "\"" + std::string(text) + "\" is not a CIDR: it has no prefix length");
    }
    TRY_ASSIGN(const Prefix prefix, parse(text));
    TRY_ASSIGN(const IpAddress address, IpAddress::parse(text.substr(0, slash)));
    if (prefix.address() != address) {
        return fail(Code::kInvalidArgument,
                    "\"" + std::string(text) + "\" has host bits set; the network is " + prefix.to_string());
    }
    return prefix;
}

bool Prefix::contains(const IpAddress& address) const {
    return address_ && address.family() == family() && same_leading_bits(address_, address, length_);
}

bool Prefix::contains(const Prefix& other) const {
    return other.length_ >= length_ && contains(other.address_);
}

std::uint64_t Prefix::size() const {
    const int host_bits = address_.bits() - length_;
    if (!address_) return 0;
    return host_bits >= 64 ? ~std::uint64_t{0} : std::uint64_t{1} << host_bits;
}

std::string Prefix::to_string() const {
    return address_ ? address_.to_string() + "/" + std::to_string(length_) : std::string();
}

MacAddress MacAddress::from_bytes(const void* six_bytes) {
    std::array<std::uint8_t, 6> bytes{};
    std::memcpy(bytes.data(), six_bytes, 6);
    return MacAddress(bytes);
}

Result<MacAddress> MacAddress::parse(std::string_view text) {
    const std::string copy(text);
    std::array<unsigned, 6> parts{};
    int consumed = 0;
    if (std::sscanf(copy.c_str(), "%2x:%2x:%2x:%2x:%2x:%2x%n", &parts[0], &parts[1], &parts[2], &parts[3], &parts[4],
                    &parts[5], &consumed) != 6 ||
        static_cast<std::size_t>(consumed) != copy.size()) {
        return fail(Code::kInvalidArgument, "\"" + copy + "\" is not a MAC address (aa:bb:cc:dd:ee:ff)");
    }
    std::array<std::uint8_t, 6> bytes{};
    std::ranges::transform(parts, bytes.begin(), [](unsigned part) { return static_cast<std::uint8_t>(part); });
    return MacAddress(bytes);
}

MacAddress MacAddress::random() {
    std::array<std::uint8_t, 6> bytes{};
    // getrandom of six bytes cannot be interrupted or short once the pool is initialised (getrandom(2)).
    (void)!::getrandom(bytes.data(), bytes.size(), 0);
    bytes[0] = static_cast<std::uint8_t>((bytes[0] & 0xfe) | 0x02);
    return MacAddress(bytes);
}

bool MacAddress::is_zero() const {
    return std::ranges::all_of(bytes_, [](std::uint8_t byte) { return byte == 0; });
}

namespace {

std::string print_mac(const std::array<std::uint8_t, 6>& b, const char* format) {
    char text[18] = {};
    std::snprintf(text, sizeof(text), format, b[0], b[1], b[2], b[3], b[4], b[5]);
    return text;
}

}  // namespace

std::string MacAddress::to_string() const {
    return print_mac(bytes_, "%02x:%02x:%02x:%02x:%02x:%02x");
}
std::string MacAddress::to_upper_string() const {
    return print_mac(bytes_, "%02X:%02X:%02X:%02X:%02X:%02X");
}

}  // namespace axo

std::size_t std::hash<axo::IpAddress>::operator()(const axo::IpAddress& address) const noexcept {
    std::size_t hash = 1469598103934665603ULL;  // FNV-1a
    for (const std::uint8_t byte : address.bytes()) hash = (hash ^ byte) * 1099511628211ULL;
    return hash;
}

std::size_t std::hash<axo::Prefix>::operator()(const axo::Prefix& prefix) const noexcept {
    return std::hash<axo::IpAddress>{}(prefix.address()) * 31 + static_cast<std::size_t>(prefix.length());
}
