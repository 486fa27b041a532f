// cil_from_container: what a pod sends.
#include "datapath_fixture.h"

namespace axo::test {
namespace {

PacketBuilder from_pod(int pod) {
    return PacketBuilder().eth(Datapath::node_mac(pod), Datapath::pod_mac(pod));
}

MacAddress destination_mac(const Bytes& packet) {
    return MacAddress::from_bytes(packet.data());
}
MacAddress source_mac(const Bytes& packet) {
    return MacAddress::from_bytes(packet.data() + 6);
}

struct Families {
    const char *pod1, *pod2, *remote, *outside, *router;
    bool v6;
};
const Families kIpv4{"10.0.1.1", "10.0.1.2", "10.0.2.1", "192.0.2.7", "10.0.1.254", false};
const Families kIpv6{"fd00:10:1::1", "fd00:10:1::2", "fd00:10:2::1", "2001:db8::7", "fd00:10:1::fe", true};

class PodEgress : public testing::TestWithParam<Families> {
protected:
    static PacketBuilder ip(int pod, const char* source, const char* destination, std::uint8_t ttl = 64) {
        auto builder = from_pod(pod);
        return GetParam().v6 ? builder.ipv6(source, destination, ttl) : builder.ipv4(source, destination, ttl);
    }
    static std::uint8_t ttl_of(const Bytes& packet) {
        return static_cast<std::uint8_t>(packet[GetParam().v6 ? 21 : 22]);
    }
};

TEST_P(PodEgress, NewConnectionToLocalPodIsDeliveredAndTracked) {
    const auto& f = GetParam();
    Datapath datapath("pod");
    const auto out =
        datapath.run("cil_from_container", ip(1, f.pod1, f.pod2).tcp(40000, 80, tcp::kSyn).build(), "lxc1");
    EXPECT_EQ(out.return_value, kRedirect);
    EXPECT_EQ(destination_mac(out.packet_out), Datapath::pod_mac(2));
    EXPECT_EQ(source_mac(out.packet_out), Datapath::node_mac(2));
    EXPECT_EQ(ttl_of(out.packet_out), 63);
    const auto entry = datapath.find_flow(f.pod1, f.pod2, 40000, 80, IPPROTO_TCP);
    ASSERT_TRUE(entry);
    EXPECT_EQ(entry->identity_src, 2001U);
    EXPECT_EQ(entry->identity_dst, 2002U);
    EXPECT_EQ(entry->endpoint_src, 101);
    EXPECT_EQ(entry->endpoint_dst, 102);
    EXPECT_EQ(entry->flags & (FLOW_F_LOCAL | FLOW_F_FAST | FLOW_F_ESTABLISHED), FLOW_F_LOCAL);
    // pod1 is the lower end: half[0] is the way there, half[1] the way back, both decided by this one packet.
    EXPECT_EQ(entry->half[0].action, FLOW_DELIVER);
    EXPECT_EQ(entry->half[0].ifindex_out, ifindex("lxc2"));
    EXPECT_EQ(entry->half[1].action, FLOW_DELIVER);
    EXPECT_EQ(entry->half[1].ifindex_in, ifindex("lxc2"));
    EXPECT_EQ(entry->half[1].ifindex_out, ifindex("lxc1"));
    const auto events = datapath.events();
    ASSERT_EQ(events.size(), 1U);
    EXPECT_EQ(events[0].type, EVENT_TRACE);
    EXPECT_EQ(events[0].subtype, TRACE_TO_LXC);
    EXPECT_EQ(events[0].reason, TRACE_REASON_NEW);
    EXPECT_EQ(events[0].tcp_flags, tcp::kSyn);
    EXPECT_EQ(events[0].dport, PacketBuilder::swap16(80));
}

TEST_P(PodEgress, HandshakeDataAndCloseFollowTheStateMachine) {
    const auto& f = GetParam();
    Datapath datapath("pod");
    const auto forth = [&](std::uint8_t flags) {
        return datapath.run("cil_from_container", ip(1, f.pod1, f.pod2).tcp(40000, 80, flags).build(), "lxc1")
            .return_value;
    };
    const auto back = [&](std::uint8_t flags) {
        return datapath.run("cil_from_container", ip(2, f.pod2, f.pod1).tcp(80, 40000, flags).build(), "lxc2")
            .return_value;
    };
    const auto entry = [&] { return *datapath.find_flow(f.pod1, f.pod2, 40000, 80, IPPROTO_TCP); };
    EXPECT_EQ(forth(tcp::kSyn), kRedirect);
    EXPECT_EQ(back(tcp::kSyn | tcp::kAck), kRedirect);
    EXPECT_FALSE(entry().flags & FLOW_F_FAST);
    EXPECT_TRUE(entry().flags & FLOW_F_REPLIED);
    EXPECT_EQ(forth(tcp::kAck), kRedirect);
    EXPECT_TRUE(entry().flags & FLOW_F_FAST);
    const std::uint32_t established_until = entry().expires;
    datapath.events();
    for (int i = 0; i < 5; ++i) {
        EXPECT_EQ(forth(tcp::kPsh | tcp::kAck), kRedirect);
        EXPECT_EQ(back(tcp::kAck), kRedirect);
    }
    EXPECT_TRUE(datapath.events().empty());  // plain packets are counted, not reported
    EXPECT_EQ(entry().half[0].packets, 7U);
    EXPECT_EQ(entry().half[1].packets, 6U);
    EXPECT_EQ(forth(tcp::kFin | tcp::kAck), kRedirect);
    EXPECT_EQ(back(tcp::kFin | tcp::kAck), kRedirect);
    EXPECT_FALSE(entry().flags & FLOW_F_FAST);
    EXPECT_LT(static_cast<std::int32_t>(entry().expires - established_until), 0);
    EXPECT_EQ(forth(tcp::kAck), kRedirect);
    EXPECT_EQ(datapath.flow_count(), 1U);
    // The same ports again: a new connection, not the old one's tail.
    EXPECT_EQ(forth(tcp::kSyn), kRedirect);
    EXPECT_FALSE(entry().flags & (FLOW_F_CLOSING_LOW | FLOW_F_CLOSING_HIGH | FLOW_F_ESTABLISHED));
}

TEST_P(PodEgress, GenerationsMakeTheNextPacketDecideAgain) {
    const auto& f = GetParam();
    Datapath datapath("pod");
    const auto packet = ip(1, f.pod1, f.pod2).udp(5000, 53).payload(20).build();
    EXPECT_EQ(datapath.run("cil_from_container", packet, "lxc1").return_value, kRedirect);
    const auto before = *datapath.find_flow(f.pod1, f.pod2, 5000, 53, IPPROTO_UDP);
    EXPECT_TRUE(before.flags & FLOW_F_FAST);
    // The map changes but no generation moves: the cached decision stands.
    datapath.remove_endpoint(f.pod2);
    EXPECT_EQ(datapath.run("cil_from_container", packet, "lxc1").return_value, kRedirect);
    datapath.generations().bump_endpoint(Datapath::endpoint_id(2));
    datapath.events();
    // The endpoint is gone: its address is routed to cilium_host, where there is nobody.
    EXPECT_EQ(datapath.run("cil_from_container", packet, "lxc1").return_value, kDrop);
    const auto events = datapath.events();
    ASSERT_EQ(events.size(), 1U);
    EXPECT_EQ(events[0].type, EVENT_DROP);
    EXPECT_EQ(events[0].subtype, DROP_UNROUTABLE);
    EXPECT_EQ(datapath.counted(DROP_UNROUTABLE, METRIC_EGRESS), 1U);
}

TEST_P(PodEgress, NativeRoutingFindsTheNextHop) {
    const auto& f = GetParam();
    Datapath datapath("pod");
    EXPECT_EQ(datapath.run("cil_from_container", ip(1, f.pod1, f.outside).udp(5000, 53).payload(20).build(), "lxc1")
                  .return_value,
              kRedirect);
    const auto entry = datapath.find_flow(f.pod1, f.outside, 5000, 53, IPPROTO_UDP);
    ASSERT_TRUE(entry);
    const bool pod_is_low = *IpAddress::parse(f.pod1) < *IpAddress::parse(f.outside);
    const flow_half& half = entry->half[pod_is_low ? 0 : 1];
    EXPECT_EQ(half.action, FLOW_NEIGH);
    EXPECT_EQ(half.ifindex_out, ifindex("eth0"));
    const IpAddress gateway = f.v6 ? IpAddress::v6(half.route.next_hop.ip6) : IpAddress::v4(half.route.next_hop.ip4);
    EXPECT_EQ(gateway.to_string(), f.v6 ? "fd00:18::1" : "172.18.0.1");
    EXPECT_EQ(entry->identity_dst, f.v6 ? 10U : 9U);
}

TEST_P(PodEgress, LegacyRoutingLeavesItToTheStack) {
    const auto& f = GetParam();
    Datapath datapath("pod", {.legacy = true});
    const auto packet = ip(1, f.pod1, f.outside).udp(5000, 53).payload(20).build();
    const auto out = datapath.run("cil_from_container", packet, "lxc1");
    EXPECT_EQ(out.return_value, kPass);
    EXPECT_EQ(out.packet_out, packet);
    EXPECT_EQ(datapath.run("cil_from_container", packet, "lxc1").return_value, kPass);
}

TEST_P(PodEgress, TunnelPushesOuterHeaders) {
    if (!can_push_outer_headers()) GTEST_SKIP() << "this kernel cannot push an inner Ethernet header (5.14)";
    const auto& f = GetParam();
    Datapath datapath("pod", {.tunnel = true});
    const auto packet = ip(1, f.pod1, f.remote).udp(5000, 53).payload(20).build();
    for (int round = 0; round < 2; ++round) {  // decided, then replayed
        const auto out = datapath.run("cil_from_container", packet, "lxc1");
        ASSERT_EQ(out.return_value, kRedirect);
        ASSERT_EQ(out.packet_out.size(), packet.size() + 50);
        struct {
            iphdr ip;
            udphdr udp;
            std::array<std::uint8_t, 8> vxlan;
        } outer{};
        std::memcpy(&outer, out.packet_out.data() + ETH_HLEN, sizeof(outer));
        EXPECT_EQ(PacketBuilder::checksum(out.packet_out.data() + ETH_HLEN, sizeof(iphdr)), 0);
        EXPECT_EQ(PacketBuilder::swap16(outer.ip.tot_len), out.packet_out.size() - ETH_HLEN);
        EXPECT_EQ(IpAddress::v4(outer.ip.saddr).to_string(), "172.18.0.2");
        EXPECT_EQ(IpAddress::v4(outer.ip.daddr).to_string(), "172.18.0.3");
        EXPECT_EQ(PacketBuilder::swap16(outer.udp.dest), 8472);
        EXPECT_EQ(PacketBuilder::swap16(outer.udp.len), out.packet_out.size() - ETH_HLEN - sizeof(iphdr));
        EXPECT_GE(PacketBuilder::swap16(outer.udp.source), 32768);
        EXPECT_EQ((outer.vxlan[4] << 16) | (outer.vxlan[5] << 8) | outer.vxlan[6], 2001);
        // Behind the inner Ethernet header: the pod's packet, one hop less.
        EXPECT_EQ(static_cast<std::uint8_t>(out.packet_out[ETH_HLEN + 50 + (f.v6 ? 7 : 8)]), 63);
    }
}

TEST_P(PodEgress, PlainTunnelUsesTheDevice) {
    const auto& f = GetParam();
    Datapath datapath("pod", {.tunnel = true, .tunnel_fast = false});
    const auto packet = ip(1, f.pod1, f.remote).udp(5000, 53).payload(20).build();
    const auto out = datapath.run("cil_from_container", packet, "lxc1");
    EXPECT_EQ(out.return_value, kRedirect);
    EXPECT_EQ(out.packet_out.size(), packet.size());
    const auto entry = datapath.find_flow(f.pod1, f.remote, 5000, 53, IPPROTO_UDP);
    ASSERT_TRUE(entry);
    EXPECT_EQ(entry->half[0].action, FLOW_TUNNEL_DEV);
    EXPECT_EQ(entry->half[1].ifindex_in, ifindex("cilium_vxlan"));
}

TEST_P(PodEgress, ToTheNodeGoesToTheStack) {
    const auto& f = GetParam();
    Datapath datapath("pod");
    EXPECT_EQ(datapath.run("cil_from_container", ip(1, f.pod1, f.router).tcp(40000, 4240, tcp::kSyn).build(), "lxc1")
                  .return_value,
              kPass);
    EXPECT_EQ(datapath.find_flow(f.pod1, f.router, 40000, 4240, IPPROTO_TCP)->identity_dst, 1U);
}

TEST_P(PodEgress, AnotherPodsAddressAsSourceIsDropped) {
    const auto& f = GetParam();
    Datapath datapath("pod");
    const auto out = datapath.run("cil_from_container", ip(1, f.pod2, f.outside).udp(1, 2).build(), "lxc1");
    EXPECT_EQ(out.return_value, kDrop);
    EXPECT_EQ(datapath.counted(DROP_INVALID_SIP, METRIC_EGRESS), 1U);
    EXPECT_EQ(datapath.flow_count(), 0U);
    // Nor may it use the other pod's existing connection.
    EXPECT_EQ(datapath.run("cil_from_container", ip(2, f.pod2, f.outside).udp(1, 2).build(), "lxc2").return_value,
              kRedirect);
    EXPECT_EQ(datapath.run("cil_from_container", ip(1, f.pod2, f.outside).udp(1, 2).build(), "lxc1").return_value,
              kDrop);
}

// The events of what is dropped leave room for the others.
TEST_P(PodEgress, AFloodOfDropsDoesNotHideWhatPasses) {
    const auto& f = GetParam();
    Datapath datapath("pod");
    datapath.run("cil_from_container", ip(1, f.pod2, f.outside).udp(1, 2).build(), "lxc1", 30'000);
    EXPECT_EQ(datapath.run("cil_from_container", ip(1, f.pod1, f.outside).udp(1, 2).build(), "lxc1").return_value,
              kRedirect);
    const auto events = datapath.events();
    EXPECT_EQ(events.back().type, EVENT_TRACE);
    const auto drops = static_cast<std::uint64_t>(
        std::ranges::count_if(events, [](const flow_event& event) { return event.type == EVENT_DROP; }));
    EXPECT_GT(drops, 5'000U);
    EXPECT_EQ(drops + datapath.lost_events(EVENT_DROP), 30'000U);
}

TEST_P(PodEgress, TooLongAPacketIsAnsweredWithTheMtu) {
    const auto& f = GetParam();
    Datapath datapath("pod", {.tunnel = true});
    const auto packet = ip(1, f.pod1, f.remote).udp(5000, 53).payload(1440).build();
    const auto out = datapath.run("cil_from_container", packet, "lxc1");
    EXPECT_EQ(out.return_value, kRedirect);
    EXPECT_EQ(destination_mac(out.packet_out), Datapath::pod_mac(1));
    const std::byte* error = out.packet_out.data() + ETH_HLEN + (f.v6 ? 40 : 20);
    EXPECT_EQ(static_cast<int>(error[0]), f.v6 ? 2 : 3);
    const int mtu = (static_cast<int>(error[6]) << 8) | static_cast<int>(error[7]);
    EXPECT_EQ(mtu, 1450);
    if (!f.v6) {
        EXPECT_EQ(PacketBuilder::checksum(error, out.packet_out.size() - ETH_HLEN - 20), 0);
        EXPECT_EQ(PacketBuilder::checksum(out.packet_out.data() + ETH_HLEN, 20), 0);
    }
    EXPECT_EQ(datapath.counted(REASON_MTU_ERROR_MSG, METRIC_EGRESS), 1U);
}

TEST_P(PodEgress, LastHopIsAnsweredWithTimeExceeded) {
    const auto& f = GetParam();
    Datapath datapath("pod");
    const auto out =
        datapath.run("cil_from_container", ip(1, f.pod1, f.outside, 1).udp(33434, 33434).payload(32).build(), "lxc1");
    EXPECT_EQ(out.return_value, kRedirect);
    const std::byte* error = out.packet_out.data() + ETH_HLEN + (f.v6 ? 40 : 20);
    EXPECT_EQ(static_cast<int>(error[0]), f.v6 ? 3 : 11);
    EXPECT_EQ(destination_mac(out.packet_out), Datapath::pod_mac(1));
}

TEST_P(PodEgress, IcmpEchoIsAFlowAndErrorsAreRelatedToTheirs) {
    const auto& f = GetParam();
    Datapath datapath("pod");
    auto echo = ip(1, f.pod1, f.pod2).icmp(f.v6 ? 128 : 8, 0, 77, 1, f.v6).payload(56).build();
    EXPECT_EQ(datapath.run("cil_from_container", echo, "lxc1").return_value, kRedirect);
    EXPECT_TRUE(datapath.find_flow(f.pod1, f.pod2, 77, 77, f.v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP));
    EXPECT_EQ(
        datapath.run("cil_from_container", ip(1, f.pod1, f.pod2).udp(5000, 53).payload(8).build(), "lxc1").return_value,
        kRedirect);
    datapath.events();
    // pod2: port unreachable about pod1's datagram.
    const auto quoted = ip(1, f.pod1, f.pod2).udp(5000, 53).payload(8).build();
    auto error = ip(2, f.pod2, f.pod1)
                     .icmp(f.v6 ? 1 : 3, f.v6 ? 4 : 3, 0, 0, f.v6)
                     .raw(std::span(quoted).subspan(ETH_HLEN))
                     .build();
    EXPECT_EQ(datapath.run("cil_from_container", error, "lxc2").return_value, kRedirect);
    const auto events = datapath.events();
    ASSERT_EQ(events.size(), 1U);
    EXPECT_EQ(events[0].reason, TRACE_REASON_RELATED);
    EXPECT_EQ(datapath.flow_count(), 2U);  // an error makes no flow of its own
}

TEST_P(PodEgress, LaterFragmentsFollowTheFirst) {
    const auto& f = GetParam();
    Datapath datapath("pod");
    const auto first = f.v6
                           ? from_pod(1).ipv6(f.pod1, f.pod2).fragment6(0, true, 99).udp(5000, 53).payload(1232).build()
                           : from_pod(1).ipv4(f.pod1, f.pod2, 64, 0x2000, 99).udp(5000, 53).payload(1232).build();
    const auto second =
        f.v6 ? from_pod(1).ipv6(f.pod1, f.pod2).fragment6(1240, false, 99).protocol(IPPROTO_UDP).payload(100).build()
             : from_pod(1).ipv4(f.pod1, f.pod2, 64, 1240 / 8, 99).protocol(IPPROTO_UDP).payload(100).build();
    EXPECT_EQ(datapath.run("cil_from_container", second, "lxc1").return_value, kDrop);
    EXPECT_EQ(datapath.counted(DROP_FRAG_NOT_FOUND, METRIC_EGRESS), 1U);
    EXPECT_EQ(datapath.run("cil_from_container", first, "lxc1").return_value, kRedirect);
    EXPECT_EQ(datapath.run("cil_from_container", second, "lxc1").return_value, kRedirect);
    EXPECT_EQ(datapath.find_flow(f.pod1, f.pod2, 5000, 53, IPPROTO_UDP)->half[0].packets, 2U);
    EXPECT_EQ(datapath.flow_count(), 1U);
}

TEST_P(PodEgress, EveryPacketIsReportedWithoutAggregation) {
    const auto& f = GetParam();
    Datapath datapath("pod", {.aggregation = TRACE_AGGREGATE_NONE});
    for (int i = 0; i < 3; ++i) {
        datapath.run("cil_from_container", ip(1, f.pod1, f.pod2).udp(5000, 53).payload(8).build(), "lxc1");
    }
    EXPECT_EQ(datapath.events().size(), 3U);
}

// Every prefix of real packets, and random bytes: no verdict but pass, drop or redirect, and no flow from nothing.
TEST_P(PodEgress, TruncatedAndRandomPacketsAreHarmless) {
    const auto& f = GetParam();
    Datapath datapath("pod", {.tunnel = true});
    const std::vector<Bytes> seeds{
        ip(1, f.pod1, f.remote).tcp(40000, 80, tcp::kSyn).payload(30).build(),
        ip(1, f.pod1, f.pod2).udp(40000, 80).payload(30).build(),
        ip(1, f.pod1, f.pod2).icmp(f.v6 ? 1 : 3, 4, 0, 0, f.v6).payload(60).build(),
    };
    std::uint32_t state = 12345;
    const auto random = [&] { return state = state * 1664525U + 1013904223U; };
    for (const Bytes& seed : seeds) {
        // BPF_PROG_RUN itself refuses less than an IP header.
        for (std::size_t size = ETH_HLEN + (f.v6 ? 40U : 20U); size < seed.size(); ++size) {
            const Bytes cut(seed.begin(), seed.begin() + static_cast<std::ptrdiff_t>(size));
            const auto verdict = datapath.run("cil_from_container", cut, "lxc1").return_value;
            EXPECT_TRUE(verdict == kPass || verdict == kDrop || verdict == kRedirect) << size << ": " << verdict;
        }
        for (int round = 0; round < 300; ++round) {
            Bytes mutated = seed;
            for (int flips = 0; flips < 4; ++flips) {
                mutated[ETH_HLEN + random() % (mutated.size() - ETH_HLEN)] = static_cast<std::byte>(random() >> 24);
            }
            const auto verdict = datapath.run("cil_from_container", mutated, "lxc1").return_value;
            EXPECT_TRUE(verdict == kPass || verdict == kDrop || verdict == kRedirect) << verdict;
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Families, PodEgress, testing::Values(kIpv4, kIpv6),
                         [](const auto& info) { return info.param.v6 ? "IPv6" : "IPv4"; });

TEST(PodNeighbours, ArpForTheGatewayIsAnsweredAndForItselfIsNot) {
    Datapath datapath("pod");
    const auto request = [](const char* target) {
        Bytes arp;
        const auto put = [&](std::initializer_list<int> values) {
            for (const int value : values) arp.push_back(static_cast<std::byte>(value));
        };
        const auto put_ip = [&](const char* text) {
            const IpAddress address = *IpAddress::parse(text);
            for (const std::uint8_t byte : address.bytes()) arp.push_back(static_cast<std::byte>(byte));
        };
        put({0, 1, 8, 0, 6, 4, 0, 1});
        const MacAddress sender = Datapath::pod_mac(1);
        for (const std::uint8_t byte : sender.bytes()) arp.push_back(static_cast<std::byte>(byte));
        put_ip("10.0.1.1");
        put({0, 0, 0, 0, 0, 0});
        put_ip(target);
        return PacketBuilder()
            .eth(MacAddress({255, 255, 255, 255, 255, 255}), Datapath::pod_mac(1))
            .ethertype(ETH_P_ARP)
            .raw(arp)
            .build();
    };
    const auto out = datapath.run("cil_from_container", request("10.0.1.254"), "lxc1");
    EXPECT_EQ(out.return_value, kRedirect);
    EXPECT_EQ(static_cast<int>(out.packet_out[21]), 2);  // a reply
    EXPECT_EQ(MacAddress::from_bytes(out.packet_out.data() + 22), Datapath::node_mac(1));
    EXPECT_EQ(destination_mac(out.packet_out), Datapath::pod_mac(1));
    EXPECT_EQ(datapath.run("cil_from_container", request("10.0.1.1"), "lxc1").return_value, kPass);
}

TEST(PodNeighbours, NeighbourSolicitationForTheGatewayIsAnswered) {
    Datapath datapath("pod");
    Bytes target(16);
    std::memcpy(target.data(), IpAddress::parse("fd00:10:1::fe")->bytes().data(), 16);
    const auto packet = from_pod(1)
                            .ipv6("fd00:10:1::1", "ff02::1:ff00:fe", 255)
                            .icmp(135, 0, 0, 0, true)
                            .raw(target)
                            .payload(8)
                            .build();
    const auto out = datapath.run("cil_from_container", packet, "lxc1");
    EXPECT_EQ(out.return_value, kRedirect);
    ASSERT_EQ(out.packet_out.size(), ETH_HLEN + 40 + 32U);
    EXPECT_EQ(static_cast<int>(out.packet_out[ETH_HLEN + 40]), 136);
    EXPECT_EQ(MacAddress::from_bytes(out.packet_out.data() + ETH_HLEN + 40 + 26), Datapath::node_mac(1));
}

}  // namespace
}  // namespace axo::test
