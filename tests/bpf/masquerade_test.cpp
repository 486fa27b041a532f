// Masquerading: what leaves the cluster has the node's address, and what comes back finds its pod.
#include <sys/socket.h>
#include <unistd.h>

#include "checksums.h"
#include "service_fixture.h"

namespace axo::test {
namespace {

struct Families {
    const char *pod1, *pod2, *remote, *outside, *node, *remote_node;
    bool v6;
};
const Families kIpv4{"10.0.1.1", "10.0.1.2", "10.0.2.1", "192.0.2.7", "172.18.0.2", "172.18.0.3", false};
const Families kIpv6{"fd00:10:1::1", "fd00:10:1::2", "fd00:10:2::1", "2001:db8::7", "fd00:18::2", "fd00:18::3", true};

class Masquerade : public testing::TestWithParam<Families> {
protected:
    static PacketBuilder ip(const char* source, const char* destination, std::uint8_t ttl = 64) {
        auto builder = PacketBuilder().eth(Datapath::node_mac(1), Datapath::pod_mac(1));
        return GetParam().v6 ? builder.ipv6(source, destination, ttl) : builder.ipv4(source, destination, ttl);
    }
    static Bytes udp(const char* source, std::uint16_t source_port, const char* destination,
                     std::uint16_t destination_port, std::uint8_t ttl = 64, bool sum = true) {
        return Checksums::filled(ip(source, destination, ttl).udp(source_port, destination_port).payload(33).build(),
                                 sum);
    }
    static Bytes ping(const char* source, const char* destination, std::uint16_t id, bool reply,
                      std::uint8_t ttl = 64) {
        const bool v6 = GetParam().v6;
        const std::uint8_t type = v6 ? (reply ? 129 : 128) : (reply ? 0 : 8);
        return Checksums::filled(ip(source, destination, ttl).icmp(type, 0, id, 5, v6).payload(20).build());
    }
    static std::string l3(const Bytes& packet) { return hex(packet).substr(29); }
    static std::uint8_t icmp() { return GetParam().v6 ? 58 : 1; }
    static void set_address(Services& services) { services.set_nat_address("eth0", "172.18.0.2", "fd00:18::2"); }
    static Options only_masquerading(Options options = {}) {
        Options with = with_services(options);
        with.lb.pods = with.lb.node_port = 0;
        return with;
    }
};

TEST_P(Masquerade, PodsLeaveWithTheNodesAddress) {
    const auto& f = GetParam();
    Datapath datapath("pod", only_masquerading());
    Services services(datapath);
    const auto run = [&](const Bytes& packet) { return datapath.run("cil_from_container", packet, "lxc1"); };
    // Without an address for the device nothing is translated.
    EXPECT_EQ(l3(run(udp(f.pod1, 40000, f.outside, 53)).packet_out), l3(udp(f.pod1, 40000, f.outside, 53, 63)));
    set_address(services);
    for (const bool sum : {true, false}) {
        for (int i = 0; i < 2; ++i) {
            const auto out = run(udp(f.pod1, 40001, f.outside, 53, 64, sum));
            EXPECT_EQ(out.return_value, kRedirect);
            EXPECT_EQ(l3(out.packet_out), l3(udp(f.node, 40001, f.outside, 53, 63, sum)));
        }
    }
    const auto entry = *datapath.find_flow(f.pod1, f.outside, 40001, 53, IPPROTO_UDP);
    EXPECT_EQ(entry.flags & (FLOW_F_SNAT | FLOW_F_TRANSLATED), FLOW_F_SNAT);
    // A second pod with the same port gets another one.
    const auto other = datapath.run("cil_from_container", udp(f.pod2, 40001, f.outside, 53), "lxc2");
    EXPECT_EQ(Checksums::wrong(other.packet_out), "");
    const std::uint16_t port =
        PacketBuilder::swap16(datapath.find_flow(f.pod2, f.outside, 40001, 53, IPPROTO_UDP)->rewrite.sport);
    EXPECT_NE(port, 40001);
    EXPECT_EQ(l3(other.packet_out), l3(udp(f.node, port, f.outside, 53, 63)));
    // Pings: the identifier is the port.
    for (const std::uint16_t id : {40000, 7}) {
        const auto out = run(ping(f.pod1, f.outside, id, false));
        EXPECT_EQ(out.return_value, kRedirect);
        const std::uint16_t now =
            PacketBuilder::swap16(datapath.find_flow(f.pod1, f.outside, id, id, icmp())->rewrite.sport);
        EXPECT_EQ(now == id, id == 40000);
        EXPECT_EQ(l3(out.packet_out), l3(ping(f.node, f.outside, now, false, 63)));
    }
    EXPECT_EQ(datapath.flow_count(), 1U + 2 * 4);
}

TEST_P(Masquerade, WhatComesBackFindsItsPod) {
    const auto& f = GetParam();
    // One program's maps hold what the other's has written: the entry is made by the pod's side and carried over.
    Datapath pod("pod", only_masquerading());
    Services services(pod);
    set_address(services);
    ASSERT_EQ(pod.run("cil_from_container", udp(f.pod1, 40001, f.outside, 53), "lxc1").return_value, kRedirect);
    ASSERT_EQ(pod.run("cil_from_container", ping(f.pod1, f.outside, 7, false), "lxc1").return_value, kRedirect);
    const std::uint16_t id = PacketBuilder::swap16(pod.find_flow(f.pod1, f.outside, 7, 7, icmp())->rewrite.sport);
    Datapath datapath("netdev", only_masquerading());
    pod.copy_flows_to(datapath);
    for (int i = 0; i < 2; ++i) {
        auto out = datapath.run("cil_from_netdev", udp(f.outside, 53, f.node, 40001), "eth0");
        EXPECT_EQ(out.return_value, kRedirect);
        EXPECT_EQ(l3(out.packet_out), l3(udp(f.outside, 53, f.pod1, 40001, 63)));
        out = datapath.run("cil_from_netdev", ping(f.outside, f.node, id, true), "eth0");
        EXPECT_EQ(out.return_value, kRedirect);
        EXPECT_EQ(l3(out.packet_out), l3(ping(f.outside, f.pod1, 7, true, 63)));
    }
    // The way back of the datagrams was known: only the ping's first reply was decided.
    EXPECT_LE(datapath.events().size(), 1U);
    // Somebody else's packet to the same port is the node's.
    EXPECT_EQ(datapath.run("cil_from_netdev", udp(f.outside, 54, f.node, 40001), "eth0").return_value, kPass);
    // An error about what left, quoting the node's address: for the pod, quoting its own.
    const char* hop = f.v6 ? "2001:db8:5::1" : "203.0.113.1";
    const auto error = [&](const char* to, const Bytes& about, std::uint8_t ttl) {
        return Checksums::filled(ip(hop, to, ttl)
                                     .icmp(f.v6 ? 3 : 11, 0, 0, 0, f.v6)
                                     .raw(std::span(about.data() + ETH_HLEN, about.size() - ETH_HLEN))
                                     .build());
    };
    auto out = datapath.run("cil_from_netdev", error(f.node, udp(f.node, 40001, f.outside, 53), 64), "eth0");
    EXPECT_EQ(out.return_value, kRedirect);
    EXPECT_EQ(l3(out.packet_out), l3(error(f.pod1, udp(f.pod1, 40001, f.outside, 53), 63)));
    out = datapath.run("cil_from_netdev", error(f.node, ping(f.node, f.outside, id, false), 64), "eth0");
    EXPECT_EQ(out.return_value, kRedirect);
    EXPECT_EQ(l3(out.packet_out), l3(error(f.pod1, ping(f.pod1, f.outside, 7, false), 63)));
}

TEST_P(Masquerade, DestinationsThatSeePods) {
    const auto& f = GetParam();
    Options options = only_masquerading();
    options.lb.ip_masq_agent = 1;
    options.lb.native_routing4 = IpAddress::parse("10.0.0.0")->v4_network_order();
    options.lb.native_routing4_mask = IpAddress::parse("255.0.0.0")->v4_network_order();
    std::memcpy(options.lb.native_routing6, IpAddress::parse("fd00:10::")->bytes().data(), 16);
    options.lb.native_routing6_len = 31;
    Datapath datapath("pod", options);
    Services services(datapath);
    set_address(services);
    const auto source = [&](const char* to) {
        datapath.run("cil_from_container", udp(f.pod1, 40000, to, 53), "lxc1");
        return datapath.find_flow(f.pod1, to, 40000, 53, IPPROTO_UDP)->flags & FLOW_F_SNAT;
    };
    datapath.add_ipcache("fd00:18::3/128", 6);
    EXPECT_TRUE(source(f.outside));
    EXPECT_FALSE(source(f.remote));
    EXPECT_FALSE(source(f.pod2));
    EXPECT_FALSE(source(f.remote_node));  // a node of the cluster
    const char* spared = f.v6 ? "2001:db8:9::1" : "198.51.100.9";
    if (f.v6) {
        lpm_v6_key key{.prefixlen = 48, .addr = {}};
        std::memcpy(key.addr, IpAddress::parse(spared)->bytes().data(), 16);
        const lpm_val value{};
        ASSERT_EQ(::bpf_map_update_elem(datapath.map("cilium_ipmasq_v6"), &key, &value, BPF_ANY), 0);
    } else {
        lpm_v4_key key{.prefixlen = 24, .addr = {}};
        std::memcpy(key.addr, IpAddress::parse(spared)->bytes().data(), 4);
        const lpm_val value{};
        ASSERT_EQ(::bpf_map_update_elem(datapath.map("cilium_ipmasq_v4"), &key, &value, BPF_ANY), 0);
    }
    EXPECT_FALSE(source(spared));
    EXPECT_TRUE(source(f.v6 ? "2001:db8:a::1" : "198.51.101.9"));
}

TEST_P(Masquerade, APortThatASocketOfTheNodeUsesIsNotTaken) {
    const auto& f = GetParam();
    Datapath datapath("pod", only_masquerading());
    Services services(datapath);
    set_address(services);
    const Fd socket(::socket(f.v6 ? AF_INET6 : AF_INET, SOCK_DGRAM, 0));
    sockaddr_storage address{};
    const IpAddress node = *IpAddress::parse(f.node);
    auto* raw = reinterpret_cast<std::byte*>(&address);
    const std::uint16_t family = f.v6 ? AF_INET6 : AF_INET, port = PacketBuilder::swap16(45000);
    std::memcpy(raw, &family, 2);
    std::memcpy(raw + 2, &port, 2);
    std::memcpy(raw + (f.v6 ? 8 : 4), node.bytes().data(), node.bytes().size());
    ASSERT_EQ(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), f.v6 ? 28 : 16), 0);
    EXPECT_EQ(datapath.run("cil_from_container", udp(f.pod1, 45000, f.outside, 53), "lxc1").return_value, kRedirect);
    EXPECT_NE(datapath.find_flow(f.pod1, f.outside, 45000, 53, IPPROTO_UDP)->rewrite.sport, port);
    EXPECT_FALSE(datapath.find_flow(f.node, f.outside, 45000, 53, IPPROTO_UDP));
}

TEST_P(Masquerade, NineteenOfTwentyPortsCanBeUsedBeforeTheFirstFailure) {
    const auto& f = GetParam();
    Options options = only_masquerading({.trace = false});
    options.lb.nat_port_low = 60000;  // 2000 ports, so that it takes no time
    options.lb.nat_port_high = 61999;
    Datapath datapath("pod", options);
    Services services(datapath);
    set_address(services);
    std::uint32_t used = 0;
    while (
        datapath.run("cil_from_container", udp(f.pod1, static_cast<std::uint16_t>(1000 + used), f.outside, 53), "lxc1")
            .return_value == kRedirect) {
        ++used;
        ASSERT_LE(used, 2000U);
    }
    EXPECT_GE(used, 1900U);
    EXPECT_EQ(datapath.counted(DROP_NAT_NO_MAPPING, METRIC_EGRESS), 1U);
    const auto events = datapath.events();
    ASSERT_FALSE(events.empty());
    EXPECT_EQ(events.back().subtype, DROP_NAT_NO_MAPPING);
    // Another destination has all of them again.
    EXPECT_EQ(datapath.run("cil_from_container", udp(f.pod1, 1000, f.outside, 54), "lxc1").return_value, kRedirect);
    std::cout << used << " of 2000 ports were used before the first failure\n";
}

TEST_P(Masquerade, APortIsFreeWhenItsConnectionHasExpired) {
    const auto& f = GetParam();
    Options options = only_masquerading();
    options.lb.nat_port_low = options.lb.nat_port_high = 50000;  // the only one
    Datapath datapath("pod", options);
    Services services(datapath);
    set_address(services);
    const auto connect = [&](int pod) {
        return datapath
            .run("cil_from_container", udp(pod == 1 ? f.pod1 : f.pod2, 40000, f.outside, 53),
                 "lxc" + std::to_string(pod))
            .return_value;
    };
    EXPECT_EQ(connect(1), kRedirect);
    EXPECT_EQ(connect(2), kDrop);
    EXPECT_EQ(connect(1), kRedirect);
    auto twin = *datapath.find_flow(f.node, f.outside, 50000, 53, IPPROTO_UDP);
    twin.expires -= 10'000;
    datapath.put_flow_update(f.node, f.outside, 50000, 53, IPPROTO_UDP, twin);
    EXPECT_EQ(connect(2), kRedirect);
    // The first one has lost its port, and is told apart from the second at the latest when it is looked at again.
    auto first = *datapath.find_flow(f.pod1, f.outside, 40000, 53, IPPROTO_UDP);
    first.half[0].decided_at = first.half[1].decided_at = 0;
    datapath.put_flow_update(f.pod1, f.outside, 40000, 53, IPPROTO_UDP, first);
    EXPECT_EQ(connect(1), kDrop);
    EXPECT_FALSE(datapath.find_flow(f.pod1, f.outside, 40000, 53, IPPROTO_UDP));
    EXPECT_EQ(connect(2), kRedirect);
}

TEST_P(Masquerade, AtTheUplinkWithLegacyRouting) {
    const auto& f = GetParam();
    Datapath pod("pod", only_masquerading({.legacy = true}));
    EXPECT_EQ(pod.run("cil_from_container", udp(f.pod1, 40000, f.outside, 53), "lxc1").return_value, kPass);
    Datapath datapath("netdev", only_masquerading({.legacy = true}));
    pod.copy_flows_to(datapath);
    Services services(datapath);
    set_address(services);
    for (int i = 0; i < 3; ++i) {
        auto out = datapath.run("cil_to_netdev", udp(f.pod1, 40000, f.outside, 53, 63), "eth0");
        EXPECT_EQ(out.return_value, kPass);
        EXPECT_EQ(l3(out.packet_out), l3(udp(f.node, 40000, f.outside, 53, 63)));
        out = datapath.run("cil_from_netdev", udp(f.outside, 53, f.node, 40000), "eth0");
        EXPECT_EQ(out.return_value, kPass);
        EXPECT_EQ(l3(out.packet_out), l3(udp(f.outside, 53, f.pod1, 40000)));
    }
    EXPECT_EQ(datapath.flow_count(), 3U);
    // Somebody outside reaches the pod: what it answers keeps its address.
    const auto inbound = udp(f.outside, 4000, f.pod1, 53);
    Datapath host("host", only_masquerading({.legacy = true}));
    ASSERT_EQ(host.run("cil_from_host", inbound, "cilium_host").return_value, kRedirect);
    host.copy_flows_to(datapath);
    const auto answer = udp(f.pod1, 53, f.outside, 4000);
    EXPECT_EQ(l3(datapath.run("cil_to_netdev", answer, "eth0").packet_out), l3(answer));
    // Between pods, and what the node sends itself, nothing is translated.
    for (const char* source : {f.pod1, f.node}) {
        const auto packet = udp(source, 50000, source == f.node ? f.outside : f.remote_node, 53);
        const auto out = datapath.run("cil_to_netdev", packet, "eth0");
        EXPECT_EQ(out.return_value, kPass);
        EXPECT_EQ(l3(out.packet_out), l3(packet));
    }
}

TEST_P(Masquerade, TheNodesOwnConnectionMakesWay) {
    const auto& f = GetParam();
    Datapath pod("pod", only_masquerading());
    Services services(pod);
    set_address(services);
    ASSERT_EQ(pod.run("cil_from_container", udp(f.pod1, 40000, f.outside, 53), "lxc1").return_value, kRedirect);
    Datapath datapath("netdev", only_masquerading());
    pod.copy_flows_to(datapath);
    // A process of the node comes along with the very addresses and ports that the pod's connection has outside.
    std::uint16_t port = 0;
    for (int i = 0; i < 3; ++i) {
        const auto out = datapath.run("cil_to_netdev", udp(f.node, 40000, f.outside, 53), "eth0");
        EXPECT_EQ(out.return_value, kPass);
        EXPECT_EQ(Checksums::wrong(out.packet_out), "");
        const std::size_t at = f.v6 ? 54 : 34;
        const auto now = static_cast<std::uint16_t>(std::to_integer<unsigned>(out.packet_out[at]) << 8 |
                                                    std::to_integer<unsigned>(out.packet_out[at + 1]));
        if (i == 0) port = now;
        EXPECT_EQ(now, port);
        EXPECT_NE(now, 40000);
        // Each gets its own replies.
        const auto own = datapath.run("cil_from_netdev", udp(f.outside, 53, f.node, port), "eth0");
        EXPECT_EQ(own.return_value, kPass);
        EXPECT_EQ(l3(own.packet_out), l3(udp(f.outside, 53, f.node, 40000)));
        const auto pods = datapath.run("cil_from_netdev", udp(f.outside, 53, f.node, 40000), "eth0");
        EXPECT_EQ(pods.return_value, kRedirect);
        EXPECT_EQ(l3(pods.packet_out), l3(udp(f.outside, 53, f.pod1, 40000, 63)));
    }
    EXPECT_EQ(datapath.flow_count(), 4U);
}

TEST_P(Masquerade, WhatHasMadeWayStaysAwayWhateverBecomesOfTheOther) {
    const auto& f = GetParam();
    for (const bool expired : {false, true}) {
        Datapath pod("pod", only_masquerading());
        Services services(pod);
        set_address(services);
        const auto tcp = [&](const char* source, std::uint16_t source_port, const char* destination,
                             std::uint16_t destination_port, std::uint8_t flags) {
            return Checksums::filled(
                ip(source, destination).tcp(source_port, destination_port, flags).payload(4).build());
        };
        ASSERT_EQ(pod.run("cil_from_container", tcp(f.pod1, 40000, f.outside, 80, tcp::kSyn), "lxc1").return_value,
                  kRedirect);
        if (expired) {
            auto twin = *pod.find_flow(f.node, f.outside, 40000, 80, IPPROTO_TCP);
            twin.expires -= 10'000;
            pod.put_flow_update(f.node, f.outside, 40000, 80, IPPROTO_TCP, twin);
        }
        Datapath datapath("netdev", only_masquerading());
        pod.copy_flows_to(datapath);
        std::uint16_t port = 0;
        for (const std::uint8_t flags : {tcp::kSyn, tcp::kAck, tcp::kPsh, tcp::kAck, tcp::kFin}) {
            const auto out =
                datapath.run("cil_to_netdev",
                             tcp(f.node, 40000, f.outside, 80,
                                 static_cast<std::uint8_t>(flags == tcp::kSyn ? flags : flags | tcp::kAck)),
                             "eth0");
            EXPECT_EQ(out.return_value, kPass);
            EXPECT_EQ(Checksums::wrong(out.packet_out), "");
            const std::size_t at = f.v6 ? 54 : 34;
            const auto now = static_cast<std::uint16_t>(std::to_integer<unsigned>(out.packet_out[at]) << 8 |
                                                        std::to_integer<unsigned>(out.packet_out[at + 1]));
            if (flags == tcp::kSyn) {
                port = now;
                EXPECT_NE(port, 40000);
                // The pod's connection is collected now.
                if (!expired) datapath.remove_flow(f.node, f.outside, 40000, 80, IPPROTO_TCP);
            }
            EXPECT_EQ(now, port);
            const auto back =
                tcp(f.outside, 80, f.node, port, flags == tcp::kSyn ? tcp::kSyn | tcp::kAck : tcp::kAck + 0);
            const auto answer = datapath.run("cil_from_netdev", back, "eth0");
            EXPECT_EQ(answer.return_value, kPass);
            EXPECT_EQ(l3(answer.packet_out), l3(tcp(f.outside, 80, f.node, 40000,
                                                    flags == tcp::kSyn ? tcp::kSyn | tcp::kAck : tcp::kAck + 0)));
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Families, Masquerade, testing::Values(kIpv4, kIpv6),
                         [](const auto& info) { return info.param.v6 ? "IPv6" : "IPv4"; });

}  // namespace
}  // namespace axo::test
