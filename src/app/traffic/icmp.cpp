#include "app/traffic/icmp.h"

#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>

#include <chrono>
#include <cstring>

#include "app/traffic/net.h"

namespace axo::traffic {
namespace {

constexpr std::size_t kHeader = 8;

std::uint16_t internet_checksum(const std::uint8_t* data, std::size_t size) {
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i + 1 < size; i += 2) sum += static_cast<std::uint32_t>(data[i] << 8 | data[i + 1]);
    if (size % 2 == 1) sum += static_cast<std::uint32_t>(data[size - 1] << 8);
    while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>(~sum);
}

}  // namespace

Result<IcmpSocket> IcmpSocket::open(const IpAddress& to, std::uint16_t id) {
    const Endpoint target = endpoint(to, 0);
    Fd fd(::socket(target.storage.ss_family, SOCK_RAW | SOCK_CLOEXEC,
                   to.is_v6() ? static_cast<int>(IPPROTO_ICMPV6) : static_cast<int>(IPPROTO_ICMP)));
    if (!fd) return fail_errno("raw ICMP socket");
    const int discover = to.is_v6() ? IPV6_PMTUDISC_DONT : IP_PMTUDISC_DONT;
    if (to.is_v6()) {
        ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_MTU_DISCOVER, &discover, sizeof discover);
    } else {
        ::setsockopt(fd.get(), IPPROTO_IP, IP_MTU_DISCOVER, &discover, sizeof discover);
    }
    if (::connect(fd.get(), target.get(), target.length) != 0) return fail_errno("connect to " + to.to_string());
    return IcmpSocket(std::move(fd), to.is_v6(), id);
}

Status IcmpSocket::send(std::uint16_t sequence, std::size_t bytes) {
    std::vector<std::uint8_t> packet(kHeader + bytes);
    packet[0] = v6_ ? ICMP6_ECHO_REQUEST : ICMP_ECHO;
    packet[4] = static_cast<std::uint8_t>(id_ >> 8);
    packet[5] = static_cast<std::uint8_t>(id_);
    packet[6] = static_cast<std::uint8_t>(sequence >> 8);
    packet[7] = static_cast<std::uint8_t>(sequence);
    fill_pattern(0, packet.data() + kHeader, bytes);
    if (!v6_) {  // the kernel fills in ICMPv6's, which covers addresses
        const std::uint16_t sum = internet_checksum(packet.data(), packet.size());
        packet[2] = static_cast<std::uint8_t>(sum >> 8);
        packet[3] = static_cast<std::uint8_t>(sum);
    }
    if (::send(fd_.get(), packet.data(), packet.size(), 0) < 0) return fail_errno("send an echo request");
    return {};
}

std::optional<std::uint16_t> IcmpSocket::receive(std::size_t bytes, bool wait) {
    // Other processes' replies wake this socket too, so the time is measured here as well.
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(2);
    while (std::chrono::steady_clock::now() < deadline) {
        const ssize_t n = ::recv(fd_.get(), buffer_.data(), buffer_.size(), wait ? 0 : MSG_DONTWAIT);
        if (n < 0) return std::nullopt;
        const std::size_t skip = v6_ ? 0 : static_cast<std::size_t>(buffer_[0] & 15) * 4;
        if (static_cast<std::size_t>(n) != skip + kHeader + bytes) continue;
        const std::uint8_t* packet = buffer_.data() + skip;
        if (packet[0] != (v6_ ? ICMP6_ECHO_REPLY : ICMP_ECHOREPLY)) continue;
        if ((packet[4] << 8 | packet[5]) != id_ || !matches_pattern(0, packet + kHeader, bytes)) continue;
        return static_cast<std::uint16_t>(packet[6] << 8 | packet[7]);
    }
    return std::nullopt;
}

}  // namespace axo::traffic
