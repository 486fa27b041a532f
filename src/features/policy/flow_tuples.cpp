#include "features/policy/flow_tuples.h"

#include <netinet/in.h>

#include <utility>

#include "maps/convert.h"

namespace axo::policy {
namespace {

bool is_icmp(std::uint8_t protocol) {
    return protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6;
}

std::optional<EndpointId> endpoint_of(std::uint16_t endpoint, IdentityId id, std::optional<EndpointId> host) {
    if (endpoint != 0) return EndpointId(endpoint);
    return id == identity::kHost ? host : std::nullopt;
}

}  // namespace

std::vector<FlowTuple> tuples_of(const FlowRow& row, std::optional<EndpointId> host) {
    const flow& value = row.value;
    if ((value.flags & FLOW_F_TRANSLATED) != 0 || row.zone != FLOW_ZONE_DEFAULT) return {};
    FlowTuple tuple;
    tuple.source_identity = IdentityId(value.identity_src);
    tuple.destination_identity = IdentityId(value.identity_dst);
    tuple.source = endpoint_of(value.endpoint_src, tuple.source_identity, host);
    tuple.destination = endpoint_of(value.endpoint_dst, tuple.destination_identity, host);
    tuple.source_address = row.source;
    tuple.destination_address = row.destination;
    tuple.protocol = row.protocol;
    tuple.port = is_icmp(row.protocol) ? value.icmp_type : row.destination_port;
    std::vector<FlowTuple> tuples;
    if ((value.flags & FLOW_F_NODE_PORT) != 0 && host) {
        FlowTuple frontend = tuple;
        frontend.source.reset();
        frontend.destination = host;
        frontend.destination_identity = identity::kHost;
        tuples.push_back(std::move(frontend));
    }
    const int opener = (value.flags & FLOW_F_INITIATOR_HIGH) != 0 ? FLOW_F_REWRITE_HIGH : FLOW_F_REWRITE_LOW;
    if ((value.flags & opener) != 0) {
        tuple.destination_address = from_axo_addr(value.rewrite.daddr, row.destination.is_v6());
        if (!is_icmp(row.protocol)) tuple.port = ntohs(value.rewrite.dport);
    }
    tuples.push_back(std::move(tuple));
    return tuples;
}

FlowTuple tuple_of(const flow_event& event) {
    const bool v6 = (event.flags & EVENT_F_IPV6) != 0;
    FlowTuple tuple;
    tuple.source = endpoint_of(event.endpoint_src, {}, {});
    tuple.destination = endpoint_of(event.endpoint_dst, {}, {});
    tuple.source_identity = IdentityId(event.identity_src);
    tuple.destination_identity = IdentityId(event.identity_dst);
    tuple.source_address = from_axo_addr(event.saddr, v6);
    tuple.destination_address = from_axo_addr(event.daddr, v6);
    tuple.protocol = event.proto;
    tuple.port = is_icmp(event.proto) ? event.icmp_type : ntohs(event.dport);
    if (event.reason != TRACE_REASON_REPLY) return tuple;
    std::swap(tuple.source, tuple.destination);
    std::swap(tuple.source_identity, tuple.destination_identity);
    std::swap(tuple.source_address, tuple.destination_address);
    // Of ICMP only echoes have replies.
    tuple.port = event.proto == IPPROTO_ICMP ? 8 : event.proto == IPPROTO_ICMPV6 ? 128 : ntohs(event.sport);
    return tuple;
}

}  // namespace axo::policy
