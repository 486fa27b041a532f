#include <arpa/inet.h>
#include <gtest/gtest.h>

#include "bpf/api/policy.h"
#include "hubble/core/decode.h"
#include "hubble/core/flow_metrics.h"

namespace axo::hubble {
namespace {

EndpointRef end(const std::string& pod, std::vector<std::string> labels, std::uint32_t identity = 300) {
    auto info = std::make_shared<EndpointInfo>();
    info->identity = identity;
    info->name_space = pod.empty() ? "" : "shop";
    info->pod = pod;
    if (!pod.empty()) info->workloads = {{"web", "Deployment"}};
    info->labels = make_labels(std::move(labels));
    return info;
}

FlowRecord flow(std::uint8_t type, std::uint8_t subtype, std::uint8_t proto = 6, std::uint8_t flags = 0x02) {
    FlowRecord record;
    record.event.type = type;
    record.event.subtype = subtype;
    record.event.ethertype = 0x0800;
    record.event.proto = proto;
    record.event.tcp_flags = flags;
    record.event.dport = htons(443);
    record.event.endpoint_src = 7;
    record.source = end("web-1", {"k8s:app=web"});
    record.destination = end("", {"reserved:world"}, 2);
    decode(record);
    return record;
}

std::string text_of(FlowMetrics& metrics) {
    MetricSet set("");
    metrics.add_to(set);
    return set.text();
}

void expect_line(FlowMetrics& metrics, const std::string& line) {
    const std::string text = text_of(metrics);
    EXPECT_NE(("\n" + text).find("\n" + line + "\n"), std::string::npos) << line << "\n in\n" << text;
}

TEST(FlowMetrics, CountAsHubbleDoes) {
    auto metrics = FlowMetrics::parse("drop flow tcp icmp port-distribution policy flows-to-world:port dns").value();
    metrics->count(flow(EVENT_TRACE, TRACE_TO_NETWORK));
    metrics->count(flow(EVENT_TRACE, TRACE_TO_NETWORK));
    metrics->count(flow(EVENT_TRACE, TRACE_TO_NETWORK, 6, 0x12));
    metrics->count(flow(EVENT_DROP, 133));
    metrics->count(flow(EVENT_DROP, 132));
    FlowRecord ping = flow(EVENT_TRACE, TRACE_TO_NETWORK, 1);
    ping.event.icmp_type = 8;
    metrics->count(ping);
    metrics->count(flow(EVENT_POLICY_VERDICT, POLICY_ALLOW));
    metrics->count_lost(LostSource::kHubbleRing, 5);
    expect_line(*metrics, R"(hubble_drop_total{reason="POLICY_DENIED",protocol="TCP"} 1)");
    expect_line(*metrics, R"(hubble_drop_total{reason="INVALID_SOURCE_IP",protocol="TCP"} 1)");
    expect_line(
        *metrics,
        R"(hubble_flows_processed_total{protocol="TCP",type="Trace",subtype="to-network",verdict="FORWARDED"} 3)");
    expect_line(*metrics, R"(hubble_flows_processed_total{protocol="TCP",type="Drop",subtype="",verdict="DROPPED"} 2)");
    expect_line(*metrics, R"(hubble_tcp_flags_total{flag="SYN",family="IPv4"} 3)");
    expect_line(*metrics, R"(hubble_tcp_flags_total{flag="SYN-ACK",family="IPv4"} 1)");
    expect_line(*metrics, R"(hubble_icmp_total{family="IPv4",type="EchoRequest"} 1)");
    expect_line(*metrics, R"(hubble_port_distribution_total{protocol="TCP",port="443"} 4)");
    expect_line(*metrics, R"(hubble_port_distribution_total{protocol="ICMPv4",port="0"} 1)");
    expect_line(*metrics, R"(hubble_flows_to_world_total{protocol="TCP",verdict="DROPPED",port="443"} 1)");
    expect_line(*metrics, R"(hubble_policy_verdicts_total{direction="egress",match="none",action="forwarded"} 1)");
    expect_line(*metrics, R"(hubble_lost_events_total{source="hubble_ring_buffer"} 5)");
    expect_line(*metrics, "# TYPE hubble_dns_queries_total counter");
}

// A verdict whose rule has no name yet waits for it: what is "none" is a verdict that no rule stands for.
TEST(FlowMetrics, AVerdictIsCountedUnderItsRulesMatch) {
    auto metrics = FlowMetrics::parse("policy").value();
    const auto verdict = [](const RuleRef& rule, std::uint8_t action = POLICY_ALLOW) {
        FlowRecord record = flow(EVENT_POLICY_VERDICT, action);
        record.rule = rule;
        record.event.rule_cookie = rule->cookie();
        return record;
    };
    const auto name = [](const RuleRef& rule, std::uint8_t match) {
        auto info = std::make_shared<RuleInfo>();
        info->match_type = match;
        rule->fill(std::move(info));
    };
    const auto first = std::make_shared<RuleSlot>(77), second = std::make_shared<RuleSlot>(78),
               never = std::make_shared<RuleSlot>(79);
    metrics->count(verdict(first));
    metrics->count(verdict(second));
    EXPECT_EQ(text_of(*metrics).find("hubble_policy_verdicts_total{"), std::string::npos);
    name(first, 2);
    metrics->count(verdict(first));
    expect_line(*metrics, R"(hubble_policy_verdicts_total{direction="egress",match="l3-l4",action="forwarded"} 2)");
    name(second, 4);
    expect_line(*metrics, R"(hubble_policy_verdicts_total{direction="egress",match="all",action="forwarded"} 1)");
    // The same cookie after policies have changed.
    const auto again = std::make_shared<RuleSlot>(77);
    name(again, 1);
    metrics->count(verdict(again));
    expect_line(*metrics, R"(hubble_policy_verdicts_total{direction="egress",match="l3-only",action="forwarded"} 1)");
    // More than may wait: the oldest are counted as what is known of them.
    for (int i = 0; i < 1030; ++i) metrics->count(verdict(never, POLICY_DENY));
    expect_line(*metrics, R"(hubble_policy_verdicts_total{direction="egress",match="none",action="dropped"} 6)");
    metrics->remove_pod("shop", "nobody");
    expect_line(*metrics, R"(hubble_policy_verdicts_total{direction="egress",match="none",action="dropped"} 1030)");
}

TEST(FlowMetrics, DnsIsCountedByWhatWasAskedAndAnswered) {
    auto metrics = FlowMetrics::parse("dns:query;ignoreAAAA;sourceContext=pod flow port-distribution").value();
    const auto message = [](bool response, std::uint16_t type, std::uint8_t rcode = 0) {
        FlowRecord record = flow(EVENT_DNS, 0);
        auto dns = std::make_shared<DnsMessage>();
        dns->response = response;
        dns->query = "api.example.com.";
        dns->qtype = type;
        dns->rcode = rcode;
        if (response && rcode == 0) {
            dns->ips = {IpAddress::parse("192.0.2.1").value()};
            dns->rrtypes = {5, 1};
        }
        record.dns = std::move(dns);
        record.reply = response ? Reply::kYes : Reply::kNo;
        record.verdict = Verdict::kForwarded;
        return record;
    };
    for (int i = 0; i < 2; ++i) metrics->count(message(false, 1));
    metrics->count(message(true, 1));
    metrics->count(message(true, 1, 3));
    metrics->count(message(false, 28));
    expect_line(*metrics, R"(hubble_dns_queries_total{rcode="",qtypes="A",ips_returned="0",query="api.example.com.",)"
                          R"(source="shop/web-1"} 2)");
    expect_line(*metrics, R"(hubble_dns_responses_total{rcode="No Error",qtypes="A",ips_returned="1",)"
                          R"(query="api.example.com.",source="shop/web-1"} 1)");
    expect_line(*metrics, R"(hubble_dns_responses_total{rcode="Non-Existent Domain",qtypes="A",ips_returned="0",)"
                          R"(query="api.example.com.",source="shop/web-1"} 1)");
    for (const char* type : {"CNAME", "A"})
        expect_line(*metrics, R"(hubble_dns_response_types_total{type=")" + std::string(type) +
                                  R"(",qtypes="A",query="api.example.com.",source="shop/web-1"} 1)");
    EXPECT_EQ(text_of(*metrics).find("AAAA"), std::string::npos);
    expect_line(*metrics,
                R"(hubble_flows_processed_total{protocol="TCP",type="L7",subtype="DNS",verdict="FORWARDED"} 5)");
    EXPECT_EQ(text_of(*metrics).find("hubble_port_distribution_total{"), std::string::npos)
        << "the packets of a message are counted by their own flow";
}

TEST(FlowMetrics, TheNamesOfAnAddressAreAContext) {
    auto metrics = FlowMetrics::parse("tcp:destinationContext=dns|reserved-identity").value();
    FlowRecord record = flow(EVENT_TRACE, TRACE_TO_NETWORK);
    metrics->count(record);
    record.destination_names =
        std::make_shared<const std::vector<std::string>>(std::vector<std::string>{"a.io", "b.io"});
    metrics->count(record);
    expect_line(*metrics, R"(hubble_tcp_flags_total{flag="SYN",family="IPv4",destination="reserved:world"} 1)");
    expect_line(*metrics, R"(hubble_tcp_flags_total{flag="SYN",family="IPv4",destination="a.io,b.io"} 1)");
}

TEST(FlowMetrics, ContextsNameTheEndsAndGoWithTheirPods) {
    auto metrics = FlowMetrics::parse(
                       "tcp:sourceContext=pod;destinationContext=dns|reserved-identity "
                       "flow:labelsContext=source_app,destination_ip,traffic_direction,source_workload "
                       "icmp:sourceEgressContext=workload;sourceIngressContext=namespace")
                       .value();
    FlowRecord record = flow(EVENT_TRACE, TRACE_TO_NETWORK);
    record.event.daddr = {};
    metrics->count(record);
    metrics->count(flow(EVENT_TRACE, TRACE_TO_NETWORK, 1));
    expect_line(
        *metrics,
        R"(hubble_tcp_flags_total{flag="SYN",family="IPv4",source="shop/web-1",destination="reserved:world"} 1)");
    expect_line(*metrics, R"(hubble_flows_processed_total{protocol="TCP",type="Trace",subtype="to-network",)"
                          R"(verdict="FORWARDED",source_workload="web",source_app="web",destination_ip="0.0.0.0",)"
                          R"(traffic_direction="egress"} 1)");
    expect_line(*metrics, R"(hubble_icmp_total{family="IPv4",type="EchoReply",source="shop/web"} 1)");
    metrics->remove_pod("shop", "other");
    EXPECT_NE(text_of(*metrics).find("shop/web-1"), std::string::npos);
    metrics->remove_pod("shop", "web-1");
    EXPECT_EQ(text_of(*metrics).find("shop/web-1"), std::string::npos);
    metrics->count(record);
    EXPECT_NE(text_of(*metrics).find("shop/web-1"), std::string::npos) << "a pod of that name is there again";
}

TEST(FlowMetrics, HaveNoMoreSeriesThanTheyMay) {
    auto metrics = FlowMetrics::parse("flow:sourceContext=pod").value();
    for (std::size_t i = 0; i < FlowMetrics::kMaxSeries + 100; ++i) {
        FlowRecord record = flow(EVENT_TRACE, TRACE_TO_NETWORK);
        record.source = end("web-" + std::to_string(i), {});
        metrics->count(record);
    }
    expect_line(*metrics, R"(hubble_metrics_refused_total{metric="hubble_flows_processed_total"} 100)");
}

TEST(FlowMetrics, AMistakeIsNamed) {
    const auto error = [](const std::string& text) { return FlowMetrics::parse(text).error().message; };
    EXPECT_TRUE(error("drops").starts_with("\"drops\" is no Hubble metric; there are drop, flow"));
    EXPECT_TRUE(error("drop:sourceContext=pods").starts_with("hubble_drop_total: \"pods\" is no context"));
    EXPECT_TRUE(error("drop:labelsContext=pod").starts_with("hubble_drop_total: labelsContext=\"pod\""));
    EXPECT_EQ(error("drop:port"), "hubble_drop_total: \"port\" is no option of it");
    EXPECT_EQ(error("drop drop"), "\"drop\" is there twice");
}

}  // namespace
}  // namespace axo::hubble
