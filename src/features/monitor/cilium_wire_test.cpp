// Bytes of Cilium's monitor stream, written out by its layouts, and what Go's encoder wrote for the same values.
#include "features/monitor/cilium_wire.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>

#include "bpf/api/drop_reason.h"
#include "bpf/api/policy.h"
#include "features/monitor/gob.h"
#include "features/monitor/packet_headers.h"

namespace axo {
namespace {

std::string hex(std::string_view bytes) {
    static constexpr char kDigits[] = "0123456789abcdef";
    std::string text;
    for (const char c : bytes) {
        text += kDigits[static_cast<unsigned char>(c) >> 4];
        text += kDigits[static_cast<unsigned char>(c) & 15];
    }
    return text;
}

// Hexadecimal digits without the blanks that make them readable.
std::string digits(std::string_view text) {
    std::string packed(text);
    std::erase(packed, ' ');
    return packed;
}

// 10.0.0.1:40000 -> 10.0.0.2:80, TCP, on a device numbered 7.
flow_event tcp_event(std::uint8_t type) {
    flow_event event{};
    event.type = type;
    event.reason = TRACE_REASON_UNKNOWN;
    event.ifindex = 7;
    event.hash = 0x11223344;
    event.length = 74;
    event.ethertype = 0x0800;
    event.saddr.ip4 = IpAddress::parse("10.0.0.1")->v4_network_order();
    event.daddr.ip4 = IpAddress::parse("10.0.0.2")->v4_network_order();
    event.sport = htons(40000);
    event.dport = htons(80);
    event.proto = 6;
    event.tcp_flags = 0x02;
    event.identity_src = 0x1234;
    event.identity_dst = 0x5678;
    event.endpoint_src = 0x0a0b;
    event.endpoint_dst = 0x0c0d;
    return event;
}

constexpr std::string_view kIpv4Tcp =
    "45 00 003c 0000 0000 00 06 0000 0a000001 0a000002"
    "9c40 0050 00000000 00000000 50 02 0000 0000 0000";

flow_event ipv6_event(std::uint8_t proto) {
    flow_event event = tcp_event(EVENT_TRACE);
    event.flags = EVENT_F_IPV6;
    event.ethertype = 0x86DD;
    event.proto = proto;
    event.length = 14 + 40 + 64;
    event.saddr = {};
    event.daddr = {};
    event.saddr.bytes[0] = event.daddr.bytes[0] = 0xfd;
    event.saddr.bytes[15] = 1;
    event.daddr.bytes[15] = 2;
    return event;
}

constexpr std::string_view kIpv6Ends = "fd000000000000000000000000000001 fd000000000000000000000000000002";

std::string packet_hex(const flow_event& event) {
    return hex(packet_headers(event));
}

// Each string: what Go's encoder wrote for the same value, the type's definition cut off in front of a second one.
TEST(Gob, StreamOfPayloadsIsAsGoWritesIt) {
    EXPECT_EQ(
        hex(cilium_wire::start()),
        "38ff81030101075061796c6f616401ff82000104010444617461010a00010343505501040001044c6f737401060001045479706501"
        "04000000");
    EXPECT_EQ(hex(gob::Value().add_bytes("\x01\x02\x03").add_int(0).add_uint(0).add_int(9).message()),
              "0aff820103010203031200");
    EXPECT_EQ(hex(cilium_wire::lost(300)), "09ff8203fe012c010400");
}

TEST(Gob, LongAndNegativeNumbers) {
    std::string long_one = "ffdaff8201ffc8";
    for (int i = 0; i < 200; ++i) long_one += "07";
    EXPECT_EQ(hex(gob::Value()
                      .add_bytes(std::string(200, '\x07'))
                      .add_int(-3)
                      .add_uint(std::uint64_t{1} << 40)
                      .add_int(9)
                      .message()),
              long_one + "010501fa010000000000011200");
}

TEST(Gob, OnlyZeroes) {
    EXPECT_EQ(hex(gob::Value().add_bytes({}).add_int(0).add_uint(0).add_int(0).message()), "03ff8200");
}

TEST(CiliumWire, AgentNoticeIsAStreamOfItsOwn) {
    EXPECT_EQ(hex(cilium_wire::data(AgentNotice{.type = AgentNotice::kEndpointCreated, .text = "{}"})),
              "82"
              "2bff81030101"
              "0b4167656e744e6f7469667901ff82000102010454797065010600010454657874010c000000"
              "09ff82010701027b7d00");
}

TEST(CiliumWire, MessageIsThePayloadOfASample) {
    const flow_event event = tcp_event(EVENT_DROP);
    const std::string data = cilium_wire::data(event, {}), message = cilium_wire::message(event, {});
    ASSERT_EQ(data.size(), 48U + 40U);
    EXPECT_EQ(hex(message), "5fff820158" + hex(data) + "031200");
}

TEST(CiliumWire, Drop) {
    flow_event event = tcp_event(EVENT_DROP);
    event.subtype = DROP_POLICY;
    event.flags = EVENT_F_INGRESS;
    event.line = 0x0102;
    event.file = 1;
    event.ext_error = -2;
    EXPECT_EQ(hex(cilium_wire::data(event, {})),
              digits("01 85 0d0c 44332211 4a000000 2800 03 00"  // type, reason, source, hash, lengths, versions
                     "34120000 78560000 0d0c0000"               // identities, destination
                     "0201 02 fe 07000000"                      // line, bpf_lxc.c, ext_error, ifindex
                     "02 000000 0000000000000000") +            // flags: no link layer; trace id
                  digits(kIpv4Tcp));
}

TEST(CiliumWire, DropOfWhatAPodSendsIsItsOwn) {
    flow_event event = tcp_event(EVENT_DROP);
    event.subtype = DROP_POLICY_DENY;
    event.file = 4;
    event.endpoint_dst = 0;
    const std::string bytes = cilium_wire::data(event, {});
    EXPECT_EQ(hex(bytes.substr(0, 4)), "01b50b0a");
    EXPECT_EQ(hex(bytes.substr(24, 4)), "00000000");
    EXPECT_EQ(hex(bytes.substr(30, 1)), "01");  // bpf_host.c
    event.file = 20;
    EXPECT_EQ(hex(cilium_wire::data(event, {}).substr(30, 1)), "00");
}

TEST(CiliumWire, DropOfWhatIsNotIp) {
    flow_event event = tcp_event(EVENT_DROP);
    event.subtype = DROP_UNSUPPORTED_L2;
    event.ethertype = 0x88CC;
    event.length = 60;
    const std::string bytes = cilium_wire::data(event, {});
    EXPECT_EQ(hex(bytes.substr(12, 2)), "0e00");
    EXPECT_EQ(hex(bytes.substr(36, 1)), "00");
    EXPECT_EQ(hex(bytes.substr(48)), digits("000000000000 000000000000 88cc"));
}

TEST(CiliumWire, Trace) {
    flow_event event = tcp_event(EVENT_TRACE);
    event.subtype = TRACE_TO_LXC;
    event.reason = TRACE_REASON_REPLY;
    EXPECT_EQ(hex(cilium_wire::data(event, {})),
              digits("04 00 0d0c 44332211 4a000000 2800 02 00"
                     "34120000 78560000 0d0c 02 02 07000000"  // identities, destination, reason, flags, ifindex
                     "0a000001 000000000000000000000000"      // whom the pod sees
                     "0000000000000000") +
                  digits(kIpv4Tcp));
}

TEST(CiliumWire, TraceOnTheWayOutIsTheSenders) {
    flow_event event = tcp_event(EVENT_TRACE);
    event.subtype = TRACE_TO_OVERLAY;
    event.reason = TRACE_REASON_NEW;
    event.endpoint_dst = 0;
    event.flags = EVENT_F_TUNNEL;  // the bytes are those inside it
    const std::string bytes = cilium_wire::data(event, {});
    EXPECT_EQ(hex(bytes.substr(0, 4)), "04040b0a");
    EXPECT_EQ(hex(bytes.substr(24, 24)), digits("0000 00 02 07000000 00000000000000000000000000000000"));
}

TEST(CiliumWire, Verdict) {
    flow_event event = tcp_event(EVENT_POLICY_VERDICT);
    event.subtype = POLICY_ALLOW;
    event.reason = TRACE_REASON_NEW;
    event.flags = EVENT_F_INGRESS;
    event.rule_cookie = 4711;
    const EventRule rule{.name = "CiliumNetworkPolicy default/web, spec.ingress[0]", .match = "L3-L4", .deny = false};
    EXPECT_EQ(
        hex(cilium_wire::data(event, rule)),
        digits("05 00 0d0c 44332211 4a000000 2800 01 00"
               "34120000 00000000 5000 06 91"  // remote identity, verdict, port, TCP, ingress + L3-L4 + no link layer
               "00 000000 00000000 00000000") +
            digits(kIpv4Tcp));
}

TEST(CiliumWire, VerdictsThatDenyAreNegativeReasons) {
    flow_event event = tcp_event(EVENT_POLICY_VERDICT);
    event.subtype = POLICY_DENY;
    // Egress: the sender's, about the destination.
    std::string bytes = cilium_wire::data(event, {.name = "", .match = "none", .deny = false});
    EXPECT_EQ(hex(bytes.substr(2, 2)), "0b0a");
    EXPECT_EQ(hex(bytes.substr(16, 12)), digits("78560000 7bffffff 5000 06 82"));  // -133
    bytes = cilium_wire::data(event, {.name = "", .match = "L3-Only", .deny = true});
    EXPECT_EQ(hex(bytes.substr(20, 8)), digits("4bffffff 5000 06 8a"));  // -181
    // A reply to what was opened from outside: the policy is the sender's for ingress, the port the connection's.
    event.flags = EVENT_F_INGRESS;
    event.reason = TRACE_REASON_REPLY;
    bytes = cilium_wire::data(event, {});
    EXPECT_EQ(hex(bytes.substr(2, 2)), "0b0a");
    EXPECT_EQ(hex(bytes.substr(16, 12)), digits("78560000 7bffffff 409c 06 81"));
}

TEST(CiliumWire, AuditedVerdictLetsPass) {
    flow_event event = ipv6_event(17);
    event.type = EVENT_POLICY_VERDICT;
    event.subtype = POLICY_ALLOW;
    event.flags |= EVENT_F_AUDITED;
    const std::string bytes = cilium_wire::data(event, {.name = "", .match = "all", .deny = false});
    EXPECT_EQ(hex(bytes.substr(20, 8)), digits("00000000 5000 11 e6"));
}

TEST(PacketHeaders, Ipv6) {
    EXPECT_EQ(packet_hex(ipv6_event(17)),
              digits("60000000 0040 11 00") + digits(kIpv6Ends) + digits("9c40 0050 0040 0000"));
    flow_event icmp = ipv6_event(58);
    icmp.icmp_type = 128;
    icmp.sport = icmp.dport = htons(0x0102);
    EXPECT_EQ(packet_hex(icmp), digits("60000000 0040 3a 00") + digits(kIpv6Ends) + digits("80 00 0000 0102 0000"));
    EXPECT_EQ(hex(cilium_wire::data(icmp, {}).substr(27, 1)), "03");
}

TEST(PacketHeaders, OtherTransports) {
    flow_event event = tcp_event(EVENT_TRACE);
    event.proto = 132;
    EXPECT_EQ(packet_hex(event).substr(40), digits("9c40 0050 00000000 00000000"));
    event.proto = 1;
    event.icmp_type = 3;
    event.icmp_code = 1;
    event.sport = event.dport = 0;
    EXPECT_EQ(packet_hex(event).substr(40), digits("03 01 0000 0000 0000"));
    event.proto = 50;
    EXPECT_EQ(packet_hex(event), digits("45 00 003c 0000 0000 00 32 0000 0a000001 0a000002"));
}

TEST(PacketHeaders, FragmentsSaySo) {
    flow_event event = tcp_event(EVENT_TRACE);
    event.flags = EVENT_F_FRAGMENT | EVENT_F_NO_L4;
    EXPECT_EQ(packet_hex(event), digits("45 00 003c 0000 2000 00 06 0000 0a000001 0a000002"));
    flow_event v6 = ipv6_event(17);
    v6.flags |= EVENT_F_FRAGMENT;
    EXPECT_EQ(packet_hex(v6), digits("60000000 0040 2c 00") + digits(kIpv6Ends) + digits("11 00 0001 00000000") +
                                  digits("9c40 0050 0038 0000"));
}

TEST(PacketHeaders, LengthsThatDoNotFit) {
    flow_event event = tcp_event(EVENT_TRACE);
    event.length = 0;
    EXPECT_EQ(packet_hex(event).substr(4, 4), "0028");
    event.proto = 17;
    event.length = 200'000;  // a GSO packet
    EXPECT_EQ(packet_hex(event).substr(4, 4), "ffff");
    EXPECT_EQ(packet_hex(event).substr(48, 4), "ffff");
}

}  // namespace
}  // namespace axo
