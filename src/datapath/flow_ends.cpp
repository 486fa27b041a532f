#include "datapath/flow_ends.h"

#include <netinet/in.h>

#include "base/types.h"
#include "maps/convert.h"

namespace axo {
namespace {

// As the datapath says it, as far as the entry knows where the packets were seen.
std::uint8_t trace_point(const flow_half& half, const flow_event& event) {
    switch (half.action) {
        case FLOW_DELIVER: return TRACE_TO_LXC;
        case FLOW_ENCAP:
        case FLOW_TUNNEL_DEV: return TRACE_TO_OVERLAY;
        case FLOW_NEIGH: return TRACE_TO_NETWORK;
        default: break;
    }
    if (event.endpoint_dst != 0) return TRACE_TO_LXC;
    return event.identity_dst == identity::kHost.value ? TRACE_TO_HOST : TRACE_TO_STACK;
}

}  // namespace

void tell_end(const FlowRow& row, std::uint64_t now_ns, const std::function<void(const flow_event&)>& tell) {
    const flow& value = row.value;
    if (row.protocol != IPPROTO_UDP || row.zone != FLOW_ZONE_DEFAULT) return;
    if ((value.flags & (FLOW_F_REWRITE_LOW | FLOW_F_REWRITE_HIGH | FLOW_F_TRANSLATED)) != 0) return;
    const int original = (value.flags & FLOW_F_INITIATOR_HIGH) != 0 ? 1 : 0;
    for (const bool reply : {false, true}) {
        const flow_half& half = value.half[reply ? 1 - original : original];
        if (half.action == FLOW_UNDECIDED || half.action == FLOW_DROP || half.packets < 2) continue;
        flow_event event{};
        event.type = EVENT_TRACE;
        event.reason = reply ? TRACE_REASON_REPLY : TRACE_REASON_ESTABLISHED;
        event.identity_src = reply ? value.identity_dst : value.identity_src;
        event.identity_dst = reply ? value.identity_src : value.identity_dst;
        event.endpoint_src = reply ? value.endpoint_dst : value.endpoint_src;
        event.endpoint_dst = reply ? value.endpoint_src : value.endpoint_dst;
        event.subtype = trace_point(half, event);
        const bool tunnelled = half.action == FLOW_ENCAP || half.action == FLOW_TUNNEL_DEV;
        event.flags = static_cast<std::uint8_t>((row.source.is_v6() ? EVENT_F_IPV6 : 0U) |
                                                (event.endpoint_src == 0 ? EVENT_F_INGRESS : 0U) |
                                                (tunnelled ? EVENT_F_TUNNEL : 0U));
        event.ifindex = half.action == FLOW_STACK ? half.ifindex_in : half.ifindex_out;
        event.time_ns = now_ns;
        event.rule_cookie = event.endpoint_src != 0 ? value.egress_cookie : value.ingress_cookie;
        event.saddr = to_axo_addr(reply ? row.destination : row.source);
        event.daddr = to_axo_addr(reply ? row.source : row.destination);
        event.sport = htons(reply ? row.destination_port : row.source_port);
        event.dport = htons(reply ? row.source_port : row.destination_port);
        event.proto = row.protocol;
        event.ethertype = row.source.is_v6() ? 0x86DD : 0x0800;
        event.packets = half.packets;
        event.bytes = half.bytes;
        tell(event);
    }
}

}  // namespace axo
