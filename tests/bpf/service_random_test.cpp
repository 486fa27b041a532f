// Packets at random between everybody there is, some of them broken, in every configuration: whatever becomes of a
// packet, it does not crash, what was right in it stays right, and the two entries of a connection stay each other's.
#include <random>

#include "checksums.h"
#include "maps/convert.h"
#include "maps/flow_map.h"
#include "service_fixture.h"

namespace axo::test {
namespace {

struct Case {
    const char* object;
    const char* program;
    const char* device;
    bool v6;
    bool legacy;
    lb_mode mode;
};

class RandomTraffic : public testing::TestWithParam<Case> {
protected:
    using Random = std::minstd_rand;

    static const char* pick(Random& random, const std::vector<const char*>& from) {
        return from[random() % from.size()];
    }

    static std::vector<const char*> addresses() {
        if (GetParam().v6)
            return {"fd00:10:1::1", "fd00:10:1::2", "fd00:10:2::1", "2001:db8::7",  "fd00:18::2",
                    "fd00:18::3",   "fd00:96::10",  "fe80::1",      "2001:db8::100"};
        return {"10.0.1.1",   "10.0.1.2",   "10.0.2.1",     "192.0.2.7",  "172.18.0.2",
                "172.18.0.3", "10.96.0.10", "169.254.42.1", "192.0.2.100"};
    }

    static Bytes packet(Random& random, int depth = 0) {
        static constexpr std::uint16_t kPorts[] = {80, 8080, 30080, 40000, 53, 1000};
        static constexpr std::uint8_t kFlags[] = {tcp::kSyn, tcp::kAck, tcp::kSyn | tcp::kAck, tcp::kFin | tcp::kAck,
                                                  tcp::kRst};
        const bool v6 = GetParam().v6;
        const char* source = pick(random, addresses());
        const char* destination = pick(random, addresses());
        const auto ttl = static_cast<std::uint8_t>(random() % 20 == 0 ? 1 : 64);
        auto builder = PacketBuilder().eth(Datapath::node_mac(1), Datapath::pod_mac(1));
        const std::uint16_t from = kPorts[random() % std::size(kPorts)], to = kPorts[random() % std::size(kPorts)];
        builder = v6 ? builder.ipv6(source, destination, ttl)
                     : builder.ipv4(source, destination, ttl, random() % 2 == 0 ? 0x4000 : 0);
        switch (random() % (depth == 0 ? 5 : 3)) {
            case 0: builder.tcp(from, to, kFlags[random() % std::size(kFlags)]); break;
            case 1: builder.udp(from, to); break;
            case 2: builder.icmp(v6 ? 128 : 8, 0, from, 1, v6); break;
            case 3: builder.icmp(v6 ? 129 : 0, 0, from, 1, v6); break;
            default: {
                const Bytes about = packet(random, 1);
                const std::size_t least = v6 ? 48 : 28;
                const std::size_t size = std::min(about.size() - ETH_HLEN, least + random() % 40);
                builder.icmp(v6 ? 1 : 3, v6 ? 4 : 3, 0, 0, v6).raw(std::span(about.data() + ETH_HLEN, size));
                return Checksums::filled(builder.build());
            }
        }
        return Checksums::filled(builder.payload(random() % 50).build(), v6 || random() % 4 != 0);
    }

    static void set_up(Services& services) {
        const bool v6 = GetParam().v6;
        services.set_nat_address("eth0", "172.18.0.2", "fd00:18::2");
        std::uint32_t id = 0;
        for (const std::uint8_t protocol : {IPPROTO_TCP, IPPROTO_UDP}) {
            std::vector<std::uint32_t> ids;
            for (const char* address : v6 ? std::vector{"fd00:10:1::1", "fd00:10:1::2", "fd00:10:2::1", "fd00:18::2"}
                                          : std::vector{"10.0.1.1", "10.0.1.2", "10.0.2.1", "172.18.0.2"}) {
                services.put(Services::Backend{++id, address, 8080, protocol});
                ids.push_back(id);
            }
            std::uint16_t number = protocol;
            for (const auto& [address, port] : {std::pair{v6 ? "fd00:96::10" : "10.96.0.10", std::uint16_t{80}},
                                                std::pair{v6 ? "::" : "0.0.0.0", std::uint16_t{30080}},
                                                std::pair{v6 ? "2001:db8::100" : "192.0.2.100", std::uint16_t{53}}}) {
                services.put(Services::Service{.address = address,
                                               .port = port,
                                               .protocol = protocol,
                                               .number = ++number,
                                               .backends = ids,
                                               .flags = LB_F_ROUTABLE});
                number = static_cast<std::uint16_t>(number + 100);
            }
        }
        services.close_other_ports(v6 ? "2001:db8::100" : "192.0.2.100");
    }
};

TEST_P(RandomTraffic, WhatWasRightStaysRight) {
    const Case& c = GetParam();
    Options options = with_services({.legacy = c.legacy});
    options.lb.mode = static_cast<std::uint8_t>(c.mode);
    Datapath datapath(c.object, options);
    Services services(datapath);
    set_up(services);
    Random random(7);
    std::uint32_t out_again = 0;
    for (int i = 0; i < 3000; ++i) {
        const Bytes sent = packet(random);
        ASSERT_EQ(Checksums::wrong(sent), "") << hex(sent);
        const auto out = datapath.run(c.program, sent, c.device);
        ASSERT_TRUE(out.return_value == kPass || out.return_value == kDrop || out.return_value == kRedirect);
        if (out.return_value == kDrop) continue;
        ++out_again;
        ASSERT_EQ(Checksums::wrong(out.packet_out), "") << i << ": " << hex(sent) << "\nbecame " << hex(out.packet_out);
    }
    EXPECT_GT(out_again, 300U);
    // Broken ones: bytes changed, and cut off anywhere.
    for (int i = 0; i < 3000; ++i) {
        Bytes broken = packet(random);
        for (std::uint32_t changes = random() % 4; changes > 0; --changes)
            broken[ETH_HLEN + random() % (broken.size() - ETH_HLEN)] = static_cast<std::byte>(random());
        broken.resize(std::max<std::size_t>(broken.size() - random() % 40, ETH_HLEN + (c.v6 ? 40 : 20)));
        const auto out = datapath.run(c.program, broken, c.device);
        ASSERT_TRUE(out.return_value == kPass || out.return_value == kDrop || out.return_value == kRedirect);
    }
    // Each rewriting entry's other one is there and leads back, unless a later connection has taken its place.
    std::size_t translated = 0, orphans = 0;
    const auto maps = FlowMaps::use(datapath.map("cilium_flows4"), datapath.map("cilium_flows6"));
    ASSERT_TRUE(maps) << maps.error().to_string();
    ASSERT_TRUE(maps->for_each([&](const FlowRow& row) {
        const flow& value = row.value;
        if ((value.flags & (FLOW_F_REWRITE_LOW | FLOW_F_REWRITE_HIGH)) == 0 || (value.flags & FLOW_F_DSR) != 0) return;
        ++translated;
        EXPECT_NE(value.flags & (FLOW_F_REWRITE_LOW | FLOW_F_REWRITE_HIGH), FLOW_F_REWRITE_LOW | FLOW_F_REWRITE_HIGH);
        FlowRow other;
        other.source = from_axo_addr(value.rewrite.saddr, c.v6);
        other.destination = from_axo_addr(value.rewrite.daddr, c.v6);
        other.source_port = PacketBuilder::swap16(value.rewrite.sport);
        other.destination_port = PacketBuilder::swap16(value.rewrite.dport);
        other.protocol = row.protocol;
        other.zone = value.rewrite.zone;
        const auto found =
            c.v6 ? maps->v6().get(FlowMaps::encode_key6(other)) : maps->v4().get(FlowMaps::encode_key4(other));
        // Of a connection that has got another backend the other entry is left until it expires.
        if (!found) {
            EXPECT_NE(value.flags & FLOW_F_TRANSLATED, 0) << "an opener's entry without the other one";
            ++orphans;
        }
    }));
    EXPECT_GT(translated, 10U);
    EXPECT_LE(orphans * 4, translated);
}

INSTANTIATE_TEST_SUITE_P(Ways, RandomTraffic,
                         testing::Values(Case{"pod", "cil_from_container", "lxc1", false, false, LB_MODE_SNAT},
                                         Case{"pod", "cil_from_container", "lxc1", true, false, LB_MODE_SNAT},
                                         Case{"pod", "cil_from_container", "lxc1", false, true, LB_MODE_SNAT},
                                         Case{"netdev", "cil_from_netdev", "eth0", false, false, LB_MODE_SNAT},
                                         Case{"netdev", "cil_from_netdev", "eth0", true, false, LB_MODE_SNAT},
                                         Case{"netdev", "cil_from_netdev", "eth0", false, false, LB_MODE_HYBRID},
                                         Case{"netdev", "cil_from_netdev", "eth0", true, false, LB_MODE_DSR},
                                         Case{"netdev", "cil_from_netdev", "eth0", true, true, LB_MODE_SNAT}),
                         [](const auto& info) {
                             return std::string(info.param.object) + (info.param.v6 ? "IPv6" : "IPv4") +
                                    (info.param.legacy ? "Legacy" : "") + "Mode" + std::to_string(info.param.mode);
                         });

}  // namespace
}  // namespace axo::test
