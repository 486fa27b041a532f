#include "hubble/server/flow_proto.h"

#include <axoneme/flow_counters.pb.h>
#include <netinet/in.h>

#include "base/tcp_flags.h"
#include "bpf/api/drop_reason.h"

// Fields that Hubble calls deprecated are the only ones that older clients know.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

namespace axo::hubble {

namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

void fill_endpoint(const EndpointInfo& info, ::flow::Endpoint& endpoint) {
    endpoint.set_id(info.id);
    endpoint.set_identity(info.identity);
    endpoint.set_cluster_name(info.cluster);
    endpoint.set_namespace_(info.name_space);
    endpoint.set_pod_name(info.pod);
    for (const std::string& label : info.labels->texts) endpoint.add_labels(label);
    for (const Workload& workload : info.workloads) {
        auto& added = *endpoint.add_workloads();
        added.set_name(workload.name);
        added.set_kind(workload.kind);
    }
}

void fill_service(const ServiceName& name, ::flow::Service& service) {
    service.set_name(name.name);
    service.set_namespace_(name.name_space);
}

std::string icmp_summary(const FlowRecord& record) {
    return std::string(record.event.proto == IPPROTO_ICMP ? "ICMPv4" : "ICMPv6") + " type " +
           std::to_string(record.event.icmp_type) + " code " + std::to_string(record.event.icmp_code);
}

void fill_tcp(const FlowRecord& record, ::flow::TCP& tcp) {
    tcp.set_source_port(record.source_port());
    tcp.set_destination_port(record.destination_port());
    const std::uint8_t flags = record.event.tcp_flags;
    auto& set = *tcp.mutable_flags();
    if ((flags & 0x01) != 0) set.set_fin(true);
    if ((flags & 0x02) != 0) set.set_syn(true);
    if ((flags & 0x04) != 0) set.set_rst(true);
    if ((flags & 0x08) != 0) set.set_psh(true);
    if ((flags & 0x10) != 0) set.set_ack(true);
    if ((flags & 0x20) != 0) set.set_urg(true);
    if ((flags & 0x40) != 0) set.set_ece(true);
    if ((flags & 0x80) != 0) set.set_cwr(true);
}

void fill_l4(const FlowRecord& record, ::flow::Flow& flow) {
    const flow_event& event = record.event;
    const auto ports = [&](auto& message) {
        message.set_source_port(record.source_port());
        message.set_destination_port(record.destination_port());
    };
    const auto types = [&](auto& message) {
        message.set_type(event.icmp_type);
        message.set_code(event.icmp_code);
        flow.set_summary(icmp_summary(record));
    };
    switch (event.proto) {
        case IPPROTO_TCP:
            fill_tcp(record, *flow.mutable_l4()->mutable_tcp());
            flow.set_summary("TCP Flags: " + tcp_flags_text(event.tcp_flags));
            break;
        case IPPROTO_UDP:
            ports(*flow.mutable_l4()->mutable_udp());
            flow.set_summary("UDP");
            break;
        case IPPROTO_SCTP:
            ports(*flow.mutable_l4()->mutable_sctp());
            flow.set_summary("SCTP");
            break;
        case IPPROTO_ICMP: types(*flow.mutable_l4()->mutable_icmpv4()); break;
        case IPPROTO_ICMPV6: types(*flow.mutable_l4()->mutable_icmpv6()); break;
        case 112:
            flow.mutable_l4()->mutable_vrrp();
            flow.set_summary("VRRP");
            break;
        case IPPROTO_IGMP:
            flow.mutable_l4()->mutable_igmp();
            flow.set_summary("IGMP");
            break;
        default: break;
    }
}

void fill_dns(const FlowRecord& record, ::flow::Flow& flow) {
    const DnsMessage& dns = *record.dns;
    flow.set_type(::flow::L7);
    flow.set_summary(dns_summary(dns));
    auto& l7 = *flow.mutable_l7();
    l7.set_type(dns.response ? ::flow::RESPONSE : ::flow::REQUEST);
    l7.set_latency_ns(record.latency_ns);
    auto& told = *l7.mutable_dns();
    told.set_query(dns.query);
    told.set_observation_source("datapath");
    told.add_qtypes(dns_type_name(dns.qtype));
    if (!dns.response) return;
    for (const IpAddress& ip : dns.ips) told.add_ips(ip.to_string());
    for (const std::string& name : dns.cnames) told.add_cnames(name);
    for (const std::uint16_t type : dns.rrtypes) told.add_rrtypes(dns_type_name(type));
    told.set_ttl(dns.ttl);
    told.set_rcode(dns.rcode);
}

void fill_policies(const FlowRecord& record, ::flow::Flow& flow) {
    const auto info = record.rule ? record.rule->info() : nullptr;
    if (!info) return;
    if (record.event.type == EVENT_POLICY_VERDICT) flow.set_policy_match_type(info->match_type);
    const bool dropped = record.verdict == Verdict::kDropped;
    // A default denial is the lack of a rule: nobody's.
    if (dropped != info->deny) return;
    for (const PolicyName& policy : info->policies) {
        auto& added = info->egress ? (dropped ? *flow.add_egress_denied_by() : *flow.add_egress_allowed_by())
                                   : (dropped ? *flow.add_ingress_denied_by() : *flow.add_ingress_allowed_by());
        added.set_name(policy.name);
        added.set_namespace_(policy.name_space);
        added.set_kind(policy.kind);
        added.set_revision(info->revision);
        for (const std::string& label : policy.labels) added.add_labels(label);
    }
}

void fill_counters(const FlowRecord& record, ::flow::Flow& flow) {
    ::axoneme::FlowCounters counters;
    counters.set_packets(record.event.packets);
    counters.set_bytes(record.event.bytes);
    counters.set_length(record.event.length);
    if (record.verdict == Verdict::kDropped || record.verdict == Verdict::kAudit) {
        if (const auto info = record.rule ? record.rule->info() : nullptr) {
            // Of no rule: who closes the endpoint, so that a rule is needed.
            if (info->deny) {
                counters.set_drop_rule(info->text);
            } else {
                counters.set_explanation(info->text);
            }
        }
    }
    flow.mutable_extensions()->PackFrom(counters);
}

void fill_trace(const FlowRecord& record, ::flow::Flow& flow) {
    // The enum's zero says "unknown", the datapath's zero "to-endpoint".
    flow.set_trace_observation_point(record.event.subtype == TRACE_TO_LXC
                                         ? ::flow::TO_ENDPOINT
                                         : static_cast<::flow::TraceObservationPoint>(record.event.subtype));
    flow.set_trace_reason(record.event.reason >= ::TRACE_REASON_UNKNOWN
                              ? ::flow::TRACE_REASON_UNKNOWN
                              : static_cast<::flow::TraceReason>(record.event.reason + 1));
}

const char* source_file(std::uint8_t file) {
    switch (file) {
#define AXO_CASE(number, text) \
    case number: return text;
        AXO_SOURCES(AXO_CASE)
#undef AXO_CASE
        default: return "";
    }
}

}  // namespace

void to_timestamp(std::int64_t ns, ::google::protobuf::Timestamp& time) {
    std::int64_t seconds = ns / kSecond, rest = ns % kSecond;
    if (rest < 0) {
        --seconds;
        rest += kSecond;
    }
    time.set_seconds(seconds);
    time.set_nanos(static_cast<std::int32_t>(rest));
}

std::int64_t from_timestamp(const ::google::protobuf::Timestamp& time) {
    constexpr std::int64_t kMost = INT64_MAX / kSecond - 1;
    return std::clamp<std::int64_t>(time.seconds(), -kMost, kMost) * kSecond + time.nanos();
}

void to_proto(const FlowRecord& record, const FlowContext& context, ::flow::Flow& flow) {
    const flow_event& event = record.event;
    to_timestamp(record.time_ns, *flow.mutable_time());
    flow.set_uuid(flow_uuid(record.sequence));
    flow.mutable_emitter()->set_name("Hubble");
    flow.mutable_emitter()->set_version(context.version);
    flow.set_verdict(static_cast<::flow::Verdict>(record.verdict));
    flow.set_type(::flow::L3_L4);
    flow.set_node_name(context.node_name);
    for (const std::string& label : context.node_labels) flow.add_node_labels(label);
    flow.mutable_event_type()->set_type(event.type);
    flow.mutable_event_type()->set_sub_type(event.subtype);
    flow.set_traffic_direction(static_cast<::flow::TrafficDirection>(record.direction));
    if (record.reply != Reply::kUnknown) {
        flow.mutable_is_reply()->set_value(record.reply == Reply::kYes);
        flow.set_reply(record.reply == Reply::kYes);
    }
    if (record.has_ip()) {
        auto& ip = *flow.mutable_ip();
        ip.set_source(record.source_ip().to_string());
        ip.set_destination(record.destination_ip().to_string());
        ip.set_ipversion(record.is_v6() ? ::flow::IPv6 : ::flow::IPv4);
    }
    if (record.has_l4()) fill_l4(record, flow);
    if (record.dns) fill_dns(record, flow);
    if (record.source_names) flow.mutable_source_names()->Add(record.source_names->begin(), record.source_names->end());
    if (record.destination_names)
        flow.mutable_destination_names()->Add(record.destination_names->begin(), record.destination_names->end());
    if (record.source) fill_endpoint(*record.source, *flow.mutable_source());
    if (record.destination) fill_endpoint(*record.destination, *flow.mutable_destination());
    if (record.source_service) fill_service(*record.source_service, *flow.mutable_source_service());
    if (record.destination_service) fill_service(*record.destination_service, *flow.mutable_destination_service());
    if (const std::uint32_t reason = record.drop_reason(); reason != 0) {
        flow.set_drop_reason(reason);
        flow.set_drop_reason_desc(static_cast<::flow::DropReason>(reason));
    }
    if (event.type == EVENT_TRACE) fill_trace(record, flow);
    if (event.type == EVENT_DROP && event.file != 0) {
        flow.mutable_file()->set_name(source_file(event.file));
        flow.mutable_file()->set_line(event.line);
    }
    if (event.ifindex != 0) {
        flow.mutable_interface()->set_index(event.ifindex);
        if (record.interface) flow.mutable_interface()->set_name(*record.interface);
    }
    fill_policies(record, flow);
    // What a message tells is not counted: its packet is, in the flow that it is of.
    if (context.counters && !record.dns) fill_counters(record, flow);
}

void to_proto(const FlowRecord& record, ::flow::LostEvent& lost) {
    lost.set_source(static_cast<::flow::LostEventSource>(record.lost_source));
    lost.set_num_events_lost(record.lost);
    to_timestamp(record.time_ns, *lost.mutable_last());
}

}  // namespace axo::hubble
