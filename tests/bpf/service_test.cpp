// Services in the packet path of pods: what a pod sends to a frontend, and what comes back.
#include "checksums.h"
#include "policy_builder.h"
#include "service_fixture.h"

namespace axo::test {
namespace {

struct Families {
    const char *pod1, *pod2, *remote, *outside, *node, *remote_node, *router, *vip, *loopback;
    bool v6;
};
const Families kIpv4{"10.0.1.1",   "10.0.1.2",   "10.0.2.1",   "192.0.2.7",    "172.18.0.2",
                     "172.18.0.3", "10.0.1.254", "10.96.0.10", "169.254.42.1", false};
const Families kIpv6{"fd00:10:1::1", "fd00:10:1::2",  "fd00:10:2::1", "2001:db8::7", "fd00:18::2",
                     "fd00:18::3",   "fd00:10:1::fe", "fd00:96::10",  "fe80::1",     true};

class PodService : public testing::TestWithParam<Families> {
protected:
    // IP behind Ethernet as it comes from a pod, and as it leaves the program.
    static PacketBuilder ip(int pod, const char* source, const char* destination, std::uint8_t ttl = 64) {
        return ip(PacketBuilder().eth(Datapath::node_mac(pod), Datapath::pod_mac(pod)), source, destination, ttl);
    }
    static PacketBuilder ip(PacketBuilder builder, const char* source, const char* destination, std::uint8_t ttl) {
        return GetParam().v6 ? builder.ipv6(source, destination, ttl) : builder.ipv4(source, destination, ttl);
    }
    static std::string delivered(int pod, const char* source, const char* destination, const auto& rest) {
        return hex(Checksums::filled(
            rest(ip(PacketBuilder().eth(Datapath::pod_mac(pod), Datapath::node_mac(pod)), source, destination, 63))
                .build()));
    }
};

TEST_P(PodService, TcpToALocalBackendAndBackToTheByte) {
    const auto& f = GetParam();
    Datapath datapath("pod", with_services());
    Services services(datapath);
    services.put(Services::Backend{1, f.pod2, 8080});
    services.put(Services::Service{.address = f.vip, .port = 80, .backends = {1}});
    const auto forth = [&](std::uint8_t flags, std::size_t size) {
        const auto rest = [&](std::uint16_t port) {
            return [=](PacketBuilder b) { return b.tcp(40000, port, flags).payload(size); };
        };
        const auto out =
            datapath.run("cil_from_container", Checksums::filled(rest(80)(ip(1, f.pod1, f.vip)).build()), "lxc1");
        EXPECT_EQ(out.return_value, kRedirect);
        EXPECT_EQ(hex(out.packet_out), delivered(2, f.pod1, f.pod2, rest(8080)));
        EXPECT_EQ(Checksums::wrong(out.packet_out), "");
    };
    const auto back = [&](std::uint8_t flags, std::size_t size) {
        const auto rest = [&](std::uint16_t port) {
            return [=](PacketBuilder b) { return b.tcp(port, 40000, flags).payload(size); };
        };
        const auto out =
            datapath.run("cil_from_container", Checksums::filled(rest(8080)(ip(2, f.pod2, f.pod1)).build()), "lxc2");
        EXPECT_EQ(out.return_value, kRedirect);
        EXPECT_EQ(hex(out.packet_out), delivered(1, f.vip, f.pod1, rest(80)));
        EXPECT_EQ(Checksums::wrong(out.packet_out), "");
    };
    const auto entry = [&] { return *datapath.find_flow(f.pod1, f.vip, 40000, 80, IPPROTO_TCP); };
    const auto twin = [&] { return *datapath.find_flow(f.pod1, f.pod2, 40000, 8080, IPPROTO_TCP); };
    forth(tcp::kSyn, 0);
    EXPECT_EQ(datapath.flow_count(), 2U);
    EXPECT_EQ(entry().backend_id, 1U);
    EXPECT_EQ(entry().rev_nat, 1U);
    EXPECT_EQ(entry().endpoint_dst, 102);
    EXPECT_EQ(entry().identity_dst, 2002U);
    EXPECT_FALSE(entry().flags & FLOW_F_TRANSLATED);
    EXPECT_TRUE(twin().flags & FLOW_F_TRANSLATED);
    back(tcp::kSyn | tcp::kAck, 0);
    EXPECT_TRUE(entry().flags & FLOW_F_REPLIED);
    forth(tcp::kAck, 0);
    EXPECT_TRUE(entry().flags & FLOW_F_FAST);
    EXPECT_TRUE(twin().flags & FLOW_F_FAST);
    EXPECT_EQ(entry().expires, twin().expires);
    datapath.events();
    for (std::size_t size = 0; size < 5; ++size) {
        forth(tcp::kPsh | tcp::kAck, 100 + size);
        back(tcp::kPsh | tcp::kAck, 200 + size);
    }
    EXPECT_TRUE(datapath.events().empty());  // the fast path
    forth(tcp::kFin | tcp::kAck, 0);
    back(tcp::kFin | tcp::kAck, 0);
    EXPECT_FALSE(entry().flags & FLOW_F_FAST);
    EXPECT_FALSE(twin().flags & FLOW_F_FAST);
    EXPECT_EQ(entry().expires, twin().expires);
    forth(tcp::kAck, 0);
    EXPECT_EQ(datapath.flow_count(), 2U);
    // The same port again: a new connection over the remains of both entries.
    forth(tcp::kSyn, 0);
    EXPECT_EQ(datapath.flow_count(), 2U);
    EXPECT_FALSE(entry().flags & (FLOW_F_CLOSING_LOW | FLOW_F_CLOSING_HIGH | FLOW_F_ESTABLISHED));
    EXPECT_FALSE(twin().flags & (FLOW_F_CLOSING_LOW | FLOW_F_CLOSING_HIGH | FLOW_F_ESTABLISHED));
}

TEST_P(PodService, DatagramsWithAndWithoutChecksum) {
    const auto& f = GetParam();
    Datapath datapath("pod", with_services());
    Services services(datapath);
    services.put(Services::Backend{1, f.pod2, 5353, IPPROTO_UDP});
    services.put(Services::Service{.address = f.vip, .port = 53, .protocol = IPPROTO_UDP, .backends = {1}});
    for (const bool sum : {true, false}) {
        for (std::size_t size = 0; size < 4; ++size) {
            const auto sent = [&](std::uint16_t port) {
                return [=](PacketBuilder b) { return b.udp(5000, port).payload(size); };
            };
            auto out = datapath.run("cil_from_container",
                                    Checksums::filled(sent(53)(ip(1, f.pod1, f.vip)).build(), sum), "lxc1");
            EXPECT_EQ(out.return_value, kRedirect);
            auto expected =
                sent(5353)(ip(PacketBuilder().eth(Datapath::pod_mac(2), Datapath::node_mac(2)), f.pod1, f.pod2, 63))
                    .build();
            EXPECT_EQ(hex(out.packet_out), hex(Checksums::filled(expected, sum)));
            const auto answer = [&](std::uint16_t port) {
                return [=](PacketBuilder b) { return b.udp(port, 5000).payload(size); };
            };
            out = datapath.run("cil_from_container",
                               Checksums::filled(answer(5353)(ip(2, f.pod2, f.pod1)).build(), sum), "lxc2");
            EXPECT_EQ(out.return_value, kRedirect);
            expected =
                answer(53)(ip(PacketBuilder().eth(Datapath::pod_mac(1), Datapath::node_mac(1)), f.vip, f.pod1, 63))
                    .build();
            EXPECT_EQ(hex(out.packet_out), hex(Checksums::filled(expected, sum)));
        }
    }
    // The way back was known with the first datagram: two reports, of each direction's first packet, are all.
    EXPECT_LE(datapath.events().size(), 2U);
}

TEST_P(PodService, ABackendThatGoesIsReplacedForDatagramsAndKeptForConnections) {
    const auto& f = GetParam();
    Datapath datapath("pod", with_services());
    Services services(datapath);
    for (const std::uint8_t protocol : {IPPROTO_UDP, IPPROTO_TCP}) {
        const bool tcp = protocol == IPPROTO_TCP;
        const Services::Backend here{tcp ? 3U : 1U, f.pod2, 8080, protocol};
        const Services::Backend there{tcp ? 4U : 2U, f.remote, 8080, protocol};
        services.put(here);
        services.put(Services::Service{
            .address = f.vip, .port = 80, .protocol = protocol, .number = protocol, .backends = {here.id}});
        const auto send = [&](std::uint8_t flags) {
            auto builder = ip(1, f.pod1, f.vip);
            const Bytes packet = (tcp ? builder.tcp(40000, 80, flags) : builder.udp(40000, 80)).payload(10).build();
            EXPECT_EQ(datapath.run("cil_from_container", packet, "lxc1").return_value, kRedirect);
            return datapath.find_flow(f.pod1, f.vip, 40000, 80, protocol)->backend_id;
        };
        EXPECT_EQ(send(tcp::kSyn), here.id);
        EXPECT_EQ(send(tcp::kAck), here.id);
        services.put(there);
        services.put(Services::Service{
            .address = f.vip, .port = 80, .protocol = protocol, .number = protocol, .backends = {there.id}});
        // No longer for new ones, but still there (terminating): what it has, it keeps.
        EXPECT_EQ(send(tcp::kAck), here.id);
        services.remove(here);
        EXPECT_EQ(send(tcp::kAck), tcp ? here.id : there.id);
        EXPECT_EQ(send(tcp::kSyn), there.id);
    }
}

TEST_P(PodService, WithoutBackendsTheClientIsTold) {
    const auto& f = GetParam();
    for (const bool drop : {false, true}) {
        Options options = with_services();
        options.lb.no_backend_drop = drop;
        Datapath datapath("pod", options);
        Services services(datapath);
        services.put(Services::Service{.address = f.vip, .port = 80});
        services.close_other_ports(f.vip);
        const auto packet = Checksums::filled(ip(1, f.pod1, f.vip).tcp(40000, 80, tcp::kSyn).payload(8).build());
        const auto out = datapath.run("cil_from_container", packet, "lxc1");
        EXPECT_EQ(out.return_value, drop ? kDrop : kRedirect);
        EXPECT_EQ(datapath.counted(DROP_NO_SERVICE, METRIC_EGRESS), 1U);
        const auto events = datapath.events();
        ASSERT_EQ(events.size(), 1U);
        EXPECT_EQ(events[0].type, EVENT_DROP);
        EXPECT_EQ(events[0].subtype, DROP_NO_SERVICE);
        EXPECT_EQ(events[0].identity_src, 2001U);
        if (!drop) {
            const auto type = std::to_integer<unsigned>(out.packet_out[f.v6 ? 54 : 34]);
            const auto code = std::to_integer<unsigned>(out.packet_out[f.v6 ? 55 : 35]);
            EXPECT_EQ(type, f.v6 ? 1U : 3U);
            EXPECT_EQ(code, f.v6 ? 4U : 3U);
            EXPECT_EQ(Checksums::wrong(out.packet_out), "");
        }
        // Another port of the address, and a ping, lead nowhere; another address is none of this.
        EXPECT_EQ(datapath.run("cil_from_container", ip(1, f.pod1, f.vip).tcp(40000, 81, tcp::kSyn).build(), "lxc1")
                      .return_value,
                  kDrop);
        EXPECT_EQ(
            datapath.run("cil_from_container", ip(1, f.pod1, f.vip).icmp(f.v6 ? 128 : 8, 0, 7, 1, f.v6).build(), "lxc1")
                .return_value,
            kDrop);
        EXPECT_EQ(datapath.run("cil_from_container", ip(1, f.pod1, f.pod2).tcp(40000, 80, tcp::kSyn).build(), "lxc1")
                      .return_value,
                  kRedirect);
        EXPECT_EQ(datapath.flow_count(), 1U);
    }
}

TEST_P(PodService, APodReachesItself) {
    const auto& f = GetParam();
    Datapath datapath("pod", with_services());
    Services services(datapath);
    services.put(Services::Backend{1, f.pod1, 8080});
    services.put(Services::Service{.address = f.vip, .port = 80, .backends = {1}});
    // A policy that lets nobody in does not come between a pod and itself.
    datapath.set_policy(1, PolicyImageBuilder::build({.enforced = true}, {.enforced = true}),
                        POLICY_REF_F_INGRESS | POLICY_REF_F_EGRESS);
    for (const std::uint8_t flags : {tcp::kSyn, tcp::kAck, tcp::kAck}) {
        auto out =
            datapath.run("cil_from_container",
                         Checksums::filled(ip(1, f.pod1, f.vip).tcp(40000, 80, flags).payload(9).build()), "lxc1");
        EXPECT_EQ(out.return_value, kRedirect);
        EXPECT_EQ(hex(out.packet_out), delivered(1, f.loopback, f.pod1, [&](PacketBuilder b) {
                      return b.tcp(40000, 8080, flags).payload(9);
                  }));
        out = datapath.run(
            "cil_from_container",
            Checksums::filled(ip(1, f.pod1, f.loopback).tcp(8080, 40000, flags | tcp::kAck).payload(9).build()),
            "lxc1");
        EXPECT_EQ(out.return_value, kRedirect);
        EXPECT_EQ(hex(out.packet_out), delivered(1, f.vip, f.pod1, [&](PacketBuilder b) {
                      return b.tcp(80, 40000, flags | tcp::kAck).payload(9);
                  }));
    }
    EXPECT_TRUE(datapath.find_flow(f.pod1, f.vip, 40000, 80, IPPROTO_TCP)->flags & FLOW_F_LOOPBACK);
}

TEST_P(PodService, NodePortsOfThisNodeAndOfOthers) {
    const auto& f = GetParam();
    Datapath datapath("pod", with_services());
    Services services(datapath);
    services.put(Services::Backend{1, f.pod2, 8080});
    services.put(
        Services::Service{.address = f.v6 ? "::" : "0.0.0.0", .port = 30080, .backends = {1}, .flags = LB_F_NODE_PORT});
    datapath.add_ipcache(f.v6 ? "fd00:18::3/128" : "172.18.0.3/32", 6);
    std::uint16_t port = 40000;
    for (const char* node : {f.node, f.remote_node, f.router}) {
        ++port;
        const auto out = datapath.run(
            "cil_from_container", Checksums::filled(ip(1, f.pod1, node).tcp(port, 30080, tcp::kSyn).build()), "lxc1");
        EXPECT_EQ(out.return_value, kRedirect);
        EXPECT_EQ(hex(out.packet_out),
                  delivered(2, f.pod1, f.pod2, [=](PacketBuilder b) { return b.tcp(port, 8080, tcp::kSyn); }))
            << node;
        EXPECT_TRUE(datapath.find_flow(f.pod1, node, port, 30080, IPPROTO_TCP));
    }
    // Elsewhere the port is nobody's.
    datapath.run("cil_from_container", ip(1, f.pod1, f.outside).tcp(40000, 30080, tcp::kSyn).build(), "lxc1");
    EXPECT_EQ(datapath.find_flow(f.pod1, f.outside, 40000, 30080, IPPROTO_TCP)->backend_id, 0U);
}

TEST_P(PodService, TwoWaysToOneBackendWithTheSamePortDoNotMix) {
    const auto& f = GetParam();
    Datapath datapath("pod", with_services());
    Services services(datapath);
    services.put(Services::Backend{1, f.pod2, 8080});
    services.put(Services::Service{.address = f.vip, .port = 80, .backends = {1}});
    const auto run = [&](const char* to, std::uint16_t port) {
        return datapath.run("cil_from_container",
                            Checksums::filled(ip(1, f.pod1, to).tcp(40000, port, tcp::kSyn).build()), "lxc1");
    };
    // Straight to the backend first: that connection has the ports that the service's would get.
    EXPECT_EQ(run(f.pod2, 8080).return_value, kRedirect);
    const auto out = run(f.vip, 80);
    EXPECT_EQ(out.return_value, kRedirect);
    EXPECT_EQ(Checksums::wrong(out.packet_out), "");
    EXPECT_EQ(datapath.flow_count(), 3U);
    EXPECT_FALSE(datapath.find_flow(f.pod1, f.pod2, 40000, 8080, IPPROTO_TCP)->flags & FLOW_F_TRANSLATED);
    const auto rewrite = datapath.find_flow(f.pod1, f.vip, 40000, 80, IPPROTO_TCP)->rewrite;
    const std::uint16_t port = PacketBuilder::swap16(rewrite.sport);
    EXPECT_NE(port, 40000);
    EXPECT_TRUE(datapath.find_flow(f.pod1, f.pod2, port, 8080, IPPROTO_TCP)->flags & FLOW_F_TRANSLATED);
    const auto back =
        datapath.run("cil_from_container",
                     Checksums::filled(ip(2, f.pod2, f.pod1).tcp(8080, port, tcp::kSyn | tcp::kAck).build()), "lxc2");
    EXPECT_EQ(hex(back.packet_out),
              delivered(1, f.vip, f.pod1, [](PacketBuilder b) { return b.tcp(80, 40000, tcp::kSyn | tcp::kAck); }));
}

TEST_P(PodService, EitherEntryThatWasCollectedIsMadeAgain) {
    const auto& f = GetParam();
    Datapath datapath("pod", with_services({.report_interval = 0}));
    Services services(datapath);
    services.put(Services::Backend{1, f.pod2, 8080});
    services.put(Services::Service{.address = f.vip, .port = 80, .backends = {1}});
    const auto forth = [&](std::uint8_t flags) {
        return datapath.run("cil_from_container", ip(1, f.pod1, f.vip).tcp(40000, 80, flags).build(), "lxc1");
    };
    const auto back = [&](std::uint8_t flags) {
        return datapath.run("cil_from_container", ip(2, f.pod2, f.pod1).tcp(8080, 40000, flags).build(), "lxc2");
    };
    forth(tcp::kSyn);
    back(tcp::kSyn | tcp::kAck);
    forth(tcp::kAck);
    const auto entry = datapath.find_flow(f.pod1, f.vip, 40000, 80, IPPROTO_TCP);
    const auto twin = datapath.find_flow(f.pod1, f.pod2, 40000, 8080, IPPROTO_TCP);
    datapath.remove_flow(f.pod1, f.pod2, 40000, 8080, IPPROTO_TCP);
    forth(tcp::kAck);
    auto again = datapath.find_flow(f.pod1, f.pod2, 40000, 8080, IPPROTO_TCP);
    ASSERT_TRUE(again);
    EXPECT_EQ(again->flags, twin->flags);
    EXPECT_EQ(std::memcmp(&again->rewrite, &twin->rewrite, sizeof(flow_rewrite)), 0);
    datapath.remove_flow(f.pod1, f.vip, 40000, 80, IPPROTO_TCP);
    // Another backend now: the connection stays with its own.
    services.put(Services::Backend{2, f.remote, 8080});
    services.put(Services::Service{.address = f.vip, .port = 80, .backends = {2}});
    EXPECT_EQ(back(tcp::kAck).return_value, kRedirect);
    again = datapath.find_flow(f.pod1, f.vip, 40000, 80, IPPROTO_TCP);
    ASSERT_TRUE(again);
    EXPECT_EQ(again->flags, entry->flags);
    EXPECT_EQ(std::memcmp(&again->rewrite, &entry->rewrite, sizeof(flow_rewrite)), 0);
    EXPECT_EQ(again->backend_id, 1U);
    EXPECT_EQ(forth(tcp::kAck).return_value, kRedirect);
    EXPECT_EQ(datapath.flow_count(), 2U);
}

INSTANTIATE_TEST_SUITE_P(Families, PodService, testing::Values(kIpv4, kIpv6),
                         [](const auto& info) { return info.param.v6 ? "IPv6" : "IPv4"; });

}  // namespace
}  // namespace axo::test
