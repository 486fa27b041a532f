// Direct server return: what the node with the frontend tells the backend's node, and what that one makes of it.
#include "dsr_fixture.h"

namespace axo::test {
namespace {

class Dsr : public DsrPackets {
protected:
    // With the frontend in front of its L4 header; the checksum is that of the packet without.
    static Bytes with_frontend(const Bytes& plain, const char* frontend, std::uint16_t port) {
        const bool v6 = GetParam().v6;
        const std::size_t at = v6 ? 54 : 34;
        const IpAddress parsed = *IpAddress::parse(frontend);
        const auto address = parsed.bytes();
        Bytes option;
        const auto byte = [&option](unsigned value) { option.push_back(static_cast<std::byte>(value & 255)); };
        const auto put_address = [&] {
            for (const auto value : address) option.push_back(static_cast<std::byte>(value));
        };
        if (v6) {
            byte(std::to_integer<unsigned>(plain[20]));
            byte(2);
            byte(0x1b);
            byte(20);
            put_address();
            byte(port >> 8U);
            byte(port);
            byte(0);
            byte(0);
        } else {
            byte(0x9a);
            byte(8);
            byte(port >> 8U);
            byte(port);
            put_address();
        }
        Bytes out = plain;
        out.insert(out.begin() + static_cast<std::ptrdiff_t>(at), option.begin(), option.end());
        const auto length = static_cast<unsigned>(out.size() - (v6 ? 54 : 14));
        out[v6 ? 18 : 16] = static_cast<std::byte>(length >> 8U);
        out[v6 ? 19 : 17] = static_cast<std::byte>(length & 255U);
        if (v6) {
            out[20] = std::byte{60};
        } else {
            out[14] = std::byte{0x47};
            out[24] = out[25] = std::byte{0};
            const std::uint16_t check = PacketBuilder::checksum(out.data() + 14, 28);
            std::memcpy(out.data() + 24, &check, 2);
        }
        return out;
    }
    static Options dsr(lb_mode mode = LB_MODE_DSR) {
        Options options = with_services();
        options.lb.mode = static_cast<std::uint8_t>(mode);
        return options;
    }
    static void add_service(Services& services, std::uint8_t protocol, const char* backend, std::uint32_t flags2 = 0) {
        const std::uint32_t id = protocol;
        services.put(Services::Backend{id, backend, 8080, protocol});
        services.put(Services::Service{.address = GetParam().any,
                                       .port = kPort,
                                       .protocol = protocol,
                                       .number = protocol,
                                       .backends = {id},
                                       .flags = LB_F_NODE_PORT,
                                       .flags2 = flags2});
    }
};

TEST_P(Dsr, TheFirstPacketCarriesTheFrontend) {
    const auto& f = GetParam();
    Datapath datapath("netdev", dsr());
    Services services(datapath);
    services.set_nat_address("eth0", "172.18.0.2", "fd00:18::2");
    for (const std::uint8_t protocol : {IPPROTO_TCP, IPPROTO_UDP}) {
        add_service(services, protocol, f.remote);
        for (const std::uint8_t flags : {tcp::kSyn, tcp::kSyn, tcp::kAck, tcp::kAck, tcp::kPsh}) {
            const auto out =
                datapath.run("cil_from_netdev", packet(protocol, f.client, 40000, f.node, kPort, flags), "eth0");
            EXPECT_EQ(out.return_value, kRedirect);
            const Bytes plain = packet(protocol, f.client, 40000, f.remote, 8080, flags, 63);
            const bool carries = protocol == IPPROTO_UDP || flags == tcp::kSyn;
            EXPECT_EQ(l3(out.packet_out), l3(carries ? with_frontend(plain, f.node, kPort) : plain));
            EXPECT_EQ(Checksums::wrong(out.packet_out), "");
        }
        const auto entry = *datapath.find_flow(f.client, f.node, 40000, kPort, protocol);
        EXPECT_EQ(entry.flags & (FLOW_F_DSR | FLOW_F_SNAT | FLOW_F_NODE_PORT), FLOW_F_DSR | FLOW_F_NODE_PORT);
    }
    EXPECT_EQ(datapath.flow_count(), 2U);  // replies do not come through here
    // Nobody here sees the other end close.
    datapath.run("cil_from_netdev", packet(IPPROTO_TCP, f.client, 40000, f.node, kPort, tcp::kFin | tcp::kAck), "eth0");
    const auto entry = *datapath.find_flow(f.client, f.node, 40000, kPort, IPPROTO_TCP);
    EXPECT_EQ(entry.flags & (FLOW_F_CLOSING_LOW | FLOW_F_CLOSING_HIGH), FLOW_F_CLOSING_LOW | FLOW_F_CLOSING_HIGH);
    // No room for the frontend: the client is told what there is room for.
    const auto out = datapath.run(
        "cil_from_netdev", packet(IPPROTO_UDP, f.client, 41000, f.node, kPort, 0, 64, f.v6 ? 1452 : 1472), "eth0");
    const std::size_t l4 = f.v6 ? 54 : 34;
    EXPECT_EQ(std::to_integer<unsigned>(out.packet_out[l4]), f.v6 ? 2U : 3U);
    EXPECT_EQ(
        std::to_integer<unsigned>(out.packet_out[l4 + 6]) << 8U | std::to_integer<unsigned>(out.packet_out[l4 + 7]),
        f.v6 ? 1476U : 1492U);
    EXPECT_EQ(Checksums::wrong(out.packet_out), "");
}

TEST_P(Dsr, FullFragmentsAreToldOfWithoutBeingAskedTo) {
    const auto& f = GetParam();
    if (f.v6) GTEST_SKIP() << "IPv6 has no fragments that may be fragmented again";
    Datapath datapath("netdev", dsr());
    Services services(datapath);
    add_service(services, IPPROTO_UDP, f.remote);
    for (const bool later : {false, true}) {
        auto builder = PacketBuilder()
                           .eth(Datapath::node_mac(1), Datapath::pod_mac(1))
                           .ipv4(f.client, f.node, 64, later ? 0x2000 | 1480 / 8 : 0x2000, 9);
        if (later)
            builder.protocol(IPPROTO_UDP).payload(1480);
        else
            builder.udp(40000, kPort).payload(1472);
        const auto out = datapath.run("cil_from_netdev", builder.build(), "eth0");
        EXPECT_EQ(out.return_value, kRedirect);
        EXPECT_EQ(std::to_integer<unsigned>(out.packet_out[34]), 3U);
        EXPECT_EQ(std::to_integer<unsigned>(out.packet_out[35]), 4U);
        EXPECT_EQ(std::to_integer<unsigned>(out.packet_out[40]) << 8U | std::to_integer<unsigned>(out.packet_out[41]),
                  1492U);
    }
}

TEST_P(Dsr, TheBackendsNodeAnswersAsTheFrontend) {
    const auto& f = GetParam();
    const char* frontend = f.v6 ? "fd00:18::9" : "172.18.0.9";
    for (const std::uint8_t protocol : {IPPROTO_TCP, IPPROTO_UDP}) {
        Datapath datapath("netdev", dsr());
        const Bytes first = with_frontend(packet(protocol, f.client, 40000, f.pod, 8080, tcp::kSyn), frontend, kPort);
        auto out = datapath.run("cil_from_netdev", first, "eth0");
        EXPECT_EQ(out.return_value, kRedirect);
        // The pod gets it as it came; what it does not know it skips.
        EXPECT_EQ(l3(out.packet_out),
                  l3(with_frontend(packet(protocol, f.client, 40000, f.pod, 8080, tcp::kSyn, 63), frontend, kPort)));
        EXPECT_EQ(datapath.flow_count(), 1U);
        EXPECT_EQ(datapath.run("cil_from_netdev", packet(protocol, f.client, 40000, f.pod, 8080, tcp::kAck), "eth0")
                      .return_value,
                  kRedirect);
        Datapath pod("pod", dsr());
        datapath.copy_flows_to(pod);
        for (const std::uint8_t flags : {tcp::kSyn | tcp::kAck, tcp::kAck + 0, tcp::kAck + 0}) {
            out = pod.run("cil_from_container",
                          packet(protocol, f.pod, 8080, f.client, 40000, static_cast<std::uint8_t>(flags)), "lxc1");
            EXPECT_EQ(out.return_value, kRedirect);
            EXPECT_EQ(l3(out.packet_out),
                      l3(packet(protocol, frontend, kPort, f.client, 40000, static_cast<std::uint8_t>(flags), 63)));
        }
    }
}

TEST_P(Dsr, WhereTheModeSaysSo) {
    const auto& f = GetParam();
    for (const lb_mode mode : {LB_MODE_HYBRID, LB_MODE_ANNOTATION, LB_MODE_SNAT}) {
        Datapath datapath("netdev", dsr(mode));
        Services services(datapath);
        services.set_nat_address("eth0", "172.18.0.2", "fd00:18::2");
        add_service(services, IPPROTO_TCP, f.remote);
        add_service(services, IPPROTO_UDP, f.remote, LB_F2_DSR);
        for (const std::uint8_t protocol : {IPPROTO_TCP, IPPROTO_UDP}) {
            datapath.run("cil_from_netdev", packet(protocol, f.client, 40000, f.node, kPort, tcp::kSyn), "eth0");
            const auto entry = *datapath.find_flow(f.client, f.node, 40000, kPort, protocol);
            const bool direct = mode == LB_MODE_HYBRID ? protocol == IPPROTO_TCP
                                                       : mode == LB_MODE_ANNOTATION && protocol == IPPROTO_UDP;
            EXPECT_EQ((entry.flags & FLOW_F_DSR) != 0, direct);
            EXPECT_EQ((entry.flags & FLOW_F_SNAT) != 0, !direct);
        }
        // A backend of this node needs neither.
        services.put(Services::Backend{9, f.pod, 8080});
        services.put(
            Services::Service{.address = f.any, .port = 30081, .number = 9, .backends = {9}, .flags = LB_F_NODE_PORT});
        datapath.run("cil_from_netdev", packet(IPPROTO_TCP, f.client, 40000, f.node, 30081, tcp::kSyn), "eth0");
        EXPECT_EQ(datapath.find_flow(f.client, f.node, 40000, 30081, IPPROTO_TCP)->flags & (FLOW_F_DSR | FLOW_F_SNAT),
                  0U);
        EXPECT_TRUE(datapath.find_flow(f.client, f.pod, 40000, 8080, IPPROTO_TCP));
    }
}

INSTANTIATE_TEST_SUITE_P(Families, Dsr, kDsrFamilies, [](const auto& info) { return info.param.v6 ? "IPv6" : "IPv4"; });

}  // namespace
}  // namespace axo::test
