// What comes to pods: from the wire, through the tunnel, from the node itself.
#include "datapath_fixture.h"

namespace axo::test {
namespace {

const MacAddress kUplink({0x02, 0, 0, 0, 9, 1});
const MacAddress kFar({0x02, 0, 0, 0, 9, 2});

PacketBuilder wire() {
    return PacketBuilder().eth(kUplink, kFar);
}

TEST(Netdev, DeliversToPodsAndLeavesTheRestAlone) {
    Datapath datapath("netdev");
    const auto to_pod = wire().ipv4("10.0.2.1", "10.0.1.1").tcp(40000, 80, tcp::kSyn).build();
    const auto out = datapath.run("cil_from_netdev", to_pod, "eth0");
    EXPECT_EQ(out.return_value, kRedirect);
    EXPECT_EQ(MacAddress::from_bytes(out.packet_out.data()), Datapath::pod_mac(1));
    const auto entry = datapath.find_flow("10.0.2.1", "10.0.1.1", 40000, 80, IPPROTO_TCP);
    ASSERT_TRUE(entry);
    EXPECT_EQ(entry->identity_src, 3001U);
    EXPECT_EQ(entry->endpoint_dst, 101);
    const auto to_node = wire().ipv4("172.18.0.3", "172.18.0.2").tcp(40000, 22, tcp::kSyn).build();
    EXPECT_EQ(datapath.run("cil_from_netdev", to_node, "eth0").return_value, kPass);
    EXPECT_EQ(
        datapath.run("cil_from_netdev", wire().ipv4("172.18.0.3", "192.0.2.1").udp(1, 2).build(), "eth0").return_value,
        kPass);
    EXPECT_EQ(
        datapath
            .run("cil_from_netdev", wire().ipv4("172.18.0.3", "172.18.0.2").protocol(47).payload(40).build(), "eth0")
            .return_value,
        kPass);
    EXPECT_EQ(datapath.flow_count(), 1U);
}

TEST(Netdev, ALocalPodsAddressCannotComeFromTheWire) {
    Datapath datapath("netdev");
    EXPECT_EQ(
        datapath.run("cil_from_netdev", wire().ipv4("10.0.1.2", "10.0.1.1").udp(1, 2).build(), "eth0").return_value,
        kDrop);
    EXPECT_EQ(datapath.counted(DROP_INVALID_SIP, METRIC_INGRESS), 1U);
}

TEST(Netdev, LegacyRoutingLeavesPodsToTheStack) {
    Datapath datapath("netdev", {.legacy = true});
    EXPECT_EQ(
        datapath.run("cil_from_netdev", wire().ipv4("10.0.2.1", "10.0.1.1").udp(1, 2).build(), "eth0").return_value,
        kPass);
}

class Decapsulation : public testing::TestWithParam<std::pair<bool, bool>> {};  // IPv6 inside, outside

TEST_P(Decapsulation, PodsPacketsAreStrippedAtTheUplink) {
    const auto [v6, outer_v6] = GetParam();
    const char* remote = v6 ? "fd00:10:2::1" : "10.0.2.1";
    const char* pod = v6 ? "fd00:10:1::1" : "10.0.1.1";
    const char* router = v6 ? "fd00:10:1::fe" : "10.0.1.254";
    const char* node = outer_v6 ? "fd00:18::2" : "172.18.0.2";
    Datapath datapath("netdev", {.tunnel = true, .underlay_v6 = outer_v6});
    const auto inner = [&, v6 = v6](const char* to, std::uint8_t hops) {
        auto builder = PacketBuilder().eth(kUplink, kFar);
        return (v6 ? builder.ipv6(remote, to, hops) : builder.ipv4(remote, to, hops)).udp(5000, 53).payload(40).build();
    };
    const auto outer = [&, outer_v6 = outer_v6](std::uint32_t vni, const char* to_node = nullptr,
                                                const char* to = nullptr, std::uint8_t hops = 64) {
        auto builder = wire();
        if (to_node == nullptr) to_node = node;
        return (outer_v6 ? builder.ipv6("fd00:18::3", to_node) : builder.ipv4("172.18.0.3", to_node))
            .udp(45000, 8472)
            .vxlan(vni)
            .raw(inner(to != nullptr ? to : pod, hops))
            .build();
    };
    const auto run = [&](const Bytes& packet) { return datapath.run("cil_from_netdev", packet, "eth0"); };
    if (v6 != outer_v6 && !can_pull_outer_headers(true)) {
        EXPECT_EQ(run(outer(3001)).return_value, kPass);
        GTEST_SKIP() << "this kernel cannot take one family off a packet of the other (6.3): the device does it";
    }
    // The tunnel device's business: what is not for a pod of this node, not for this node, or has no hop left.
    EXPECT_EQ(run(outer(3001, node, router)).return_value, kPass);
    EXPECT_EQ(run(outer(3001, outer_v6 ? "fd00:18::9" : "172.18.0.9")).return_value, kPass);
    EXPECT_EQ(run(outer(3001, node, pod, 1)).return_value, kPass);
    EXPECT_FALSE(datapath.find_flow(remote, pod, 5000, 53, IPPROTO_UDP));

    // The first is decided here, the second replays it; the bytes are the same.
    for (int packet = 0; packet < 2; ++packet) {
        const auto out = run(outer(3001));
        EXPECT_EQ(out.return_value, kRedirect);
        ASSERT_EQ(out.packet_out.size(), inner(pod, 64).size());
        EXPECT_EQ(MacAddress::from_bytes(out.packet_out.data()), Datapath::pod_mac(1));
        EXPECT_EQ(static_cast<int>(out.packet_out[12]), v6 ? 0x86 : 0x08);
        EXPECT_EQ(static_cast<int>(out.packet_out[ETH_HLEN + (v6 ? 7 : 8)]), 63);
        if (!v6) {
            EXPECT_EQ(PacketBuilder::checksum(out.packet_out.data() + ETH_HLEN, 20), 0);
        }
    }
    const auto entry = datapath.find_flow(remote, pod, 5000, 53, IPPROTO_UDP);
    ASSERT_TRUE(entry);
    const bool remote_low = *IpAddress::parse(remote) < *IpAddress::parse(pod);
    EXPECT_EQ(entry->half[remote_low ? 0 : 1].ifindex_in, ifindex("cilium_vxlan"));
    EXPECT_EQ(entry->half[remote_low ? 0 : 1].packets, 2U);
    EXPECT_EQ(entry->identity_src, 3001U);
    // Another identity than the one decided upon is decided again, one that nobody may carry is refused.
    EXPECT_EQ(run(outer(3002)).return_value, kRedirect);
    EXPECT_EQ(datapath.find_flow(remote, pod, 5000, 53, IPPROTO_UDP)->identity_src, 3002U);
    EXPECT_EQ(run(outer(0)).return_value, kDrop);
    EXPECT_EQ(run(outer(1)).return_value, kDrop);
    EXPECT_EQ(datapath.counted(DROP_INVALID_IDENTITY, METRIC_INGRESS), 2U);
    // Truncated at every length: never out of bounds, never delivered half.
    const Bytes whole = outer(3002);
    for (std::size_t size = ETH_HLEN + (outer_v6 ? 40 : 20); size < whole.size(); ++size) {
        const Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
        const auto verdict = run(cut).return_value;
        EXPECT_TRUE(verdict == kPass || verdict == kDrop || verdict == kRedirect) << size;
    }
}

TEST_P(Decapsulation, WithAHostFirewallOnlyKnownFlowsAreStripped) {
    const auto [v6, outer_v6] = GetParam();
    const char* remote = v6 ? "fd00:10:2::1" : "10.0.2.1";
    const char* pod = v6 ? "fd00:10:1::1" : "10.0.1.1";
    Datapath datapath("netdev", {.tunnel = true, .underlay_v6 = outer_v6, .host_firewall = true});
    auto builder = PacketBuilder().eth(kUplink, kFar);
    const auto inner = (v6 ? builder.ipv6(remote, pod) : builder.ipv4(remote, pod)).udp(5000, 53).payload(40).build();
    auto outer = wire();
    const auto packet = (outer_v6 ? outer.ipv6("fd00:18::3", "fd00:18::2") : outer.ipv4("172.18.0.3", "172.18.0.2"))
                            .udp(45000, 8472)
                            .vxlan(3001)
                            .raw(inner)
                            .build();
    EXPECT_EQ(datapath.run("cil_from_netdev", packet, "eth0").return_value, kPass);
    EXPECT_FALSE(datapath.find_flow(remote, pod, 5000, 53, IPPROTO_UDP));
}

INSTANTIATE_TEST_SUITE_P(Families, Decapsulation,
                         testing::Values(std::pair{false, false}, std::pair{true, false}, std::pair{false, true},
                                         std::pair{true, true}),
                         [](const auto& info) {
                             return std::string(info.param.first ? "IPv6" : "IPv4") + "In" +
                                    (info.param.second ? "IPv6" : "IPv4");
                         });

TEST(Host, NodeToLocalPodAndToRemotePod) {
    Datapath datapath("host", {.tunnel = true});
    const auto to_local =
        PacketBuilder().eth(kUplink, kFar).ipv4("10.0.1.254", "10.0.1.1").tcp(40000, 80, tcp::kSyn).build();
    EXPECT_EQ(datapath.run("cil_from_host", to_local, "cilium_host").return_value, kRedirect);
    EXPECT_EQ(datapath.find_flow("10.0.1.254", "10.0.1.1", 40000, 80, IPPROTO_TCP)->identity_src, 1U);
    if (!can_push_outer_headers()) return;
    const auto to_remote =
        PacketBuilder().eth(kUplink, kFar).ipv4("10.0.1.254", "10.0.2.1").tcp(40000, 80, tcp::kSyn).build();
    const auto out = datapath.run("cil_from_host", to_remote, "cilium_host");
    EXPECT_EQ(out.return_value, kRedirect);
    ASSERT_EQ(out.packet_out.size(), to_remote.size() + 50);
    // On the wire the host is a remote node.
    EXPECT_EQ(static_cast<int>(out.packet_out[ETH_HLEN + 20 + 8 + 6]), 6);
}

TEST(Host, AStaleAddressIsDroppedWithItsReason) {
    Datapath datapath("host");
    EXPECT_EQ(
        datapath
            .run("cil_from_host", PacketBuilder().eth(kUplink, kFar).ipv4("10.0.1.254", "10.0.1.77").udp(1, 2).build(),
                 "cilium_host")
            .return_value,
        kDrop);
    EXPECT_EQ(datapath.counted(DROP_UNROUTABLE, METRIC_INGRESS), 1U);
}

TEST(ToNetdev, DecidedPacketsPassUncounted) {
    Datapath datapath("netdev");
    const auto packet = wire().ipv4("10.0.1.1", "192.0.2.1").udp(1, 2).build();
    EXPECT_EQ(datapath.run("cil_to_netdev", packet, "eth0", 1, 0x0300).return_value, kPass);
    EXPECT_EQ(datapath.counted(FORWARDED, METRIC_EGRESS), 0U);
    EXPECT_EQ(datapath.run("cil_to_netdev", packet, "eth0").return_value, kPass);
    EXPECT_EQ(datapath.counted(FORWARDED, METRIC_EGRESS), 1U);
}

}  // namespace
}  // namespace axo::test
