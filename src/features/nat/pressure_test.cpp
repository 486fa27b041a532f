#include "features/nat/pressure.h"

#include <gtest/gtest.h>
#include <netinet/in.h>

namespace axo::nat {
namespace {

constexpr std::uint32_t kNow = 1000;
constexpr PortRange kRange{.low = 40000, .high = 40099};

FlowRow reserved(std::uint16_t port, const char* destination = "192.0.2.1", std::uint16_t destination_port = 443,
                 std::uint8_t protocol = IPPROTO_TCP) {
    FlowRow row{.source = IpAddress::parse("172.18.1.11").value(),
                .destination = IpAddress::parse(destination).value(),
                .source_port = port,
                .destination_port = destination_port,
                .protocol = protocol};
    row.value.flags = FLOW_F_SNAT | FLOW_F_TRANSLATED;
    row.value.expires = kNow + 10;
    return row;
}

std::vector<PortUse> use(std::uint32_t used) {
    const FlowRow row = reserved(1);
    return {{{.protocol = row.protocol, .source = row.source, .destination = row.destination, .destination_port = 443},
             used}};
}

TEST(NatPressure, CountsWhatReservesAPortPerDestination) {
    PortUseCounter counter(kRange, kNow);
    for (std::uint16_t i = 0; i < 5; ++i) counter.add(reserved(static_cast<std::uint16_t>(40000 + i)));
    counter.add(reserved(40000, "192.0.2.2"));
    counter.add(reserved(40000, "192.0.2.2", 80));
    // Echo requests have one identifier in both places.
    for (std::uint16_t i = 0; i < 3; ++i) {
        const auto id = static_cast<std::uint16_t>(40010 + i);
        counter.add(reserved(id, "192.0.2.1", id, IPPROTO_ICMP));
    }
    FlowRow none = reserved(40050);
    none.value.flags = FLOW_F_SNAT;  // the opener's entry
    counter.add(none);
    none.value.flags = FLOW_F_TRANSLATED;  // to a service, with its own address
    counter.add(none);
    none = reserved(40051);
    none.value.expires = kNow - 1;
    counter.add(none);
    counter.add(reserved(39999));
    counter.add(reserved(40100));

    const std::vector<PortUse> top = counter.top(2);
    ASSERT_EQ(top.size(), 2U);
    EXPECT_EQ(top[0].tuple.to_string(), "TCP 172.18.1.11 -> 192.0.2.1:443");
    EXPECT_EQ(top[0].used, 5U);
    EXPECT_EQ(top[1].tuple.to_string(), "ICMP 172.18.1.11 -> 192.0.2.1");
    EXPECT_EQ(top[1].used, 3U);
    EXPECT_EQ(counter.top(100).size(), 4U);
}

TEST(NatPressure, FullDestinationsAreKeptBeyondTheTop) {
    PortUseCounter counter(kRange, kNow);
    for (std::uint16_t i = 0; i < 90; ++i) {
        counter.add(reserved(static_cast<std::uint16_t>(40000 + i)));
        if (i < 70) counter.add(reserved(static_cast<std::uint16_t>(40000 + i), "2001:db8::1"));
        if (i < 69) counter.add(reserved(static_cast<std::uint16_t>(40000 + i), "192.0.2.9"));
    }
    const std::vector<PortUse> top = counter.top(1);
    ASSERT_EQ(top.size(), 2U);
    EXPECT_EQ(top[1].tuple.to_string(), "TCP 172.18.1.11 -> [2001:db8::1]:443");
}

TEST(NatPressure, OneWarningPerThresholdUntilItFalls) {
    PressureTracker tracker(kRange);
    EXPECT_TRUE(tracker.update(use(80)).empty());
    EXPECT_TRUE(tracker.problems().empty());
    const auto high = tracker.update(use(81));
    ASSERT_EQ(high.size(), 1U);
    EXPECT_EQ(high[0].where, "NAT TCP 172.18.1.11 -> 192.0.2.1:443");
    EXPECT_TRUE(high[0].message.starts_with("81 of 100 source ports (81 %) are in use;")) << high[0].message;
    EXPECT_TRUE(tracker.update(use(95)).empty());
    EXPECT_EQ(tracker.update(use(96)).size(), 1U);
    EXPECT_TRUE(tracker.update(use(90)).empty());
    EXPECT_TRUE(tracker.update(use(99)).empty());
    EXPECT_TRUE(tracker.update(use(84)).empty());
    EXPECT_EQ(tracker.update(use(97)).size(), 1U);
    // Down to 70 % it stays a problem, with the present figures.
    EXPECT_TRUE(tracker.update(use(70)).empty());
    ASSERT_EQ(tracker.problems().size(), 1U);
    EXPECT_TRUE(tracker.problems()[0].message.starts_with("70 of 100"));
    EXPECT_TRUE(tracker.update(use(69)).empty());
    EXPECT_TRUE(tracker.problems().empty());
    EXPECT_EQ(tracker.update(use(100)).size(), 1U);
    EXPECT_TRUE(tracker.update({}).empty());
    EXPECT_TRUE(tracker.problems().empty());
}

}  // namespace
}  // namespace axo::nat
