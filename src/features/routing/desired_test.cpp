#include "features/routing/desired.h"

#include <gtest/gtest.h>

#include <array>
#include <random>

namespace axo {
namespace {

IpAddress ip(std::string_view text) {
    return IpAddress::parse(text).value();
}
Prefix prefix(std::string_view text) {
    return Prefix::parse(text).value();
}

constexpr IfIndex kHost{7};
constexpr IfIndex kUplink{2};

RoutingSettings tunnel() {
    return {.ipv4 = true,
            .ipv6 = true,
            .tunnel = true,
            .route_mtu = 1450,
            .host_device = kHost,
            .router_ipv4 = ip("10.0.0.1"),
            .router_ipv6 = ip("fd00::1")};
}

RoutingSettings native(bool skip = false) {
    RoutingSettings settings = tunnel();
    settings.tunnel = false;
    settings.auto_direct_node_routes = true;
    settings.skip_unreachable = skip;
    return settings;
}

std::vector<RoutingNode> three_nodes() {
    return {{.name = "a",
             .local = true,
             .pod_cidrs = {prefix("10.0.0.0/24"), prefix("fd00::/96")},
             .ipv4 = ip("192.168.0.1")},
            {.name = "b",
             .pod_cidrs = {prefix("10.0.1.0/24"), prefix("fd01::/96")},
             .ipv4 = ip("192.168.0.2"),
             .ipv6 = ip("fc00::2")},
            {.name = "c", .pod_cidrs = {prefix("10.0.2.0/24")}, .ipv4 = ip("192.168.9.3")}};
}

std::map<IpAddress, NextHop> hops() {
    return {{ip("192.168.0.2"), {.link = kUplink}},
            {ip("fc00::2"), {.link = kUplink}},
            {ip("192.168.9.3"), {.gateway = ip("192.168.0.254"), .link = kUplink}}};
}

using Routes = std::map<Prefix, WantedRoute>;

Routes local_routes() {
    return {{prefix("10.0.0.1/32"), {.link = kHost, .link_scope = true}},
            {prefix("10.0.0.0/24"), {.gateway = ip("10.0.0.1"), .link = kHost, .source = ip("10.0.0.1")}},
            {prefix("fd00::1/128"), {.link = kHost}},
            {prefix("fd00::/96"), {.link = kHost, .source = ip("fd00::1")}}};
}

TEST(RoutingPlan, TunnelModeLeadsEverythingToTheHostDevice) {
    const RoutingPlan plan = plan_routes(tunnel(), three_nodes(), {});
    Routes expected = local_routes();
    for (const char* cidr : {"10.0.1.0/24", "10.0.2.0/24"}) {
        expected[prefix(cidr)] = {.gateway = ip("10.0.0.1"), .link = kHost, .source = ip("10.0.0.1"), .mtu = 1450};
    }
    expected[prefix("fd01::/96")] = {.link = kHost, .source = ip("fd00::1"), .mtu = 1450};
    EXPECT_EQ(plan.routes, expected);
    EXPECT_TRUE(plan.errors.empty());
    EXPECT_TRUE(addresses_to_look_up(tunnel(), three_nodes()).empty());
}

TEST(RoutingPlan, NativeModeWithoutDirectRoutesKnowsOnlyItsOwnPods) {
    RoutingSettings settings = native();
    settings.auto_direct_node_routes = false;
    EXPECT_EQ(plan_routes(settings, three_nodes(), hops()).routes, local_routes());
}

TEST(RoutingPlan, DirectRoutesGoToTheNodesAddress) {
    EXPECT_EQ(addresses_to_look_up(native(), three_nodes()),
              (std::vector{ip("192.168.0.2"), ip("192.168.9.3"), ip("fc00::2")}));
    const RoutingPlan plan = plan_routes(native(), three_nodes(), hops());
    Routes expected = local_routes();
    expected[prefix("10.0.1.0/24")] = {.gateway = ip("192.168.0.2"), .link = kUplink};
    expected[prefix("fd01::/96")] = {.gateway = ip("fc00::2"), .link = kUplink};
    EXPECT_EQ(plan.routes, expected);
    // The one behind a gateway is refused by name, and nobody else suffers.
    ASSERT_EQ(plan.errors.size(), 1U);
    EXPECT_NE(plan.errors.at("c").find("node c: address 192.168.9.3 is behind gateway 192.168.0.254"),
              std::string::npos);
    EXPECT_NE(plan.errors.at("c").find("must share the same L2 network"), std::string::npos);
}

TEST(RoutingPlan, UnreachableNodesCanBeSkipped) {
    const RoutingPlan plan = plan_routes(native(true), three_nodes(), hops());
    EXPECT_TRUE(plan.errors.empty());
    EXPECT_EQ(plan.skipped.size(), 1U);
    EXPECT_TRUE(plan.skipped.contains("c"));
    EXPECT_FALSE(plan.routes.contains(prefix("10.0.2.0/24")));
    EXPECT_TRUE(plan.routes.contains(prefix("10.0.1.0/24")));
}

TEST(RoutingPlan, ANodeThatCannotBeReachedIsNamed) {
    auto next_hops = hops();
    next_hops[ip("192.168.0.2")] = {.error = "there is none"};
    next_hops[ip("fc00::2")] = {.unicast = false};
    const RoutingPlan plan = plan_routes(native(true), three_nodes(), next_hops);
    EXPECT_NE(plan.errors.at("b").find("no route to its address 192.168.0.2: there is none"), std::string::npos);
    EXPECT_NE(plan.errors.at("b").find("fc00::2 is not reachable"), std::string::npos);
    EXPECT_EQ(plan.routes, local_routes());
}

TEST(RoutingPlan, OverlappingRangesStayWithTheFirst) {
    auto nodes = three_nodes();
    nodes[2].pod_cidrs = {prefix("10.0.1.128/25"), prefix("10.0.3.0/24")};
    nodes.push_back({.name = "d", .pod_cidrs = {prefix("10.0.0.0/16")}, .ipv4 = ip("192.168.0.4")});
    const RoutingPlan plan = plan_routes(tunnel(), nodes, {});
    EXPECT_NE(plan.errors.at("c").find("10.0.1.128/25 overlaps 10.0.1.0/24 of node b"), std::string::npos);
    EXPECT_NE(plan.errors.at("d").find("10.0.0.0/16 overlaps 10.0.0.0/24 of node a"), std::string::npos);
    EXPECT_FALSE(plan.routes.contains(prefix("10.0.1.128/25")));
    EXPECT_TRUE(plan.routes.contains(prefix("10.0.3.0/24")));
}

// Against a look at every pair.
TEST(RoutingPlan, OverlapsOfRandomPodCidrs) {
    std::mt19937 random(1);  // NOLINT(cert-msc51-cpp): the same each time
    for (int round = 0; round < 200; ++round) {
        std::vector<RoutingNode> nodes;
        std::vector<std::pair<Prefix, std::string>> taken;
        std::map<std::string, std::string> refused;
        for (int i = 100; i < 130; ++i) {
            const std::array<std::uint8_t, 4> bytes{10, 0, static_cast<std::uint8_t>(random() % 4),
                                                    static_cast<std::uint8_t>(random())};
            const Prefix cidr(IpAddress::v4(bytes), 20 + static_cast<int>(random() % 9));
            const std::string name = "n" + std::to_string(i);
            nodes.push_back({.name = name, .pod_cidrs = {cidr}, .ipv4 = ip("192.168.0.9")});
            std::ranges::sort(taken);
            const auto other =
                std::ranges::find_if(taken, [&cidr](const auto& one) { return one.first.overlaps(cidr); });
            if (other != taken.end()) {
                refused[name] =
                    cidr.to_string() + " overlaps " + other->first.to_string() + " of node " + other->second;
            } else {
                taken.emplace_back(cidr, name);
            }
        }
        const RoutingPlan plan = plan_routes(tunnel(), nodes, {});
        ASSERT_EQ(plan.errors.size(), refused.size());
        for (const auto& [name, why] : refused) EXPECT_NE(plan.errors.at(name).find(why), std::string::npos) << why;
    }
}

TEST(RoutingPlan, FamiliesThatAreOffHaveNoRoutes) {
    RoutingSettings settings = tunnel();
    settings.ipv4 = false;
    for (const auto& [destination, route] : plan_routes(settings, three_nodes(), {}).routes) {
        EXPECT_EQ(destination.family(), Family::kIpv6) << destination.to_string();
    }
}

TEST(RoutingPlan, ANodeWithoutAnAddressOfTheFamily) {
    auto nodes = three_nodes();
    nodes[1].ipv6 = {};
    const RoutingPlan plan = plan_routes(native(), nodes, hops());
    EXPECT_NE(plan.errors.at("b").find("fd01::/96 but no IPv6 InternalIP"), std::string::npos);
    EXPECT_TRUE(plan.routes.contains(prefix("10.0.1.0/24")));
}

}  // namespace
}  // namespace axo
