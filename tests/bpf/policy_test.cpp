// Policy in the datapath: who is asked, what is asked, and what becomes of connections that exist.
#include <thread>

#include "datapath_fixture.h"
#include "policy_builder.h"

namespace axo::test {
namespace {

constexpr std::uint32_t kIngress = POLICY_REF_F_INGRESS, kEgress = POLICY_REF_F_EGRESS;
constexpr std::uint32_t kPod1 = 2001, kPod2 = 2002, kRemote = 3001;

const MacAddress kUplink({0x02, 0, 0, 0, 9, 1});
const MacAddress kFar({0x02, 0, 0, 0, 9, 2});

struct Family {
    const char *pod1, *pod2, *remote, *outside, *router;
    bool v6;
};
const Family kIpv4{"10.0.1.1", "10.0.1.2", "10.0.2.1", "192.0.2.7", "10.0.1.254", false};
const Family kIpv6{"fd00:10:1::1", "fd00:10:1::2", "fd00:10:2::1", "2001:db8::7", "fd00:10:1::fe", true};

using Rules = std::vector<PolicyRule>;

std::vector<policy_row> ingress(const Rules& rules, std::uint32_t default_cookie = 900) {
    return PolicyImageBuilder::build({.enforced = true, .default_cookie = default_cookie, .rules = rules}, {});
}
std::vector<policy_row> egress(const Rules& rules, std::uint32_t default_cookie = 901) {
    return PolicyImageBuilder::build({}, {.enforced = true, .default_cookie = default_cookie, .rules = rules});
}

std::vector<flow_event> of_type(const std::vector<flow_event>& all, std::uint8_t type) {
    std::vector<flow_event> some;
    for (const flow_event& event : all) {
        if (event.type == type) some.push_back(event);
    }
    return some;
}

class Policy : public testing::TestWithParam<Family> {
protected:
    static PacketBuilder from_pod(int pod, const char* destination, std::uint8_t ttl = 64) {
        return ip(PacketBuilder().eth(Datapath::node_mac(pod), Datapath::pod_mac(pod)),
                  pod == 1 ? GetParam().pod1 : GetParam().pod2, destination, ttl);
    }
    static PacketBuilder wire(const char* source, const char* destination) {
        return ip(PacketBuilder().eth(kUplink, kFar), source, destination, 64);
    }
    static PacketBuilder ip(PacketBuilder builder, const char* source, const char* destination, std::uint8_t ttl) {
        return GetParam().v6 ? builder.ipv6(source, destination, ttl) : builder.ipv4(source, destination, ttl);
    }
    static std::uint32_t send(Datapath& datapath, int pod, const PacketBuilder& packet) {
        return datapath.run("cil_from_container", packet.build(), "lxc" + std::to_string(pod)).return_value;
    }
    // pod1 opens a connection to pod2: the verdict, and nothing left behind.
    static std::uint32_t tcp_to_pod2(Datapath& datapath, std::uint16_t port, std::uint16_t source_port = 40000) {
        return send(datapath, 1, from_pod(1, GetParam().pod2).tcp(source_port, port, tcp::kSyn));
    }
    static int icmp_protocol() { return GetParam().v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP; }
    static std::uint8_t echo_request() { return GetParam().v6 ? 128 : 8; }
    static std::uint8_t echo_reply() { return GetParam().v6 ? 129 : 0; }
};

TEST_P(Policy, DefaultDenyDropsCountsAndReports) {
    Datapath datapath("pod");
    datapath.set_policy(2, ingress({}), kIngress);
    EXPECT_EQ(tcp_to_pod2(datapath, 80), kDrop);
    EXPECT_EQ(datapath.flow_count(), 0U);
    EXPECT_EQ(datapath.counted(DROP_POLICY, METRIC_INGRESS), 1U);
    EXPECT_EQ(datapath.counted(DROP_POLICY, METRIC_EGRESS), 0U);
    const auto events = datapath.events();
    ASSERT_EQ(events.size(), 2U);
    EXPECT_EQ(events[0].type, EVENT_POLICY_VERDICT);
    EXPECT_EQ(events[0].subtype, POLICY_DENY);
    EXPECT_EQ(events[0].reason, TRACE_REASON_NEW);
    EXPECT_TRUE(events[0].flags & EVENT_F_INGRESS);
    EXPECT_FALSE(events[0].flags & EVENT_F_AUDITED);
    EXPECT_EQ(events[0].rule_cookie, 900U);
    EXPECT_EQ(events[0].identity_src, kPod1);
    EXPECT_EQ(events[0].identity_dst, kPod2);
    EXPECT_EQ(events[0].endpoint_dst, 102);
    EXPECT_EQ(events[1].type, EVENT_DROP);
    EXPECT_EQ(events[1].subtype, DROP_POLICY);
    EXPECT_TRUE(events[1].flags & EVENT_F_INGRESS);
    EXPECT_EQ(events[1].rule_cookie, 900U);
    // The other direction is not concerned: what pod2 opens, and its replies, pass.
    EXPECT_EQ(send(datapath, 2, from_pod(2, GetParam().pod1).tcp(80, 40001, tcp::kSyn)), kRedirect);
    EXPECT_EQ(send(datapath, 1, from_pod(1, GetParam().pod2).tcp(40001, 80, tcp::kSyn | tcp::kAck)), kRedirect);
}

TEST_P(Policy, EgressOfTheSourceIsAskedFirst) {
    Datapath datapath("pod");
    datapath.set_policy(1, egress({}), kEgress);
    datapath.set_policy(2, ingress({}), kIngress);
    EXPECT_EQ(tcp_to_pod2(datapath, 80), kDrop);
    auto events = datapath.events();
    ASSERT_EQ(events.size(), 2U);
    EXPECT_FALSE(events[0].flags & EVENT_F_INGRESS);
    EXPECT_EQ(events[0].rule_cookie, 901U);
    EXPECT_EQ(events[1].rule_cookie, 901U);
    EXPECT_EQ(datapath.counted(DROP_POLICY, METRIC_EGRESS), 1U);
    // Both have to agree; both say so once.
    datapath.set_policy(1, egress({{.cookie = 11, .peers = {kPod2}}}), kEgress);
    EXPECT_EQ(tcp_to_pod2(datapath, 80), kDrop);
    EXPECT_EQ(datapath.counted(DROP_POLICY, METRIC_INGRESS), 1U);
    datapath.set_policy(2, ingress({{.cookie = 12, .peers = {kPod1}}}), kIngress);
    datapath.events();
    EXPECT_EQ(tcp_to_pod2(datapath, 80), kRedirect);
    events = datapath.events();
    ASSERT_EQ(events.size(), 3U);
    EXPECT_EQ(events[0].type, EVENT_POLICY_VERDICT);
    EXPECT_EQ(events[0].subtype, POLICY_ALLOW);
    EXPECT_EQ(events[0].rule_cookie, 11U);
    EXPECT_FALSE(events[0].flags & EVENT_F_INGRESS);
    EXPECT_EQ(events[1].type, EVENT_POLICY_VERDICT);
    EXPECT_EQ(events[1].rule_cookie, 12U);
    EXPECT_TRUE(events[1].flags & EVENT_F_INGRESS);
    EXPECT_EQ(events[2].type, EVENT_TRACE);
    const auto entry = datapath.find_flow(GetParam().pod1, GetParam().pod2, 40000, 80, IPPROTO_TCP);
    ASSERT_TRUE(entry);
    EXPECT_EQ(entry->egress_cookie, 11U);
    EXPECT_EQ(entry->ingress_cookie, 12U);
}

TEST_P(Policy, PeersPortsAndPrecedence) {
    Datapath datapath("pod");
    datapath.set_policy(2,
                        ingress({
                            {.cookie = 1, .action = POLICY_DENY, .protocol = IPPROTO_TCP, .first = 443, .last = 443},
                            {.cookie = 2, .action = POLICY_DENY, .peers = {7777}},
                            {.cookie = 3, .peers = {kPod1}, .protocol = IPPROTO_TCP, .first = 80, .last = 80},
                            {.cookie = 4, .peers = {kPod1}, .protocol = IPPROTO_TCP, .first = 400, .last = 32000},
                            {.cookie = 5, .peers = {7777, 8888}, .protocol = IPPROTO_TCP, .first = 81, .last = 81},
                            {.cookie = 6, .protocol = IPPROTO_UDP, .first = 53, .last = 53},
                        }),
                        kIngress);
    EXPECT_EQ(tcp_to_pod2(datapath, 80), kRedirect);
    EXPECT_EQ(tcp_to_pod2(datapath, 79), kDrop);
    EXPECT_EQ(tcp_to_pod2(datapath, 81), kDrop);  // allowed to others
    EXPECT_EQ(tcp_to_pod2(datapath, 399), kDrop);
    EXPECT_EQ(tcp_to_pod2(datapath, 400), kRedirect);
    EXPECT_EQ(tcp_to_pod2(datapath, 511), kRedirect);
    EXPECT_EQ(tcp_to_pod2(datapath, 512), kRedirect);
    EXPECT_EQ(tcp_to_pod2(datapath, 32000), kRedirect);
    EXPECT_EQ(tcp_to_pod2(datapath, 32001), kDrop);
    EXPECT_EQ(datapath.counted(DROP_POLICY, METRIC_INGRESS), 4U);
    datapath.events();
    EXPECT_EQ(tcp_to_pod2(datapath, 443), kDrop);  // a denial comes before the range that holds it
    EXPECT_EQ(datapath.counted(DROP_POLICY_DENY, METRIC_INGRESS), 1U);
    const auto events = datapath.events();
    ASSERT_EQ(events.size(), 2U);
    EXPECT_EQ(events[1].subtype, DROP_POLICY_DENY);
    EXPECT_EQ(events[1].rule_cookie, 1U);
    EXPECT_EQ(send(datapath, 1, from_pod(1, GetParam().pod2).udp(5000, 53)), kRedirect);
    EXPECT_EQ(send(datapath, 1, from_pod(1, GetParam().pod2).udp(5000, 80)), kDrop);
    // The source's port is nobody's business.
    EXPECT_EQ(tcp_to_pod2(datapath, 79, 80), kDrop);
}

TEST_P(Policy, WithoutEnforcementOnlyDenialsCount) {
    Datapath datapath("pod");
    datapath.set_policy(
        2,
        PolicyImageBuilder::build(
            {.enforced = false,
             .rules = {{.cookie = 1, .action = POLICY_DENY, .protocol = IPPROTO_TCP, .first = 22, .last = 22}}},
            {}),
        kIngress);
    EXPECT_EQ(tcp_to_pod2(datapath, 22), kDrop);
    EXPECT_EQ(tcp_to_pod2(datapath, 23), kRedirect);
    EXPECT_EQ(datapath.counted(DROP_POLICY_DENY, METRIC_INGRESS), 1U);
}

TEST_P(Policy, ARedirectIsRefusedWhileThereIsNoProxy) {
    Datapath datapath("pod");
    datapath.set_policy(2, ingress({{.cookie = 1, .action = POLICY_REDIRECT, .protocol = IPPROTO_TCP}}), kIngress);
    EXPECT_EQ(tcp_to_pod2(datapath, 80), kDrop);
    EXPECT_EQ(datapath.counted(DROP_POLICY, METRIC_INGRESS), 1U);
    EXPECT_EQ(of_type(datapath.events(), EVENT_DROP).at(0).rule_cookie, 1U);
}

TEST_P(Policy, EveryProtocolHasItsOwnPorts) {
    Datapath datapath("pod");
    datapath.set_policy(2,
                        ingress({
                            {.cookie = 1, .protocol = IPPROTO_SCTP, .first = 80, .last = 80},
                            {.cookie = 2, .protocol = icmp_protocol(), .first = echo_request(), .last = echo_request()},
                        }),
                        kIngress);
    const auto sctp = [&](std::uint16_t port) {
        Bytes header(12);
        header[0] = std::byte{0x9c};
        header[1] = std::byte{0x40};
        header[2] = static_cast<std::byte>(port >> 8);
        header[3] = static_cast<std::byte>(port);
        return send(datapath, 1, from_pod(1, GetParam().pod2).protocol(IPPROTO_SCTP).raw(header));
    };
    EXPECT_EQ(sctp(80), kRedirect);
    EXPECT_EQ(sctp(81), kDrop);
    EXPECT_EQ(tcp_to_pod2(datapath, 80), kDrop);
    EXPECT_EQ(send(datapath, 1, from_pod(1, GetParam().pod2).udp(5000, 80)), kDrop);
    const bool v6 = GetParam().v6;
    EXPECT_EQ(send(datapath, 1, from_pod(1, GetParam().pod2).icmp(echo_request(), 0, 7, 1, v6)), kRedirect);
    // The reply needs no rule, though pod1 may now receive nothing that it did not ask for.
    datapath.set_policy(1, ingress({}), kIngress);
    EXPECT_EQ(send(datapath, 2, from_pod(2, GetParam().pod1).icmp(echo_reply(), 0, 7, 1, v6)), kRedirect);
    EXPECT_EQ(send(datapath, 2, from_pod(2, GetParam().pod1).icmp(echo_reply(), 0, 8, 1, v6)), kDrop);
    EXPECT_EQ(send(datapath, 2, from_pod(2, GetParam().pod1).icmp(echo_request(), 0, 9, 1, v6)), kDrop);
    // The other types: each packet for itself, whatever went before.
    const std::uint8_t timestamp = v6 ? 139 : 13, address_mask = v6 ? 140 : 17;
    EXPECT_EQ(send(datapath, 1, from_pod(1, GetParam().pod2).icmp(timestamp, 0, 0, 1, v6)), kDrop);
    datapath.set_policy(2, ingress({{.cookie = 3, .protocol = icmp_protocol(), .first = timestamp, .last = timestamp}}),
                        kIngress);
    EXPECT_EQ(send(datapath, 1, from_pod(1, GetParam().pod2).icmp(timestamp, 0, 0, 1, v6)), kRedirect);
    EXPECT_EQ(send(datapath, 1, from_pod(1, GetParam().pod2).icmp(address_mask, 0, 0, 1, v6)), kDrop);
    EXPECT_EQ(send(datapath, 1, from_pod(1, GetParam().pod2).icmp(timestamp, 0, 0, 1, v6)), kRedirect);
}

TEST_P(Policy, ProtocolsWithoutPorts) {
    constexpr int kVrrp = 112, kGre = 47;
    const auto send_protocol = [](Datapath& datapath, int protocol) {
        return send(datapath, 1,
                    from_pod(1, GetParam().pod2).protocol(static_cast<std::uint8_t>(protocol)).payload(40));
    };
    Datapath plain("pod");
    EXPECT_EQ(send_protocol(plain, kVrrp), kDrop);
    EXPECT_EQ(plain.counted(DROP_CT_UNKNOWN_PROTO, METRIC_EGRESS), 1U);
    Datapath datapath("pod", {.extended_protocols = true});
    EXPECT_EQ(send_protocol(datapath, kGre), kRedirect);
    datapath.set_policy(2, ingress({{.cookie = 1, .protocol = kVrrp}}), kIngress);
    EXPECT_EQ(send_protocol(datapath, kVrrp), kRedirect);
    EXPECT_EQ(send_protocol(datapath, IPPROTO_IGMP), kDrop);
    EXPECT_EQ(send_protocol(datapath, kGre), kDrop);
    datapath.set_policy(2, ingress({{.cookie = 2}}), kIngress);
    EXPECT_EQ(send_protocol(datapath, kGre), kRedirect);
    EXPECT_EQ(datapath.counted(DROP_POLICY, METRIC_INGRESS), 2U);
}

TEST_P(Policy, FragmentsFollowTheirFirst) {
    const Family& f = GetParam();
    Datapath datapath("pod");
    datapath.set_policy(2, ingress({{.cookie = 1, .protocol = IPPROTO_UDP, .first = 53, .last = 53}}), kIngress);
    const auto first = [&](std::uint16_t port, std::uint16_t id) {
        PacketBuilder builder;
        builder.eth(Datapath::node_mac(1), Datapath::pod_mac(1));
        return f.v6 ? builder.ipv6(f.pod1, f.pod2).fragment6(0, true, id).udp(5000, port).payload(1232)
                    : builder.ipv4(f.pod1, f.pod2, 64, 0x2000, id).udp(5000, port).payload(1232);
    };
    const auto second = [&](std::uint16_t id) {
        PacketBuilder builder;
        builder.eth(Datapath::node_mac(1), Datapath::pod_mac(1));
        return f.v6 ? builder.ipv6(f.pod1, f.pod2).fragment6(1240, false, id).protocol(IPPROTO_UDP).payload(100)
                    : builder.ipv4(f.pod1, f.pod2, 64, 1240 / 8, id).protocol(IPPROTO_UDP).payload(100);
    };
    EXPECT_EQ(send(datapath, 1, first(53, 1)), kRedirect);
    EXPECT_EQ(send(datapath, 1, second(1)), kRedirect);
    EXPECT_EQ(send(datapath, 1, first(54, 2)), kDrop);
    EXPECT_EQ(send(datapath, 1, second(2)), kDrop);
    EXPECT_EQ(datapath.counted(DROP_POLICY, METRIC_INGRESS), 2U);
}

TEST_P(Policy, FragmentsOfAnEchoAskAboutItsType) {
    const Family& f = GetParam();
    Datapath datapath("pod");
    const bool v6 = f.v6;
    datapath.set_policy(
        2, ingress({{.cookie = 1, .protocol = icmp_protocol(), .first = echo_request(), .last = echo_request()}}),
        kIngress);
    PacketBuilder first, second;
    first.eth(Datapath::node_mac(1), Datapath::pod_mac(1));
    second.eth(Datapath::node_mac(1), Datapath::pod_mac(1));
    if (v6) {
        first.ipv6(f.pod1, f.pod2).fragment6(0, true, 5).icmp(128, 0, 7, 1, true).payload(1232);
        second.ipv6(f.pod1, f.pod2).fragment6(1240, false, 5).protocol(IPPROTO_ICMPV6).payload(100);
    } else {
        first.ipv4(f.pod1, f.pod2, 64, 0x2000, 5).icmp(8, 0, 7, 1).payload(1232);
        second.ipv4(f.pod1, f.pod2, 64, 1240 / 8, 5).protocol(IPPROTO_ICMP).payload(100);
    }
    EXPECT_EQ(send(datapath, 1, first), kRedirect);
    EXPECT_EQ(send(datapath, 1, second), kRedirect);
    datapath.generations().bump_endpoint(Datapath::endpoint_id(2));  // decided anew
    EXPECT_EQ(send(datapath, 1, second), kRedirect);
}

TEST_P(Policy, UnknownIdentitiesAndManyOfThem) {
    Datapath datapath("pod");
    // 5000 identities that nobody has, in few rows: most lie some rows from where the search begins.
    std::vector<std::uint32_t> crowd;
    for (std::uint32_t i = 0; i < 5000; ++i) crowd.push_back(100000 + i * 7);
    auto with_pod1 = crowd;
    with_pod1.insert(with_pod1.begin() + 2500, kPod1);
    datapath.set_policy(2, ingress({{.cookie = 1, .peers = crowd}, {.cookie = 2, .protocol = IPPROTO_UDP}}), kIngress);
    EXPECT_EQ(tcp_to_pod2(datapath, 80), kDrop);
    EXPECT_EQ(send(datapath, 1, from_pod(1, GetParam().pod2).udp(5000, 53)), kRedirect);  // everybody's rule
    datapath.set_policy(2, ingress({{.cookie = 1, .peers = with_pod1}}), kIngress);
    EXPECT_EQ(tcp_to_pod2(datapath, 80), kRedirect);
}

TEST_P(Policy, MoreRulesThanARowHolds) {
    Datapath datapath("pod");
    std::uint16_t port = 80;
    for (const std::size_t count : {1U, 64U, 65U, 256U, 257U, 1000U, 4095U}) {
        Rules rules;
        for (std::size_t i = 0; i + 1 < count; ++i)
            rules.push_back(
                {.cookie = static_cast<std::uint32_t>(1000 + i), .peers = {static_cast<std::uint32_t>(50000 + i)}});
        rules.push_back({.cookie = 77, .peers = {kPod1}});
        datapath.set_policy(2, ingress(rules), kIngress);
        datapath.events();
        EXPECT_EQ(tcp_to_pod2(datapath, ++port), kRedirect) << count;
        const auto verdicts = of_type(datapath.events(), EVENT_POLICY_VERDICT);
        ASSERT_EQ(verdicts.size(), 1U);
        EXPECT_EQ(verdicts[0].rule_cookie, 77U);
        rules.insert(rules.begin(), {.cookie = 78, .action = POLICY_DENY, .peers = {kPod1}});
        datapath.set_policy(2, ingress(rules), kIngress);
        EXPECT_EQ(tcp_to_pod2(datapath, ++port), kDrop) << count;
    }
}

TEST_P(Policy, NotComputedIsClosedForBothDirections) {
    const Family& f = GetParam();
    Datapath datapath("pod");
    EXPECT_EQ(tcp_to_pod2(datapath, 80), kRedirect);
    datapath.generations().set_policy(Datapath::endpoint_id(2), 0);
    datapath.events();
    EXPECT_EQ(tcp_to_pod2(datapath, 81), kDrop);
    EXPECT_EQ(send(datapath, 2, from_pod(2, f.outside).udp(1, 2)), kDrop);
    EXPECT_EQ(send(datapath, 2, from_pod(2, f.pod1).tcp(80, 40000, tcp::kAck)), kDrop);  // its existing connection
    EXPECT_EQ(datapath.counted(DROP_EP_NOT_READY, METRIC_INGRESS), 2U);
    EXPECT_EQ(datapath.counted(DROP_EP_NOT_READY, METRIC_EGRESS), 1U);
    for (const flow_event& event : datapath.events()) {
        EXPECT_EQ(event.type, EVENT_DROP);
        EXPECT_EQ(event.subtype, DROP_EP_NOT_READY);
    }
    EXPECT_EQ(send(datapath, 1, from_pod(1, f.outside).udp(1, 2)), kRedirect);
    // A reference to where nothing lies, or to no slab at all.
    for (const PolicyLocation nowhere : {PolicyLocation(0, 2047), PolicyLocation(0, 500000), PolicyLocation(63, 1)}) {
        datapath.generations().set_policy(Datapath::endpoint_id(2), nowhere.reference(kIngress | kEgress));
        const auto verdict = tcp_to_pod2(datapath, 82);
        if (nowhere.row() == 2047) continue;  // rows of zeros enforce nothing
        EXPECT_EQ(verdict, kDrop) << nowhere.slab() << " " << nowhere.row();
    }
}

TEST_P(Policy, AuditReportsAndLetsPass) {
    Datapath datapath("pod");
    datapath.set_policy(2, ingress({{.cookie = 5, .action = POLICY_DENY, .protocol = IPPROTO_UDP}}),
                        kIngress | POLICY_REF_F_AUDIT);
    EXPECT_EQ(tcp_to_pod2(datapath, 80), kRedirect);
    EXPECT_EQ(send(datapath, 1, from_pod(1, GetParam().pod2).udp(5000, 53)), kRedirect);
    const auto all = datapath.events();
    const auto verdicts = of_type(all, EVENT_POLICY_VERDICT);
    ASSERT_EQ(verdicts.size(), 2U);
    EXPECT_TRUE(of_type(all, EVENT_DROP).empty());
    EXPECT_EQ(verdicts[0].subtype, POLICY_ALLOW);
    EXPECT_TRUE(verdicts[0].flags & EVENT_F_AUDITED);
    EXPECT_EQ(verdicts[0].rule_cookie, 900U);
    EXPECT_EQ(verdicts[1].rule_cookie, 5U);
    EXPECT_TRUE(verdicts[1].flags & EVENT_F_AUDITED);
    EXPECT_EQ(datapath.counted(DROP_POLICY, METRIC_INGRESS), 0U);
}

TEST_P(Policy, AllowToDenyCutsBothDirectionsAndDenyToAllowOpens) {
    const Family& f = GetParam();
    Datapath datapath("pod");
    const auto allow = ingress({{.cookie = 1, .protocol = IPPROTO_TCP, .first = 80, .last = 80}});
    datapath.set_policy(2, allow, kIngress);
    const auto forth = [&](std::uint8_t flags) {
        return send(datapath, 1, from_pod(1, f.pod2).tcp(40000, 80, flags).payload(10));
    };
    const auto back = [&](std::uint8_t flags) {
        return send(datapath, 2, from_pod(2, f.pod1).tcp(80, 40000, flags).payload(10));
    };
    const auto entry = [&] { return *datapath.find_flow(f.pod1, f.pod2, 40000, 80, IPPROTO_TCP); };
    EXPECT_EQ(forth(tcp::kSyn), kRedirect);
    EXPECT_EQ(back(tcp::kSyn | tcp::kAck), kRedirect);
    EXPECT_EQ(forth(tcp::kAck), kRedirect);
    EXPECT_EQ(back(tcp::kAck), kRedirect);
    EXPECT_TRUE(entry().flags & FLOW_F_FAST);
    datapath.events();
    for (int round = 0; round < 3; ++round) {
        const std::uint32_t expires = entry().expires;
        datapath.set_policy(2, ingress({}), kIngress);
        EXPECT_EQ(round % 2 == 0 ? forth(tcp::kAck) : back(tcp::kAck), kDrop);
        EXPECT_EQ(back(tcp::kAck), kDrop);
        EXPECT_EQ(forth(tcp::kAck), kDrop);
        EXPECT_EQ(forth(tcp::kFin | tcp::kAck), kDrop);
        EXPECT_FALSE(entry().flags & FLOW_F_FAST);
        EXPECT_EQ(entry().expires, expires);
        EXPECT_EQ(datapath.flow_count(), 1U);
        const auto events = datapath.events();
        const auto drops = of_type(events, EVENT_DROP), verdicts = of_type(events, EVENT_POLICY_VERDICT);
        ASSERT_EQ(drops.size(), 4U);
        ASSERT_EQ(verdicts.size(), 4U);
        EXPECT_EQ(verdicts[1].reason, TRACE_REASON_REPLY);
        EXPECT_EQ(verdicts[2].reason, TRACE_REASON_ESTABLISHED);
        for (const flow_event& drop : drops) EXPECT_TRUE(drop.flags & EVENT_F_INGRESS);
        datapath.set_policy(2, allow, kIngress);
        EXPECT_EQ(round % 2 == 0 ? back(tcp::kAck) : forth(tcp::kAck), kRedirect);
        EXPECT_EQ(forth(tcp::kAck), kRedirect);
        EXPECT_EQ(back(tcp::kAck), kRedirect);
        EXPECT_TRUE(entry().flags & FLOW_F_FAST);
        datapath.events();
        // And now the fast path again.
        EXPECT_EQ(forth(tcp::kAck), kRedirect);
        EXPECT_EQ(back(tcp::kAck), kRedirect);
        EXPECT_TRUE(datapath.events().empty());
    }
}

TEST_P(Policy, ReplacedIdentityIsJudgedWithTheNextPacket) {
    const Family& f = GetParam();
    Datapath datapath("pod");
    datapath.set_policy(1, egress({{.cookie = 1, .peers = {kRemote}}}), kEgress);
    const auto packet = from_pod(1, f.remote).udp(5000, 53).payload(20);
    EXPECT_EQ(send(datapath, 1, packet), kRedirect);
    EXPECT_EQ(send(datapath, 1, packet), kRedirect);
    EXPECT_EQ(send(datapath, 1, from_pod(1, f.outside).udp(5000, 53)), kDrop);
    const IpAddress remote = *IpAddress::parse(f.remote);
    datapath.add_ipcache(f.v6 ? "fd00:10:2::1/128" : "10.0.2.1/32", 3002);
    datapath.generations().bump_address(remote);
    EXPECT_EQ(send(datapath, 1, packet), kDrop);
    datapath.add_ipcache(f.v6 ? "fd00:10:2::1/128" : "10.0.2.1/32", kRemote);
    datapath.generations().bump_address(remote);
    EXPECT_EQ(send(datapath, 1, packet), kRedirect);
}

TEST_P(Policy, ToTheNodeAndOutside) {
    const Family& f = GetParam();
    Datapath datapath("pod");
    datapath.set_policy(1, egress({{.cookie = 1, .peers = {1}, .protocol = IPPROTO_TCP, .first = 4240, .last = 4240}}),
                        kEgress);
    EXPECT_EQ(send(datapath, 1, from_pod(1, f.router).tcp(40000, 4240, tcp::kSyn)), kPass);
    EXPECT_EQ(send(datapath, 1, from_pod(1, f.router).tcp(40000, 4241, tcp::kSyn)), kDrop);
    EXPECT_EQ(send(datapath, 1, from_pod(1, f.outside).tcp(40000, 4240, tcp::kSyn)), kDrop);
    datapath.set_policy(1, egress({{.cookie = 1, .peers = {f.v6 ? 10U : 9U}}}), kEgress);
    EXPECT_EQ(send(datapath, 1, from_pod(1, f.router).tcp(40000, 4240, tcp::kSyn)), kDrop);
    EXPECT_EQ(send(datapath, 1, from_pod(1, f.outside).tcp(40000, 4240, tcp::kSyn)), kRedirect);
}

TEST_P(Policy, IcmpErrorsOfKnownConnectionsPassOthersAreAsked) {
    const Family& f = GetParam();
    const bool v6 = f.v6;
    Datapath datapath("pod");
    const auto datagram = from_pod(1, f.pod2).udp(5000, 53).payload(8).build();
    EXPECT_EQ(datapath.run("cil_from_container", datagram, "lxc1").return_value, kRedirect);
    datapath.set_policy(1, ingress({}), kIngress);
    const auto error = [&](std::uint8_t type, std::uint8_t code, const Bytes& about, const char* to) {
        return send(datapath, 2, from_pod(2, to).icmp(type, code, 0, 0, v6).raw(std::span(about).subspan(ETH_HLEN)));
    };
    const std::uint8_t unreachable = v6 ? 1 : 3, port = v6 ? 4 : 3;
    EXPECT_EQ(error(unreachable, port, datagram, f.pod1), kRedirect);
    const auto unknown = from_pod(1, f.pod2).udp(5001, 53).payload(8).build();
    EXPECT_EQ(error(unreachable, port, unknown, f.pod1), kDrop);
    EXPECT_EQ(datapath.counted(DROP_POLICY, METRIC_INGRESS), 1U);
    // Path MTU discovery works whatever the policy.
    EXPECT_EQ(error(v6 ? 2 : 3, v6 ? 0 : 4, unknown, f.pod1), kRedirect);
    // An error that quotes a connection of others is not related for whom it is sent to.
    datapath.set_policy(2, egress({}), kEgress);
    const auto of_others = from_pod(2, f.pod1).udp(53, 5000).payload(8).build();
    EXPECT_EQ(error(unreachable, port, of_others, f.pod1), kDrop);
    datapath.set_policy(2, egress({}), 0);
    datapath.set_policy(
        1, ingress({{.cookie = 1, .protocol = icmp_protocol(), .first = unreachable, .last = unreachable}}), kIngress);
    EXPECT_EQ(error(unreachable, port, unknown, f.pod1), kRedirect);
    EXPECT_EQ(datapath.flow_count(), 1U);
}

// A policy that is replaced all the time: each packet meets one of the two, whole.
TEST_P(Policy, SwapUnderLoadIsNeverNeitherNorBoth) {
    const Family& f = GetParam();
    Datapath datapath("pod");
    // Both allow port 80, by different rules; port 81 only the first, port 82 only the second.
    const auto one = ingress({{.cookie = 1, .protocol = IPPROTO_TCP, .first = 80, .last = 81}}, 100);
    const auto two = ingress({{.cookie = 9, .action = POLICY_DENY, .protocol = IPPROTO_UDP},
                              {.cookie = 2, .protocol = IPPROTO_TCP, .first = 80, .last = 80},
                              {.cookie = 3, .protocol = IPPROTO_TCP, .first = 82, .last = 82}},
                             200);
    datapath.set_policy(2, one, kIngress);
    std::atomic<bool> stop = false;
    std::atomic<int> swaps = 0;
    std::thread changing([&] {
        std::vector<PolicyLocation> old;
        for (int i = 0; !stop; ++i) {
            auto placed = datapath.slabs().place(i % 2 == 0 ? two : one);
            if (!placed) break;
            datapath.generations().set_policy(Datapath::endpoint_id(2), placed->reference(kIngress));
            if (!old.empty()) datapath.slabs().retire(old.back());
            old.assign(1, *placed);
            const auto batch = datapath.slabs().take_retired();
            if (!batch.wait()) break;
            datapath.slabs().free(batch);
            ++swaps;
        }
    });
    int denied81 = 0, denied82 = 0;
    // On a busy machine few swaps fall into a fixed number of packets.
    for (int i = 0; i < 4000 || (i < 60000 && (swaps <= 3 || denied81 == 0 || denied82 == 0)); ++i) {
        const auto source_port = static_cast<std::uint16_t>(1024 + i);
        EXPECT_EQ(tcp_to_pod2(datapath, 80, source_port), kRedirect);
        denied81 += tcp_to_pod2(datapath, 81, source_port) == kDrop ? 1 : 0;
        denied82 += tcp_to_pod2(datapath, 82, source_port) == kDrop ? 1 : 0;
        EXPECT_EQ(tcp_to_pod2(datapath, 83, source_port), kDrop);
        if (i % 50 != 49) continue;
        for (const flow_event& event : datapath.events()) {
            if (event.type != EVENT_POLICY_VERDICT) continue;
            const std::uint16_t port = PacketBuilder::swap16(event.dport);
            if (event.subtype == POLICY_ALLOW) {
                EXPECT_TRUE((event.rule_cookie == 1 && (port == 80 || port == 81)) ||
                            (event.rule_cookie == 2 && port == 80) || (event.rule_cookie == 3 && port == 82))
                    << event.rule_cookie << " " << port;
            } else {
                EXPECT_TRUE((event.rule_cookie == 100 && (port == 82 || port == 83)) ||
                            (event.rule_cookie == 200 && (port == 81 || port == 83)))
                    << event.rule_cookie << " " << port;
            }
        }
    }
    stop = true;
    changing.join();
    EXPECT_GT(swaps, 3);
    EXPECT_GT(denied81, 0);
    EXPECT_GT(denied82, 0);
    (void)f;
}

TEST_P(Policy, FromTheWireTheTunnelAndTheNode) {
    const Family& f = GetParam();
    const auto allow80 = [](std::uint32_t peer) {
        return ingress({{.cookie = 1, .peers = {peer}, .protocol = IPPROTO_TCP, .first = 80, .last = 80}});
    };
    {
        Datapath datapath("netdev");
        datapath.set_policy(1, allow80(kRemote), kIngress);
        const auto from = [&](const char* source, std::uint16_t port) {
            return datapath.run("cil_from_netdev", wire(source, f.pod1).tcp(40000, port, tcp::kSyn).build(), "eth0")
                .return_value;
        };
        EXPECT_EQ(from(f.remote, 80), kRedirect);
        EXPECT_EQ(from(f.remote, 81), kDrop);
        EXPECT_EQ(from(f.outside, 80), kDrop);
        EXPECT_EQ(datapath.counted(DROP_POLICY, METRIC_INGRESS), 2U);
        datapath.set_policy(1, ingress({}), kIngress);
        EXPECT_EQ(from(f.remote, 80), kDrop);
        EXPECT_EQ(datapath.flow_count(), 1U);
        datapath.generations().set_policy(Datapath::endpoint_id(1), 0);
        EXPECT_EQ(from(f.remote, 80), kDrop);
        EXPECT_EQ(datapath.counted(DROP_EP_NOT_READY, METRIC_INGRESS), 1U);
    }
    {
        Datapath datapath("host");
        datapath.set_policy(1, allow80(1), kIngress);
        const auto from = [&](const char* source, std::uint16_t port) {
            return datapath
                .run("cil_from_host", wire(source, f.pod1).tcp(40000, port, tcp::kSyn).build(), "cilium_host")
                .return_value;
        };
        EXPECT_EQ(from(f.router, 80), kRedirect);
        EXPECT_EQ(from(f.router, 81), kDrop);
        EXPECT_EQ(from(f.remote, 80), kDrop);
    }
    {
        Datapath datapath("pod");
        datapath.set_policy(1, allow80(kRemote), kIngress);
        const auto from = [&](const char* source, std::uint16_t port, std::uint32_t mark) {
            return datapath
                .run("cil_to_container", wire(source, f.pod1).tcp(40000, port, tcp::kSyn).build(), "lxc1", 1, mark)
                .return_value;
        };
        EXPECT_EQ(from(f.remote, 80, 0), kPass);
        EXPECT_EQ(from(f.remote, 81, 0), kDrop);
        EXPECT_EQ(from(f.outside, 80, 0), kDrop);
        EXPECT_EQ(from(f.remote, 81, 0x0300), kPass);  // decided where it came in
    }
}

// What a pod answers to a connection from elsewhere is judged as the connection was opened.
TEST_P(Policy, RepliesOfArrivedConnections) {
    const Family& f = GetParam();
    for (const bool legacy : {false, true}) {
        Datapath datapath("pod", {.legacy = legacy});
        datapath.set_policy(
            1,
            PolicyImageBuilder::build(
                {.enforced = true,
                 .default_cookie = 900,
                 .rules = {{.cookie = 1, .peers = {kRemote}, .protocol = IPPROTO_TCP, .first = 80, .last = 80}}},
                {.enforced = true, .default_cookie = 901}),
            kIngress | kEgress);
        const auto arrives = [&](std::uint8_t flags) {
            return datapath.run("cil_to_container", wire(f.remote, f.pod1).tcp(40000, 80, flags).build(), "lxc1")
                .return_value;
        };
        const auto answers = [&](std::uint8_t flags) {
            return send(datapath, 1, from_pod(1, f.remote).tcp(80, 40000, flags));
        };
        const std::uint32_t leaves = legacy ? kPass : kRedirect;
        EXPECT_EQ(answers(tcp::kSyn), kDrop);  // it may open nothing
        EXPECT_EQ(datapath.counted(DROP_POLICY, METRIC_EGRESS), 1U);
        EXPECT_EQ(arrives(tcp::kSyn), kPass);
        EXPECT_EQ(answers(tcp::kSyn | tcp::kAck), leaves);
        EXPECT_EQ(arrives(tcp::kAck), kPass);
        EXPECT_EQ(answers(tcp::kAck), leaves);
        datapath.events();
        datapath.set_policy(1, PolicyImageBuilder::build({.enforced = true, .default_cookie = 902}, {}), kIngress);
        EXPECT_EQ(answers(tcp::kAck), kDrop);
        const auto events = datapath.events();
        ASSERT_EQ(events.size(), 2U);
        EXPECT_EQ(events[0].reason, TRACE_REASON_REPLY);
        EXPECT_TRUE(events[0].flags & EVENT_F_INGRESS);
        EXPECT_EQ(events[0].rule_cookie, 902U);
        EXPECT_EQ(arrives(tcp::kAck), kDrop);
    }
}

// Who opened a tunnelled connection is what its packets carried, whatever the ipcache knows by now.
TEST_P(Policy, RepliesThroughTheTunnelKeepTheIdentityThatOpened) {
    const Family& f = GetParam();
    Datapath datapath("pod", {.tunnel = true, .tunnel_fast = false});
    const auto arrives = [&] {
        return datapath.run("cil_to_container", wire(f.remote, f.pod1).tcp(40000, 80, tcp::kSyn).build(), "lxc1")
            .return_value;
    };
    const auto answers = [&] { return send(datapath, 1, from_pod(1, f.remote).tcp(80, 40000, tcp::kSyn | tcp::kAck)); };
    ASSERT_EQ(arrives(), kPass);
    auto entry = *datapath.find_flow(f.remote, f.pod1, 40000, 80, IPPROTO_TCP);
    const bool remote_low = *IpAddress::parse(f.remote) < *IpAddress::parse(f.pod1);
    flow_half& opening = entry.half[remote_low ? 0 : 1];
    entry.identity_src = 4444;
    const std::uint32_t device = opening.ifindex_in;
    opening.ifindex_in = ifindex("cilium_vxlan");
    datapath.put_flow_update(f.remote, f.pod1, 40000, 80, IPPROTO_TCP, entry);
    datapath.set_policy(1, ingress({{.cookie = 1, .peers = {4444}}}), kIngress);
    EXPECT_EQ(answers(), kRedirect);
    datapath.set_policy(1, ingress({{.cookie = 1, .peers = {kRemote}}}), kIngress);
    EXPECT_EQ(answers(), kDrop);
    opening.ifindex_in = device;
    datapath.put_flow_update(f.remote, f.pod1, 40000, 80, IPPROTO_TCP, entry);
    EXPECT_EQ(answers(), kRedirect);
}

// What is refused once leaves no decision behind that the other direction could go on with.
TEST_P(Policy, ARefusedIdentityEndsTheOtherDirectionToo) {
    const Family& f = GetParam();
    Datapath datapath("pod");
    datapath.set_policy(1, ingress({{.cookie = 1, .peers = {kRemote}}}), kIngress);
    const auto arrives = [&] {
        return datapath.run("cil_to_container", wire(f.remote, f.pod1).tcp(40000, 80, tcp::kAck).build(), "lxc1")
            .return_value;
    };
    const auto answers = [&] { return send(datapath, 1, from_pod(1, f.remote).tcp(80, 40000, tcp::kAck)); };
    EXPECT_EQ(arrives(), kPass);
    EXPECT_EQ(answers(), kRedirect);
    EXPECT_EQ(answers(), kRedirect);
    // Not announced by a generation, as an identity that a tunnel carries is not.
    datapath.add_ipcache(f.v6 ? "fd00:10:2::1/128" : "10.0.2.1/32", 3002);
    EXPECT_EQ(arrives(), kPass);  // replayed
    const bool remote_low = *IpAddress::parse(f.remote) < *IpAddress::parse(f.pod1);
    auto entry = *datapath.find_flow(f.remote, f.pod1, 40000, 80, IPPROTO_TCP);
    entry.half[remote_low ? 0 : 1].identity = 1;
    entry.flags &= static_cast<std::uint16_t>(~FLOW_F_FAST);
    datapath.put_flow_update(f.remote, f.pod1, 40000, 80, IPPROTO_TCP, entry);
    EXPECT_EQ(arrives(), kDrop);
    EXPECT_EQ(answers(), kDrop);
    EXPECT_EQ(arrives(), kDrop);
}

INSTANTIATE_TEST_SUITE_P(Families, Policy, testing::Values(kIpv4, kIpv6),
                         [](const auto& info) { return info.param.v6 ? "IPv6" : "IPv4"; });

}  // namespace
}  // namespace axo::test
