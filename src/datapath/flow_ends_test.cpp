#include "datapath/flow_ends.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>

#include "maps/convert.h"

namespace axo {
namespace {

FlowRow udp_flow(const char* source, const char* destination) {
    FlowRow row;
    row.source = IpAddress::parse(source).value();
    row.destination = IpAddress::parse(destination).value();
    row.source_port = 40000;
    row.destination_port = 443;
    row.protocol = IPPROTO_UDP;
    row.value.identity_src = 300;
    row.value.identity_dst = 2;
    row.value.endpoint_src = 7;
    row.value.egress_cookie = 77;
    flow_half &low = row.value.half[0], &high = row.value.half[1];
    low.action = FLOW_NEIGH;
    low.ifindex_in = high.ifindex_out = 11;
    low.ifindex_out = high.ifindex_in = 2;
    low.packets = 5;
    low.bytes = 500;
    high.action = FLOW_DELIVER;
    high.packets = 9;
    high.bytes = 9000;
    return row;
}

std::vector<flow_event> told(const FlowRow& row) {
    std::vector<flow_event> events;
    tell_end(row, 1234, [&](const flow_event& event) { events.push_back(event); });
    return events;
}

TEST(FlowEnds, BothDirectionsSayWhatTheyHaveComeTo) {
    const auto events = told(udp_flow("10.0.0.1", "10.0.0.2"));
    ASSERT_EQ(events.size(), 2U);
    const flow_event &there = events[0], &back = events[1];
    EXPECT_EQ(there.type, EVENT_TRACE);
    EXPECT_EQ(there.subtype, TRACE_TO_NETWORK);
    EXPECT_EQ(there.reason, TRACE_REASON_ESTABLISHED);
    EXPECT_EQ(there.time_ns, 1234U);
    EXPECT_EQ(from_axo_addr(there.saddr, false).to_string(), "10.0.0.1");
    EXPECT_EQ(from_axo_addr(there.daddr, false).to_string(), "10.0.0.2");
    EXPECT_EQ(ntohs(there.sport), 40000);
    EXPECT_EQ(ntohs(there.dport), 443);
    EXPECT_EQ(there.proto, IPPROTO_UDP);
    EXPECT_EQ(there.ethertype, 0x0800);
    EXPECT_EQ(there.identity_src, 300U);
    EXPECT_EQ(there.identity_dst, 2U);
    EXPECT_EQ(there.endpoint_src, 7);
    EXPECT_EQ(there.ifindex, 2U);
    EXPECT_EQ(there.rule_cookie, 77U);
    EXPECT_EQ(there.packets, 5U);
    EXPECT_EQ(there.bytes, 500U);
    EXPECT_EQ(back.subtype, TRACE_TO_LXC);
    EXPECT_EQ(back.reason, TRACE_REASON_REPLY);
    EXPECT_EQ(from_axo_addr(back.saddr, false).to_string(), "10.0.0.2");
    EXPECT_EQ(ntohs(back.sport), 443);
    EXPECT_EQ(ntohs(back.dport), 40000);
    EXPECT_EQ(back.identity_src, 2U);
    EXPECT_EQ(back.identity_dst, 300U);
    EXPECT_EQ(back.endpoint_dst, 7);
    EXPECT_EQ(back.flags, EVENT_F_INGRESS);
    EXPECT_EQ(back.packets, 9U);
    EXPECT_EQ(back.bytes, 9000U);

    // Opened by the higher end, which half[1] is.
    FlowRow other = udp_flow("fd00::2", "fd00::1");
    other.value.flags = FLOW_F_INITIATOR_HIGH;
    const auto high = told(other);
    ASSERT_EQ(high.size(), 2U);
    EXPECT_EQ(high[0].packets, 9U);
    EXPECT_EQ(from_axo_addr(high[0].saddr, true).to_string(), "fd00::2");
    EXPECT_EQ(high[0].flags & EVENT_F_IPV6, EVENT_F_IPV6);
    EXPECT_EQ(high[0].ethertype, 0x86DD);
    EXPECT_EQ(high[1].packets, 5U);
}

TEST(FlowEnds, NothingIsToldTwiceOrOfWhatSaysSoItself) {
    // A question and its answer: both were told when they were sent.
    FlowRow question = udp_flow("10.0.0.1", "10.0.0.2");
    question.value.half[0].packets = question.value.half[1].packets = 1;
    EXPECT_EQ(told(question).size(), 0U);
    question.value.half[1].packets = 2;
    EXPECT_EQ(told(question).size(), 1U);
    FlowRow one_way = udp_flow("10.0.0.1", "10.0.0.2");
    one_way.value.half[1] = {};
    EXPECT_EQ(told(one_way).size(), 1U);
    FlowRow tcp = udp_flow("10.0.0.1", "10.0.0.2");
    tcp.protocol = IPPROTO_TCP;
    EXPECT_EQ(told(tcp).size(), 0U);
    FlowRow translated = udp_flow("10.0.0.1", "10.96.0.1");
    translated.value.flags = FLOW_F_REWRITE_LOW;
    EXPECT_EQ(told(translated).size(), 0U);
    FlowRow second = udp_flow("10.0.0.1", "10.0.0.2");
    second.zone = FLOW_ZONE_UPLINK;
    EXPECT_EQ(told(second).size(), 0U);
}

}  // namespace
}  // namespace axo
