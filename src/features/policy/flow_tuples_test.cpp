// From what the datapath has seen to what policy is asked about it.
#include "features/policy/flow_tuples.h"

#include <gtest/gtest.h>
#include <netinet/in.h>

#include <cstring>

#include "maps/convert.h"

namespace axo::policy {
namespace {

constexpr EndpointId kHost{300};
const IdentityId kClient{2001}, kServer{2002}, kWorld{9};

IpAddress ip(const char* text) {
    return IpAddress::parse(text).value();
}

FlowRow row(IdentityId source, IdentityId destination) {
    FlowRow row;
    row.source = ip("10.0.0.1");
    row.destination = ip("10.0.0.2");
    row.source_port = 40000;
    row.destination_port = 80;
    row.protocol = IPPROTO_TCP;
    row.value.identity_src = source.value;
    row.value.identity_dst = destination.value;
    return row;
}

TEST(FlowTuples, BothEnds) {
    FlowRow seen = row(kClient, kServer);
    seen.value.endpoint_src = 1;
    seen.value.endpoint_dst = 2;
    const auto tuples = tuples_of(seen, kHost);
    ASSERT_EQ(tuples.size(), 1U);
    const FlowTuple expected{.source = EndpointId(1),
                             .destination = EndpointId(2),
                             .source_identity = kClient,
                             .destination_identity = kServer,
                             .source_address = ip("10.0.0.1"),
                             .destination_address = ip("10.0.0.2"),
                             .protocol = IPPROTO_TCP,
                             .port = 80};
    EXPECT_EQ(tuples[0], expected);
}

TEST(FlowTuples, TheNodeIsAnEndWhereItHasAPolicy) {
    const FlowRow in = row(kWorld, identity::kHost), out = row(identity::kHost, kWorld);
    EXPECT_EQ(tuples_of(in, kHost)[0].destination, kHost);
    EXPECT_EQ(tuples_of(in, kHost)[0].source, std::nullopt);
    EXPECT_EQ(tuples_of(out, kHost)[0].source, kHost);
    EXPECT_EQ(tuples_of(in, {})[0].destination, std::nullopt);
}

TEST(FlowTuples, AServiceIsItsBackendAndTheFrontendTheNodes) {
    FlowRow seen = row(kWorld, kServer);
    seen.destination = ip("172.18.0.2");
    seen.destination_port = 30080;
    seen.value.endpoint_dst = 2;
    seen.value.flags = FLOW_F_REWRITE_LOW;  // as of a pod's connection
    seen.value.rewrite.daddr = to_axo_addr(ip("10.0.0.2"));
    seen.value.rewrite.dport = htons(8080);
    auto tuples = tuples_of(seen, kHost);
    ASSERT_EQ(tuples.size(), 1U);
    EXPECT_EQ(tuples[0].destination, EndpointId(2));
    EXPECT_EQ(tuples[0].destination_address, ip("10.0.0.2"));
    EXPECT_EQ(tuples[0].port, 8080);
    // From outside, opened by the higher end.
    seen.value.flags = FLOW_F_REWRITE_HIGH | FLOW_F_INITIATOR_HIGH | FLOW_F_NODE_PORT;
    tuples = tuples_of(seen, kHost);
    ASSERT_EQ(tuples.size(), 2U);
    EXPECT_EQ(tuples[0].destination, kHost);
    EXPECT_EQ(tuples[0].destination_identity, identity::kHost);
    EXPECT_EQ(tuples[0].destination_address, ip("172.18.0.2"));
    EXPECT_EQ(tuples[0].port, 30080);
    EXPECT_EQ(tuples[1].destination, EndpointId(2));
    EXPECT_EQ(tuples[1].port, 8080);
    EXPECT_EQ(tuples_of(seen, {}).size(), 1U);
    // Only its replies are rewritten: nothing behind it that could be asked about.
    seen.value.flags = FLOW_F_REWRITE_LOW | FLOW_F_INITIATOR_HIGH;
    EXPECT_EQ(tuples_of(seen, kHost)[0].port, 30080);
    for (const int flags : {FLOW_F_TRANSLATED | FLOW_F_NODE_PORT, FLOW_F_TRANSLATED}) {
        seen.value.flags = static_cast<__u16>(flags);
        EXPECT_TRUE(tuples_of(seen, kHost).empty()) << "the other entry has asked already";
    }
    seen.value.flags = 0;
    seen.zone = FLOW_ZONE_UPLINK;
    EXPECT_TRUE(tuples_of(seen, kHost).empty());
}

TEST(FlowTuples, IcmpByTheTypeThatOpenedIt) {
    FlowRow seen = row(kClient, kServer);
    seen.protocol = IPPROTO_ICMP;
    seen.value.icmp_type = 13;
    EXPECT_EQ(tuples_of(seen, kHost)[0].port, 13);
}

TEST(FlowTuples, DeniedPacketsAndDeniedReplies) {
    flow_event event{};
    event.endpoint_src = 1;
    event.identity_src = kClient.value;
    event.identity_dst = kServer.value;
    event.saddr = to_axo_addr(ip("10.0.0.1"));
    event.daddr = to_axo_addr(ip("10.0.0.2"));
    event.sport = htons(40000);
    event.dport = htons(80);
    event.proto = IPPROTO_TCP;
    const FlowTuple asked = tuple_of(event);
    EXPECT_EQ(asked.source, EndpointId(1));
    EXPECT_EQ(asked.destination, std::nullopt);
    EXPECT_EQ(asked.port, 80);
    event.endpoint_src = 0;
    event.endpoint_dst = 1;
    std::swap(event.identity_src, event.identity_dst);
    std::swap(event.saddr, event.daddr);
    std::swap(event.sport, event.dport);
    event.reason = TRACE_REASON_REPLY;
    EXPECT_EQ(tuple_of(event), asked);
    event.proto = IPPROTO_ICMPV6;
    event.icmp_type = 129;
    EXPECT_EQ(tuple_of(event).port, 128);
}

}  // namespace
}  // namespace axo::policy
