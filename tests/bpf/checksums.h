// Checksums of whole packets, computed the long way: what programs adjust by differences is held against this.
#pragma once

#include <linux/in6.h>

#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>

#include "packet_builder.h"

namespace axo::test {

// For comparisons that fail: what a person can read.
inline std::string hex(const Bytes& packet) {
    std::string text;
    char digits[4];
    for (std::size_t i = 0; i < packet.size(); ++i) {
        std::snprintf(digits, sizeof(digits), "%02x", std::to_integer<unsigned>(packet[i]));
        text += (i == 14 || (i > 14 && i % 4 == 2) ? " " : "") + std::string(digits);
    }
    return text;
}

class Checksums {
public:
    // TCP, UDP and ICMP checksums filled in; of UDP with IPv4 only where `udp` (0 says: none).
    static Bytes filled(Bytes packet, bool udp = true) {
        if (const auto l4 = find(packet, ETH_HLEN); l4 && !(l4->proto == IPPROTO_UDP && !udp)) {
            put(packet, l4->check, 0);
            std::uint16_t sum = static_cast<std::uint16_t>(~l4_sum(packet, *l4));
            if (l4->proto == IPPROTO_UDP && sum == 0) sum = 0xffff;
            put(packet, l4->check, sum);
        }
        return packet;
    }

    // What does not hold, or nothing. An ICMP error's quote is looked at as far as it goes.
    static std::string wrong(const Bytes& packet) { return wrong(packet, ETH_HLEN, true); }

private:
    struct L4 {
        std::size_t ip = 0, at = 0, end = 0, check = 0;
        std::uint8_t proto = 0;
        bool v6 = false, whole = true;
    };

    static std::uint16_t get(const Bytes& packet, std::size_t at) {
        return static_cast<std::uint16_t>(std::to_integer<unsigned>(packet[at]) << 8 |
                                          std::to_integer<unsigned>(packet[at + 1]));
    }
    static void put(Bytes& packet, std::size_t at, std::uint16_t value) {
        packet[at] = static_cast<std::byte>(value >> 8);
        packet[at + 1] = static_cast<std::byte>(value);
    }
    static std::uint32_t sum(const Bytes& packet, std::size_t begin, std::size_t end) {
        std::uint32_t total = 0;
        for (std::size_t at = begin; at < end; at += 2)
            total += at + 1 < end ? get(packet, at) : std::to_integer<unsigned>(packet[at]) << 8;
        return total;
    }
    static std::uint16_t fold(std::uint32_t total) {
        while (total >> 16 != 0) total = (total & 0xffff) + (total >> 16);
        return static_cast<std::uint16_t>(total);
    }

    static std::optional<L4> find(const Bytes& packet, std::size_t ip) {
        if (packet.size() < ip + 20) return std::nullopt;
        L4 l4{.ip = ip, .v6 = std::to_integer<unsigned>(packet[ip]) >> 4 == 6};
        if (l4.v6) {
            if (packet.size() < ip + 40) return std::nullopt;
            l4.proto = std::to_integer<std::uint8_t>(packet[ip + 6]);
            l4.at = ip + 40;
            l4.end = l4.at + get(packet, ip + 4);
            while (l4.proto == IPPROTO_DSTOPTS || l4.proto == IPPROTO_FRAGMENT) {
                if (l4.proto == IPPROTO_FRAGMENT) l4.whole = false;
                l4.proto = std::to_integer<std::uint8_t>(packet[l4.at]);
                l4.at += l4.whole ? (std::to_integer<std::size_t>(packet[l4.at + 1]) + 1) * 8 : 8;
            }
        } else {
            l4.proto = std::to_integer<std::uint8_t>(packet[ip + 9]);
            l4.at = ip + (std::to_integer<std::size_t>(packet[ip]) & 15) * 4;
            l4.end = ip + get(packet, ip + 2);
            l4.whole = (get(packet, ip + 6) & 0x3fff) == 0;
        }
        switch (l4.proto) {
            case IPPROTO_TCP: l4.check = l4.at + 16; break;
            case IPPROTO_UDP: l4.check = l4.at + 6; break;
            case IPPROTO_ICMP:
            case IPPROTO_ICMPV6: l4.check = l4.at + 2; break;
            default: return std::nullopt;
        }
        if (packet.size() < l4.check + 2) return std::nullopt;
        return l4;
    }

    static std::uint16_t l4_sum(const Bytes& packet, const L4& l4) {
        std::uint32_t total = sum(packet, l4.at, l4.end);
        if (l4.proto != IPPROTO_ICMP) {
            total += l4.v6 ? sum(packet, l4.ip + 8, l4.ip + 40) : sum(packet, l4.ip + 12, l4.ip + 20);
            total += l4.proto + static_cast<std::uint32_t>(l4.end - l4.at);
        }
        return fold(total);
    }

    static std::string wrong(const Bytes& packet, std::size_t ip, bool outermost) {
        if ((std::to_integer<unsigned>(packet[ip]) >> 4) == 4) {
            const std::size_t length = (std::to_integer<std::size_t>(packet[ip]) & 15) * 4;
            if (fold(sum(packet, ip, ip + length)) != 0xffff) return "IPv4 header";
        }
        const auto l4 = find(packet, ip);
        if (!l4) return "";
        if (outermost && l4->end != packet.size()) return "length";
        if (l4->end > packet.size() || !l4->whole) return "";
        if (!(l4->proto == IPPROTO_UDP && get(packet, l4->check) == 0) && l4_sum(packet, *l4) != 0xffff)
            return "protocol " + std::to_string(l4->proto);
        const auto type = std::to_integer<unsigned>(packet[l4->at]);
        const bool error = l4->v6 ? l4->proto == IPPROTO_ICMPV6 && type < 128
                                  : l4->proto == IPPROTO_ICMP && (type == 3 || type == 11 || type == 12);
        if (outermost && error) {
            const std::string quoted = wrong(packet, l4->at + 8, false);
            if (!quoted.empty()) return "quoted " + quoted;
        }
        return "";
    }
};

}  // namespace axo::test
