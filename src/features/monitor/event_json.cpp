#include "features/monitor/event_json.h"

#include <arpa/inet.h>

#include "base/tcp_flags.h"
#include "bpf/api/drop_reason.h"
#include "bpf/api/policy.h"
#include "features/monitor/packet_headers.h"
#include "maps/convert.h"
#include "maps/metrics_map.h"
#include "model/time.h"

namespace axo {

namespace {

constexpr std::string_view kPoints[] = {"to-endpoint", "to-proxy",      "to-host",      "to-stack",
                                        "to-overlay",  "from-endpoint", "from-proxy",   "from-host",
                                        "from-stack",  "from-overlay",  "from-network", "to-network"};
constexpr std::string_view kReasons[] = {"new", "established", "reply", "related", "reopened", "unknown"};

std::string protocol_text(const flow_event& event) {
    switch (event.proto) {
        case 1: return "ICMPv4";
        case 6: return "TCP";
        case 17: return "UDP";
        case 58: return "ICMPv6";
        case 132: return "SCTP";
        default: return std::to_string(event.proto);
    }
}

void add_policy(Json& json, const flow_event& event, const EventNames& names) {
    json["rule-cookie"] = event.rule_cookie;
    if (!names.rule) return;
    const EventRule rule = names.rule(event.rule_cookie);
    if (!rule.name.empty()) json["rule"] = rule.name;
    if (!rule.match.empty()) json["match"] = rule.match;
}

void add_verdict(Json& json, const flow_event& event, const EventNames& names) {
    const PolicySide side = policy_side(event);
    json["subtype"] = verdict_text(event);
    json["reason"] = trace_reason_text(event.reason);
    json["action"] = verdict_text(event);
    json["audited"] = (event.flags & EVENT_F_AUDITED) != 0;
    json["direction"] = (event.flags & EVENT_F_INGRESS) != 0 ? "ingress" : "egress";
    json["local-endpoint"] = side.endpoint;
    json["remote-identity"] = side.remote_identity;
    add_policy(json, event, names);
}

}  // namespace

PolicySide policy_side(const flow_event& event) {
    const bool reply = event.reason == TRACE_REASON_REPLY;
    const bool of_source = ((event.flags & EVENT_F_INGRESS) != 0) == reply;
    return {.endpoint = of_source ? event.endpoint_src : event.endpoint_dst,
            .remote_identity = of_source ? event.identity_dst : event.identity_src,
            .reply = reply};
}

std::uint8_t match_number(std::string_view match) {
    static constexpr std::pair<std::string_view, std::uint8_t> kNumbers[] = {
        {"L3-Only", 1}, {"L3-L4", 2}, {"L4-Only", 3}, {"all", 4}, {"L3-Proto", 5}, {"Proto-Only", 6}};
    for (const auto& [word, number] : kNumbers) {
        if (word == match) return number;
    }
    return 0;
}

bool MonitorFilter::matches(const flow_event& event) const {
    if (!types.empty() && !types.contains(std::string(event_type_text(event.type)))) return false;
    if (!from.empty() && !from.contains(event.endpoint_src)) return false;
    if (!to.empty() && !to.contains(event.endpoint_dst)) return false;
    return related.empty() || related.contains(event.endpoint_src) || related.contains(event.endpoint_dst);
}

std::string_view event_type_text(std::uint8_t type) {
    switch (type) {
        case EVENT_DROP: return "drop";
        case EVENT_TRACE: return "trace";
        case EVENT_POLICY_VERDICT: return "policy-verdict";
        default: return "unknown";
    }
}

std::string_view trace_point_text(std::uint8_t point) {
    return point < std::size(kPoints) ? kPoints[point] : "unknown";
}

std::string_view trace_reason_text(std::uint8_t reason) {
    return reason < std::size(kReasons) ? kReasons[reason] : "unknown";
}

std::string_view verdict_text(const flow_event& event) {
    if ((event.flags & EVENT_F_AUDITED) != 0) return "audit";
    switch (event.subtype) {
        case POLICY_ALLOW: return "allow";
        case POLICY_DENY: return "deny";
        case POLICY_REDIRECT: return "redirect";
        default: return "unknown";
    }
}

Json event_json(const flow_event& event, const EventNames& names, std::int64_t wall_offset_ns) {
    const bool ipv6 = (event.flags & EVENT_F_IPV6) != 0;
    const WallTime time{std::chrono::duration_cast<WallTime::duration>(
        std::chrono::nanoseconds(static_cast<std::int64_t>(event.time_ns) + wall_offset_ns))};
    const bool drop = event.type == EVENT_DROP;
    Json json{{"time", format_time_nano(time)},
              {"type", event_type_text(event.type)},
              {"trace-reason", trace_reason_text(event.reason)},
              {"ifindex", event.ifindex},
              {"interface", names.interface(event.ifindex)},
              {"length", event.length},
              {"identity-src", event.identity_src},
              {"identity-dst", event.identity_dst},
              {"labels-src", names.labels(event.identity_src)},
              {"labels-dst", names.labels(event.identity_dst)},
              {"endpoint-src", event.endpoint_src},
              {"endpoint-dst", event.endpoint_dst},
              {"hash", event.hash},
              {"ipv6", ipv6},
              {"fragment", (event.flags & EVENT_F_FRAGMENT) != 0},
              {"tunnel", (event.flags & EVENT_F_TUNNEL) != 0},
              {"ingress", (event.flags & EVENT_F_INGRESS) != 0}};
    if (drop) {
        json["subtype"] = reason_text(event.subtype);
        json["reason"] = reason_text(event.subtype);
        json["reason-code"] = event.subtype;
        json["file"] = source_file_text(event.file);
        json["line"] = event.line;
        json["ext-error"] = event.ext_error;
        if (event.subtype == DROP_POLICY || event.subtype == DROP_POLICY_DENY) add_policy(json, event, names);
    } else if (event.type == EVENT_POLICY_VERDICT) {
        add_verdict(json, event, names);
    } else {
        json["subtype"] = trace_point_text(event.subtype);
        json["observation-point"] = trace_point_text(event.subtype);
        json["reason"] = trace_reason_text(event.reason);
        json["packets"] = event.packets;
        json["bytes"] = event.bytes;
    }
    if (!is_ip(event)) {
        json["ethertype"] = event.ethertype;
        return json;
    }
    const IpAddress source = from_axo_addr(event.saddr, ipv6), destination = from_axo_addr(event.daddr, ipv6);
    json["src"] = source.to_string();
    json["dst"] = destination.to_string();
    if (const std::string pod = names.pod(source); !pod.empty()) json["pod-src"] = pod;
    if (const std::string pod = names.pod(destination); !pod.empty()) json["pod-dst"] = pod;
    json["proto"] = protocol_text(event);
    if ((event.flags & EVENT_F_NO_L4) != 0) return json;
    if (event.proto == 1 || event.proto == 58) {
        json["icmp-type"] = event.icmp_type;
        json["icmp-code"] = event.icmp_code;
        json["icmp-id"] = ntohs(event.sport);
    } else {
        json["sport"] = ntohs(event.sport);
        json["dport"] = ntohs(event.dport);
    }
    if (event.proto == 6) json["tcp-flags"] = tcp_flags_text(event.tcp_flags);
    return json;
}

}  // namespace axo
