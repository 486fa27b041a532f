#include "features/monitor/packet_headers.h"

#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>

#include <algorithm>

namespace axo {

namespace {

constexpr std::size_t kLinkHeader = 14;  // part of an event's length
constexpr std::uint16_t kMost = 0xFFFF;

template <class Header>
std::string bytes_of(const Header& header) {
    return {reinterpret_cast<const char*>(&header), sizeof(header)};
}

std::uint16_t big_endian(std::size_t value) {
    return htons(static_cast<std::uint16_t>(std::min<std::size_t>(value, kMost)));
}

std::string tcp(const flow_event& event) {
    tcphdr header{};
    header.source = event.sport;
    header.dest = event.dport;
    header.doff = sizeof(header) / 4;
    std::string bytes = bytes_of(header);
    bytes[13] = static_cast<char>(event.tcp_flags);
    return bytes;
}

std::string udp(const flow_event& event, std::size_t length) {
    udphdr header{};
    header.source = event.sport;
    header.dest = event.dport;
    header.len = big_endian(std::max(length, sizeof(header)));
    return bytes_of(header);
}

std::string sctp(const flow_event& event) {
    const std::uint16_t header[6] = {event.sport, event.dport};  // tag and checksum
    return {reinterpret_cast<const char*>(header), sizeof(header)};
}

template <class Header>
std::string icmp(const flow_event& event) {
    std::string bytes(sizeof(Header), '\0');
    bytes[0] = static_cast<char>(event.icmp_type);
    bytes[1] = static_cast<char>(event.icmp_code);
    const std::uint16_t id = event.sport;
    std::copy_n(reinterpret_cast<const char*>(&id), sizeof(id), bytes.begin() + 4);
    return bytes;
}

// length: of header and payload.
std::string transport_header(const flow_event& event, std::size_t length) {
    if ((event.flags & EVENT_F_NO_L4) != 0) return {};
    switch (event.proto) {
        case IPPROTO_TCP: return tcp(event);
        case IPPROTO_UDP: return udp(event, length);
        case IPPROTO_SCTP: return sctp(event);
        case IPPROTO_ICMP: return icmp<icmphdr>(event);
        case IPPROTO_ICMPV6: return icmp<icmp6_hdr>(event);
        default: return {};
    }
}

std::string ipv4(const flow_event& event, std::size_t length) {
    const std::string inner = transport_header(event, length - std::min(length, sizeof(iphdr)));
    iphdr header{};
    header.version = 4;
    header.ihl = sizeof(header) / 4;
    header.tot_len = big_endian(std::max(length, sizeof(header) + inner.size()));
    // Which part of the datagram it is, is not known; any part but the last has this flag.
    if ((event.flags & EVENT_F_FRAGMENT) != 0) header.frag_off = htons(IP_MF);
    header.protocol = event.proto;
    header.saddr = event.saddr.ip4;
    header.daddr = event.daddr.ip4;
    return bytes_of(header) + inner;
}

std::string ipv6(const flow_event& event, std::size_t length) {
    const bool fragment = (event.flags & EVENT_F_FRAGMENT) != 0;
    const std::size_t before = sizeof(ip6_hdr) + (fragment ? sizeof(ip6_frag) : 0);
    std::string inner = transport_header(event, length - std::min(length, before));
    ip6_hdr header{};
    header.ip6_vfc = 6 << 4;
    header.ip6_nxt = event.proto;
    if (fragment) {
        header.ip6_nxt = IPPROTO_FRAGMENT;
        ip6_frag part{};
        part.ip6f_nxt = event.proto;
        part.ip6f_offlg = IP6F_MORE_FRAG;
        inner = bytes_of(part) + inner;
    }
    header.ip6_plen = big_endian(std::max(length - std::min(length, sizeof(header)), inner.size()));
    std::copy_n(event.saddr.bytes, 16, header.ip6_src.s6_addr);
    std::copy_n(event.daddr.bytes, 16, header.ip6_dst.s6_addr);
    return bytes_of(header) + inner;
}

}  // namespace

bool is_ip(const flow_event& event) {
    return event.ethertype == 0 || event.ethertype == 0x0800 || event.ethertype == 0x86DD;
}

std::string packet_headers(const flow_event& event) {
    if (!is_ip(event)) {
        std::string link(kLinkHeader, '\0');
        link[12] = static_cast<char>(event.ethertype >> 8);
        link[13] = static_cast<char>(event.ethertype);
        return link;
    }
    const std::size_t length = event.length - std::min<std::size_t>(event.length, kLinkHeader);
    return (event.flags & EVENT_F_IPV6) != 0 ? ipv6(event, length) : ipv4(event, length);
}

}  // namespace axo
