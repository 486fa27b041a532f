#include "app/cli/observe/printer.h"

#include <gtest/gtest.h>

#include "app/cli/observe/server_commands.h"
#include "hubble/text/proto_json.h"

namespace axo::cli {
namespace {

template <class Message>
Message from_json(const std::string& text) {
    Message message;
    const Status read = parse_proto_json(text, UnknownFields::kRefuse, message);
    EXPECT_TRUE(read) << read.error().message;
    return message;
}

// The flow that Hubble's own tests print.
observer::GetFlowsResponse sample(const std::string& more = "") {
    const std::string flow =
        R"("time":"1970-01-01T00:20:34.567800Z","verdict":"DROPPED","IP":{"source":"1.1.1.1","destination":"2.2.2.2"},)"
        R"("l4":{"TCP":{"source_port":31793,"destination_port":8080}},"source":{"identity":4},"destination":{"identity":12345},)"
        R"("Type":"L3_L4","node_name":"k8s1","event_type":{"type":1,"sub_type":133},"is_reply":false,"Summary":"TCP Flags: SYN")";
    auto response = from_json<observer::GetFlowsResponse>("{\"flow\":{" + flow + "}}");
    if (!more.empty()) response.mutable_flow()->MergeFrom(from_json<flow::Flow>("{" + more + "}"));
    return response;
}

std::string printed(const PrinterOptions& options, const observer::GetFlowsResponse& response) {
    FlowPrinter printer(options);
    const std::string out = printer.print(response).out;
    return out + printer.finish();
}

TEST(FlowPrinter, Compact) {
    EXPECT_EQ(
        printed({}, sample()),
        "Jan  1 00:20:34.567: 1.1.1.1:31793 (health) -> 2.2.2.2:8080 (ID:12345) Policy denied DROPPED (TCP Flags: SYN)\n");
    EXPECT_EQ(printed({.node_name = true}, sample(R"("ip_trace_id":{"trace_id":"1234"})")),
              "Jan  1 00:20:34.567 [k8s1]: 1.1.1.1:31793 (health) -> 2.2.2.2:8080 (ID:12345) Policy denied DROPPED (IP "
              "Trace ID: 1234; TCP Flags: SYN)\n");
    EXPECT_EQ(
        printed({}, sample(R"("is_reply":true)")),
        "Jan  1 00:20:34.567: 2.2.2.2:8080 (ID:12345) <- 1.1.1.1:31793 (health) Policy denied DROPPED (TCP Flags: "
        "SYN)\n");
    auto unknown = sample();
    unknown.mutable_flow()->clear_is_reply();
    EXPECT_EQ(
        printed({}, unknown),
        "Jan  1 00:20:34.567: 1.1.1.1:31793 (health) <> 2.2.2.2:8080 (ID:12345) Policy denied DROPPED (TCP Flags: "
        "SYN)\n");
}

TEST(FlowPrinter, PolicyVerdictsNameTheirPolicies) {
    const std::string denied =
        R"("event_type":{"type":5},"traffic_direction":"EGRESS","egress_denied_by":[{"name":"my-policy","namespace":"ns","kind":"CiliumNetworkPolicy"}])";
    auto flow = sample(denied);
    flow.mutable_flow()->mutable_event_type()->clear_sub_type();
    EXPECT_NE(printed({}, flow).find("policy-verdict:none EGRESS DENIED (TCP"), std::string::npos);
    EXPECT_NE(printed({.policy_names = true}, flow)
                  .find("policy-verdict:none EGRESS DENIED BY my-policy (CiliumNetworkPolicy) (TCP Flags: SYN)"),
              std::string::npos);
    const auto allowed = sample(
        R"("event_type":{"type":5},"verdict":"FORWARDED","policy_match_type":1,"traffic_direction":"INGRESS",)"
        R"("ingress_allowed_by":[{"name":"a","kind":"CiliumNetworkPolicy"},{"name":"b","kind":"CiliumClusterwideNetworkPolicy"}])");
    EXPECT_NE(printed({.policy_names = true}, allowed)
                  .find("policy-verdict:L3-Only INGRESS ALLOWED BY a (CiliumNetworkPolicy), b "
                        "(CiliumClusterwideNetworkPolicy) (TCP Flags: SYN)"),
              std::string::npos);
}

TEST(FlowPrinter, TableDictAndJson) {
    EXPECT_EQ(printed({.output = ObserveOutput::kTable, .node_name = true}, sample()),
              "TIMESTAMP             NODE   SOURCE          DESTINATION    TYPE            VERDICT   SUMMARY\n"
              "Jan  1 00:20:34.567   k8s1   1.1.1.1:31793   2.2.2.2:8080   Policy denied   DROPPED   TCP Flags: SYN\n");
    EXPECT_EQ(printed({.output = ObserveOutput::kDict, .node_name = true}, sample()),
              "  TIMESTAMP: Jan  1 00:20:34.567\n       NODE: k8s1\n     SOURCE: 1.1.1.1:31793\nDESTINATION: "
              "2.2.2.2:8080\n       TYPE: Policy denied\n    VERDICT: DROPPED\n    SUMMARY: TCP Flags: SYN\n");
    EXPECT_EQ(
        printed({.output = ObserveOutput::kJson}, sample(R"("ip_trace_id":{"trace_id":"1234","ip_option_type":136})")),
        R"({"flow":{"time":"1970-01-01T00:20:34.567800Z","verdict":"DROPPED","IP":{"source":"1.1.1.1","destination":"2.2.2.2"},)"
        R"("l4":{"TCP":{"source_port":31793,"destination_port":8080}},"source":{"identity":4},"destination":{"identity":12345},)"
        R"("Type":"L3_L4","node_name":"k8s1","event_type":{"type":1,"sub_type":133},)"
        R"("ip_trace_id":{"trace_id":"1234","ip_option_type":136},"is_reply":false,"Summary":"TCP Flags: SYN"}})"
        "\n");
    FlowPrinter dict({.output = ObserveOutput::kDict});
    (void)dict.print(sample());
    EXPECT_TRUE(dict.print(sample()).out.starts_with("------------\n  TIMESTAMP: "));
}

TEST(FlowPrinter, NamesOfEnds) {
    const std::string pods =
        R"("source":{"namespace":"a","pod_name":"x"},"destination":{"namespace":"b","pod_name":"y"})";
    EXPECT_NE(printed({}, sample(pods)).find(": a/x:31793 (health) -> b/y:8080 "), std::string::npos);
    EXPECT_NE(printed({.translate_ips = false}, sample(pods)).find(": 1.1.1.1:31793 "), std::string::npos);
    EXPECT_NE(
        printed({}, sample(R"("destination_service":{"name":"web","namespace":"shop"})")).find("-> shop/web:8080 "),
        std::string::npos);
    EXPECT_NE(printed({}, sample(R"("destination_names":["a.io","b.io"])")).find("-> a.io,b.io:8080 "),
              std::string::npos);
    auto v6 = sample();
    v6.mutable_flow()->mutable_ip()->set_destination("fd00::1");
    EXPECT_NE(printed({}, v6).find("-> [fd00::1]:8080 "), std::string::npos);
    auto arp = sample(R"("ethernet":{"source":"aa:bb","destination":"cc:dd"})");
    arp.mutable_flow()->clear_ip();
    arp.mutable_flow()->clear_l4();
    EXPECT_NE(printed({}, arp).find(": aa:bb (health) -> cc:dd "), std::string::npos);
}

TEST(FlowPrinter, ColoursAreOursAlone) {
    EXPECT_NE(printed({.colour = true}, sample()).find("\x1b[31mDROPPED\x1b[0m"), std::string::npos);
    const auto evil = sample(R"("Summary":"\u001b[2Jgone\r")");
    EXPECT_NE(printed({.colour = true}, evil).find("(^[[2Jgone\\r)"), std::string::npos);
}

TEST(FlowPrinter, NothingElseSteersTheTerminalEither) {
    const std::string evil = R"("\u001b[2Jgone\r")";
    const auto harmless = [](const std::string& text) {
        EXPECT_NE(text.find("^[[2Jgone\\r"), std::string::npos) << text;
        EXPECT_EQ(text.find_first_of("\x1b\r"), std::string::npos) << text;
    };
    const auto agent = from_json<observer::GetAgentEventsResponse>(
        R"({"agent_event":{"type":"ENDPOINT_CREATED","endpoint_update":{"id":"1","pod_name":)" + evil +
        R"(}},"node_name":)" + evil + "}");
    const auto debug =
        from_json<observer::GetDebugEventsResponse>(R"({"debug_event":{"source":{"namespace":"a","pod_name":)" + evil +
                                                    R"(},"message":)" + evil + R"(},"node_name":)" + evil + "}");
    const auto status = from_json<observer::ServerStatusResponse>(
        R"({"num_unavailable_nodes":1,"unavailable_nodes":[)" + evil + R"(],"version":)" + evil + "}");
    for (const auto output : {ObserveOutput::kCompact, ObserveOutput::kDict, ObserveOutput::kTable}) {
        FlowPrinter agents({.output = output, .node_name = true}), debugs({.output = output, .node_name = true});
        const std::string of_agent = agents.print(agent).out, of_debug = debugs.print(debug).out;
        harmless(of_agent + agents.finish());
        harmless(of_debug + debugs.finish());
        harmless(FlowPrinter({.output = output}).print(status));
    }
    harmless(nodes_table(from_json<observer::GetNodesResponse>(R"({"nodes":[{"name":)" + evil + R"(,"version":)" +
                                                               evil + R"(,"address":)" + evil + "}]}"),
                         true));
    harmless(namespaces_table(from_json<observer::GetNamespacesResponse>(R"({"namespaces":[{"namespace":)" + evil +
                                                                         R"(,"cluster":)" + evil + "}]}"),
                              true));
    harmless(peer_line(from_json<peer::ChangeNotification>(R"({"name":)" + evil + R"(,"address":)" + evil +
                                                           R"(,"tls":{"server_name":)" + evil + "}}")));
}

TEST(FlowPrinter, L7AndSockTypes) {
    const auto type = [](const std::string& more) {
        const std::string text = printed({.output = ObserveOutput::kDict}, sample(more));
        const std::size_t at = text.find("TYPE: ") + 6;
        return text.substr(at, text.find('\n', at) - at);
    };
    EXPECT_EQ(type(R"("l7":{"type":"REQUEST","http":{"method":"GET"}})"), "http-request");
    EXPECT_EQ(type(R"("l7":{"type":"RESPONSE","dns":{"observation_source":"proxy"}})"), "dns-response proxy");
    EXPECT_EQ(type(R"("event_type":{"type":4,"sub_type":11})"), "to-network");
    EXPECT_EQ(type(R"("event_type":{"type":7},"sock_xlate_point":"SOCK_XLATE_POINT_POST_DIRECTION_REV")"),
              "post-xlate-rev");
    EXPECT_EQ(type(R"("event_type":{"type":3},"debug_capture_point":"DBG_CAPTURE_PROXY_PRE")"),
              "DBG_CAPTURE_PROXY_PRE");
    EXPECT_EQ(type(R"("event_type":{"type":99})"), "UNKNOWN");
}

TEST(FlowPrinter, LostEventsAndNodes) {
    const auto lost = from_json<observer::GetFlowsResponse>(
        R"({"lost_events":{"source":"HUBBLE_RING_BUFFER","num_events_lost":"42","cpu":3}})");
    EXPECT_EQ(printed({}, lost), "EVENTS LOST: HUBBLE_RING_BUFFER CPU(3) 42\n");
    EXPECT_EQ(
        printed({.output = ObserveOutput::kDict}, lost),
        "  TIMESTAMP: \n     SOURCE: HUBBLE_RING_BUFFER\n       TYPE: EVENTS LOST\n    VERDICT: \n    SUMMARY: CPU(3) - "
        "42\n");
    const std::string head = R"({"time":"1970-01-01T00:20:34.567Z","node_name":"relay","node_status":)";
    const auto down =
        from_json<observer::GetFlowsResponse>(head + R"({"state_change":"NODE_UNAVAILABLE","node_names":["a","b"]}})");
    EXPECT_EQ(FlowPrinter({}).print(down).err, "Jan  1 00:20:34.567 [relay]: 2 nodes are unavailable: a, b\n");
    const auto up =
        from_json<observer::GetFlowsResponse>(head + R"({"state_change":"NODE_CONNECTED","node_names":["a"]}})");
    EXPECT_EQ(FlowPrinter({}).print(up).err, "");
    EXPECT_EQ(FlowPrinter({.debug = true}).print(up).err,
              "Jan  1 00:20:34.567 [relay]: Receiving flows from 1 nodes: a\n");
    const auto bad = from_json<observer::GetFlowsResponse>(
        head + R"({"state_change":"NODE_ERROR","node_names":["a"],"message":"no \"luck\""}})");
    EXPECT_EQ(FlowPrinter({}).print(bad).err, "Jan  1 00:20:34.567 [relay]: Error \"no \\\"luck\\\"\" on 1 nodes: a\n");
    EXPECT_EQ(FlowPrinter({.silent_errors = true}).print(bad).err, "");
}

TEST(FlowPrinter, ExplainsDropsOnce) {
    const auto drop = sample(
        R"("traffic_direction":"INGRESS","drop_reason_desc":"POLICY_DENIED","source":{"namespace":"shop","pod_name":"web-1","labels":["k8s:app=web"]},)"
        R"("destination":{"namespace":"shop","pod_name":"db-1","labels":["k8s:app=db"]})");
    FlowPrinter printer({.explain = true});
    const std::string first = printer.print(drop).out, second = printer.print(drop).out;
    EXPECT_NE(
        first.find("    why: policies select shop/db-1 for ingress, and none of them allows ingress from shop/web-1 at "
                   "TCP port 8080\n    allowed by:\n      apiVersion: cilium.io/v2\n"),
        std::string::npos)
        << first;
    EXPECT_NE(second.find("    allowed by: the policy shown above\n"), std::string::npos);
}

TEST(FlowPrinter, ServerStatus) {
    const auto status = from_json<observer::ServerStatusResponse>(
        R"({"num_flows":"8190","max_flows":"8190","seen_flows":"1234567","uptime_ns":"100000000000","num_connected_nodes":1,)"
        R"("num_unavailable_nodes":3,"unavailable_nodes":["b","a"],"version":"v"})");
    EXPECT_EQ(
        FlowPrinter({}).print(status),
        "Current/Max Flows: 8,190/8,190 (100.00%)\nFlows/s: 12345.67\nConnected Nodes: 1/4\nUnavailable Nodes: 3\n  - "
        "a\n  - b\n  - and 1 more...\n");
    EXPECT_NE(FlowPrinter({.output = ObserveOutput::kDict}).print(status).find("         SEEN FLOWS: 1,234,567\n"),
              std::string::npos);
    EXPECT_NE(FlowPrinter({.output = ObserveOutput::kDict}).print(status).find("             UPTIME: 1m40s\n"),
              std::string::npos);
}

TEST(FlowPrinter, AgentAndDebugEvents) {
    const auto agent = from_json<observer::GetAgentEventsResponse>(
        R"({"agent_event":{"type":"IPCACHE_UPSERTED","ipcache_update":{"cidr":"10.0.0.1/32","identity":5,"old_identity":0}},)"
        R"("node_name":"n1","time":"1970-01-01T00:20:34.567Z"})");
    EXPECT_EQ(
        FlowPrinter({}).print(agent).out,
        "Jan  1 00:20:34.567: IPCACHE_UPSERTED (cidr: 10.0.0.1/32, identity: 5, old identity: 0, encrypt key: 0)\n");
    const auto debug = from_json<observer::GetDebugEventsResponse>(
        R"({"debug_event":{"type":"DBG_CT_VERDICT","source":{"ID":7,"namespace":"a","pod_name":"x"},"hash":255,"cpu":1,)"
        R"("message":"CT verdict"},"time":"1970-01-01T00:20:34.567Z"})");
    EXPECT_EQ(FlowPrinter({}).print(debug).out,
              "Jan  1 00:20:34.567: a/x (ID: 7) DBG_CT_VERDICT MARK: 0xff CPU: 01 (CT verdict)\n");
}

TEST(ServerTables, NodesNamespacesAndPeers) {
    const auto nodes = from_json<observer::GetNodesResponse>(
        R"({"nodes":[{"name":"n1","state":"NODE_CONNECTED","uptime_ns":"61000000000","num_flows":"50","max_flows":"4095",)"
        R"("seen_flows":"610","address":"10.0.0.1:4244","tls":{"enabled":true}},{"name":"n2","state":"NODE_UNAVAILABLE"}]})");
    EXPECT_EQ(nodes_table(nodes, true),
              "NAME   STATUS        AGE    FLOWS/S   CURRENT/MAX-FLOWS   VERSION   ADDRESS         TLS\n"
              "n1     Connected     1m1s   10.00     50/4095 (  1.22%)   N/A       10.0.0.1:4244   Enabled\n"
              "n2     Unavailable   N/A    N/A       N/A                 N/A                       N/A\n");
    EXPECT_EQ(
        namespaces_table(
            from_json<observer::GetNamespacesResponse>(R"({"namespaces":[{"cluster":"c","namespace":"shop"}]})"), true),
        "NAMESPACE   CLUSTER\nshop        c\n");
    EXPECT_EQ(peer_line(from_json<peer::ChangeNotification>(
                  R"({"name":"c/n1","address":"10.0.0.1:4244","type":"PEER_ADDED","tls":{"server_name":"n1.c.x"}})")),
              "PEER_ADDED   10.0.0.1:4244 c/n1 (TLS.ServerName: n1.c.x)\n");
}

}  // namespace
}  // namespace axo::cli
