#include <axoneme/flow_counters.pb.h>
#include <gtest/gtest.h>
#include <observer/observer.pb.h>

#include "hubble/text/explain.h"
#include "hubble/text/flow_words.h"
#include "hubble/text/proto_json.h"

namespace axo {
namespace {

flow::Flow flow_of(const std::string& json) {
    flow::Flow flow;
    const Status read = parse_proto_json(json, UnknownFields::kRefuse, flow);
    EXPECT_TRUE(read) << read.error().message;
    return flow;
}

TEST(ProtoJson, IsHubbles) {
    observer::GetFlowsResponse response;
    flow::Flow& flow = *response.mutable_flow();
    flow.mutable_time()->set_seconds(1);
    flow.mutable_time()->set_nanos(5);
    flow.mutable_l4()->mutable_icmpv4();
    flow.set_verdict(static_cast<flow::Verdict>(77));
    flow.set_socket_cookie(UINT64_MAX);
    flow.mutable_is_reply();
    flow.add_source_names("a<b>&\"\\\n\x01\xe2\x80\xa8");
    response.mutable_time();
    EXPECT_EQ(
        proto_json(response),
        R"({"flow":{"time":"1970-01-01T00:00:01.000000005Z","verdict":77,"l4":{"ICMPv4":{}},)"
        R"("source_names":["a\u003cb\u003e\u0026\"\\\n\u0001\u2028"],"is_reply":false,"socket_cookie":"18446744073709551615"},)"
        R"("time":"1970-01-01T00:00:00Z"})");
    observer::GetFlowsResponse again;
    ASSERT_TRUE(parse_proto_json(proto_json(response), UnknownFields::kRefuse, again));
    EXPECT_EQ(again.SerializeAsString(), response.SerializeAsString());
    observer::ServerStatusResponse status;
    status.set_flows_rate(0.1);
    status.mutable_num_connected_nodes();
    EXPECT_EQ(proto_json(status), R"({"num_connected_nodes":0,"flows_rate":0.1})");
}

TEST(ProtoJson, ExtensionsShowWhatTheyHold) {
    flow::Flow flow;
    axoneme::FlowCounters counters;
    counters.set_packets(3);
    counters.set_bytes(180);
    flow.mutable_extensions()->PackFrom(counters);
    EXPECT_EQ(proto_json(flow),
              R"({"extensions":{"@type":"type.googleapis.com/axoneme.FlowCounters","packets":"3","bytes":"180"}})");
    flow.mutable_extensions()->set_type_url("type.googleapis.com/who.Knows");
    EXPECT_EQ(proto_json(flow), R"({"extensions":{"@type":"type.googleapis.com/who.Knows","value":"CAMQtAE="}})");
}

TEST(ProtoJson, RefusesOrSkipsUnknownFields) {
    flow::Flow flow;
    EXPECT_FALSE(parse_proto_json(R"({"uuid":"u","news":1})", UnknownFields::kRefuse, flow));
    ASSERT_TRUE(parse_proto_json(R"({"uuid":"u","news":1})", UnknownFields::kSkip, flow));
    EXPECT_EQ(flow.uuid(), "u");
    EXPECT_FALSE(parse_proto_json("[1", UnknownFields::kSkip, flow));
}

constexpr const char* kDrop =
    R"({"verdict":"DROPPED","drop_reason_desc":"POLICY_DENIED","traffic_direction":"EGRESS","IP":{"source":"10.0.0.1","destination":"10.0.1.2"},)"
    R"("l4":{"TCP":{"destination_port":5432}},"source":{"ID":7,"identity":1000,"namespace":"shop","pod_name":"web-1",)"
    R"("labels":["k8s:app=web","k8s:io.kubernetes.pod.namespace=shop","k8s:pod-template-hash=x"],"workloads":[{"name":"web","kind":"Deployment"}]},)"
    R"("destination":{"identity":1001,"namespace":"data","pod_name":"db-0","labels":["k8s:app=db"]}})";

TEST(ExplainDrop, SaysWhatIsMissingAndWhatWouldAllow) {
    const auto why = explain_drop(flow_of(kDrop));
    ASSERT_TRUE(why);
    EXPECT_EQ(why->sentence,
              "policies select shop/web-1 for egress, and none of them allows egress to data/db-0 at TCP port 5432");
    EXPECT_EQ(
        why->policy,
        "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata:\n  name: allow-web-to-db-0\n  namespace: shop\n"
        "spec:\n  egress:\n  - toEndpoints:\n    - matchLabels:\n        app: db\n        k8s:io.kubernetes.pod.namespace: data\n"
        "    toPorts:\n    - ports:\n      - port: \"5432\"\n        protocol: TCP\n  endpointSelector:\n    matchLabels:\n"
        "      app: web\n");
}

TEST(ExplainDrop, PeersThatAreNoPods) {
    const auto policy = [](const std::string& change) {
        flow::Flow flow = flow_of(kDrop);
        flow.clear_destination();
        flow.MergeFrom(flow_of(change));
        return explain_drop(flow)->policy;
    };
    const std::string named = policy(R"({"destination":{"identity":2},"destination_names":["api.example.com"]})");
    EXPECT_TRUE(named.starts_with("# 10.0.1.2 is what api.example.com stood for\napiVersion: ")) << named;
    EXPECT_NE(named.find("toCIDR:\n    - 10.0.1.2/32\n"), std::string::npos) << named;
    EXPECT_NE(policy(R"({"destination":{"identity":2}})").find("toEntities:\n    - world\n"), std::string::npos);
    EXPECT_NE(policy(R"({"destination":{"identity":1}})").find("toEntities:\n    - host\n"), std::string::npos);
    EXPECT_NE(policy(R"({"destination":{"identity":16777217,"labels":["cidr:10.0.1.2/32"]}})")
                  .find("toCIDR:\n    - 10.0.1.2/32\n"),
              std::string::npos);
    EXPECT_NE(policy(R"({"destination":{"identity":2},"l4":{"ICMPv4":{"type":8}}})")
                  .find("icmps:\n    - fields:\n      - family: IPv4\n        type: 8\n"),
              std::string::npos);
}

TEST(ExplainDrop, DenyRulesAndOtherReasons) {
    flow::Flow denied = flow_of(kDrop);
    denied.add_egress_denied_by()->set_name("no-db");
    denied.mutable_egress_denied_by(0)->set_namespace_("shop");
    denied.mutable_egress_denied_by(0)->set_kind("CiliumNetworkPolicy");
    const auto by_rule = explain_drop(denied);
    EXPECT_NE(
        by_rule->sentence.find("CiliumNetworkPolicy shop/no-db denies shop/web-1 egress to data/db-0 at TCP port 5432"),
        std::string::npos);
    EXPECT_EQ(by_rule->policy, "");
    flow::Flow other = flow_of(kDrop);
    other.set_drop_reason_desc(flow::STALE_OR_UNROUTABLE_IP);
    other.mutable_file()->set_name("pod.bpf.c");
    other.mutable_file()->set_line(12);
    EXPECT_EQ(explain_drop(other)->sentence, "Stale or unroutable IP: no policy decided this; dropped at pod.bpf.c:12");
    flow::Flow forwarded = flow_of(kDrop);
    forwarded.set_verdict(flow::FORWARDED);
    EXPECT_FALSE(explain_drop(forwarded));
    // What the agent says counts more than what can be guessed.
    flow::Flow told = flow_of(kDrop);
    axoneme::FlowCounters counters;
    counters.set_explanation("because");
    counters.set_suggested_policy("policy: this\n");
    told.mutable_extensions()->PackFrom(counters);
    EXPECT_EQ(explain_drop(told)->sentence, "because");
    EXPECT_EQ(explain_drop(told)->policy, "policy: this\n");
}

TEST(ProtoJson, ObjectsBehindOneAnother) {
    EXPECT_EQ(*split_json_objects(R"({"a":"}"} {"b":{}},{"c":"\"}"})"),
              (std::vector<std::string>{R"({"a":"}"})", R"({"b":{}})", R"({"c":"\"}"})"}));
    EXPECT_TRUE(split_json_objects(" \n")->empty());
    for (const char* bad : {"{", "x", "{} x", "{}}", R"({"a":"})"}) EXPECT_FALSE(split_json_objects(bad)) << bad;
}

TEST(FlowWords, NamesAndNumbers) {
    EXPECT_EQ(*trace_point("to-network"), 11);
    EXPECT_EQ(trace_point_name(12), "from-crypto");
    EXPECT_FALSE(trace_point("nowhere"));
    EXPECT_EQ(*monitor_type("policy-verdict"), 5);
    EXPECT_EQ(drop_reason_text(133), "Policy denied");
    EXPECT_EQ(reserved_identity(0), "unknown");
    EXPECT_EQ(reserved_identity(256), "");
}

}  // namespace
}  // namespace axo
