// Geneve: the tunnel's bytes, and direct server return by an option of its header, which is seen and given as metadata.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_packet.h>
#include <sys/socket.h>

#include <chrono>
#include <thread>

#include "dsr_fixture.h"
#include "kernel/bpf_blobs.h"
#include "tunnel_metadata.h"

AXO_BPF_BLOB(tunnel_metadata)

namespace axo::test {
namespace {

constexpr std::uint32_t kOtherNode = 0xac120003;  // 172.18.0.3
constexpr std::uint32_t kWorld = 2;

// As Cilium writes it: class, type, length in words, the frontend's address and port, two bytes of nothing.
Bytes dsr_option(const char* frontend, std::uint16_t port) {
    const IpAddress parsed = *IpAddress::parse(frontend);
    const auto address = parsed.bytes();
    Bytes option{std::byte{0x01}, std::byte{0x4b}, std::byte{0x81}, static_cast<std::byte>((address.size() + 4) / 4)};
    for (const auto value : address) option.push_back(static_cast<std::byte>(value));
    option.push_back(static_cast<std::byte>(port >> 8U));
    option.push_back(static_cast<std::byte>(port & 255U));
    option.resize(option.size() + 2);
    return option;
}

BpfObject load(const char* without) {
    BpfLoadSpec spec;
    spec.name = "tunnel_metadata";
    spec.object = bpf_blob_tunnel_metadata();
    spec.disabled_programs = {without};
    auto loaded = BpfObject::load(spec);
    EXPECT_TRUE(loaded) << loaded.error().message;
    return std::move(*loaded);
}

// Packets that really arrive at the uplink, and what the program there sends to the tunnel device.
class SentMetadata {
public:
    explicit SentMetadata(Datapath& datapath)
        : object_(load("give_metadata")),
          uplink_("eth0", BPF_TC_INGRESS, datapath.program("cil_from_netdev")),
          device_("cilium_vxlan", BPF_TC_EGRESS, *object_.program_fd("take_metadata")),
          socket_(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)) {
        EXPECT_TRUE(socket_);
    }
    tunnel_metadata send(const Bytes& packet) {
        const std::uint32_t zero = 0;
        tunnel_metadata seen{};
        const int map = *object_.map_fd("axo_test_metadata");
        EXPECT_EQ(::bpf_map_update_elem(map, &zero, &seen, BPF_ANY), 0);
        sockaddr_ll to{};
        to.sll_family = AF_PACKET;
        to.sll_ifindex = static_cast<int>(ifindex("uplink_far"));
        EXPECT_EQ(::sendto(socket_.get(), packet.data(), packet.size(), 0, reinterpret_cast<const sockaddr*>(&to),
                           sizeof(to)),
                  static_cast<ssize_t>(packet.size()));
        for (int patience = 200; patience > 0 && seen.packets == 0; --patience) {
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
            EXPECT_EQ(::bpf_map_lookup_elem(map, &zero, &seen), 0);
        }
        return seen;
    }

private:
    struct Filter {
        Filter(const std::string& device, bpf_tc_attach_point point, int program) {
            hook.sz = sizeof(hook);
            hook.ifindex = static_cast<int>(ifindex(device));
            hook.attach_point = point;
            EXPECT_EQ(::bpf_tc_hook_create(&hook), 0);
            LIBBPF_OPTS(bpf_tc_opts, options);
            options.prog_fd = program;
            EXPECT_EQ(::bpf_tc_attach(&hook, &options), 0);
        }
        ~Filter() {
            hook.attach_point = static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS);
            EXPECT_EQ(::bpf_tc_hook_destroy(&hook), 0);
        }
        Filter(const Filter&) = delete;
        Filter& operator=(const Filter&) = delete;
        bpf_tc_hook hook{};
    };
    BpfObject object_;
    Filter uplink_, device_;
    Fd socket_;
};

// Runs a program on packets that have come through the tunnel device.
class GivenMetadata {
public:
    GivenMetadata(Datapath& datapath, const std::string& program) : object_(load("take_metadata")) {
        const std::uint32_t zero = 0;
        const int fd = datapath.program(program);
        EXPECT_EQ(::bpf_map_update_elem(*object_.map_fd("axo_test_next"), &zero, &fd, BPF_ANY), 0);
    }
    TestRun run(const Bytes& packet, const std::string& device, std::uint32_t identity, const Bytes& option = {}) {
        const std::uint32_t zero = 0;
        tunnel_metadata given{};
        given.identity = identity;
        given.remote4 = kOtherNode;
        given.option_len = static_cast<std::uint32_t>(option.size());
        if (!option.empty()) std::memcpy(given.option, option.data(), option.size());
        EXPECT_EQ(::bpf_map_update_elem(*object_.map_fd("axo_test_metadata"), &zero, &given, BPF_ANY), 0);
        TestRunContext context;
        context.ifindex = ifindex(device);
        auto done = run_program(*object_.program_fd("give_metadata"), packet, context);
        EXPECT_TRUE(done) << done.error().message;
        return std::move(*done);
    }

private:
    BpfObject object_;
};

class Geneve : public DsrPackets {
protected:
    static Bytes from_other_node(const Bytes& inner, std::uint32_t identity, std::span<const std::byte> options = {}) {
        return PacketBuilder()
            .eth(Datapath::node_mac(1), Datapath::pod_mac(1))
            .ipv4("172.18.0.3", "172.18.0.2")
            .udp(45000, 6081)
            .geneve(identity, options)
            .raw(inner)
            .build();
    }
};

TEST_P(Geneve, PodsPacketsOfTheFastWay) {
    const auto& f = GetParam();
    if (!can_push_outer_headers() || !can_pull_outer_headers(f.v6)) GTEST_SKIP() << "the tunnel device does it";
    const Options options{.tunnel = true, .geneve = true};
    Datapath pod("pod", options);
    const auto sent = packet(IPPROTO_UDP, f.pod, 5000, f.remote, 53, 0);
    for (int round = 0; round < 2; ++round) {  // decided, then replayed
        const auto out = pod.run("cil_from_container", sent, "lxc1");
        ASSERT_EQ(out.return_value, kRedirect);
        ASSERT_EQ(out.packet_out.size(), sent.size() + 50);
        EXPECT_EQ(hex({out.packet_out.begin() + 36, out.packet_out.begin() + 38}), "17c1");
        // Version 0, no options; Ethernet inside; the pod's identity, 2001.
        EXPECT_EQ(hex({out.packet_out.begin() + 42, out.packet_out.begin() + 50}), "000065580007d100");
        EXPECT_EQ(l3({out.packet_out.begin() + 50, out.packet_out.end()}),
                  l3(packet(IPPROTO_UDP, f.pod, 5000, f.remote, 53, 0, 63)));
    }
    Datapath netdev("netdev", options);
    const auto received = packet(IPPROTO_UDP, f.remote, 53, f.pod, 5000, 0);
    for (int round = 0; round < 2; ++round) {
        const auto out = netdev.run("cil_from_netdev", from_other_node(received, 3001), "eth0");
        EXPECT_EQ(out.return_value, kRedirect);
        EXPECT_EQ(l3(out.packet_out), l3(packet(IPPROTO_UDP, f.remote, 53, f.pod, 5000, 0, 63)));
    }
    // Options are the device's to read; what has no Ethernet inside, and VXLAN at this port, are nobody's.
    auto wrapped = from_other_node(received, 3001, dsr_option(f.node, kPort));
    EXPECT_EQ(netdev.run("cil_from_netdev", wrapped, "eth0").return_value, kPass);
    for (const std::size_t broken : {42U, 43U, 44U, 45U}) {
        wrapped = from_other_node(received, 3001);
        wrapped[broken] ^= std::byte{1};
        EXPECT_EQ(netdev.run("cil_from_netdev", wrapped, "eth0").return_value, kPass) << broken;
    }
}

class DsrGeneve : public Geneve {
protected:
    static Options dsr(bool native = false, lb_mode mode = LB_MODE_DSR) {
        Options options = with_services({.tunnel = true, .geneve = true, .native = native});
        options.lb.mode = static_cast<std::uint8_t>(mode);
        options.lb.dispatch = LB_DISPATCH_GENEVE;
        // Where the fast way is off, the agent says so.
        options.tunnel_fast = can_push_outer_headers();
        return options;
    }
    static void add_service(Services& services, std::uint8_t protocol, const char* backend,
                            std::uint16_t port = kPort) {
        const std::uint32_t id = protocol + port - 30000U;
        services.put(Services::Backend{id, backend, 8080, protocol});
        services.put(Services::Service{.address = GetParam().any,
                                       .port = port,
                                       .protocol = protocol,
                                       .number = static_cast<std::uint16_t>(id),
                                       .backends = {id},
                                       .flags = LB_F_NODE_PORT});
    }
    static std::string option_of(const tunnel_metadata& seen) {
        const auto* begin = reinterpret_cast<const std::byte*>(seen.option);
        return hex({begin, begin + std::min<std::size_t>(seen.option_len, sizeof(seen.option))});
    }
};

TEST_P(DsrGeneve, TheTunnelTellsTheFrontend) {
    const auto& f = GetParam();
    for (const bool native : {false, true}) {
        Datapath datapath("netdev", dsr(native));
        Services services(datapath);
        services.set_nat_address("eth0", "172.18.0.2", "fd00:18::2");
        for (const std::uint8_t protocol : {IPPROTO_TCP, IPPROTO_UDP}) {
            add_service(services, protocol, f.remote);
            for (const unsigned flags : {tcp::kSyn, tcp::kSyn, tcp::kAck, tcp::kAck, tcp::kPsh}) {
                const auto out =
                    datapath.run("cil_from_netdev", packet(protocol, f.client, 40000, f.node, kPort, flags), "eth0");
                EXPECT_EQ(out.return_value, kRedirect);
                const Bytes plain = packet(protocol, f.client, 40000, f.remote, 8080, flags, 63);
                if (protocol == IPPROTO_UDP || flags == tcp::kSyn || !can_push_outer_headers()) {
                    EXPECT_EQ(l3(out.packet_out), l3(plain));
                } else {
                    ASSERT_EQ(out.packet_out.size(), plain.size() + 50);
                    EXPECT_EQ(hex({out.packet_out.begin() + 42, out.packet_out.begin() + 50}), "0000655800000200");
                    EXPECT_EQ(l3({out.packet_out.begin() + 50, out.packet_out.end()}), l3(plain));
                }
            }
            const auto entry = *datapath.find_flow(f.client, f.node, 40000, kPort, protocol);
            EXPECT_EQ(entry.flags & (FLOW_F_DSR | FLOW_F_SNAT | FLOW_F_NODE_PORT), FLOW_F_DSR | FLOW_F_NODE_PORT);
            const flow_half& half = entry.half[(entry.flags & FLOW_F_INITIATOR_HIGH) != 0 ? 1 : 0];
            EXPECT_EQ(IpAddress::v4(half.route.tunnel_endpoint.ip4).to_string(), "172.18.0.3");
        }
        EXPECT_EQ(datapath.flow_count(), 2U);  // replies do not come through here
        // Clients of other identities than the world's are the world to the tunnel, too: CIDRs' are each node's own.
        datapath.add_ipcache(f.v6 ? "2001:db8::8/128" : "192.0.2.8/32", 0x01000005);
        const char* known = f.v6 ? "2001:db8::8" : "192.0.2.8";
        SentMetadata tunnel(datapath);
        for (const char* client : {f.client, known}) {
            for (const std::uint8_t protocol : {IPPROTO_TCP, IPPROTO_UDP}) {
                for (int again = 0; again < 2; ++again) {
                    const auto seen = tunnel.send(packet(protocol, client, 42000, f.node, kPort, tcp::kSyn));
                    EXPECT_EQ(seen.packets, 1U);
                    EXPECT_EQ(seen.identity, kWorld);
                    EXPECT_EQ(option_of(seen), hex(dsr_option(f.node, kPort)));
                }
            }
        }
    }
}

TEST_P(DsrGeneve, ClientsAreToldWhatThereIsRoomFor) {
    const auto& f = GetParam();
    Datapath datapath("netdev", dsr());
    Services services(datapath);
    for (const std::uint8_t protocol : {IPPROTO_TCP, IPPROTO_UDP}) {
        add_service(services, protocol, f.remote);
        const auto from_client = [&](unsigned flags, std::size_t l3_size) {
            const std::size_t headers = (f.v6 ? 40U : 20U) + (protocol == IPPROTO_TCP ? 20U : 8U);
            return datapath.run("cil_from_netdev",
                                packet(protocol, f.client, 41000, f.node, kPort, flags, 64, l3_size - headers), "eth0");
        };
        from_client(tcp::kSyn, 100);
        // 1500 less the tunnel's headers; a datagram's less the option, 12 or 24 bytes.
        const unsigned room = protocol == IPPROTO_TCP ? 1450 : f.v6 ? 1426 : 1438;
        const auto fits = from_client(tcp::kAck, room);
        EXPECT_EQ(fits.return_value, kRedirect);
        EXPECT_GE(fits.packet_out.size(), room);
        const auto told = from_client(tcp::kAck, room + 1);
        const std::size_t l4 = f.v6 ? 54 : 34;
        EXPECT_EQ(std::to_integer<unsigned>(told.packet_out[l4]), f.v6 ? 2U : 3U);
        EXPECT_EQ(std::to_integer<unsigned>(told.packet_out[l4 + 6]) << 8U |
                      std::to_integer<unsigned>(told.packet_out[l4 + 7]),
                  room);
        EXPECT_EQ(Checksums::wrong(told.packet_out), "");
    }
}

// On the fast way they would overtake the first one.
TEST_P(DsrGeneve, FragmentsStayTogether) {
    const auto& f = GetParam();
    Datapath datapath("netdev", dsr());
    Services services(datapath);
    add_service(services, IPPROTO_UDP, f.remote);
    SentMetadata tunnel(datapath);
    for (const bool later : {false, true}) {
        auto builder = PacketBuilder().eth(Datapath::node_mac(1), Datapath::pod_mac(1));
        if (f.v6) {
            builder.ipv6(f.client, f.node).fragment6(later ? 808 : 0, !later, 9);
        } else {
            builder.ipv4(f.client, f.node, 64, later ? 808 / 8 : 0x2000, 9);
        }
        if (later) {
            builder.protocol(IPPROTO_UDP).payload(100);
        } else {
            builder.udp(40000, kPort).payload(800);
        }
        const auto seen = tunnel.send(builder.build());
        EXPECT_EQ(seen.packets, 1U);
        EXPECT_EQ(option_of(seen), hex(dsr_option(f.node, kPort)));
    }
}

// Where there is no tunnel to the backend, or the mode is another, it is as it was without.
TEST_P(DsrGeneve, OtherwiseTheNodeStandsForTheClient) {
    const auto& f = GetParam();
    const char* outside = f.v6 ? "2001:db8:9::1" : "198.51.100.9";
    for (const bool native : {false, true}) {
        Datapath datapath("netdev", dsr(native, LB_MODE_HYBRID));
        Services services(datapath);
        services.set_nat_address("eth0", "172.18.0.2", "fd00:18::2");
        add_service(services, IPPROTO_TCP, outside, 30081);
        add_service(services, IPPROTO_UDP, f.remote);
        auto out =
            datapath.run("cil_from_netdev", packet(IPPROTO_TCP, f.client, 40000, f.node, 30081, tcp::kSyn), "eth0");
        EXPECT_EQ(l3(out.packet_out), l3(packet(IPPROTO_TCP, f.node, 40000, outside, 8080, tcp::kSyn, 63)));
        EXPECT_EQ(datapath.find_flow(f.client, f.node, 40000, 30081, IPPROTO_TCP)->flags & (FLOW_F_DSR | FLOW_F_SNAT),
                  FLOW_F_SNAT);
        out = datapath.run("cil_from_netdev", packet(IPPROTO_UDP, f.client, 40000, f.node, kPort, 0), "eth0");
        EXPECT_EQ(out.return_value, kRedirect);
        EXPECT_EQ(datapath.find_flow(f.client, f.node, 40000, kPort, IPPROTO_UDP)->flags & (FLOW_F_DSR | FLOW_F_SNAT),
                  FLOW_F_SNAT);
        // Through the tunnel as the node.
        if (native) {
            EXPECT_EQ(l3(out.packet_out), l3(packet(IPPROTO_UDP, f.node, 40000, f.remote, 8080, 0, 63)));
        } else if (can_push_outer_headers()) {
            EXPECT_EQ(hex({out.packet_out.begin() + 42, out.packet_out.begin() + 50}), "0000655800000600");
        }
    }
}

TEST_P(DsrGeneve, TheBackendsNodeAnswersAsTheFrontend) {
    const auto& f = GetParam();
    const char* frontend = f.v6 ? "fd00:18::9" : "172.18.0.9";
    for (const std::uint8_t protocol : {IPPROTO_TCP, IPPROTO_UDP}) {
        Datapath overlay("overlay", dsr());
        GivenMetadata tunnel(overlay, "cil_from_overlay");
        const auto opening = packet(protocol, f.client, 40000, f.pod, 8080, tcp::kSyn);
        auto out = tunnel.run(opening, "cilium_vxlan", kWorld, dsr_option(frontend, kPort));
        EXPECT_EQ(out.return_value, kRedirect);
        EXPECT_EQ(l3(out.packet_out), l3(packet(protocol, f.client, 40000, f.pod, 8080, tcp::kSyn, 63)));
        EXPECT_EQ(overlay.flow_count(), 1U);
        const auto entry = *overlay.find_flow(f.client, f.pod, 40000, 8080, protocol);
        EXPECT_TRUE(entry.flags & FLOW_F_DSR);
        EXPECT_EQ(entry.identity_src, f.v6 ? 10U : 9U) << "the world's, by family";
        const auto answers_as = [&](const char* address, std::uint16_t port) {
            Datapath pod("pod", dsr());
            overlay.copy_flows_to(pod);
            for (const unsigned flags : {tcp::kSyn | tcp::kAck, tcp::kAck + 0, tcp::kAck + 0}) {
                const auto reply =
                    pod.run("cil_from_container", packet(protocol, f.pod, 8080, f.client, 40000, flags), "lxc1");
                EXPECT_EQ(reply.return_value, kRedirect);
                EXPECT_EQ(l3(reply.packet_out), l3(packet(protocol, address, port, f.client, 40000, flags, 63)));
            }
        };
        // Packets without the option belong to the same connection, at the uplink as well as through the device.
        EXPECT_EQ(
            tunnel.run(packet(protocol, f.client, 40000, f.pod, 8080, tcp::kAck), "cilium_vxlan", kWorld).return_value,
            kRedirect);
        answers_as(frontend, kPort);
        if (protocol == IPPROTO_TCP) continue;
        // A datagram that was sent to another frontend.
        tunnel.run(opening, "cilium_vxlan", kWorld, dsr_option(frontend, kPort + 1));
        answers_as(frontend, kPort + 1);
    }
}

TEST_P(DsrGeneve, WhatCarriesTheWorldIsReplayed) {
    const auto& f = GetParam();
    if (!can_push_outer_headers() || !can_pull_outer_headers(f.v6)) GTEST_SKIP() << "the tunnel device does it";
    Datapath overlay("overlay", dsr());
    GivenMetadata tunnel(overlay, "cil_from_overlay");
    tunnel.run(packet(IPPROTO_TCP, f.client, 40000, f.pod, 8080, tcp::kSyn), "cilium_vxlan", kWorld,
               dsr_option(f.v6 ? "fd00:18::9" : "172.18.0.9", kPort));
    Datapath netdev("netdev", dsr());
    overlay.copy_flows_to(netdev);
    const auto ack = packet(IPPROTO_TCP, f.client, 40000, f.pod, 8080, tcp::kAck);
    // Only the slow path writes how long the entry lives.
    const auto decided = [&](std::uint32_t identity) {
        flow entry = *netdev.find_flow(f.client, f.pod, 40000, 8080, IPPROTO_TCP);
        entry.expires = 1;
        netdev.put_flow_update(f.client, f.pod, 40000, 8080, IPPROTO_TCP, entry);
        const auto out = netdev.run("cil_from_netdev", from_other_node(ack, identity), "eth0");
        EXPECT_EQ(out.return_value, kRedirect);
        EXPECT_EQ(l3(out.packet_out), l3(packet(IPPROTO_TCP, f.client, 40000, f.pod, 8080, tcp::kAck, 63)));
        return netdev.find_flow(f.client, f.pod, 40000, 8080, IPPROTO_TCP)->expires != 1;
    };
    EXPECT_TRUE(decided(kWorld));  // the handshake is over
    EXPECT_FALSE(decided(kWorld));
    EXPECT_FALSE(decided(kWorld));
    // Who says that it is somebody is not the world.
    EXPECT_TRUE(decided(3001));
    EXPECT_TRUE(decided(kWorld));
    EXPECT_FALSE(decided(kWorld));
}

TEST_P(DsrGeneve, ABackendInTheNodesOwnNamespace) {
    const auto& f = GetParam();
    const char* frontend = f.v6 ? "fd00:18::9" : "172.18.0.9";
    Datapath overlay("overlay", dsr());
    GivenMetadata tunnel(overlay, "cil_from_overlay");
    const auto opening = packet(IPPROTO_TCP, f.client, 40000, f.node, 8080, tcp::kSyn);
    const auto out = tunnel.run(opening, "cilium_vxlan", kWorld, dsr_option(frontend, kPort));
    EXPECT_EQ(out.return_value, kPass);
    EXPECT_EQ(l3(out.packet_out), l3(opening));
    Datapath netdev("netdev", dsr());
    overlay.copy_flows_to(netdev);
    const auto answer =
        netdev.run("cil_to_netdev", packet(IPPROTO_TCP, f.node, 8080, f.client, 40000, tcp::kSyn | tcp::kAck), "eth0");
    EXPECT_EQ(answer.return_value, kPass);
    EXPECT_EQ(l3(answer.packet_out), l3(packet(IPPROTO_TCP, frontend, kPort, f.client, 40000, tcp::kSyn | tcp::kAck)));
}

TEST_P(DsrGeneve, OtherOptionsAreNobodysFrontend) {
    const auto& f = GetParam();
    const Bytes good = dsr_option(f.v6 ? "fd00:18::9" : "172.18.0.9", kPort);
    std::vector<Bytes> others(4, good);
    others[0][0] = std::byte{0x02};   // another class
    others[1][2] = std::byte{0x01};   // another type
    others[2][3] ^= std::byte{0x01};  // another length
    others[3].resize(32);             // more than one
    others.push_back({});
    for (const Bytes& option : others) {
        Datapath overlay("overlay", dsr());
        GivenMetadata tunnel(overlay, "cil_from_overlay");
        const auto out =
            tunnel.run(packet(IPPROTO_TCP, f.client, 40000, f.pod, 8080, tcp::kSyn), "cilium_vxlan", kWorld, option);
        EXPECT_EQ(out.return_value, kRedirect);
        EXPECT_EQ(overlay.find_flow(f.client, f.pod, 40000, 8080, IPPROTO_TCP)->flags & FLOW_F_DSR, 0U) << hex(option);
    }
    // Neither is the right one, where DSR is off or tells in another way.
    for (const bool other_way : {false, true}) {
        Options options = dsr(false, other_way ? LB_MODE_DSR : LB_MODE_SNAT);
        if (other_way) options.lb.dispatch = LB_DISPATCH_OPTION;
        Datapath overlay("overlay", options);
        GivenMetadata tunnel(overlay, "cil_from_overlay");
        tunnel.run(packet(IPPROTO_TCP, f.client, 40000, f.pod, 8080, tcp::kSyn), "cilium_vxlan", kWorld, good);
        EXPECT_EQ(overlay.find_flow(f.client, f.pod, 40000, 8080, IPPROTO_TCP)->flags & FLOW_F_DSR, 0U);
    }
}

INSTANTIATE_TEST_SUITE_P(Families, Geneve, kDsrFamilies,
                         [](const auto& info) { return info.param.v6 ? "IPv6" : "IPv4"; });
INSTANTIATE_TEST_SUITE_P(Families, DsrGeneve, kDsrFamilies,
                         [](const auto& info) { return info.param.v6 ? "IPv6" : "IPv4"; });

}  // namespace
}  // namespace axo::test
