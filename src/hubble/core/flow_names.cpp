#include "hubble/core/flow_names.h"

#include <algorithm>

#include "hubble/core/flow_metrics.h"

namespace axo::hubble {

std::string_view protocol_name(const FlowRecord& record) {
    if (!record.has_l4()) return "Unknown L4";
    switch (record.event.proto) {
        case 1: return "ICMPv4";
        case 2: return "IGMP";
        case 6: return "TCP";
        case 17: return "UDP";
        case 58: return "ICMPv6";
        case 112: return "VRRP";
        case 132: return "SCTP";
        default: return "Unknown L4";
    }
}

std::string_view verdict_name(Verdict verdict) {
    static constexpr std::string_view kNames[] = {"VERDICT_UNKNOWN", "FORWARDED",  "DROPPED", "ERROR",
                                                  "AUDIT",           "REDIRECTED", "TRACED",  "TRANSLATED"};
    const auto index = static_cast<std::size_t>(verdict);
    return index < std::size(kNames) ? kNames[index] : kNames[0];
}

std::string_view observation_point_name(std::uint8_t point) {
    static constexpr std::string_view kNames[] = {"to-endpoint", "to-proxy",      "to-host",      "to-stack",
                                                  "to-overlay",  "from-endpoint", "from-proxy",   "from-host",
                                                  "from-stack",  "from-overlay",  "from-network", "to-network"};
    return point < std::size(kNames) ? kNames[point] : "unknown";
}

std::string_view lost_source_name(LostSource source) {
    switch (source) {
        case LostSource::kDatapathRing: return "PERF_EVENT_RING_BUFFER";
        case LostSource::kEventsQueue: return "OBSERVER_EVENTS_QUEUE";
        case LostSource::kHubbleRing: return "HUBBLE_RING_BUFFER";
        case LostSource::kUnknown: break;
    }
    return "UNKNOWN_LOST_EVENT_SOURCE";
}

std::string_view drop_reason_name(std::uint32_t reason) {
    // From 130 on; the enum's names, not monitor's sentences.
    static constexpr std::string_view kNames[] = {"INVALID_SOURCE_MAC",
                                                  "INVALID_DESTINATION_MAC",
                                                  "INVALID_SOURCE_IP",
                                                  "POLICY_DENIED",
                                                  "INVALID_PACKET_DROPPED",
                                                  "CT_TRUNCATED_OR_INVALID_HEADER",
                                                  "CT_MISSING_TCP_ACK_FLAG",
                                                  "CT_UNKNOWN_L4_PROTOCOL",
                                                  "CT_CANNOT_CREATE_ENTRY_FROM_PACKET",
                                                  "UNSUPPORTED_L3_PROTOCOL",
                                                  "MISSED_TAIL_CALL",
                                                  "ERROR_WRITING_TO_PACKET",
                                                  "UNKNOWN_L4_PROTOCOL",
                                                  "UNKNOWN_ICMPV4_CODE",
                                                  "UNKNOWN_ICMPV4_TYPE",
                                                  "UNKNOWN_ICMPV6_CODE",
                                                  "UNKNOWN_ICMPV6_TYPE",
                                                  "ERROR_RETRIEVING_TUNNEL_KEY",
                                                  "ERROR_RETRIEVING_TUNNEL_OPTIONS",
                                                  "INVALID_GENEVE_OPTION",
                                                  "UNKNOWN_L3_TARGET_ADDRESS",
                                                  "STALE_OR_UNROUTABLE_IP",
                                                  "NO_MATCHING_LOCAL_CONTAINER_FOUND",
                                                  "ERROR_WHILE_CORRECTING_L3_CHECKSUM",
                                                  "ERROR_WHILE_CORRECTING_L4_CHECKSUM",
                                                  "CT_MAP_INSERTION_FAILED",
                                                  "INVALID_IPV6_EXTENSION_HEADER",
                                                  "IP_FRAGMENTATION_NOT_SUPPORTED",
                                                  "SERVICE_BACKEND_NOT_FOUND",
                                                  "",
                                                  "NO_TUNNEL_OR_ENCAPSULATION_ENDPOINT",
                                                  "FAILED_TO_INSERT_INTO_PROXYMAP",
                                                  "REACHED_EDT_RATE_LIMITING_DROP_HORIZON",
                                                  "UNKNOWN_CONNECTION_TRACKING_STATE",
                                                  "LOCAL_HOST_IS_UNREACHABLE",
                                                  "NO_CONFIGURATION_AVAILABLE_TO_PERFORM_POLICY_DECISION",
                                                  "UNSUPPORTED_L2_PROTOCOL",
                                                  "NO_MAPPING_FOR_NAT_MASQUERADE",
                                                  "UNSUPPORTED_PROTOCOL_FOR_NAT_MASQUERADE",
                                                  "FIB_LOOKUP_FAILED",
                                                  "ENCAPSULATION_TRAFFIC_IS_PROHIBITED",
                                                  "INVALID_IDENTITY",
                                                  "UNKNOWN_SENDER",
                                                  "NAT_NOT_NEEDED",
                                                  "IS_A_CLUSTERIP",
                                                  "FIRST_LOGICAL_DATAGRAM_FRAGMENT_NOT_FOUND",
                                                  "FORBIDDEN_ICMPV6_MESSAGE",
                                                  "DENIED_BY_LB_SRC_RANGE_CHECK",
                                                  "SOCKET_LOOKUP_FAILED",
                                                  "SOCKET_ASSIGN_FAILED",
                                                  "PROXY_REDIRECTION_NOT_SUPPORTED_FOR_PROTOCOL",
                                                  "POLICY_DENY",
                                                  "VLAN_FILTERED",
                                                  "INVALID_VNI",
                                                  "INVALID_TC_BUFFER",
                                                  "NO_SID",
                                                  "MISSING_SRV6_STATE",
                                                  "NAT46",
                                                  "NAT64",
                                                  "AUTH_REQUIRED",
                                                  "CT_NO_MAP_FOUND",
                                                  "SNAT_NO_MAP_FOUND",
                                                  "INVALID_CLUSTER_ID",
                                                  "UNSUPPORTED_PROTOCOL_FOR_DSR_ENCAP",
                                                  "NO_EGRESS_GATEWAY",
                                                  "UNENCRYPTED_TRAFFIC",
                                                  "TTL_EXCEEDED",
                                                  "NO_NODE_ID",
                                                  "DROP_RATE_LIMITED",
                                                  "IGMP_HANDLED",
                                                  "IGMP_SUBSCRIBED",
                                                  "MULTICAST_HANDLED",
                                                  "DROP_HOST_NOT_READY",
                                                  "DROP_EP_NOT_READY",
                                                  "DROP_NO_EGRESS_IP",
                                                  "DROP_PUNT_PROXY"};
    const std::uint32_t index = reason - 130;
    return index < std::size(kNames) && !kNames[index].empty() ? kNames[index] : "DROP_REASON_UNKNOWN";
}

std::string icmp_name(const FlowRecord& record) {
    struct Name {
        std::uint8_t type;
        const char* name;
    };
    static constexpr Name kV4[] = {{0, "EchoReply"},         {3, "DestinationUnreachable"}, {5, "Redirect"},
                                   {8, "EchoRequest"},       {11, "TimeExceeded"},          {12, "ParameterProblem"},
                                   {13, "TimestampRequest"}, {14, "TimestampReply"}};
    static constexpr Name kV6[] = {{1, "DestinationUnreachable"},
                                   {2, "PacketTooBig"},
                                   {3, "TimeExceeded"},
                                   {4, "ParameterProblem"},
                                   {128, "EchoRequest"},
                                   {129, "EchoReply"},
                                   {133, "RouterSolicitation"},
                                   {134, "RouterAdvertisement"},
                                   {135, "NeighborSolicitation"},
                                   {136, "NeighborAdvertisement"},
                                   {137, "Redirect"}};
    const std::uint8_t type = record.event.icmp_type;
    const auto find = [&](const auto& names) -> std::string {
        const auto known = std::ranges::find(names, type, &Name::type);
        return known == std::end(names) ? std::to_string(type) + "(" + std::to_string(record.event.icmp_code) + ")"
                                        : known->name;
    };
    return record.event.proto == 58 ? find(kV6) : find(kV4);
}

}  // namespace axo::hubble
