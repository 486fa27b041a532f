// What a flow tells of a DNS message (RFC 1035), and how it is read from the wire.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"

namespace axo::hubble {

struct DnsMessage {
    bool response = false;
    std::uint16_t id = 0;
    std::string query;  // as asked, in lower case, with its last dot: "web.example.com."
    std::uint16_t qtype = 0;
    // Of responses.
    std::uint8_t rcode = 0;
    std::uint32_t ttl = 0;  // seconds; the shortest of the answers', 0 without any
    std::vector<IpAddress> ips;
    std::vector<std::string> cnames;     // in the order of the answers
    std::vector<std::uint16_t> rrtypes;  // the same
    friend bool operator==(const DnsMessage&, const DnsMessage&) = default;
};

// Nothing: it is no whole DNS message with one question. What of its answers is broken makes it none.
std::optional<DnsMessage> parse_dns(std::span<const std::byte> message);

// IANA's names: "A", "AAAA", "TYPE4242"; "No Error", "Non-Existent Domain", "RCode 4000".
std::string dns_type_name(std::uint16_t type);
std::string dns_rcode_name(std::uint8_t rcode);
// As Hubble words it: "DNS Query web. A", "DNS Answer "192.0.2.1" TTL: 30 (Query web. A)".
std::string dns_summary(const DnsMessage& message);

}  // namespace axo::hubble
