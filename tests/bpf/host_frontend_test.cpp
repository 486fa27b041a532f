// The node's own policy about services reached through the node from outside: asked about the frontend, before anything
// is translated, wherever the backend is and however the connection is forwarded.
#include "checksums.h"
#include "policy_builder.h"
#include "service_fixture.h"

namespace axo::test {
namespace {

constexpr std::uint32_t kIngress = POLICY_REF_F_INGRESS, kEgress = POLICY_REF_F_EGRESS;
constexpr std::uint16_t kHost = Datapath::kHostEndpoint.value;
constexpr std::uint8_t kSynAck = tcp::kSyn | tcp::kAck;
const MacAddress kUplink = *MacAddress::parse("02:00:00:00:00:01");
const MacAddress kFar = *MacAddress::parse("02:00:00:00:00:99");

struct Families {
    const char *pod, *remote, *client, *node, *router, *vip, *any;
    std::uint32_t world;
    bool v6;
};
const Families kIpv4{"10.0.1.1",    "10.0.2.1", "192.0.2.7", "172.18.0.2", "10.0.1.254",
                     "192.0.2.100", "0.0.0.0",  9,           false};
const Families kIpv6{
    "fd00:10:1::1", "fd00:10:2::1", "2001:db8::7", "fd00:18::2", "fd00:10:1::fe", "2001:db8::100", "::", 10, true};

// Ends of a packet, as they stand in it.
struct Ends {
    const char *source, *destination;
    std::uint16_t source_port, destination_port;
};

// Ports of the services below: of the node, with a backend in a pod, on another node, in the node's namespace.
constexpr std::uint16_t kToPod = 30001, kToRemote = 30002, kToNode = 30003;

PolicyRule port_rule(std::uint16_t port, std::uint32_t cookie, std::uint8_t protocol = IPPROTO_TCP) {
    return {.cookie = cookie, .protocol = protocol, .first = port, .last = port};
}

class HostFrontend : public testing::TestWithParam<Families> {
protected:
    static const Families& f() { return GetParam(); }
    static Bytes packet(const Ends& e, std::uint8_t flags, std::uint8_t protocol = IPPROTO_TCP, std::uint8_t ttl = 64) {
        auto builder = PacketBuilder().eth(kUplink, kFar);
        builder = f().v6 ? builder.ipv6(e.source, e.destination, ttl) : builder.ipv4(e.source, e.destination, ttl);
        if (protocol == IPPROTO_TCP)
            builder.tcp(e.source_port, e.destination_port, flags);
        else
            builder.udp(e.source_port, e.destination_port);
        return Checksums::filled(builder.payload(9).build());
    }
    static std::string l3(const Bytes& bytes) { return hex(bytes).substr(29); }
    static Options options(Options with = {}) {
        with.host_firewall = true;
        return with_services(with);
    }
    static void add_services(Services& services, std::uint8_t protocol = IPPROTO_TCP) {
        services.set_nat_address("eth0", "172.18.0.2", "fd00:18::2");
        const std::uint32_t base = protocol == IPPROTO_TCP ? 0 : 10;
        std::uint32_t number = base;
        for (const auto& [port, backend] :
             {std::pair{kToPod, f().pod}, std::pair{kToRemote, f().remote}, std::pair{kToNode, f().node}}) {
            services.put(Services::Backend{++number, backend, 8080, protocol});
            const auto id = static_cast<std::uint16_t>(number);
            services.put(Services::Service{.address = f().any,
                                           .port = port,
                                           .protocol = protocol,
                                           .number = id,
                                           .backends = {id},
                                           .flags = LB_F_NODE_PORT});
        }
    }
    static TestRun arrives(Datapath& datapath, const Ends& ends, std::uint8_t flags = tcp::kSyn,
                           std::uint8_t protocol = IPPROTO_TCP) {
        return datapath.run("cil_from_netdev", packet(ends, flags, protocol), "eth0");
    }
    static Ends sent(std::uint16_t port) { return {f().client, f().node, 40000, port}; }
    // Ingress is closed but for these.
    static std::vector<policy_row> ingress(std::vector<PolicyRule> rules) {
        return PolicyImageBuilder::build({.enforced = true, .default_cookie = 900, .rules = std::move(rules)}, {});
    }
    // A denied packet: said by whom, about what the client sees.
    static void expect_denied_at_frontend(Datapath& datapath, const char* frontend, std::uint16_t port,
                                          std::uint32_t cookie = 900) {
        const auto events = datapath.events();
        ASSERT_EQ(events.size(), 2U);
        EXPECT_EQ(events[0].type, EVENT_POLICY_VERDICT);
        EXPECT_EQ(events[0].subtype, POLICY_DENY);
        EXPECT_EQ(events[1].type, EVENT_DROP);
        for (const flow_event& event : events) {
            EXPECT_EQ(event.endpoint_src, 0);
            EXPECT_EQ(event.endpoint_dst, kHost);
            EXPECT_EQ(event.identity_src, f().world);
            EXPECT_EQ(event.identity_dst, 1U);
            EXPECT_EQ(event.rule_cookie, cookie);
            EXPECT_TRUE(event.flags & EVENT_F_INGRESS);
            EXPECT_EQ(PacketBuilder::swap16(event.dport), port);
            const IpAddress address = IpAddress::parse(frontend).value();
            EXPECT_EQ(std::memcmp(&event.daddr, address.bytes().data(), address.bytes().size()), 0);
        }
    }
};

TEST_P(HostFrontend, AClosedNodeForwardsNothing) {
    Datapath datapath("netdev", options());
    Services services(datapath);
    for (const std::uint8_t protocol : {IPPROTO_TCP, IPPROTO_UDP}) add_services(services, protocol);
    services.put(Services::Service{
        .address = f().vip, .port = 80, .number = 9, .backends = {2}, .flags = LB_F_LOAD_BALANCER | LB_F_ROUTABLE});
    services.put(Services::Service{
        .address = f().vip, .port = 81, .number = 8, .backends = {1}, .flags = LB_F_EXTERNAL_IP | LB_F_ROUTABLE});
    datapath.set_host_policy(ingress({}), kIngress);
    std::uint64_t drops = 0;
    for (const std::uint8_t protocol : {IPPROTO_TCP, IPPROTO_UDP}) {
        for (const std::uint16_t port : {kToPod, kToRemote, kToNode}) {
            EXPECT_EQ(arrives(datapath, sent(port), tcp::kSyn, protocol).return_value, kDrop) << port;
            expect_denied_at_frontend(datapath, f().node, port);
            EXPECT_EQ(datapath.counted(DROP_POLICY, METRIC_INGRESS), ++drops);
        }
    }
    for (const std::uint16_t port : {80, 81}) {
        EXPECT_EQ(arrives(datapath, {f().client, f().vip, 40000, port}).return_value, kDrop);
        expect_denied_at_frontend(datapath, f().vip, port);
    }
    EXPECT_EQ(datapath.flow_count(), 0U);
    // A policy of what the node sends, or none yet, says nothing about it.
    datapath.set_host_policy(PolicyImageBuilder::build({}, {.enforced = true}), kEgress);
    EXPECT_EQ(arrives(datapath, sent(kToPod)).return_value, kRedirect);
    datapath.set_host_policy(ingress({}), kIngress);
    datapath.generations().set_host_endpoint(EndpointId(0));
    EXPECT_EQ(arrives(datapath, sent(kToRemote)).return_value, kRedirect);
}

TEST_P(HostFrontend, ThePortThatIsAllowedIsTheFrontends) {
    Datapath datapath("netdev", options());
    Services services(datapath);
    add_services(services);
    // Neither the backend's port nor another peer.
    for (PolicyRule rule : {port_rule(8080, 1), port_rule(kToPod, 1, IPPROTO_UDP)}) {
        datapath.set_host_policy(ingress({rule}), kIngress);
        EXPECT_EQ(arrives(datapath, sent(kToPod)).return_value, kDrop);
        EXPECT_EQ(arrives(datapath, sent(kToRemote)).return_value, kDrop);
    }
    PolicyRule nodes = port_rule(kToPod, 1);
    nodes.peers = {6};
    datapath.set_host_policy(ingress({nodes}), kIngress);
    EXPECT_EQ(arrives(datapath, sent(kToPod)).return_value, kDrop);
    PolicyRule denied = port_rule(kToRemote, 33);
    denied.action = POLICY_DENY;
    datapath.set_host_policy(ingress({denied, {.cookie = 34}}), kIngress);
    datapath.events();
    EXPECT_EQ(arrives(datapath, sent(kToRemote)).return_value, kDrop);
    expect_denied_at_frontend(datapath, f().node, kToRemote, 33);
    EXPECT_EQ(datapath.counted(DROP_POLICY_DENY, METRIC_INGRESS), 1U);

    nodes.peers = {f().world};
    datapath.set_host_policy(ingress({nodes, port_rule(kToRemote, 2)}), kIngress);
    const auto to_pod = arrives(datapath, sent(kToPod));
    EXPECT_EQ(to_pod.return_value, kRedirect);
    EXPECT_EQ(l3(to_pod.packet_out), l3(packet({f().client, f().pod, 40000, 8080}, tcp::kSyn, IPPROTO_TCP, 63)));
    const auto events = datapath.events();
    ASSERT_EQ(events.size(), 2U);
    EXPECT_EQ(events[0].type, EVENT_POLICY_VERDICT);
    EXPECT_EQ(events[0].subtype, POLICY_ALLOW);
    EXPECT_EQ(events[0].endpoint_dst, kHost);
    EXPECT_EQ(events[0].rule_cookie, 1U);
    // The connection itself is one to the pod, where it really goes.
    EXPECT_EQ(events[1].type, EVENT_TRACE);
    EXPECT_EQ(events[1].endpoint_dst, 101);
    EXPECT_EQ(PacketBuilder::swap16(events[1].dport), 8080);
    const auto to_remote = arrives(datapath, sent(kToRemote));
    EXPECT_EQ(to_remote.return_value, kRedirect);
    EXPECT_EQ(l3(to_remote.packet_out), l3(packet({f().node, f().remote, 40000, 8080}, tcp::kSyn, IPPROTO_TCP, 63)));
    EXPECT_EQ(datapath.find_flow(f().client, f().node, 40000, kToRemote, IPPROTO_TCP)->ingress_cookie, 2U);
}

// What is behind the frontend has its own policy: a pod's, or the node's where its own processes are.
TEST_P(HostFrontend, BothTheFrontendAndTheBackendHaveToBeAllowed) {
    Datapath datapath("netdev", options());
    Services services(datapath);
    add_services(services);
    datapath.set_host_policy(ingress({port_rule(kToPod, 1), port_rule(kToNode, 2)}), kIngress);
    datapath.set_policy(1, ingress({}), kIngress);
    datapath.events();
    EXPECT_EQ(arrives(datapath, sent(kToPod)).return_value, kDrop);
    auto events = datapath.events();
    ASSERT_EQ(events.size(), 3U);
    EXPECT_EQ(events[0].endpoint_dst, kHost);
    EXPECT_EQ(events[1].endpoint_dst, 101);
    EXPECT_EQ(PacketBuilder::swap16(events[2].dport), 8080);
    datapath.set_policy(1, ingress({port_rule(8080, 5)}), kIngress);
    EXPECT_EQ(arrives(datapath, sent(kToPod)).return_value, kRedirect);
    EXPECT_EQ(datapath.find_flow(f().client, f().node, 40000, kToPod, IPPROTO_TCP)->ingress_cookie, 5U);

    EXPECT_EQ(arrives(datapath, sent(kToNode)).return_value, kDrop);
    datapath.set_host_policy(ingress({port_rule(8080, 3)}), kIngress);
    EXPECT_EQ(arrives(datapath, sent(kToNode)).return_value, kDrop);
    datapath.set_host_policy(
        PolicyImageBuilder::build({.enforced = true, .rules = {port_rule(kToNode, 2), port_rule(8080, 3)}},
                                  {.enforced = true}),
        kIngress | kEgress);
    for (const std::uint8_t flags : {tcp::kSyn, tcp::kAck, tcp::kAck}) {
        EXPECT_EQ(arrives(datapath, sent(kToNode), flags).return_value, kPass);
        const auto answer = static_cast<std::uint8_t>(flags | tcp::kAck);
        const auto out = datapath.run("cil_to_netdev", packet({f().node, f().client, 8080, 40000}, answer), "eth0");
        EXPECT_EQ(out.return_value, kPass);
        EXPECT_EQ(l3(out.packet_out), l3(packet({f().node, f().client, kToNode, 40000}, answer)));
    }
    datapath.set_host_policy(ingress({port_rule(8080, 3)}), kIngress);
    EXPECT_EQ(
        datapath.run("cil_to_netdev", packet({f().node, f().client, 8080, 40000}, tcp::kAck), "eth0").return_value,
        kDrop);
}

TEST_P(HostFrontend, AnEstablishedConnectionIsReplayedAndFollowsThePolicy) {
    Datapath datapath("netdev", options());
    Services services(datapath);
    add_services(services);
    datapath.set_host_policy(ingress({port_rule(kToRemote, 1)}), kIngress);
    const Ends back{f().remote, f().node, 8080, 40000};
    const auto both = [&](std::uint32_t expected) {
        const auto out = arrives(datapath, back, tcp::kAck);
        EXPECT_EQ(out.return_value, expected);
        if (expected == kRedirect) {
            EXPECT_EQ(l3(out.packet_out),
                      l3(packet({f().node, f().client, kToRemote, 40000}, tcp::kAck, IPPROTO_TCP, 63)));
        }
        EXPECT_EQ(arrives(datapath, sent(kToRemote), tcp::kAck).return_value, expected);
    };
    EXPECT_EQ(arrives(datapath, sent(kToRemote)).return_value, kRedirect);
    EXPECT_EQ(arrives(datapath, back, kSynAck).return_value, kRedirect);
    both(kRedirect);
    const auto entry = [&] { return *datapath.find_flow(f().client, f().node, 40000, kToRemote, IPPROTO_TCP); };
    const flow before = entry();
    datapath.events();
    for (int i = 0; i < 3; ++i) both(kRedirect);
    EXPECT_TRUE(datapath.events().empty()) << "no packet is judged while nothing has changed";
    const flow after = entry();
    EXPECT_EQ(std::memcmp(&before.half[0].stamp, &after.half[0].stamp, 8), 0);
    EXPECT_EQ(std::memcmp(&before.half[1].stamp, &after.half[1].stamp, 8), 0);
    // The rule goes: neither the next request nor the next answer passes, and what is said names the frontend both
    // times.
    datapath.set_host_policy(ingress({}), kIngress);
    both(kDrop);
    const auto events = datapath.events();
    ASSERT_EQ(events.size(), 4U);
    for (const std::size_t of : {0, 1}) {
        EXPECT_EQ(events[of].endpoint_src, kHost);
        EXPECT_EQ(events[of].identity_src, 1U);
        EXPECT_EQ(events[of].identity_dst, f().world);
        EXPECT_EQ(PacketBuilder::swap16(events[of].sport), kToRemote);
        EXPECT_EQ(events[of].rule_cookie, 900U);
    }
    EXPECT_EQ(events[3].endpoint_dst, kHost);
    EXPECT_EQ(PacketBuilder::swap16(events[3].dport), kToRemote);
    both(kDrop);
    datapath.set_host_policy(ingress({port_rule(kToRemote, 2)}), kIngress);
    both(kRedirect);
}

TEST_P(HostFrontend, APodsAnswersFollowThePolicyToo) {
    Datapath datapath("netdev", options());
    Datapath pod("pod", options());
    Services services(datapath);
    add_services(services);
    const auto policy = [&](const std::vector<PolicyRule>& rules) {
        for (Datapath* each : {&datapath, &pod}) each->set_host_policy(ingress(rules), kIngress);
    };
    policy({port_rule(kToPod, 1)});
    EXPECT_EQ(arrives(datapath, sent(kToPod)).return_value, kRedirect);
    datapath.copy_flows_to(pod);
    const auto answers = [&](std::uint8_t flags) {
        return pod.run("cil_from_container", packet({f().pod, f().client, 8080, 40000}, flags), "lxc1");
    };
    for (const std::uint8_t flags : {kSynAck, tcp::kAck, tcp::kAck}) {
        const auto out = answers(flags);
        EXPECT_EQ(out.return_value, kRedirect);
        EXPECT_EQ(l3(out.packet_out), l3(packet({f().node, f().client, kToPod, 40000}, flags, IPPROTO_TCP, 63)));
    }
    policy({});
    pod.events();
    EXPECT_EQ(answers(tcp::kAck).return_value, kDrop);
    const auto events = pod.events();
    ASSERT_EQ(events.size(), 2U);
    EXPECT_EQ(events[1].endpoint_src, kHost);
    EXPECT_EQ(PacketBuilder::swap16(events[1].sport), kToPod);
    policy({port_rule(kToPod, 2)});
    EXPECT_EQ(answers(tcp::kAck).return_value, kRedirect);
}

// However the packet goes on, the node is asked first.
TEST_P(HostFrontend, EveryWayOfForwarding) {
    struct Way {
        const char* name;
        Options options;
        std::uint32_t to_pod = kRedirect;
    };
    std::vector<Way> ways{{"native", {}}, {"tunnel", {.tunnel = true}}, {"legacy", {.legacy = true}, kPass}};
    for (const lb_mode mode : {LB_MODE_DSR, LB_MODE_HYBRID}) {
        Options dsr;
        dsr.lb.mode = static_cast<std::uint8_t>(mode);
        ways.push_back({"direct server return", dsr});
    }
    for (const Way& way : ways) {
        SCOPED_TRACE(way.name);
        Datapath datapath("netdev", options(way.options));
        Services services(datapath);
        for (const std::uint8_t protocol : {IPPROTO_TCP, IPPROTO_UDP}) {
            add_services(services, protocol);
            datapath.set_host_policy(ingress({}), kIngress);
            for (const std::uint16_t port : {kToPod, kToRemote}) {
                datapath.events();
                EXPECT_EQ(arrives(datapath, sent(port), tcp::kSyn, protocol).return_value, kDrop);
                expect_denied_at_frontend(datapath, f().node, port);
                datapath.set_host_policy(ingress({port_rule(port, 1, protocol)}), kIngress);
                EXPECT_EQ(arrives(datapath, sent(port), tcp::kSyn, protocol).return_value,
                          port == kToPod ? way.to_pod : kRedirect);
                datapath.set_host_policy(ingress({}), kIngress);
                EXPECT_EQ(arrives(datapath, sent(port), tcp::kAck, protocol).return_value, kDrop);
            }
        }
    }
}

TEST_P(HostFrontend, AuditReportsAndLetsPass) {
    Datapath datapath("netdev", options());
    Services services(datapath);
    add_services(services);
    datapath.set_host_policy(ingress({}), kIngress | POLICY_REF_F_AUDIT);
    for (const std::uint16_t port : {kToPod, kToRemote}) {
        datapath.events();
        EXPECT_EQ(arrives(datapath, sent(port)).return_value, kRedirect);
        const auto events = datapath.events();
        ASSERT_EQ(events.size(), 2U);
        EXPECT_EQ(events[0].type, EVENT_POLICY_VERDICT);
        EXPECT_TRUE(events[0].flags & EVENT_F_AUDITED);
        EXPECT_EQ(events[0].rule_cookie, 900U);
        EXPECT_EQ(PacketBuilder::swap16(events[0].dport), port);
    }
}

// Whom the node keeps out does not learn that there is a service without a backend.
TEST_P(HostFrontend, NobodyIsToldWhatIsBehindAClosedPort) {
    Datapath datapath("netdev", options());
    Services services(datapath);
    services.put(Services::Service{.address = f().any, .port = 30009, .flags = LB_F_NODE_PORT});
    datapath.set_host_policy(ingress({}), kIngress);
    EXPECT_EQ(arrives(datapath, sent(30009)).return_value, kDrop);
    expect_denied_at_frontend(datapath, f().node, 30009);
    EXPECT_EQ(datapath.counted(DROP_NO_SERVICE, METRIC_INGRESS), 0U);
    datapath.set_host_policy(ingress({port_rule(30009, 1)}), kIngress);
    EXPECT_EQ(arrives(datapath, sent(30009)).return_value, kRedirect);
    EXPECT_EQ(datapath.counted(DROP_NO_SERVICE, METRIC_INGRESS), 1U);
}

// What a node cannot do without are its own ports, not those behind a service.
TEST_P(HostFrontend, ABackendsPortIsNoExemption) {
    Datapath datapath("netdev", options({.tunnel = true}));
    Services services(datapath);
    services.put(Services::Backend{1, f().node, 8472, IPPROTO_UDP});
    services.put(Services::Service{
        .address = f().any, .port = 30010, .protocol = IPPROTO_UDP, .backends = {1}, .flags = LB_F_NODE_PORT});
    datapath.set_host_policy(ingress({}), kIngress);
    const char* other_node = f().v6 ? "fd00:18::3" : "172.18.0.3";
    datapath.add_ipcache(f().v6 ? "fd00:18::3/128" : "172.18.0.3/32", 6, "172.18.0.3");
    EXPECT_EQ(arrives(datapath, {other_node, f().node, 45000, 30010}, 0, IPPROTO_UDP).return_value, kDrop);
    EXPECT_EQ(datapath.counted(DROP_POLICY, METRIC_INGRESS), 1U);
}

// Whoever has the node's own address on the wire is somebody else: neither its policy nor a pod's takes it for the
// node, and no service is there for it.
TEST_P(HostFrontend, AForgedSourceIsTheWorld) {
    for (const bool firewall : {true, false}) {
        Options with = with_services();
        with.host_firewall = firewall;
        Datapath datapath("netdev", with);
        Services services(datapath);
        add_services(services);
        PolicyRule itself{.cookie = 1, .peers = {1}};
        datapath.set_host_policy(ingress({itself}), kIngress);
        const char* forged = f().router;
        EXPECT_EQ(arrives(datapath, {forged, f().node, 40000, kToRemote}).return_value, firewall ? kDrop : kPass);
        datapath.set_host_policy(ingress({{.cookie = 2}}), kIngress);
        datapath.set_policy(1, ingress({itself}), kIngress);
        const Ends to_service{forged, f().node, 40001, kToPod};
        const auto out = arrives(datapath, to_service);
        EXPECT_EQ(out.return_value, kPass);
        EXPECT_EQ(out.packet_out, packet(to_service, tcp::kSyn, IPPROTO_TCP));
        EXPECT_EQ(arrives(datapath, {forged, f().pod, 40002, 8080}).return_value, kDrop);
        EXPECT_EQ(datapath.counted(DROP_POLICY, METRIC_INGRESS), firewall ? 2U : 1U);
    }
}

TEST_P(HostFrontend, ErrorsAboutItsConnectionsPass) {
    Datapath datapath("netdev", options());
    Services services(datapath);
    add_services(services);
    datapath.set_host_policy(ingress({port_rule(kToRemote, 1)}), kIngress);
    EXPECT_EQ(arrives(datapath, sent(kToRemote)).return_value, kRedirect);
    datapath.set_host_policy(ingress({}), kIngress);
    const Bytes about = packet({f().node, f().remote, 40000, 8080}, tcp::kSyn);
    auto builder = PacketBuilder().eth(kUplink, kFar);
    builder = f().v6 ? builder.ipv6(f().remote, f().node) : builder.ipv4(f().remote, f().node);
    const auto error = Checksums::filled(
        builder.icmp(f().v6 ? 2 : 3, f().v6 ? 0 : 4, 0, 1400, f().v6).raw(std::span(about).subspan(ETH_HLEN)).build());
    EXPECT_EQ(datapath.run("cil_from_netdev", error, "eth0").return_value, kRedirect);
}

// A pod's connection to a service is no affair of the node: it never reaches the node's port.
TEST_P(HostFrontend, PodsReachServicesByTheirOwnPolicy) {
    Datapath datapath("pod", options());
    Services services(datapath);
    add_services(services);
    datapath.set_host_policy(ingress({}), kIngress);
    const auto opens = [&](std::uint16_t port) {
        return datapath.run("cil_from_container", packet({f().pod, f().node, 40000, port}, tcp::kSyn), "lxc1")
            .return_value;
    };
    EXPECT_EQ(opens(kToRemote), kRedirect);
    EXPECT_EQ(opens(kToNode), kDrop) << "the backend is the node";
    EXPECT_EQ(opens(22), kDrop);
}

INSTANTIATE_TEST_SUITE_P(Families, HostFrontend, testing::Values(kIpv4, kIpv6),
                         [](const auto& info) { return info.param.v6 ? "IPv6" : "IPv4"; });

}  // namespace
}  // namespace axo::test
