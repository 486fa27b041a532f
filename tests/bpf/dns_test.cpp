// DNS messages of pods, as events: which packets tell one, once, to the byte; and that none of them is held up by it.
#include "datapath_fixture.h"

namespace axo::test {
namespace {

struct Family {
    const char *pod1, *pod2, *remote, *outside;
    bool v6;
};
const Family kIpv4{"10.0.1.1", "10.0.1.2", "10.0.2.1", "192.0.2.7", false};
const Family kIpv6{"fd00:10:1::1", "fd00:10:1::2", "fd00:10:2::1", "2001:db8::7", true};

const MacAddress kUplink({0x02, 0, 0, 0, 9, 1});
const MacAddress kFar({0x02, 0, 0, 0, 9, 2});

class Dns : public testing::TestWithParam<Family> {
protected:
    static Bytes packet(PacketBuilder builder, const char* from, const char* to, std::uint16_t source,
                        std::uint16_t destination, const std::string& message) {
        return (GetParam().v6 ? builder.ipv6(from, to) : builder.ipv4(from, to))
            .udp(source, destination)
            .raw(std::as_bytes(std::span(message)))
            .build();
    }
    static Bytes sent(int pod, const char* from, const char* to, std::uint16_t source, std::uint16_t destination,
                      const std::string& message) {
        return packet(PacketBuilder().eth(Datapath::node_mac(pod), Datapath::pod_mac(pod)), from, to, source,
                      destination, message);
    }
    static Bytes wired(const char* from, const char* to, std::uint16_t source, std::uint16_t destination,
                       const std::string& message) {
        return packet(PacketBuilder().eth(kUplink, kFar), from, to, source, destination, message);
    }
    const std::string question_ = std::string("\x12\x34\x01\x00\x00\x01\0\0\0\0\0\0\x03web\0\0\x01\0\x01", 21);
    const std::string answer_ = question_ + std::string(40, 'a');
};

TEST_P(Dns, WhatAPodAsksIsToldEachTime) {
    const auto& f = GetParam();
    Datapath datapath("pod", {.dns = true});
    for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(datapath.run("cil_from_container", sent(1, f.pod1, f.pod2, 5000, 53, question_), "lxc1").return_value,
                  kRedirect);
        const auto told = datapath.dns_events();
        ASSERT_EQ(told.size(), 1U);
        EXPECT_EQ(told[0].message, question_);
        EXPECT_EQ(told[0].flow.endpoint_src, 101);
        EXPECT_EQ(told[0].flow.endpoint_dst, 102);
        EXPECT_EQ(told[0].flow.identity_src, 2001U);
        EXPECT_EQ(told[0].flow.dport, PacketBuilder::swap16(53));
        EXPECT_EQ(told[0].flow.proto, IPPROTO_UDP);
        EXPECT_EQ(told[0].flow.flags, f.v6 ? EVENT_F_IPV6 : 0U);
        // The packet itself, as any flow's: the first one only.
        EXPECT_EQ(datapath.events().size(), i == 0 ? 1U : 0U);
    }
    const auto entry = datapath.find_flow(f.pod1, f.pod2, 5000, 53, IPPROTO_UDP);
    ASSERT_TRUE(entry);
    EXPECT_FALSE(entry->flags & FLOW_F_FAST) << "the fast path does not look into packets";
    EXPECT_EQ(entry->half[0].packets, 3U);
}

TEST_P(Dns, AnAnswerIsToldToThePodThatGetsIt) {
    const auto& f = GetParam();
    // From a server on this node.
    Datapath local("pod", {.dns = true});
    local.run("cil_from_container", sent(1, f.pod1, f.pod2, 5000, 53, question_), "lxc1");
    local.dns_events();
    EXPECT_EQ(local.run("cil_from_container", sent(2, f.pod2, f.pod1, 53, 5000, answer_), "lxc2").return_value,
              kRedirect);
    auto told = local.dns_events();
    ASSERT_EQ(told.size(), 1U);
    EXPECT_EQ(told[0].message, answer_);
    EXPECT_EQ(told[0].flow.endpoint_dst, 101);
    EXPECT_EQ(told[0].flow.reason, TRACE_REASON_REPLY);
    // From the wire, in a frame that is longer than its datagram.
    Datapath wire("netdev", {.dns = true});
    Bytes padded = wired(f.outside, f.pod1, 53, 5000, answer_);
    padded.insert(padded.end(), 7, std::byte{0xEE});
    EXPECT_EQ(wire.run("cil_from_netdev", padded, "eth0").return_value, kRedirect);
    told = wire.dns_events();
    ASSERT_EQ(told.size(), 1U);
    EXPECT_EQ(told[0].message, answer_);
    EXPECT_EQ(told[0].flow.endpoint_dst, 101);
    EXPECT_TRUE(told[0].flow.flags & EVENT_F_INGRESS);
    // With legacy routing the stack delivers it.
    Datapath legacy("netdev", {.legacy = true, .dns = true});
    EXPECT_EQ(legacy.run("cil_from_netdev", wired(f.outside, f.pod1, 53, 5000, answer_), "eth0").return_value, kPass);
    EXPECT_TRUE(legacy.dns_events().empty());
    Datapath pod("pod", {.legacy = true, .dns = true});
    EXPECT_EQ(pod.run("cil_to_container", wired(f.outside, f.pod1, 53, 5000, answer_), "lxc1").return_value, kPass);
    EXPECT_EQ(pod.dns_events().size(), 1U);
}

TEST_P(Dns, OthersMessagesAreNot) {
    const auto& f = GetParam();
    // What a server on this node is asked from elsewhere, and what it answers them.
    Datapath wire("netdev", {.dns = true});
    EXPECT_EQ(wire.run("cil_from_netdev", wired(f.remote, f.pod1, 5000, 53, question_), "eth0").return_value,
              kRedirect);
    EXPECT_TRUE(wire.dns_events().empty());
    EXPECT_TRUE(wire.find_flow(f.remote, f.pod1, 5000, 53, IPPROTO_UDP)->flags & FLOW_F_FAST) << "a server's work";
    Datapath pod("pod", {.dns = true});
    pod.run("cil_from_container", sent(1, f.pod1, f.outside, 53, 5000, answer_), "lxc1");
    EXPECT_TRUE(pod.dns_events().empty());
    EXPECT_EQ(pod.events().size(), 1U);
    // Another port, another protocol.
    pod.run("cil_from_container", sent(1, f.pod1, f.pod2, 5000, 5353, question_), "lxc1");
    auto tcp = PacketBuilder().eth(Datapath::node_mac(1), Datapath::pod_mac(1));
    pod.run("cil_from_container",
            (f.v6 ? tcp.ipv6(f.pod1, f.pod2) : tcp.ipv4(f.pod1, f.pod2)).tcp(5000, 53, tcp::kSyn).payload(40).build(),
            "lxc1");
    EXPECT_TRUE(pod.dns_events().empty());
    // Nobody wants to know.
    Datapath off("pod");
    off.run("cil_from_container", sent(1, f.pod1, f.pod2, 5000, 53, question_), "lxc1");
    EXPECT_TRUE(off.dns_events().empty());
    EXPECT_TRUE(off.find_flow(f.pod1, f.pod2, 5000, 53, IPPROTO_UDP)->flags & FLOW_F_FAST);
}

TEST_P(Dns, LengthsThatLieTellNothingAndPass) {
    const auto& f = GetParam();
    Datapath datapath("pod", {.dns = true});
    const std::size_t length_at = ETH_HLEN + (f.v6 ? 40 : 20) + 4;
    for (const std::uint16_t length : {0, 7, 8, 19, 300, 65535}) {
        Bytes bytes = sent(1, f.pod1, f.pod2, 5000, 53, question_);
        bytes[length_at] = static_cast<std::byte>(length >> 8);
        bytes[length_at + 1] = static_cast<std::byte>(length);
        EXPECT_EQ(datapath.run("cil_from_container", bytes, "lxc1").return_value, kRedirect) << length;
        EXPECT_TRUE(datapath.dns_events().empty()) << length;
    }
    // As long as there can be, and the shortest that may be one.
    for (const std::size_t size : {std::size_t{DNS_HEADER_BYTES}, std::size_t{f.v6 ? 1452U : 1472U}}) {
        const std::string message(size, 'm');
        EXPECT_EQ(datapath.run("cil_from_container", sent(1, f.pod1, f.pod2, 5000, 53, message), "lxc1").return_value,
                  kRedirect);
        const auto told = datapath.dns_events();
        ASSERT_EQ(told.size(), 1U) << size;
        EXPECT_EQ(told[0].message, message);
    }
}

TEST_P(Dns, AFloodOfThemLeavesRoomForTheRest) {
    const auto& f = GetParam();
    Datapath datapath("pod", {.dns = true});
    const Bytes large = sent(1, f.pod1, f.pod2, 5000, 53, std::string(1400, 'm'));
    for (int i = 0; i < 900; ++i) ASSERT_EQ(datapath.run("cil_from_container", large, "lxc1").return_value, kRedirect);
    const std::uint64_t lost_ones = datapath.lost_events(EVENT_LOST_DNS);
    EXPECT_GT(lost_ones, 0U);
    auto tcp = PacketBuilder().eth(Datapath::node_mac(1), Datapath::pod_mac(1));
    datapath.run("cil_from_container",
                 (f.v6 ? tcp.ipv6(f.pod1, f.pod2) : tcp.ipv4(f.pod1, f.pod2)).tcp(5000, 80, tcp::kSyn).build(), "lxc1");
    const auto told = datapath.dns_events();
    EXPECT_EQ(told.size() + lost_ones, 900U) << "each is told or counted";
    EXPECT_EQ(datapath.events().size(), 2U) << "the first datagram's flow, and what came after the flood";
}

INSTANTIATE_TEST_SUITE_P(Families, Dns, testing::Values(kIpv4, kIpv6),
                         [](const auto& info) { return info.param.v6 ? "IPv6" : "IPv4"; });

}  // namespace
}  // namespace axo::test
