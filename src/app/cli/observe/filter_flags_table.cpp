// The flags one by one: names and meanings are Hubble's.
#include <algorithm>
#include <charconv>

#include "app/cli/observe/filter_flags.h"
#include "hubble/text/flow_words.h"

namespace axo::cli {
namespace {

std::string upper(std::string text) {
    std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    return text;
}

template <class Int>
bool read_number(std::string_view text, Int& number) {
    const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
    return !text.empty() && read.ec == std::errc() && read.ptr == text.data() + text.size();
}

Result<flow::TCPFlags> tcp_flags(const std::string& value) {
    flow::TCPFlags flags;
    std::size_t from = 0;
    while (from <= value.size()) {
        const std::size_t comma = std::min(value.find(',', from), value.size());
        const std::string name = upper(value.substr(from, comma - from));
        const google::protobuf::FieldDescriptor* field = flow::TCPFlags::descriptor()->FindFieldByName(name);
        if (field == nullptr)
            return fail(Code::kInvalidArgument, "unknown tcp flag: " + value.substr(from, comma - from));
        flags.GetReflection()->SetBool(&flags, field, true);
        from = comma + 1;
    }
    return flags;
}

flow::IPVersion ip_version(const std::string& value) {
    const std::string text = upper(value);
    for (const char* four : {"4", "V4", "IPV4", "IP4"})
        if (text == four) return flow::IPv4;
    for (const char* six : {"6", "V6", "IPV6", "IP6"})
        if (text == six) return flow::IPv6;
    return flow::IP_NOT_USED;
}

Result<std::uint32_t> identity(const std::string& value) {
    if (const auto reserved = reserved_identity_number(value)) return *reserved;
    std::uint32_t number = 0;
    if (read_number(value, number)) return number;
    return fail(
        Code::kInvalidArgument,
        "invalid security identity, expected one of [host world unmanaged health init remote-node kube-apiserver "
        "ingress world-ipv4 world-ipv6] or a numeric value");
}

Result<flow::EventTypeFilter> event_type(const std::string& value) {
    flow::EventTypeFilter filter;
    const std::size_t colon = value.find(':');
    const std::string type = value.substr(0, colon);
    std::int32_t number = 0;
    if (const auto known = monitor_type(type))
        number = *known;
    else if (!read_number(type, number) || number < 0)
        return fail(Code::kInvalidArgument,
                    "unable to parse type '" + type + "', not a known type name and unable to parse as numeric value");
    filter.set_type(number);
    if (colon == std::string::npos) return filter;
    const std::string sub = value.substr(colon + 1);
    filter.set_match_sub_type(true);
    std::int32_t sub_number = 0;
    if (const auto point = trace_point(sub); point && number == static_cast<int>(MonitorType::kTrace))
        sub_number = *point;
    else if (!read_number(sub, sub_number) || sub_number < 0)
        return fail(Code::kInvalidArgument, "unable to parse event sub-type '" + sub +
                                                "', not a known sub-type name and unable to parse as numeric value");
    filter.set_sub_type(sub_number);
    return filter;
}

flow::Workload workload(const std::string& value) {
    flow::Workload made;
    const std::size_t slash = value.find('/');
    if (slash != std::string::npos) made.set_kind(value.substr(0, slash));
    made.set_name(slash == std::string::npos ? value : value.substr(slash + 1));
    return made;
}

}  // namespace

void FilterFlags::add_flow_flags() {
    using F = flow::FlowFilter;
    add_both("uuid", "Show the flow with this identifier", [](F& f, const std::string& v) -> Status {
        f.add_uuid(v);
        return {};
    });
    add_both("node-name", "Show flows seen on the nodes (\"k8s*\", \"cluster/*.company.com\")",
             [](F& f, const std::string& v) -> Status {
                 f.add_node_name(v);
                 return {};
             });
    add_both("node-label", "Show flows seen on nodes with the labels (\"key=value\", \"io.cilium/egress-gateway\")",
             [](F& f, const std::string& v) -> Status {
                 f.add_node_labels(v);
                 return {};
             });
    add_ends("cluster", "endpoints of the cluster (\"test-cluster\", \"prod-*\")",
             [](F& f, bool source, const std::string& v) -> Status {
                 source ? f.add_source_cluster_name(v) : f.add_destination_cluster_name(v);
                 return {};
             });
    add_both("protocol", "Show flows of the L4 or L7 protocol (\"udp\", \"http\")",
             [](F& f, const std::string& v) -> Status {
                 f.add_protocol(v);
                 return {};
             });
    add_both("tcp-flags", "Show flows with the TCP flags (\"syn\", \"syn,ack\")",
             [](F& f, const std::string& v) -> Status {
                 TRY_ASSIGN(*f.add_tcp_flags(), tcp_flags(v));
                 return {};
             });
    add_both(
        "type",
        "Show events of TYPE[:SUBTYPE]: capture, drop, l7, policy-verdict, trace, trace-sock; sub types of\n"
        "trace: from-endpoint, from-host, from-network, from-overlay, from-proxy, from-stack, from-crypto and\n"
        "the same with to-",
        [](F& f, const std::string& v) -> Status {
            TRY_ASSIGN(*f.add_event_type(), event_type(v));
            return {};
        },
        't');
    add_both("verdict",
             "Show flows with the verdict [FORWARDED, DROPPED, AUDIT, REDIRECTED, ERROR, TRACED, TRANSLATED]",
             [](F& f, const std::string& v) -> Status {
                 flow::Verdict verdict{};
                 if (!flow::Verdict_Parse(v, &verdict))
                     return fail(Code::kInvalidArgument, "invalid --verdict value: " + v);
                 f.add_verdict(verdict);
                 return {};
             });
    add_both("drop-reason-desc", "Show flows dropped for the reason (\"POLICY_DENIED\", \"UNSUPPORTED_L3_PROTOCOL\")",
             [](F& f, const std::string& v) -> Status {
                 flow::DropReason reason{};
                 if (!flow::DropReason_Parse(v, &reason))
                     return fail(Code::kInvalidArgument, v.empty() ? "empty --drop-reason-desc value"
                                                                   : "invalid --drop-reason-desc value: " + v);
                 f.add_drop_reason_desc(reason);
                 return {};
             });
    add_both("ip-trace-id", "Show flows with the IP trace id", [](F& f, const std::string& v) -> Status {
        std::uint64_t id = 0;
        if (!read_number(v, id) || id == 0)
            return fail(Code::kInvalidArgument, "invalid --ip-trace-id value; must be greater than 0");
        f.add_ip_trace_id(id);
        return {};
    });
    add_ends("fqdn", "the DNS name (\"*.cilium.io\")", [](F& f, bool source, const std::string& v) -> Status {
        source ? f.add_source_fqdn(v) : f.add_destination_fqdn(v);
        return {};
    });
    add_both("snat-ip", "Show flows whose source was translated to the IP address or CIDR",
             [](F& f, const std::string& v) -> Status {
                 f.add_source_ip_xlated(v);
                 return {};
             });
    add_ends("ip", "the IP address or CIDR", [](F& f, bool source, const std::string& v) -> Status {
        source ? f.add_source_ip(v) : f.add_destination_ip(v);
        return {};
    });
    const auto version = [](F& f, const std::string& v) -> Status {
        f.add_ip_version(ip_version(v));
        return {};
    };
    add_both(
        "ipv4", "Show only IPv4 flows",
        [](F& f, const std::string&) -> Status {
            f.add_ip_version(flow::IPv4);
            return {};
        },
        '4', "v4");
    add_both(
        "ipv6", "Show only IPv6 flows",
        [](F& f, const std::string&) -> Status {
            f.add_ip_version(flow::IPv6);
            return {};
        },
        '6', "v6");
    add_both("ip-version", "Show only IPv4, IPv6 or other flows (\"v4\", \"v6\", \"none\")", version);
    add_both(
        "encrypted", "Show only flows that were encrypted",
        [](F& f, const std::string&) -> Status {
            f.add_encrypted(true);
            return {};
        },
        0, "true");
    add_both(
        "unencrypted", "Show only flows that were not encrypted",
        [](F& f, const std::string&) -> Status {
            f.add_encrypted(false);
            return {};
        },
        0, "true");
    add_ends("pod", "pods whose name begins so ([namespace/]name; without a namespace: default)",
             [](F& f, bool source, const std::string& v) -> Status {
                 source ? f.add_source_pod(v) : f.add_destination_pod(v);
                 return {};
             });
    add_ends(
        "label", "an endpoint with the labels (\"key=value\", \"reserved:world\")",
        [](F& f, bool source, const std::string& v) -> Status {
            source ? f.add_source_label(v) : f.add_destination_label(v);
            return {};
        },
        'l');
    add_ends("service", "services whose name begins so ([namespace/]name; without a namespace: default)",
             [](F& f, bool source, const std::string& v) -> Status {
                 source ? f.add_source_service(v) : f.add_destination_service(v);
                 return {};
             });
    add_ends("port", "the port (8080)", [](F& f, bool source, const std::string& v) -> Status {
        source ? f.add_source_port(v) : f.add_destination_port(v);
        return {};
    });
    add_ends("workload", "an endpoint of the workload ([kind/]name)",
             [](F& f, bool source, const std::string& v) -> Status {
                 *(source ? f.add_source_workload() : f.add_destination_workload()) = workload(v);
                 return {};
             });
    add_ends("identity", "an endpoint with the security identity (a number, or \"world\" …)",
             [](F& f, bool source, const std::string& v) -> Status {
                 TRY_ASSIGN(const std::uint32_t number, identity(v));
                 source ? f.add_source_identity(number) : f.add_destination_identity(number);
                 return {};
             });
    add_both("traffic-direction", "Show flows of the direction (ingress or egress)",
             [](F& f, const std::string& v) -> Status {
                 const std::string text = upper(v);
                 if (text != "INGRESS" && text != "EGRESS")
                     return fail(Code::kInvalidArgument, v + ": invalid traffic direction, expected ingress or egress");
                 f.add_traffic_direction(text == "INGRESS" ? flow::INGRESS : flow::EGRESS);
                 return {};
             });
    add_both("cel-expression", "Show flows for which the CEL expression is true (servers of Hubble only)",
             [](F& f, const std::string& v) -> Status {
                 f.mutable_experimental()->add_cel_expression(v);
                 return {};
             });
    add_both("interface", "Show flows seen at the interface (eth0)", [](F& f, const std::string& v) -> Status {
        f.add_interface()->set_name(v);
        return {};
    });
}

void FilterFlags::add_l7_flags() {
    using F = flow::FlowFilter;
    add_both("http-status", "Show flows with the HTTP status code or prefix (\"404\", \"5+\")",
             [](F& f, const std::string& v) -> Status {
                 f.add_http_status_code(v);
                 return {};
             });
    add_both("http-method", "Show flows with the HTTP method (\"get\", \"post\")",
             [](F& f, const std::string& v) -> Status {
                 f.add_http_method(v);
                 return {};
             });
    add_both("http-path", "Show flows whose HTTP path the regular expression matches (\"/page/\\\\d+\")",
             [](F& f, const std::string& v) -> Status {
                 f.add_http_path(v);
                 return {};
             });
    add_both("http-url", "Show flows whose HTTP URL the regular expression matches",
             [](F& f, const std::string& v) -> Status {
                 f.add_http_url(v);
                 return {};
             });
    add_both(
        "http-header", "Show flows with the HTTP header (\"name:value\")", [](F& f, const std::string& v) -> Status {
            const std::size_t colon = v.find(':');
            if (colon == std::string::npos)
                return fail(Code::kInvalidArgument, "invalid http-header value \"" + v + "\", expected name:value");
            flow::HTTPHeader& header = *f.add_http_header();
            header.set_key(v.substr(0, colon));
            header.set_value(v.substr(colon + 1));
            return {};
        });
    add_both("trace-id", "Show flows of the trace", [](F& f, const std::string& v) -> Status {
        f.add_trace_id(v);
        return {};
    });
}

}  // namespace axo::cli
