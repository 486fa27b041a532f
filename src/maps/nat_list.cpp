#include "maps/nat_list.h"

#include <netinet/in.h>

#include "maps/convert.h"

namespace axo {

namespace {

std::string end_text(const IpAddress& ip, std::uint16_t port) {
    return (ip.is_v6() ? "[" + ip.to_string() + "]" : ip.to_string()) + ":" + std::to_string(port);
}

std::string protocol_name(std::uint8_t protocol) {
    switch (protocol) {
        case IPPROTO_TCP: return "TCP";
        case IPPROTO_UDP: return "UDP";
        case IPPROTO_ICMP: return "ICMP";
        case IPPROTO_ICMPV6: return "ICMPv6";
        case IPPROTO_SCTP: return "SCTP";
        default: return std::to_string(protocol);
    }
}

}  // namespace

bool is_translated(const FlowRow& row) {
    return (row.value.flags & (FLOW_F_REWRITE_LOW | FLOW_F_REWRITE_HIGH)) != 0;
}

std::string nat_line(const FlowRow& row, std::uint32_t now_tick) {
    const flow& value = row.value;
    const bool initiator_high = (value.flags & FLOW_F_INITIATOR_HIGH) != 0;
    const bool original = (value.flags & (initiator_high ? FLOW_F_REWRITE_HIGH : FLOW_F_REWRITE_LOW)) != 0;
    const bool v6 = row.source.is_v6();
    const std::string source =
        original ? end_text(row.source, row.source_port) : end_text(row.destination, row.destination_port);
    const std::string destination =
        original ? end_text(row.destination, row.destination_port) : end_text(row.source, row.source_port);
    const std::string new_source = end_text(from_axo_addr(value.rewrite.saddr, v6), ntohs(value.rewrite.sport));
    const std::string new_destination = end_text(from_axo_addr(value.rewrite.daddr, v6), ntohs(value.rewrite.dport));
    std::string line = protocol_name(row.protocol) + (original ? " OUT " : " IN ") + source + " -> " + destination;
    if (new_source != source) line += " XLATE_SRC " + new_source;
    if (new_destination != destination) line += " XLATE_DST " + new_destination;
    const auto age = static_cast<std::int32_t>(now_tick - value.created);
    return line + " Created=" + std::to_string(FlowMaps::tick_seconds(static_cast<std::uint32_t>(std::max(age, 0)))) +
           "sec ago NeedsCT=0";
}

}  // namespace axo
