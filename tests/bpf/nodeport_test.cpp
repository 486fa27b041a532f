// Services at the uplink: clients outside, backends here and on other nodes, and the way back.
#include "checksums.h"
#include "maps/convert.h"
#include "policy_builder.h"
#include "service_fixture.h"

namespace axo::test {
namespace {

const MacAddress kUplink = *MacAddress::parse("02:00:00:00:00:01");
const MacAddress kFar = *MacAddress::parse("02:00:00:00:00:99");

struct Families {
    const char *pod, *remote, *client, *node, *remote_node, *router, *vip, *any;
    bool v6;
};
const Families kIpv4{"10.0.1.1",   "10.0.2.1",    "192.0.2.7", "172.18.0.2", "172.18.0.3",
                     "10.0.1.254", "192.0.2.100", "0.0.0.0",   false};
const Families kIpv6{"fd00:10:1::1",  "fd00:10:2::1",  "2001:db8::7", "fd00:18::2", "fd00:18::3",
                     "fd00:10:1::fe", "2001:db8::100", "::",          true};

// Ends of a packet, as they stand in it.
struct Ends {
    const char *source, *destination;
    std::uint16_t source_port, destination_port;
};

// An error about a packet, from `from` to `to`, with as much of the packet as IPv4 routers send at least or all of it.
Bytes icmp_error(bool v6, const char* from, const char* to, const Bytes& about, bool short_quote,
                 std::uint8_t ttl = 64) {
    auto builder = PacketBuilder().eth(kUplink, kFar);
    builder = v6 ? builder.ipv6(from, to, ttl) : builder.ipv4(from, to, ttl);
    const std::size_t size = short_quote ? (v6 ? 48 : 28) : about.size() - ETH_HLEN;
    return Checksums::filled(
        builder.icmp(v6 ? 2 : 3, v6 ? 0 : 4, 0, 1400, v6).raw(std::span(about.data() + ETH_HLEN, size)).build());
}

class NodePort : public testing::TestWithParam<Families> {
protected:
    static PacketBuilder ip(const char* source, const char* destination, std::uint8_t ttl = 64) {
        auto builder = PacketBuilder().eth(kUplink, kFar);
        return GetParam().v6 ? builder.ipv6(source, destination, ttl) : builder.ipv4(source, destination, ttl);
    }
    static Bytes tcp_packet(const Ends& e, std::uint8_t flags, std::size_t size = 0, std::uint8_t ttl = 64) {
        return Checksums::filled(
            ip(e.source, e.destination, ttl).tcp(e.source_port, e.destination_port, flags).payload(size).build());
    }
    static Bytes udp_packet(const Ends& e, std::size_t size = 0, std::uint8_t ttl = 64) {
        return Checksums::filled(
            ip(e.source, e.destination, ttl).udp(e.source_port, e.destination_port).payload(size).build());
    }
    // Without the Ethernet header, which the neighbour's address replaces later.
    static std::string l3(const Bytes& packet) { return hex(packet).substr(29); }
    static std::string source_of(const Bytes& packet) {
        if (GetParam().v6) return IpAddress::v6(static_cast<const void*>(packet.data() + 22)).to_string();
        std::uint32_t word = 0;
        std::memcpy(&word, packet.data() + 26, sizeof(word));
        return IpAddress::v4(word).to_string();
    }
    static constexpr std::uint16_t kPort = 30080;
    static Services::Service node_port(std::uint8_t protocol = IPPROTO_TCP) {
        return {
            .address = GetParam().any, .port = kPort, .protocol = protocol, .backends = {1}, .flags = LB_F_NODE_PORT};
    }
    static void set_address(Services& services) { services.set_nat_address("eth0", "172.18.0.2", "fd00:18::2"); }
};

TEST_P(NodePort, ALocalBackendSeesTheClient) {
    const auto& f = GetParam();
    Datapath datapath("netdev", with_services());
    Services services(datapath);
    services.put(Services::Backend{1, f.pod, 8080});
    services.put(node_port());
    const Ends sent{f.client, f.node, 40000, kPort}, translated{f.client, f.pod, 40000, 8080};
    for (const std::uint8_t flags : {tcp::kSyn, tcp::kAck, tcp::kAck}) {
        const auto out = datapath.run("cil_from_netdev", tcp_packet(sent, flags, 5), "eth0");
        EXPECT_EQ(out.return_value, kRedirect);
        EXPECT_EQ(l3(out.packet_out), l3(tcp_packet(translated, flags, 5, 63)));
    }
    EXPECT_EQ(datapath.flow_count(), 2U);
    const auto entry = *datapath.find_flow(f.client, f.node, 40000, kPort, IPPROTO_TCP);
    EXPECT_EQ(entry.flags & (FLOW_F_NODE_PORT | FLOW_F_SNAT | FLOW_F_FAST), FLOW_F_NODE_PORT | FLOW_F_FAST);
    // Its policy is asked about the client and the backend's port.
    datapath.set_policy(
        1,
        PolicyImageBuilder::build(
            {.enforced = true,
             .rules =
                 {{.cookie = 5, .peers = {f.v6 ? 10U : 9U}, .protocol = IPPROTO_TCP, .first = 8080, .last = 8080}}},
            {}),
        POLICY_REF_F_INGRESS);
    EXPECT_EQ(datapath.run("cil_from_netdev", tcp_packet(sent, tcp::kAck), "eth0").return_value, kRedirect);
    EXPECT_EQ(datapath.find_flow(f.client, f.node, 40000, kPort, IPPROTO_TCP)->ingress_cookie, 5U);
    datapath.set_policy(1, PolicyImageBuilder::build({.enforced = true}, {}), POLICY_REF_F_INGRESS);
    EXPECT_EQ(datapath.run("cil_from_netdev", tcp_packet(sent, tcp::kAck), "eth0").return_value, kDrop);
}

// Two connections of one port to a backend in the node's namespace: the second one would get a port on the other side
// of its own address, where nobody looks for it.
TEST_P(NodePort, NotForWhoComesWithTheNodesOwnAddress) {
    const auto& f = GetParam();
    Datapath datapath("netdev", with_services());
    Services services(datapath);
    services.put(Services::Backend{1, f.node, 8080});
    services.put(node_port());
    const auto sent = tcp_packet({f.node, f.node, 80, kPort}, tcp::kSyn);
    const auto out = datapath.run("cil_from_netdev", sent, "eth0");
    EXPECT_EQ(out.return_value, kPass);
    EXPECT_EQ(hex(out.packet_out), hex(sent));
}

TEST_P(NodePort, OnlyAddressesThatServeThem) {
    const auto& f = GetParam();
    for (const auto& [cidr, served] : {std::pair{f.v6 ? "fd00:18::/112" : "172.18.0.0/30", true},
                                       std::pair{f.v6 ? "fd00:18::1:0/112" : "172.18.0.4/30", false},
                                       std::pair{f.v6 ? "172.18.0.0/16" : "fd00::/8", false}}) {
        Options options = with_services();
        write_node_port_addresses(options.lb, {*Prefix::parse("203.0.113.0/24"), *Prefix::parse(cidr)});
        Datapath datapath("netdev", options);
        Services services(datapath);
        services.put(Services::Backend{1, f.pod, 8080});
        services.put(node_port());
        auto balanced = node_port();
        balanced.address = f.vip;
        balanced.flags = LB_F_LOAD_BALANCER | LB_F_ROUTABLE;
        services.put(balanced);
        const auto verdict = [&](const char* to) {
            return datapath.run("cil_from_netdev", tcp_packet({f.client, to, 40000, kPort}, tcp::kSyn), "eth0")
                .return_value;
        };
        EXPECT_EQ(verdict(f.node), served ? kRedirect : kPass) << cidr;
        EXPECT_EQ(verdict(f.vip), kRedirect) << "other addresses are left alone";
    }
}

TEST_P(NodePort, ARemoteBackendAnswersTheNodeAndTheNodeTheClient) {
    const auto& f = GetParam();
    Datapath datapath("netdev", with_services());
    Services services(datapath);
    set_address(services);
    for (const std::uint8_t protocol : {IPPROTO_TCP, IPPROTO_UDP}) {
        const bool tcp = protocol == IPPROTO_TCP;
        services.put(Services::Backend{tcp ? 1U : 2U, f.remote, 8080, protocol});
        auto service = node_port(protocol);
        service.backends = {tcp ? 1U : 2U};
        services.put(service);
        // 40000 is in the range and free: the client keeps it. 1000 is not in it.
        for (const std::uint16_t client_port : {40000, 1000}) {
            const Ends sent{f.client, f.node, client_port, kPort};
            const auto packet = [&](const Ends& ends, std::uint8_t flags, std::size_t size, std::uint8_t ttl) {
                return tcp ? tcp_packet(ends, flags, size, ttl) : udp_packet(ends, size, ttl);
            };
            auto out = datapath.run("cil_from_netdev", packet(sent, tcp::kSyn, 7, 64), "eth0");
            EXPECT_EQ(out.return_value, kRedirect);
            const auto entry = datapath.find_flow(f.client, f.node, client_port, kPort, protocol);
            ASSERT_TRUE(entry);
            const std::uint16_t port = PacketBuilder::swap16(entry->rewrite.sport);
            EXPECT_GE(port, 32768);
            EXPECT_EQ(port == client_port, client_port == 40000);
            const Ends forth{f.node, f.remote, port, 8080}, back{f.remote, f.node, 8080, port};
            const Ends answered{f.node, f.client, kPort, client_port};
            EXPECT_EQ(l3(out.packet_out), l3(packet(forth, tcp::kSyn, 7, 63)));
            const auto reply = [&](std::uint8_t flags) {
                out = datapath.run("cil_from_netdev", packet(back, flags, 9, 64), "eth0");
                EXPECT_EQ(out.return_value, kRedirect);
                EXPECT_EQ(l3(out.packet_out), l3(packet(answered, flags, 9, 63)));
            };
            reply(tcp::kSyn | tcp::kAck);
            datapath.events();
            for (int i = 0; i < 3; ++i) {
                out = datapath.run("cil_from_netdev", packet(sent, tcp::kAck, 11, 64), "eth0");
                EXPECT_EQ(out.return_value, kRedirect);
                EXPECT_EQ(l3(out.packet_out), l3(packet(forth, tcp::kAck, 11, 63)));
                reply(tcp::kAck);
            }
            EXPECT_TRUE(datapath.events().empty());
            EXPECT_EQ(datapath.find_flow(f.node, f.remote, port, 8080, protocol)->expires,
                      datapath.find_flow(f.client, f.node, client_port, kPort, protocol)->expires);
        }
    }
    EXPECT_EQ(datapath.flow_count(), 8U);
}

TEST_P(NodePort, ThroughTheTunnelTheRouterSpeaksForTheClient) {
    const auto& f = GetParam();
    if (!can_push_outer_headers() || !can_pull_outer_headers(f.v6)) GTEST_SKIP() << "the tunnel device does it";
    Datapath datapath("netdev", with_services({.tunnel = true}));
    Services services(datapath);
    set_address(services);
    services.put(Services::Backend{1, f.remote, 8080, IPPROTO_UDP});
    services.put(node_port(IPPROTO_UDP));
    const Ends sent{f.client, f.node, 40000, kPort};
    const Ends forth{f.router, f.remote, 40000, 8080}, back{f.remote, f.router, 8080, 40000};
    for (int i = 0; i < 2; ++i) {
        const auto out = datapath.run("cil_from_netdev", udp_packet(sent, 20), "eth0");
        EXPECT_EQ(out.return_value, kRedirect);
        // The identity in the VNI: remote-node.
        ASSERT_GT(out.packet_out.size(), 50U + 14U);
        EXPECT_EQ(std::to_integer<unsigned>(out.packet_out[14 + 20 + 8 + 6]), 6U);
        const Bytes inner(out.packet_out.begin() + 50, out.packet_out.end());
        EXPECT_EQ(l3(inner), l3(udp_packet(forth, 20, 63)));
    }
    const auto wrapped = [&](const Bytes& inner, std::uint32_t identity) {
        return PacketBuilder()
            .eth(kUplink, kFar)
            .ipv4("172.18.0.3", "172.18.0.2")
            .udp(45000, 8472)
            .vxlan(identity)
            .raw(inner)
            .build();
    };
    const auto reply = [&](std::uint32_t identity) {
        const auto out = datapath.run("cil_from_netdev", wrapped(udp_packet(back, 20), identity), "eth0");
        EXPECT_EQ(out.return_value, kRedirect);
        EXPECT_EQ(l3(out.packet_out), l3(udp_packet({f.node, f.client, kPort, 40000}, 20, 63)));
        const auto twin = *datapath.find_flow(f.router, f.remote, 40000, 8080, IPPROTO_UDP);
        EXPECT_EQ(twin.half[(twin.flags & FLOW_F_REWRITE_LOW) != 0 ? 0 : 1].identity, identity);
    };
    datapath.events();
    reply(3001);
    EXPECT_FALSE(datapath.events().empty()) << "the first one is decided about";
    reply(3001);
    EXPECT_TRUE(datapath.events().empty());
    // Under another identity it is another sender's, and decided anew.
    reply(3002);
    EXPECT_FALSE(datapath.events().empty());
    // Nobody asked for this: the tunnel device's.
    EXPECT_EQ(datapath.run("cil_from_netdev", wrapped(udp_packet({f.remote, f.router, 8080, 40001}, 20), 3001), "eth0")
                  .return_value,
              kPass);
}

TEST_P(NodePort, HandshakesFromTheTunnelGoOnFromTheUplink) {
    const auto& f = GetParam();
    if (!can_push_outer_headers() || !can_pull_outer_headers(f.v6)) GTEST_SKIP() << "the tunnel device does it";
    Datapath datapath("netdev", with_services({.tunnel = true}));
    Services services(datapath);
    services.put(Services::Backend{1, f.remote, 8080});
    services.put(node_port());
    ASSERT_EQ(
        datapath.run("cil_from_netdev", tcp_packet({f.client, f.node, 40000, kPort}, tcp::kSyn), "eth0").return_value,
        kRedirect);
    const auto packet = PacketBuilder()
                            .eth(kUplink, kFar)
                            .ipv4("172.18.0.3", "172.18.0.2")
                            .udp(45000, 8472)
                            .vxlan(3001)
                            .raw(tcp_packet({f.remote, f.router, 8080, 40000}, tcp::kSyn | tcp::kAck))
                            .build();
    const auto out = datapath.run("cil_from_netdev", packet, "eth0");
    EXPECT_EQ(out.return_value, kRedirect);
    EXPECT_EQ(l3(out.packet_out), l3(tcp_packet({f.node, f.client, kPort, 40000}, tcp::kSyn | tcp::kAck, 0, 63)));
}

TEST_P(NodePort, ABackendInTheNodesOwnNamespace) {
    const auto& f = GetParam();
    Datapath datapath("netdev", with_services());
    Services services(datapath);
    services.put(Services::Backend{1, f.node, 8080});
    services.put(node_port());
    for (const std::uint8_t flags : {tcp::kSyn, tcp::kAck, tcp::kAck}) {
        auto out = datapath.run("cil_from_netdev", tcp_packet({f.client, f.node, 40000, kPort}, flags, 5), "eth0");
        EXPECT_EQ(out.return_value, kPass);
        EXPECT_EQ(l3(out.packet_out), l3(tcp_packet({f.client, f.node, 40000, 8080}, flags, 5)));
        // The process answers through the stack.
        const auto answer = static_cast<std::uint8_t>(flags | tcp::kAck);
        out = datapath.run("cil_to_netdev", tcp_packet({f.node, f.client, 8080, 40000}, answer, 6), "eth0");
        EXPECT_EQ(out.return_value, kPass);
        EXPECT_EQ(l3(out.packet_out), l3(tcp_packet({f.node, f.client, kPort, 40000}, answer, 6)));
    }
    EXPECT_EQ(datapath.flow_count(), 2U);
    // Nobody listens: what the node's stack says is about the port that the client knows.
    const auto about = tcp_packet({f.client, f.node, 40000, 8080}, tcp::kSyn, 5);
    const auto out = datapath.run("cil_to_netdev", icmp_error(f.v6, f.node, f.client, about, false), "eth0");
    EXPECT_EQ(out.return_value, kPass);
    EXPECT_EQ(l3(out.packet_out), l3(icmp_error(f.v6, f.node, f.client,
                                                tcp_packet({f.client, f.node, 40000, kPort}, tcp::kSyn, 5), false)));
    // What the node sends besides is as it was, and is not tracked.
    const auto own = tcp_packet({f.node, f.client, 50000, 443}, tcp::kSyn);
    EXPECT_EQ(l3(datapath.run("cil_to_netdev", own, "eth0").packet_out), l3(own));
    EXPECT_EQ(datapath.flow_count(), 2U);
}

TEST_P(NodePort, WithLegacyRoutingPodsAreReachedThroughTheStack) {
    const auto& f = GetParam();
    Datapath datapath("netdev", with_services({.legacy = true}));
    Services services(datapath);
    set_address(services);
    services.put(Services::Backend{1, f.pod, 8080});
    services.put(node_port());
    services.put(Services::Backend{2, f.remote, 8080});
    services.put(
        Services::Service{.address = f.any, .port = 30081, .number = 2, .backends = {2}, .flags = LB_F_NODE_PORT});
    Datapath host("host", with_services({.legacy = true}));
    Datapath pod("pod", with_services({.legacy = true}));
    // A policy is asked where the packet is delivered, once.
    const auto image = PolicyImageBuilder::build(
        {.enforced = true, .rules = {{.cookie = 5, .protocol = IPPROTO_TCP, .first = 8080, .last = 8080}}}, {});
    for (Datapath* each : {&datapath, &host, &pod}) each->set_policy(1, image, POLICY_REF_F_INGRESS);
    for (const std::uint8_t flags : {tcp::kSyn, tcp::kAck}) {
        auto out = datapath.run("cil_from_netdev", tcp_packet({f.client, f.node, 40000, kPort}, flags, 5), "eth0");
        EXPECT_EQ(out.return_value, kPass);
        EXPECT_EQ(l3(out.packet_out), l3(tcp_packet({f.client, f.pod, 40000, 8080}, flags, 5)));
        datapath.copy_flows_to(host);
        out = host.run("cil_from_host", tcp_packet({f.client, f.pod, 40000, 8080}, flags, 5), "cilium_host");
        EXPECT_EQ(out.return_value, kRedirect);
        EXPECT_EQ(l3(out.packet_out), l3(tcp_packet({f.client, f.pod, 40000, 8080}, flags, 5, 63)));
        host.copy_flows_to(pod);
        // The stack would refuse a reply that comes in with the node's own address.
        const auto answer = static_cast<std::uint8_t>(flags | tcp::kAck);
        out = pod.run("cil_from_container", tcp_packet({f.pod, f.client, 8080, 40000}, answer, 6), "lxc1");
        EXPECT_EQ(out.return_value, kRedirect);
        EXPECT_EQ(l3(out.packet_out), l3(tcp_packet({f.node, f.client, kPort, 40000}, answer, 6, 63)));
        pod.copy_flows_to(datapath);
    }
    EXPECT_EQ(datapath.find_flow(f.client, f.pod, 40000, 8080, IPPROTO_TCP)->ingress_cookie, 5U);
    for (const auto& event : datapath.events()) EXPECT_NE(event.type, EVENT_POLICY_VERDICT);
    // A backend on another node does not pass the stack either.
    const auto out = datapath.run("cil_from_netdev", tcp_packet({f.client, f.node, 40000, 30081}, tcp::kSyn), "eth0");
    EXPECT_EQ(out.return_value, kRedirect);
    EXPECT_EQ(l3(out.packet_out), l3(tcp_packet({f.node, f.remote, 40000, 8080}, tcp::kSyn, 0, 63)));
}

TEST_P(NodePort, EveryNodePicksTheSameBackendWithMaglevAndForAClientWithAffinity) {
    const auto& f = GetParam();
    Datapath first("netdev", with_services()), second("netdev", with_services());
    Services one(first), other(second);
    std::set<std::uint32_t> seen;
    for (Services* services : {&one, &other}) {
        set_address(*services);
        for (std::uint32_t id = 1; id <= 5; ++id) {
            const std::string address = f.v6 ? "fd00:10:2::1:" + std::to_string(id) : "10.0.2.10" + std::to_string(id);
            services->put(Services::Backend{id, address.c_str(), 8080});
            ASSERT_TRUE(services->maps().put_affinity_match({id, 2}, id));
        }
        const std::vector<std::uint32_t> table{1, 2, 3, 4, 5, 3, 1, 5, 2, 4, 5};
        services->put(Services::Service{
            .address = f.any, .port = kPort, .backends = table, .flags = LB_F_NODE_PORT, .algorithm = LB_MAGLEV});
        services->put(Services::Service{.address = f.any,
                                        .port = 30081,
                                        .number = 2,
                                        .backends = {1, 2, 3, 4, 5},
                                        .flags = LB_F_NODE_PORT | LB_F_AFFINITY,
                                        .affinity_timeout = 100});
    }
    const auto backend = [&](Datapath& datapath, std::uint16_t client_port, std::uint16_t port) {
        datapath.run("cil_from_netdev", tcp_packet({f.client, f.node, client_port, port}, tcp::kSyn), "eth0");
        return datapath.find_flow(f.client, f.node, client_port, port, IPPROTO_TCP)->backend_id;
    };
    for (std::uint16_t port = 40000; port < 40030; ++port) {
        const std::uint32_t id = backend(first, port, kPort);
        seen.insert(id);
        EXPECT_EQ(backend(second, port, kPort), id);
    }
    EXPECT_EQ(seen.size(), 5U);
    const std::uint32_t affine = backend(first, 41000, 30081);
    for (std::uint16_t port = 41001; port < 41010; ++port) {
        EXPECT_EQ(backend(first, port, 30081), affine);
        EXPECT_EQ(backend(second, port, 30081), affine);
    }
}

TEST_P(NodePort, WhoMayUseAService) {
    const auto& f = GetParam();
    Datapath datapath("netdev", with_services());
    Services services(datapath);
    set_address(services);
    services.put(Services::Backend{1, f.pod, 8080});
    const auto run = [&](const char* to, std::uint16_t port, const char* from) {
        return datapath.run("cil_from_netdev", tcp_packet({from, to, 40000, port}, tcp::kSyn), "eth0").return_value;
    };
    // A ClusterIP is not for clients outside.
    services.put(Services::Service{.address = f.vip, .port = 80, .number = 1, .backends = {1}});
    EXPECT_EQ(run(f.vip, 80, f.client), kDrop);
    EXPECT_EQ(datapath.counted(DROP_IS_CLUSTER_IP, METRIC_INGRESS), 1U);
    // A load balancer's address is; its other ports lead nowhere.
    services.put(Services::Service{
        .address = f.vip, .port = 443, .number = 2, .backends = {1}, .flags = LB_F_LOAD_BALANCER | LB_F_ROUTABLE});
    services.close_other_ports(f.vip);
    EXPECT_EQ(run(f.vip, 443, f.client), kRedirect);
    EXPECT_EQ(run(f.vip, 444, f.client), kDrop);
    EXPECT_EQ(datapath.counted(DROP_NO_SERVICE, METRIC_INGRESS), 1U);
    // Source ranges.
    services.put(Services::Service{.address = f.vip,
                                   .port = 443,
                                   .number = 2,
                                   .backends = {1},
                                   .flags = LB_F_LOAD_BALANCER | LB_F_ROUTABLE | LB_F_SOURCE_RANGE});
    const char* other = f.v6 ? "2001:db8:1::1" : "198.51.100.1";
    ASSERT_TRUE(services.maps().put_source_range({2, Prefix::host(*IpAddress::parse(f.client))}));
    EXPECT_EQ(run(f.vip, 443, f.client), kRedirect);
    EXPECT_EQ(run(f.vip, 443, other), kDrop);
    EXPECT_EQ(datapath.counted(DROP_NOT_IN_SRC_RANGE, METRIC_INGRESS), 1U);
    // The node's own ports stay its own, though another protocol's NodePort has the number.
    services.put(node_port(IPPROTO_UDP));
    EXPECT_EQ(run(f.node, kPort, f.client), kPass);
    EXPECT_EQ(run(f.node, 22, f.client), kPass);
}

TEST_P(NodePort, NoBackendIsAnsweredFromTheFrontend) {
    const auto& f = GetParam();
    Datapath datapath("netdev", with_services());
    Services services(datapath);
    auto service = node_port();
    service.backends.clear();
    services.put(service);
    const auto out =
        datapath.run("cil_from_netdev", tcp_packet({f.client, f.node, 40000, kPort}, tcp::kSyn, 20), "eth0");
    EXPECT_EQ(out.return_value, kRedirect);
    EXPECT_EQ(Checksums::wrong(out.packet_out), "");
    EXPECT_EQ(source_of(out.packet_out), f.node);
    EXPECT_EQ(datapath.counted(DROP_NO_SERVICE, METRIC_INGRESS), 1U);
}

TEST_P(NodePort, FragmentsFollowTheirFirst) {
    const auto& f = GetParam();
    Datapath datapath("netdev", with_services());
    Services services(datapath);
    set_address(services);
    services.put(Services::Backend{1, f.remote, 8080, IPPROTO_UDP});
    services.put(node_port(IPPROTO_UDP));
    // The datagram as a whole, to know its checksum; then in pieces of 64 and the rest.
    const Bytes whole = udp_packet({f.client, f.node, 40000, kPort}, 100);
    const Bytes whole_after = udp_packet({f.node, f.remote, 40000, 8080}, 100);
    const std::size_t header = f.v6 ? 54 : 34;
    const auto piece = [&](const Bytes& of, const Ends& ends, std::size_t from, std::size_t to, std::uint8_t ttl) {
        const std::span<const std::byte> data(of.data() + header + from, to - from);
        const bool more = to != 108;
        auto builder = PacketBuilder().eth(kUplink, kFar);
        if (f.v6) {
            return builder.ipv6(ends.source, ends.destination, ttl)
                .fragment6(static_cast<std::uint16_t>(from), more, 77)
                .protocol(IPPROTO_UDP)
                .raw(data)
                .build();
        }
        return builder
            .ipv4(ends.source, ends.destination, ttl, static_cast<std::uint16_t>((more ? 0x2000 : 0) | from / 8), 77)
            .protocol(IPPROTO_UDP)
            .raw(data)
            .build();
    };
    const Ends sent{f.client, f.node, 40000, kPort}, forth{f.node, f.remote, 40000, 8080};
    for (const auto& [from, to] : {std::pair{0U, 64U}, std::pair{64U, 108U}}) {
        const auto out = datapath.run("cil_from_netdev", piece(whole, sent, from, to, 64), "eth0");
        EXPECT_EQ(out.return_value, kRedirect);
        EXPECT_EQ(l3(out.packet_out), l3(piece(whole_after, forth, from, to, 63)));
    }
    EXPECT_EQ(datapath.flow_count(), 2U);
}

TEST_P(NodePort, IcmpErrorsReachWhomTheyAreAbout) {
    const auto& f = GetParam();
    Datapath datapath("netdev", with_services());
    Services services(datapath);
    set_address(services);
    const char* hop = f.v6 ? "2001:db8:5::1" : "203.0.113.1";
    for (const std::uint8_t protocol : {IPPROTO_TCP, IPPROTO_UDP}) {
        const bool tcp = protocol == IPPROTO_TCP;
        services.put(Services::Backend{tcp ? 1U : 2U, f.remote, 8080, protocol});
        auto service = node_port(protocol);
        service.backends = {tcp ? 1U : 2U};
        services.put(service);
        const auto packet = [&](const Ends& ends) {
            return tcp ? tcp_packet(ends, tcp::kAck, 30) : udp_packet(ends, 30);
        };
        const Ends sent{f.client, f.node, 1000, kPort};
        ASSERT_EQ(datapath.run("cil_from_netdev", packet(sent), "eth0").return_value, kRedirect);
        const std::uint16_t port =
            PacketBuilder::swap16(datapath.find_flow(f.client, f.node, 1000, kPort, protocol)->rewrite.sport);
        const Ends forth{f.node, f.remote, port, 8080}, answered{f.node, f.client, kPort, 1000};
        const Ends back{f.remote, f.node, 8080, port};
        for (const bool short_quote : {true, false}) {
            // From a router, and from the backend itself, about what went to the backend: for the client.
            for (const char* from : {hop, f.remote}) {
                const auto out =
                    datapath.run("cil_from_netdev", icmp_error(f.v6, from, f.node, packet(forth), short_quote), "eth0");
                EXPECT_EQ(out.return_value, kRedirect);
                EXPECT_EQ(l3(out.packet_out),
                          l3(icmp_error(f.v6, from == hop ? hop : f.node, f.client, packet(sent), short_quote, 63)));
                EXPECT_EQ(Checksums::wrong(out.packet_out), "");
            }
            // About what went to the client: for the backend.
            const auto out =
                datapath.run("cil_from_netdev", icmp_error(f.v6, hop, f.node, packet(answered), short_quote), "eth0");
            EXPECT_EQ(out.return_value, kRedirect);
            EXPECT_EQ(l3(out.packet_out), l3(icmp_error(f.v6, hop, f.remote, packet(back), short_quote, 63)));
        }
        // About a packet that nobody has sent: the node's own.
        EXPECT_EQ(
            datapath
                .run("cil_from_netdev", icmp_error(f.v6, hop, f.node, packet({f.node, f.remote, 1, 2}), false), "eth0")
                .return_value,
            kPass);
    }
}

TEST_P(NodePort, TooLargeForTheWayToTheBackend) {
    const auto& f = GetParam();
    if (!can_push_outer_headers()) GTEST_SKIP();
    Datapath datapath("netdev", with_services({.tunnel = true}));
    Services services(datapath);
    services.put(Services::Backend{1, f.remote, 8080, IPPROTO_UDP});
    services.put(node_port(IPPROTO_UDP));
    const auto out = datapath.run("cil_from_netdev", udp_packet({f.client, f.node, 40000, kPort}, 1452), "eth0");
    EXPECT_EQ(out.return_value, kRedirect);
    EXPECT_EQ(Checksums::wrong(out.packet_out), "");
    // From the address that the client speaks to, with the MTU inside the tunnel.
    const std::size_t l4 = f.v6 ? 54 : 34;
    EXPECT_EQ(std::to_integer<unsigned>(out.packet_out[l4]), f.v6 ? 2U : 3U);
    EXPECT_EQ(
        std::to_integer<unsigned>(out.packet_out[l4 + 6]) << 8 | std::to_integer<unsigned>(out.packet_out[l4 + 7]),
        1450U);
    EXPECT_EQ(source_of(out.packet_out), f.node);
    // With the ports behind a fragment header, too, or the client's kernel finds no socket that it is about.
    EXPECT_EQ(out.packet_out.size(), ETH_HLEN + (f.v6 ? 48U : 28U) + 128U);
    EXPECT_EQ(hex(out.packet_out).substr(29 + (f.v6 ? 108 : 63)).substr(0, 20),
              hex(udp_packet({f.client, f.node, 40000, kPort}, 1452)).substr(29).substr(0, 20));
}

INSTANTIATE_TEST_SUITE_P(Families, NodePort, testing::Values(kIpv4, kIpv6),
                         [](const auto& info) { return info.param.v6 ? "IPv6" : "IPv4"; });

}  // namespace
}  // namespace axo::test
