#include "features/health/desired.h"

#include <gtest/gtest.h>

namespace axo {
namespace {

NodeRow node() {
    NodeRow row;
    row.name = "n1";
    row.addresses = {{"InternalIP", *IpAddress::parse("192.168.0.1")}, {"InternalIP", *IpAddress::parse("fd01::1")}};
    row.health_ipv4 = *IpAddress::parse("10.0.1.9");
    row.health_ipv6 = *IpAddress::parse("fd02::9");
    return row;
}

TEST(ProbeTargets, FamiliesAndEndpoints) {
    EXPECT_EQ(probe_targets(node(), true, true, true).host.size(), 2U);
    EXPECT_EQ(probe_targets(node(), true, true, true).endpoint.size(), 2U);
    EXPECT_EQ(probe_targets(node(), true, false, true).endpoint.size(), 1U);
    EXPECT_TRUE(probe_targets(node(), true, true, false).endpoint.empty());
    NodeRow v6_underlay = node();
    v6_underlay.addresses.erase(v6_underlay.addresses.begin());
    ASSERT_EQ(probe_targets(v6_underlay, true, false, false).host.size(), 1U);
    EXPECT_TRUE(probe_targets(v6_underlay, true, false, false).host[0].ip.is_v6());
}

TEST(MergeResults, KeepsWhatIsStillProbed) {
    NodeHealth old = probe_targets(node(), true, false, true);
    old.host[0].icmp = {.done = true, .failure = "", .latency = Duration{5}, .last_probed = {}};
    NodeRow moved = node();
    moved.health_ipv4 = *IpAddress::parse("10.0.1.10");
    const NodeHealth merged = merge_results(probe_targets(moved, true, false, true), old);
    EXPECT_TRUE(merged.host[0].icmp.ok());
    EXPECT_FALSE(merged.endpoint[0].done());
}

TEST(Reachable, AllProbesMustAnswer) {
    NodeHealth health = probe_targets(node(), true, false, true);
    EXPECT_FALSE(reachable(health));
    for (auto* list : {&health.host, &health.endpoint}) {
        for (AddressHealth& address : *list) {
            address.icmp.done = true;
            address.http.done = true;
        }
    }
    EXPECT_TRUE(reachable(health));
    health.endpoint[0].http.failure = "Connection refused";
    EXPECT_FALSE(reachable(health));
}

TEST(ProbeInterval, GrowsWithTheLogarithmOfTheCluster) {
    EXPECT_NEAR(std::chrono::duration<double>(probe_interval(1)).count(), 6.93, 0.01);
    EXPECT_NEAR(std::chrono::duration<double>(probe_interval(3)).count(), 13.86, 0.01);
    EXPECT_LT(probe_interval(1000), std::chrono::seconds(70));
}

}  // namespace
}  // namespace axo
