#include <flow/filter.pb.h>
#include <gtest/gtest.h>

#include "hubble/match/flow_match.h"
#include "hubble/match/text_match.h"
#include "hubble/text/proto_json.h"

namespace axo {
namespace {

template <class Message>
Message of(const std::string& json) {
    Message message;
    const Status read = parse_proto_json(json, UnknownFields::kRefuse, message);
    EXPECT_TRUE(read) << json << read.error().message;
    return message;
}

constexpr const char* kFlow =
    R"({"uuid":"u1","verdict":"DROPPED","drop_reason_desc":"POLICY_DENIED","IP":{"source":"10.0.0.1","source_xlated":"192.0.2.1","destination":"fd00::7","ipVersion":"IPv6","encrypted":true},)"
    R"("l4":{"TCP":{"source_port":40000,"destination_port":80,"flags":{"SYN":true,"ACK":true}}},)"
    R"("source":{"identity":1000,"namespace":"shop","pod_name":"web-1","cluster_name":"prod-1","labels":["k8s:app=web","k8s:tier=front"],"workloads":[{"name":"web","kind":"Deployment"}]},)"
    R"("destination":{"identity":2,"labels":["reserved:world"]},"destination_names":["api.Example.com."],"node_name":"prod-1/node-7","node_labels":["zone=a"],)"
    R"("l7":{"type":"RESPONSE","http":{"code":404,"method":"GET","url":"http://api.example.com/v1/users/7?x=y","headers":[{"key":"X-A","value":"b"}]}},)"
    R"("event_type":{"type":4,"sub_type":3},"source_service":{"name":"web","namespace":"shop"},"traffic_direction":"EGRESS","is_reply":true,)"
    R"("interface":{"index":4,"name":"eth0"},"trace_context":{"parent":{"trace_id":"t1"}},"ip_trace_id":{"trace_id":"9"}})";

bool matches(const std::string& filter, const std::string& flow = kFlow) {
    const auto matcher = FlowMatcher::build({of<flow::FlowFilter>(filter)}, {});
    EXPECT_TRUE(matcher) << matcher.error().message;
    return matcher && matcher->matches(of<flow::Flow>(flow));
}

TEST(FlowMatcher, EveryFieldMatchesAndDoesNot) {
    const std::pair<const char*, const char*> cases[] = {
        {R"({"uuid":["x","u1"]})", R"({"uuid":["x"]})"},
        {R"({"source_ip":["10.0.0.0/8"]})", R"({"source_ip":["10.0.0.2"]})"},
        {R"({"source_ip_xlated":["192.0.2.1"]})", R"({"source_ip_xlated":["192.0.2.2"]})"},
        {R"({"destination_ip":["fd00::/16"]})", R"({"destination_ip":["10.0.0.0/8"]})"},
        {R"({"source_pod":["shop/web"]})", R"({"source_pod":["web"]})"},
        {R"({"source_pod":["shop/"]})", R"({"source_pod":["bank/"]})"},
        {R"({"source_pod":["/web"]})", R"({"source_pod":["/eb"]})"},
        {R"({"source_pod":["/"]})", R"({"destination_pod":["/"]})"},
        {R"({"destination_fqdn":["*.example.com"]})", R"({"destination_fqdn":["example.com"]})"},
        {R"_({"source_label":["app=web,tier in (front, back)"]})_", R"({"source_label":["app=web,tier!=front"]})"},
        {R"({"source_label":["!db"]})", R"({"source_label":["k8s:app"],"destination_label":["app"]})"},
        {R"({"destination_label":["reserved:world"]})", R"({"destination_label":["reserved:host"]})"},
        {R"({"source_service":["shop/we"]})", R"({"destination_service":["shop/we"]})"},
        {R"({"source_workload":[{"name":"web","kind":"Deployment"}]})",
         R"({"source_workload":[{"name":"web","kind":"Job"}]})"},
        {R"({"source_cluster_name":["prod-*"]})", R"({"source_cluster_name":["test-*"]})"},
        {R"({"traffic_direction":["EGRESS"]})", R"({"traffic_direction":["INGRESS"]})"},
        {R"({"verdict":["FORWARDED","DROPPED"]})", R"({"verdict":["FORWARDED"]})"},
        {R"({"drop_reason_desc":["POLICY_DENIED"]})", R"({"drop_reason_desc":["POLICY_DENY"]})"},
        {R"({"interface":[{"name":"eth0"}]})", R"({"interface":[{"name":"eth1"}]})"},
        {R"({"event_type":[{"type":4,"match_sub_type":true,"sub_type":3}]})",
         R"({"event_type":[{"type":4,"match_sub_type":true}]})"},
        {R"({"http_status_code":["4+"]})", R"({"http_status_code":["40"]})"},
        {R"({"protocol":["tcp"]})", R"({"protocol":["udp","icmp"]})"},
        {R"({"protocol":["HTTP"]})", R"({"protocol":["dns"]})"},
        {R"({"source_port":["40000"],"destination_port":["80"]})", R"({"source_port":["80"]})"},
        {R"({"reply":[true]})", R"({"reply":[false]})"},
        {R"({"http_method":["get"]})", R"({"http_method":["post"]})"},
        {R"({"http_path":["^/v1/users/\\d+$"]})", R"({"http_path":["x=y"]})"},
        {R"({"http_url":["x=y"]})", R"({"http_url":["^https"]})"},
        {R"({"http_header":[{"key":"x-a","value":"b"}]})", R"({"http_header":[{"key":"x-a","value":"c"}]})"},
        {R"({"source_identity":[1000]})", R"({"destination_identity":[1000]})"},
        {R"({"tcp_flags":[{"SYN":true}]})", R"({"tcp_flags":[{"SYN":true,"FIN":true}]})"},
        {R"({"node_name":["prod-1/node*"]})", R"({"node_name":["test/"]})"},
        {R"({"node_name":["node-7"]})", R"({"node_name":["node"]})"},
        {R"({"node_labels":["zone=a"]})", R"({"node_labels":["zone=b"]})"},
        {R"({"ip_version":["IPv6"]})", R"({"ip_version":["IPv4"]})"},
        {R"({"trace_id":["t1"]})", R"({"trace_id":["t2"]})"},
        {R"({"ip_trace_id":["9"]})", R"({"ip_trace_id":["8"]})"},
        {R"({"encrypted":[true]})", R"({"encrypted":[false]})"},
    };
    for (const auto& [yes, no] : cases) {
        EXPECT_TRUE(matches(yes)) << yes;
        EXPECT_FALSE(matches(no)) << no;
    }
    EXPECT_TRUE(matches(R"({"dns_query":["^kube.*local"]})", R"({"l7":{"dns":{"query":"kube.x.local."}}})"));
    EXPECT_FALSE(matches(R"({"dns_query":["^kube"]})"));
}

TEST(FlowMatcher, AllowAndDeny) {
    const auto filter = [](const char* json) { return of<flow::FlowFilter>(json); };
    const flow::Flow flow = of<flow::Flow>(kFlow);
    EXPECT_TRUE(FlowMatcher::build({}, {})->matches(flow));
    EXPECT_TRUE(FlowMatcher::build({filter(R"({"uuid":["x"]})"), filter(R"({"uuid":["u1"]})")}, {})->matches(flow));
    EXPECT_FALSE(
        FlowMatcher::build({filter(R"({"uuid":["u1"]})")}, {filter(R"({"verdict":["DROPPED"]})")})->matches(flow));
}

TEST(FlowMatcher, RefusesBrokenFilters) {
    const std::pair<const char*, const char*> cases[] = {
        {R"({"source_ip":["10.0.0.0/99"]})", "source_ip '10.0.0.0/99'"},
        {R"({"http_path":["("]})", "http_path '('"},
        {R"({"source_label":["a in b"]})", "source_label 'a in b'"},
        {R"({"http_status_code":["9+"]})", "http_status_code '9+'"},
        {R"({"destination_port":["70000"]})", "destination_port '70000'"},
        {R"({"protocol":["carrier-pigeon"]})", "protocol 'carrier-pigeon'"},
        {R"({"experimental":{"cel_expression":["true"]}})", "CEL is not supported"},
    };
    for (const auto& [json, error] : cases) {
        const auto matcher = FlowMatcher::build({of<flow::FlowFilter>(json)}, {});
        ASSERT_FALSE(matcher) << json;
        EXPECT_NE(matcher.error().message.find(error), std::string::npos) << matcher.error().message;
    }
}

TEST(TextMatch, PatternsDoNotExplode) {
    EXPECT_TRUE(matches_pattern("a*b*c", "aXXbYYc", true));
    EXPECT_FALSE(matches_pattern("a*b", "aXb/c", true));
    std::string stars(2000, '*');
    stars.push_back('x');
    EXPECT_FALSE(matches_pattern(stars, std::string(20000, 'a'), true));
}

}  // namespace
}  // namespace axo
