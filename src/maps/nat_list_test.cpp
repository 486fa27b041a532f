#include "maps/nat_list.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include "maps/convert.h"

namespace axo {
namespace {

IpAddress ip(const char* text) {
    return IpAddress::parse(text).value();
}

constexpr std::uint32_t kNow = 10'000;

// The entry of a connection, keyed as the table keeps it. reply: packets against the original direction are rewritten.
FlowRow entry(const char* source, std::uint16_t sport, const char* destination, std::uint16_t dport,
              const char* new_source, std::uint16_t new_sport, const char* new_destination, std::uint16_t new_dport,
              bool reply) {
    FlowRow row{.source = ip(source),
                .destination = ip(destination),
                .source_port = sport,
                .destination_port = dport,
                .protocol = IPPROTO_TCP};
    const bool high = ip(destination) < ip(source);
    row.value.flags = static_cast<std::uint16_t>(FLOW_F_SNAT | (high ? FLOW_F_INITIATOR_HIGH : 0U) |
                                                 (high != reply ? FLOW_F_REWRITE_HIGH : FLOW_F_REWRITE_LOW));
    row.value.created = kNow - 205;  // 27 s
    row.value.rewrite.saddr = to_axo_addr(ip(new_source));
    row.value.rewrite.daddr = to_axo_addr(ip(new_destination));
    row.value.rewrite.sport = htons(new_sport);
    row.value.rewrite.dport = htons(new_dport);
    return row;
}

// contracts: "TCP OUT … XLATE_SRC …", "TCP IN … XLATE_DST …".
TEST(NatList, MasqueradedConnection) {
    const FlowRow out = entry("10.0.0.63", 40000, "8.8.8.8", 53, "192.168.122.233", 40001, "8.8.8.8", 53, false);
    EXPECT_TRUE(is_translated(out));
    EXPECT_EQ(nat_line(out, kNow),
              "TCP OUT 10.0.0.63:40000 -> 8.8.8.8:53 XLATE_SRC 192.168.122.233:40001 Created=27sec ago NeedsCT=0");
    const FlowRow in = entry("192.168.122.233", 40001, "8.8.8.8", 53, "8.8.8.8", 53, "10.0.0.63", 40000, true);
    EXPECT_EQ(nat_line(in, kNow),
              "TCP IN 8.8.8.8:53 -> 192.168.122.233:40001 XLATE_DST 10.0.0.63:40000 Created=27sec ago NeedsCT=0");
}

TEST(NatList, NodePortRewritesBothEnds) {
    EXPECT_EQ(
        nat_line(entry("172.18.200.10", 50000, "172.18.1.11", 30080, "10.0.0.1", 50000, "10.0.1.7", 8080, false), kNow),
        "TCP OUT 172.18.200.10:50000 -> 172.18.1.11:30080 XLATE_SRC 10.0.0.1:50000 XLATE_DST 10.0.1.7:8080 "
        "Created=27sec ago NeedsCT=0");
    EXPECT_EQ(nat_line(entry("fd00::1", 50000, "fd00:96::1", 80, "fd00::1", 50000, "fd00:1::7", 8080, false), kNow),
              "TCP OUT [fd00::1]:50000 -> [fd00:96::1]:80 XLATE_DST [fd00:1::7]:8080 Created=27sec ago NeedsCT=0");
}

TEST(NatList, PlainConnectionsAreNotTranslated) {
    FlowRow plain = entry("10.0.0.63", 40000, "8.8.8.8", 53, "10.0.0.63", 40000, "8.8.8.8", 53, false);
    plain.value.flags = FLOW_F_ESTABLISHED | FLOW_F_FAST;
    EXPECT_FALSE(is_translated(plain));
}

}  // namespace
}  // namespace axo
