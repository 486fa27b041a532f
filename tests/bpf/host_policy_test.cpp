// The node's own policy in the datapath: what the host receives and sends, over the wire and with its pods.
#include <functional>

#include "datapath_fixture.h"
#include "policy_builder.h"

namespace axo::test {
namespace {

constexpr std::uint32_t kIngress = POLICY_REF_F_INGRESS, kEgress = POLICY_REF_F_EGRESS;
constexpr std::uint32_t kPod1 = 2001, kRemotePod = 3001, kRemoteNode = 6;
constexpr std::uint16_t kHost = Datapath::kHostEndpoint.value;
constexpr std::uint8_t kSynAck = tcp::kSyn | tcp::kAck;

const MacAddress kUplink({0x02, 0, 0, 0, 9, 1});
const MacAddress kFar({0x02, 0, 0, 0, 9, 2});

struct Family {
    const char *host, *router, *pod1, *pod2, *remote_pod, *node, *outside;
    std::uint32_t world;
    bool v6;
};
const Family kIpv4{"172.18.0.2", "10.0.1.254", "10.0.1.1", "10.0.1.2", "10.0.2.1", "172.18.0.3", "192.0.2.7", 9, false};
const Family kIpv6{
    "fd00:18::2", "fd00:10:1::fe", "fd00:10:1::1", "fd00:10:1::2", "fd00:10:2::1", "fd00:18::3", "2001:db8::7", 10,
    true};

using Rules = std::vector<PolicyRule>;

std::vector<policy_row> ingress(const Rules& rules) {
    return PolicyImageBuilder::build({.enforced = true, .default_cookie = 900, .rules = rules}, {});
}
std::vector<policy_row> egress(const Rules& rules) {
    return PolicyImageBuilder::build({}, {.enforced = true, .default_cookie = 901, .rules = rules});
}
std::vector<policy_row> closed() {
    return PolicyImageBuilder::build({.enforced = true, .default_cookie = 900},
                                     {.enforced = true, .default_cookie = 901});
}
PolicyRule tcp_port(std::uint16_t port, std::uint32_t cookie = 1, std::vector<std::uint32_t> peers = {}) {
    return {.cookie = cookie, .peers = std::move(peers), .protocol = IPPROTO_TCP, .first = port, .last = port};
}

class HostPolicy : public testing::TestWithParam<Family> {
protected:
    static const Family& f() { return GetParam(); }
    static PacketBuilder ip(const char* source, const char* destination, std::uint8_t ttl = 64) {
        PacketBuilder builder;
        builder.eth(kUplink, kFar);
        return f().v6 ? builder.ipv6(source, destination, ttl) : builder.ipv4(source, destination, ttl);
    }
    static std::uint32_t arrives(Datapath& datapath, const PacketBuilder& packet) {
        return datapath.run("cil_from_netdev", packet.build(), "eth0").return_value;
    }
    static std::uint32_t leaves(Datapath& datapath, const PacketBuilder& packet, std::uint32_t mark = 0) {
        return datapath.run("cil_to_netdev", packet.build(), "eth0", 1, mark).return_value;
    }
    static Datapath netdev(Options options = {}) {
        options.host_firewall = true;
        Datapath datapath("netdev", options);
        datapath.add_ipcache(f().v6 ? "fd00:18::3/128" : "172.18.0.3/32", kRemoteNode,
                             options.tunnel ? "172.18.0.3" : nullptr);
        return datapath;
    }
    static PacketBuilder icmp(const char* source, const char* destination, std::uint8_t type, std::uint8_t code = 0) {
        return ip(source, destination, 255).icmp(type, code, 7, 1, f().v6);
    }
    // An error about a packet.
    static PacketBuilder error(const char* source, const char* destination, std::uint8_t type, std::uint8_t code,
                               const PacketBuilder& about) {
        const Bytes quoted = about.build();
        return icmp(source, destination, type, code).raw(std::span(quoted).subspan(ETH_HLEN));
    }
};

TEST_P(HostPolicy, WithoutTheFirewallNothingIsAsked) {
    const auto syn = [](const char* source, const char* destination) {
        return ip(source, destination).tcp(40000, 22, tcp::kSyn);
    };
    Datapath netdev("netdev");
    netdev.set_host_policy(closed(), kIngress | kEgress);
    EXPECT_EQ(arrives(netdev, syn(f().outside, f().host)), kPass);
    EXPECT_EQ(leaves(netdev, syn(f().host, f().outside)), kPass);
    EXPECT_EQ(netdev.flow_count(), 0U);
    EXPECT_EQ(netdev.counted(FORWARDED, METRIC_EGRESS), 1U);
    EXPECT_EQ(netdev.counted(FORWARDED, METRIC_INGRESS), 0U);
    Datapath pod("pod");
    pod.set_host_policy(closed(), kIngress | kEgress);
    EXPECT_EQ(pod.run("cil_from_container", syn(f().pod1, f().host).build(), "lxc1").return_value, kPass);
    EXPECT_EQ(pod.run("cil_to_container", syn(f().host, f().pod1).build(), "lxc1").return_value, kPass);
    Datapath host("host");
    host.set_host_policy(closed(), kIngress | kEgress);
    EXPECT_EQ(host.run("cil_from_host", syn(f().router, f().pod1).build(), "cilium_host").return_value, kRedirect);
    for (Datapath* datapath : {&netdev, &pod, &host}) {
        for (const flow_event& event : datapath->events()) {
            EXPECT_EQ(event.type, EVENT_TRACE);
            EXPECT_NE(event.endpoint_src, kHost);
            EXPECT_NE(event.endpoint_dst, kHost);
        }
    }
}

TEST_P(HostPolicy, UntilItIsComputedTheNodeIsOpen) {
    Datapath datapath = netdev();
    EXPECT_EQ(arrives(datapath, ip(f().outside, f().host).tcp(40000, 22, tcp::kSyn)), kPass);
    EXPECT_EQ(leaves(datapath, ip(f().host, f().outside).tcp(22, 40000, kSynAck)), kPass);
    EXPECT_EQ(datapath.flow_count(), 1U);  // known to the policy that comes
    EXPECT_EQ(arrives(datapath, ip(f().outside, f().host).protocol(47).payload(40)), kPass);
    datapath.generations().set_host_endpoint(EndpointId(0));
    EXPECT_EQ(arrives(datapath, ip(f().outside, f().host).tcp(40001, 22, tcp::kSyn)), kPass);
    EXPECT_EQ(datapath.flow_count(), 2U);
    // What asks about packets of its own does not find an open door either when there is a policy.
    datapath.generations().set_host_endpoint(Datapath::kHostEndpoint);
    datapath.set_host_policy(closed(), kIngress | kEgress);
    EXPECT_EQ(arrives(datapath, ip(f().outside, f().host).protocol(47).payload(40)), kDrop);
}

TEST_P(HostPolicy, WhatArrivesIsJudged) {
    Datapath datapath = netdev();
    datapath.set_host_policy(ingress({tcp_port(22, 31), tcp_port(4240, 32, {kRemoteNode})}), kIngress);
    const auto opens = [&](const char* source, std::uint16_t port) {
        return arrives(datapath, ip(source, f().host).tcp(40000, port, tcp::kSyn));
    };
    EXPECT_EQ(opens(f().outside, 23), kDrop);
    auto events = datapath.events();
    ASSERT_EQ(events.size(), 2U);
    EXPECT_EQ(events[0].type, EVENT_POLICY_VERDICT);
    EXPECT_EQ(events[0].subtype, POLICY_DENY);
    EXPECT_EQ(events[0].endpoint_dst, kHost);
    EXPECT_EQ(events[0].identity_src, f().world);
    EXPECT_EQ(events[0].identity_dst, 1U);
    EXPECT_EQ(events[0].rule_cookie, 900U);
    EXPECT_TRUE(events[0].flags & EVENT_F_INGRESS);
    EXPECT_EQ(events[1].type, EVENT_DROP);
    EXPECT_EQ(events[1].subtype, DROP_POLICY);
    EXPECT_EQ(events[1].endpoint_dst, kHost);
    EXPECT_EQ(datapath.counted(DROP_POLICY, METRIC_INGRESS), 1U);
    EXPECT_EQ(datapath.flow_count(), 0U);
    EXPECT_EQ(opens(f().outside, 4240), kDrop);
    EXPECT_EQ(opens(f().node, 4240), kPass);
    datapath.events();
    EXPECT_EQ(opens(f().outside, 22), kPass);
    events = datapath.events();
    ASSERT_EQ(events.size(), 2U);
    EXPECT_EQ(events[0].subtype, POLICY_ALLOW);
    EXPECT_EQ(events[0].rule_cookie, 31U);
    EXPECT_EQ(events[1].type, EVENT_TRACE);
    EXPECT_EQ(events[1].subtype, TRACE_TO_HOST);
    const auto entry = datapath.find_flow(f().outside, f().host, 40000, 22, IPPROTO_TCP);
    ASSERT_TRUE(entry);
    EXPECT_EQ(entry->ingress_cookie, 31U);
    EXPECT_EQ(entry->endpoint_dst, 0);  // no pod
    const bool outside_low = *IpAddress::parse(f().outside) < *IpAddress::parse(f().host);
    EXPECT_EQ(entry->half[outside_low ? 0 : 1].action, FLOW_STACK);
    EXPECT_EQ(entry->half[outside_low ? 0 : 1].dep_dst, kHost);
    // A denial says so.
    PolicyRule deny = tcp_port(22, 33, {f().world});
    deny.action = POLICY_DENY;
    datapath.set_host_policy(ingress({deny, tcp_port(22, 31)}), kIngress);
    EXPECT_EQ(arrives(datapath, ip(f().outside, f().host).tcp(40000, 22, tcp::kAck)), kDrop);
    EXPECT_EQ(datapath.counted(DROP_POLICY_DENY, METRIC_INGRESS), 1U);
    EXPECT_EQ(opens(f().node, 22), kPass);
}

TEST_P(HostPolicy, WhatLeavesIsJudged) {
    Datapath datapath = netdev();
    datapath.set_host_policy(egress({tcp_port(443, 41), tcp_port(4240, 42, {kRemoteNode})}), kEgress);
    const auto opens = [&](const char* destination, std::uint16_t port) {
        return leaves(datapath, ip(f().host, destination).tcp(40000, port, tcp::kSyn));
    };
    EXPECT_EQ(opens(f().outside, 80), kDrop);
    auto events = datapath.events();
    ASSERT_EQ(events.size(), 2U);
    EXPECT_EQ(events[0].type, EVENT_POLICY_VERDICT);
    EXPECT_EQ(events[0].endpoint_src, kHost);
    EXPECT_EQ(events[0].identity_src, 1U);
    EXPECT_EQ(events[0].identity_dst, f().world);
    EXPECT_EQ(events[0].rule_cookie, 901U);
    EXPECT_FALSE(events[0].flags & EVENT_F_INGRESS);
    EXPECT_EQ(events[1].type, EVENT_DROP);
    EXPECT_EQ(datapath.counted(DROP_POLICY, METRIC_EGRESS), 1U);
    EXPECT_EQ(datapath.flow_count(), 0U);
    EXPECT_EQ(opens(f().outside, 4240), kDrop);
    EXPECT_EQ(opens(f().node, 4240), kPass);
    datapath.events();
    EXPECT_EQ(opens(f().outside, 443), kPass);
    events = datapath.events();
    ASSERT_EQ(events.size(), 2U);
    EXPECT_EQ(events[0].rule_cookie, 41U);
    EXPECT_EQ(events[1].subtype, TRACE_TO_NETWORK);
    EXPECT_FALSE(events[1].flags & EVENT_F_INGRESS);
    // The answer needs no rule, even where nothing may come in.
    datapath.set_host_policy(
        PolicyImageBuilder::build({.enforced = true, .default_cookie = 900},
                                  {.enforced = true, .default_cookie = 901, .rules = {tcp_port(443, 41)}}),
        kIngress | kEgress);
    EXPECT_EQ(arrives(datapath, ip(f().outside, f().host).tcp(443, 40000, kSynAck)), kPass);
    EXPECT_EQ(arrives(datapath, ip(f().outside, f().host).tcp(443, 40001, kSynAck)), kDrop);
}

TEST_P(HostPolicy, AnEstablishedConnectionIsReplayedAndFollowsThePolicy) {
    Datapath datapath = netdev();
    const auto in = [&](std::uint8_t flags) {
        return arrives(datapath, ip(f().outside, f().host).tcp(40000, 22, flags));
    };
    const auto out = [&](std::uint8_t flags) {
        return leaves(datapath, ip(f().host, f().outside).tcp(22, 40000, flags));
    };
    // Neither end may open anything in the other direction: replies are no matter of rules.
    datapath.set_host_policy(
        PolicyImageBuilder::build({.enforced = true, .default_cookie = 900, .rules = {tcp_port(22, 5)}},
                                  {.enforced = true, .default_cookie = 901}),
        kIngress | kEgress);
    EXPECT_EQ(in(tcp::kSyn), kPass);
    EXPECT_EQ(out(kSynAck), kPass);
    EXPECT_EQ(in(tcp::kAck), kPass);
    EXPECT_EQ(out(tcp::kAck), kPass);
    datapath.events();
    const auto before = datapath.find_flow(f().outside, f().host, 40000, 22, IPPROTO_TCP);
    for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(in(tcp::kAck), kPass);
        EXPECT_EQ(out(tcp::kAck), kPass);
    }
    EXPECT_TRUE(datapath.events().empty());
    const auto after = datapath.find_flow(f().outside, f().host, 40000, 22, IPPROTO_TCP);
    ASSERT_TRUE(before && after);
    EXPECT_TRUE(after->flags & FLOW_F_FAST);
    for (const int half : {0, 1}) {
        EXPECT_EQ(after->half[half].packets, before->half[half].packets + 3);
        EXPECT_EQ(after->half[half].decided_at, before->half[half].decided_at);
    }
    EXPECT_EQ(datapath.counted(FORWARDED, METRIC_INGRESS), 5U);
    EXPECT_EQ(datapath.counted(FORWARDED, METRIC_EGRESS), 5U);
    // With its rule both directions end, and come back with it.
    datapath.set_host_policy(closed(), kIngress | kEgress);
    EXPECT_EQ(out(tcp::kAck), kDrop);
    EXPECT_EQ(in(tcp::kAck), kDrop);
    EXPECT_EQ(datapath.counted(DROP_POLICY, METRIC_INGRESS), 2U);
    datapath.set_host_policy(ingress({tcp_port(22, 6)}), kIngress);
    EXPECT_EQ(out(tcp::kAck), kPass);
    EXPECT_EQ(in(tcp::kAck), kPass);
}

// A connection nobody saw opening is one of the direction in which it is seen first.
TEST_P(HostPolicy, ConnectionsOlderThanTheFirewall) {
    Datapath datapath = netdev();
    datapath.set_host_policy(ingress({}), kIngress);
    EXPECT_EQ(arrives(datapath, ip(f().outside, f().host).tcp(40000, 22, tcp::kAck)), kDrop);
    EXPECT_EQ(leaves(datapath, ip(f().host, f().outside).tcp(22, 40000, tcp::kAck)), kPass);
    EXPECT_EQ(arrives(datapath, ip(f().outside, f().host).tcp(40000, 22, tcp::kAck)), kPass);
}

TEST_P(HostPolicy, WhatANodeCannotDoWithout) {
    const bool v6 = f().v6;
    for (const bool tunnel : {false, true}) {
        Datapath datapath = netdev({.tunnel = tunnel});
        datapath.set_host_policy(closed(), kIngress | kEgress);
        // ARP, and what goes to groups.
        EXPECT_EQ(arrives(datapath, PacketBuilder().eth(kUplink, kFar).ethertype(ETH_P_ARP).payload(28)), kPass);
        EXPECT_EQ(leaves(datapath, PacketBuilder().eth(kUplink, kFar).ethertype(ETH_P_ARP).payload(28)), kPass);
        for (const char* group : {v6 ? "ff02::1" : "224.0.0.18", v6 ? "ff02::1:2" : "255.255.255.255"}) {
            EXPECT_EQ(leaves(datapath, ip(f().host, group).udp(5353, 5353)), kPass);
            EXPECT_EQ(arrives(datapath, ip(f().outside, group).udp(5353, 5353)), kPass);
        }
        if (v6) {
            for (const std::uint8_t type : {130, 131, 132, 133, 134, 135, 136, 143}) {
                EXPECT_EQ(arrives(datapath, icmp(f().outside, f().host, type)), kPass) << int{type};
                EXPECT_EQ(leaves(datapath, icmp(f().host, f().outside, type)), kPass) << int{type};
                EXPECT_EQ(arrives(datapath, icmp("fe80::1", "fe80::2", type)), kPass) << int{type};
            }
        }
        const std::uint16_t client = v6 ? 546 : 68, server = v6 ? 547 : 67;
        EXPECT_EQ(leaves(datapath, ip(f().host, f().outside).udp(client, server)), kPass);
        EXPECT_EQ(arrives(datapath, ip(f().outside, f().host).udp(server, client)), kPass);
        EXPECT_EQ(arrives(datapath, ip(f().outside, f().host).udp(client, server)), kDrop);  // no server
        EXPECT_EQ(leaves(datapath, ip(f().host, f().outside).udp(server, client)), kDrop);
        // The tunnel: between nodes, and only where there is one.
        const std::uint32_t expected = tunnel ? kPass : kDrop;
        EXPECT_EQ(leaves(datapath, ip(f().host, f().node).udp(45000, 8472)), expected);
        EXPECT_EQ(arrives(datapath, ip(f().node, f().host).udp(45000, 8472)), expected);
        EXPECT_EQ(arrives(datapath, ip(f().outside, f().host).udp(45000, 8472)), kDrop);
        EXPECT_EQ(leaves(datapath, ip(f().host, f().outside).udp(45000, 8472)), kDrop);
        EXPECT_EQ(arrives(datapath, ip(f().node, f().host).udp(45000, 8473)), kDrop);
        EXPECT_EQ(arrives(datapath, icmp(f().outside, f().host, v6 ? 128 : 8)), kDrop);
        EXPECT_EQ(leaves(datapath, icmp(f().host, f().outside, v6 ? 128 : 8)), kDrop);
        EXPECT_EQ(datapath.flow_count(), 0U);
    }
}

TEST_P(HostPolicy, ErrorsAboutItsConnections) {
    const bool v6 = f().v6;
    const std::uint8_t unreachable = v6 ? 1 : 3, port = v6 ? 4 : 3;
    Datapath datapath = netdev();
    datapath.set_host_policy(egress({tcp_port(443, 1)}), kEgress);
    const auto sent = ip(f().host, f().outside).tcp(40000, 443, tcp::kSyn);
    EXPECT_EQ(leaves(datapath, sent), kPass);
    datapath.set_host_policy(
        PolicyImageBuilder::build({.enforced = true, .default_cookie = 900},
                                  {.enforced = true, .default_cookie = 901, .rules = {tcp_port(443)}}),
        kIngress | kEgress);
    EXPECT_EQ(arrives(datapath, error(f().node, f().host, unreachable, port, sent)), kPass);
    const auto other = ip(f().host, f().outside).tcp(40001, 443, tcp::kSyn);
    EXPECT_EQ(arrives(datapath, error(f().node, f().host, unreachable, port, other)), kDrop);
    EXPECT_EQ(arrives(datapath, v6 ? error(f().node, f().host, 2, 0, other) : error(f().node, f().host, 3, 4, other)),
              kPass);
    EXPECT_EQ(leaves(datapath, error(f().host, f().outside, unreachable, port, ip(f().outside, f().host).udp(1, 2))),
              kDrop);
    EXPECT_EQ(
        leaves(datapath, error(f().host, f().outside, v6 ? 2 : 3, v6 ? 0 : 4, ip(f().outside, f().host).udp(1, 2))),
        kPass);
}

TEST_P(HostPolicy, PodsPacketsAreNotTheNodes) {
    for (const bool legacy : {false, true}) {
        Datapath datapath = netdev({.legacy = legacy});
        datapath.set_host_policy(closed(), kIngress | kEgress);
        EXPECT_EQ(leaves(datapath, ip(f().pod1, f().outside).tcp(40000, 80, tcp::kSyn)), kPass);
        EXPECT_EQ(leaves(datapath, ip(f().host, f().outside).udp(45000, 4789), 0x0300), kPass);  // decided elsewhere
        EXPECT_EQ(arrives(datapath, ip(f().remote_pod, f().pod1).tcp(40000, 80, tcp::kSyn)),
                  legacy ? kPass : kRedirect);
        EXPECT_EQ(datapath.counted(DROP_POLICY, METRIC_INGRESS), 0U);
        // The node's own are judged all the same.
        EXPECT_EQ(arrives(datapath, ip(f().outside, f().host).tcp(40000, 22, tcp::kSyn)), kDrop);
        EXPECT_EQ(arrives(datapath, ip(f().remote_pod, f().router).tcp(40000, 22, tcp::kSyn)), kDrop);
        EXPECT_EQ(leaves(datapath, ip(f().host, f().outside).tcp(40000, 80, tcp::kSyn)), kDrop);
        // Routed, not for this node.
        EXPECT_EQ(arrives(datapath, ip(f().outside, f().v6 ? "2001:db8:9::1" : "198.51.100.1").udp(1, 2)), kPass);
    }
}

TEST_P(HostPolicy, APodToItsNodeAsksBoth) {
    Datapath datapath("pod", {.host_firewall = true});
    const auto opens = [&](const char* destination) {
        return datapath.run("cil_from_container", ip(f().pod1, destination).tcp(40000, 6443, tcp::kSyn).build(), "lxc1")
            .return_value;
    };
    datapath.set_host_policy(ingress({tcp_port(6443, 51, {kPod1})}), kIngress);
    for (const char* address : {f().host, f().router}) EXPECT_EQ(opens(address), kPass);
    EXPECT_EQ(datapath.find_flow(f().pod1, f().host, 40000, 6443, IPPROTO_TCP)->ingress_cookie, 51U);
    datapath.set_host_policy(ingress({tcp_port(6443, 52, {9999})}), kIngress);
    datapath.events();
    EXPECT_EQ(opens(f().host), kDrop);
    const auto events = datapath.events();
    ASSERT_EQ(events.size(), 2U);
    EXPECT_EQ(events[1].endpoint_src, 101);
    EXPECT_EQ(events[1].endpoint_dst, kHost);
    EXPECT_TRUE(events[1].flags & EVENT_F_INGRESS);
    datapath.set_host_policy(ingress({tcp_port(6443, 51, {kPod1})}), kIngress);
    datapath.set_policy(1, egress({}), kEgress);
    EXPECT_EQ(opens(f().host), kDrop);
    EXPECT_EQ(datapath.counted(DROP_POLICY, METRIC_EGRESS), 1U);
    EXPECT_EQ(opens(f().pod2), kDrop);
    datapath.set_policy(1, egress({{.cookie = 7, .peers = {1}}}), kEgress);
    EXPECT_EQ(opens(f().host), kPass);
    // A pod that asks for the node's neighbours is answered whatever the node's policy says.
    if (f().v6) {
        datapath.set_host_policy(closed(), kIngress | kEgress);
        datapath.set_policy(1, egress({{.cookie = 8}}), kEgress);
        EXPECT_EQ(datapath.run("cil_from_container", icmp(f().pod1, f().router, 136).build(), "lxc1").return_value,
                  kPass);
    }
}

TEST_P(HostPolicy, TheNodeToItsPodAsksBoth) {
    struct Way {
        const char *object, *program, *device, *source;
        std::uint32_t through;
    };
    for (const Way& way : {Way{"host", "cil_from_host", "cilium_host", f().router, kRedirect},
                           Way{"pod", "cil_to_container", "lxc1", f().host, kPass}}) {
        Datapath datapath(way.object, {.host_firewall = true});
        const auto send = [&](std::uint16_t port, std::uint8_t flags = tcp::kSyn) {
            return datapath.run(way.program, ip(way.source, f().pod1).tcp(40000, port, flags).build(), way.device)
                .return_value;
        };
        EXPECT_EQ(send(80), way.through);
        datapath.set_host_policy(egress({tcp_port(80, 61, {kPod1})}), kEgress);
        datapath.events();
        EXPECT_EQ(send(81), kDrop);
        const auto events = datapath.events();
        ASSERT_EQ(events.size(), 2U);
        EXPECT_EQ(events[1].endpoint_src, kHost);
        EXPECT_EQ(events[1].endpoint_dst, 101);
        EXPECT_FALSE(events[1].flags & EVENT_F_INGRESS);
        EXPECT_EQ(datapath.counted(DROP_POLICY, METRIC_EGRESS), 1U);
        EXPECT_EQ(send(80, tcp::kAck), way.through);
        datapath.set_policy(1, ingress({}), kIngress);
        EXPECT_EQ(send(80, tcp::kAck), kDrop);
        EXPECT_EQ(datapath.counted(DROP_POLICY, METRIC_INGRESS), 1U);
        datapath.set_policy(1, ingress({tcp_port(80, 62, {1})}), kIngress);
        EXPECT_EQ(send(80, tcp::kAck), way.through);
        datapath.set_host_policy(closed(), kIngress | kEgress);
        EXPECT_EQ(send(80, tcp::kAck), kDrop);
    }
}

TEST_P(HostPolicy, TheNodeToAPodElsewhereThroughTheTunnel) {
    for (const bool fast : {false, true}) {
        Datapath datapath("host", {.tunnel = true, .tunnel_fast = fast, .host_firewall = true});
        const auto send = [&](std::uint16_t port) {
            return datapath
                .run("cil_from_host", ip(f().router, f().remote_pod).tcp(40000, port, tcp::kSyn).build(), "cilium_host")
                .return_value;
        };
        datapath.set_host_policy(egress({tcp_port(80, 1, {kRemotePod})}), kEgress);
        EXPECT_EQ(send(80), kRedirect);
        EXPECT_EQ(send(81), kDrop);
        EXPECT_EQ(datapath.counted(DROP_POLICY, METRIC_EGRESS), 1U);
    }
}

// A packet without a tunnel's key cannot have come through the tunnel: refused where the node asks who sent it.
TEST_P(HostPolicy, WhatComesThroughTheTunnelForTheNodeIsLookedAt) {
    const auto packet = ip(f().remote_pod, f().router).tcp(40000, 22, tcp::kSyn).build();
    for (const bool firewall : {false, true}) {
        Datapath datapath("overlay", {.tunnel = true, .host_firewall = firewall});
        EXPECT_EQ(datapath.run("cil_from_overlay", packet, "cilium_vxlan").return_value, firewall ? kDrop : kPass);
        EXPECT_EQ(datapath.counted(DROP_NO_TUNNEL_KEY, METRIC_INGRESS), firewall ? 1U : 0U);
    }
}

TEST_P(HostPolicy, ProtocolsWithoutPortsAndFragments) {
    Datapath datapath = netdev();
    datapath.set_host_policy(ingress({{.cookie = 1, .peers = {kRemoteNode}}}), kIngress);
    EXPECT_EQ(arrives(datapath, ip(f().node, f().host).protocol(47).payload(40)), kPass);
    EXPECT_EQ(arrives(datapath, ip(f().outside, f().host).protocol(47).payload(40)), kDrop);
    EXPECT_EQ(datapath.counted(DROP_POLICY, METRIC_INGRESS), 1U);
    EXPECT_EQ(leaves(datapath, ip(f().host, f().outside).protocol(47).payload(40)), kPass);
    const auto later = [](std::uint16_t id) {
        PacketBuilder builder;
        builder.eth(kUplink, kFar);
        return f().v6 ? builder.ipv6(f().node, f().host).fragment6(1240, false, id).protocol(IPPROTO_UDP).payload(40)
                      : builder.ipv4(f().node, f().host, 64, 155, id).protocol(IPPROTO_UDP).payload(40);
    };
    // Of which datagram? Nobody can say; without a policy nobody has to.
    EXPECT_EQ(arrives(datapath, later(1)), kDrop);
    EXPECT_EQ(datapath.counted(DROP_FRAG_NOT_FOUND, METRIC_INGRESS), 1U);
    datapath.set_host_policy(ingress({}), 0);
    EXPECT_EQ(arrives(datapath, later(2)), kPass);
}

TEST_P(HostPolicy, AFullTableDoesNotCutTheNodeOff) {
    Datapath datapath = netdev({.flow_map_max = 2});
    datapath.set_host_policy(ingress({tcp_port(22)}), kIngress);
    for (std::uint16_t port = 40000; port < 40005; ++port) {
        EXPECT_EQ(arrives(datapath, ip(f().outside, f().host).tcp(port, 22, tcp::kSyn)), kPass);
        EXPECT_EQ(arrives(datapath, ip(f().outside, f().host).tcp(port, 23, tcp::kSyn)), kDrop);
    }
    EXPECT_EQ(datapath.flow_count(), 2U);
    EXPECT_EQ(arrives(datapath, ip(f().remote_pod, f().pod1).tcp(40000, 22, tcp::kSyn)), kDrop);
    EXPECT_EQ(datapath.counted(DROP_CT_CREATE_FAILED, METRIC_INGRESS), 1U);
}

TEST_P(HostPolicy, AuditReportsAndLetsPass) {
    Datapath datapath = netdev();
    datapath.set_host_policy(closed(), kIngress | kEgress | POLICY_REF_F_AUDIT);
    const std::function<std::uint32_t()> ways[] = {
        [&] { return arrives(datapath, ip(f().outside, f().host).tcp(40000, 22, tcp::kSyn)); },
        [&] { return leaves(datapath, ip(f().host, f().outside).tcp(40001, 443, tcp::kSyn)); }};
    for (const auto& way : ways) {
        EXPECT_EQ(way(), kPass);
        const auto events = datapath.events();
        ASSERT_EQ(events.size(), 2U);
        EXPECT_EQ(events[0].type, EVENT_POLICY_VERDICT);
        EXPECT_TRUE(events[0].flags & EVENT_F_AUDITED);
    }
}

TEST_P(HostPolicy, AnotherHostEndpointDecidesAnew) {
    Datapath datapath = netdev();
    datapath.set_host_policy(ingress({tcp_port(22)}), kIngress);
    const auto in = [&](std::uint8_t flags) {
        return arrives(datapath, ip(f().outside, f().host).tcp(40000, 22, flags));
    };
    EXPECT_EQ(in(tcp::kSyn), kPass);
    EXPECT_EQ(in(tcp::kAck), kPass);
    datapath.generations().set_policy(EndpointId(301), datapath.slabs().place(ingress({}))->reference(kIngress));
    EXPECT_EQ(in(tcp::kAck), kPass);
    datapath.generations().set_host_endpoint(EndpointId(301));
    EXPECT_EQ(in(tcp::kAck), kDrop);
    datapath.generations().set_host_endpoint(EndpointId(0));
    EXPECT_EQ(in(tcp::kAck), kPass);
}

TEST(HostLinkLocal, AddressesAreTheNodesToo) {
    Datapath datapath("netdev", {.host_firewall = true});
    datapath.set_host_policy(PolicyImageBuilder::build({.enforced = true, .rules = {tcp_port(22)}},
                                                       {.enforced = true, .rules = {tcp_port(179)}}),
                             kIngress | kEgress);
    const auto packet = [](const char* source, const char* destination) {
        return PacketBuilder().eth(kUplink, kFar).ipv6(source, destination);
    };
    const auto arrives = [&](std::uint16_t port) {
        return datapath.run("cil_from_netdev", packet("fe80::1", "fe80::2").tcp(40000, port, tcp::kSyn).build(), "eth0")
            .return_value;
    };
    const auto leaves = [&](std::uint16_t port) {
        return datapath.run("cil_to_netdev", packet("fe80::2", "fe80::1").tcp(40000, port, tcp::kSyn).build(), "eth0")
            .return_value;
    };
    EXPECT_EQ(arrives(22), kPass);
    EXPECT_EQ(arrives(23), kDrop);
    EXPECT_EQ(leaves(179), kPass);
    EXPECT_EQ(leaves(180), kDrop);
}

// The node's end of a pod's link is the node: no way around the pod's policy.
TEST(HostLinkLocal, APodReachesItByPolicyOnly) {
    for (const bool firewall : {false, true}) {
        Datapath datapath("pod", {.host_firewall = firewall});
        for (const char* source : {"fe80::2", "fd00:10:1::1"}) {
            const auto packet = [&](const char* destination = "fe80::1") {
                return PacketBuilder().eth(kUplink, kFar).ipv6(source, destination, 255);
            };
            const auto send = [&](const PacketBuilder& built) {
                return datapath.run("cil_from_container", built.build(), "lxc1").return_value;
            };
            const auto opens = [&](std::uint16_t port) { return send(packet().tcp(40000, port, tcp::kSyn)); };
            datapath.set_policy(1, PolicyImageBuilder::build({}, {}), 0);
            datapath.set_host_policy(PolicyImageBuilder::build({}, {}), 0);
            EXPECT_EQ(opens(10250), kPass);
            datapath.set_policy(1, egress({}), kEgress);
            EXPECT_EQ(opens(10250), kDrop);
            EXPECT_EQ(send(packet().icmp(128, 0, 7, 1, true)), kDrop);
            EXPECT_EQ(send(packet().icmp(136, 0, 7, 1, true)), kPass);
            EXPECT_EQ(send(packet("ff02::16").icmp(143, 0, 7, 1, true)), kPass);
            datapath.set_policy(1, egress({tcp_port(10250, 1, {1})}), kEgress);
            EXPECT_EQ(opens(10250), kPass);
            datapath.set_host_policy(ingress({}), kIngress);
            EXPECT_EQ(opens(10250), firewall ? kDrop : kPass);
            EXPECT_EQ(send(packet().icmp(136, 0, 7, 1, true)), kPass);
        }
        // Nobody else is on that link.
        EXPECT_EQ(datapath
                      .run("cil_from_container",
                           PacketBuilder().eth(kUplink, kFar).ipv6("fe80::2", "fd00:10:1::2").udp(1, 2).build(), "lxc1")
                      .return_value,
                  kDrop);
        EXPECT_EQ(datapath.counted(DROP_INVALID_SIP, METRIC_EGRESS), 1U);
    }
}

// Whatever is cut off or changed in a packet: never out of bounds, and what is closed stays closed.
TEST_P(HostPolicy, BrokenPackets) {
    Datapath datapath = netdev();
    datapath.set_host_policy(closed(), kIngress | kEgress);
    for (const auto& [program, packet] :
         {std::pair{"cil_from_netdev", ip(f().outside, f().host).tcp(40000, 22, tcp::kSyn).payload(20).build()},
          std::pair{"cil_to_netdev", ip(f().host, f().outside).tcp(40000, 22, tcp::kSyn).payload(20).build()}}) {
        for (std::size_t size = ETH_HLEN + (f().v6 ? 40 : 20); size <= packet.size(); ++size) {
            const Bytes cut(packet.begin(), packet.begin() + static_cast<std::ptrdiff_t>(size));
            EXPECT_EQ(datapath.run(program, cut, "eth0").return_value, kDrop) << program << ' ' << size;
        }
    }
    EXPECT_EQ(datapath.flow_count(), 0U);
}

INSTANTIATE_TEST_SUITE_P(Families, HostPolicy, testing::Values(kIpv4, kIpv6),
                         [](const auto& info) { return info.param.v6 ? "IPv6" : "IPv4"; });

}  // namespace
}  // namespace axo::test
