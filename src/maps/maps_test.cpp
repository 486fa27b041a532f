#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <ctime>

#include "maps/convert.h"
#include "maps/endpoint_map.h"
#include "maps/flow_map.h"
#include "maps/generations.h"
#include "maps/ipcache_map.h"
#include "maps/metrics_map.h"

namespace axo {
namespace {

IpAddress ip(std::string_view text) {
    return IpAddress::parse(text).value();
}
Prefix prefix(std::string_view text) {
    return Prefix::parse(text).value();
}
MacAddress mac(std::string_view text) {
    return MacAddress::parse(text).value();
}

#define REQUIRE_ROOT() \
    if (::geteuid() != 0) GTEST_SKIP() << "needs root"

LocalEndpoint nginx() {
    return {.id = EndpointId(811),
            .link = IfIndex(13),
            .identity = IdentityId(28723),
            .mac = mac("8a:31:bc:72:83:96"),
            .node_mac = mac("be:7a:56:91:01:f7")};
}

// contracts.md 2.5, "map get cilium_lxc".
TEST(EndpointMap, PrintsAsCiliumDoes) {
    EXPECT_EQ(EndpointMap::print(nginx()),
              "id=811   sec_id=28723 flags=0x0000 ifindex=13  mac=8A:31:BC:72:83:96 nodemac=BE:7A:56:91:01:F7 "
              "parent_ifindex=0  ");
    EXPECT_EQ(EndpointMap::print({.host = true}), "(localhost)");
    EXPECT_EQ(EndpointMap::print_key(ip("10.0.0.63")), "10.0.0.63:0");
}

TEST(EndpointMap, EncodesCiliumsLayout) {
    const endpoint_key key4 = EndpointMap::encode_key(ip("10.0.0.63"));
    EXPECT_EQ(key4.family, AXO_FAMILY_IPV4);
    EXPECT_EQ(key4.addr.bytes[0], 10);
    EXPECT_EQ(key4.addr.bytes[3], 63);
    EXPECT_EQ(key4.addr.bytes[4], 0);
    const endpoint_key key6 = EndpointMap::encode_key(ip("fd00::1"));
    EXPECT_EQ(key6.family, AXO_FAMILY_IPV6);
    EXPECT_EQ(key6.addr.bytes[15], 1);
    EXPECT_EQ(EndpointMap::decode_key(key4), ip("10.0.0.63"));
    EXPECT_EQ(EndpointMap::decode_key(key6), ip("fd00::1"));
    EXPECT_EQ(EndpointMap::decode(EndpointMap::encode(nginx())), nginx());
    const endpoint_info host = EndpointMap::encode({.host = true});
    EXPECT_EQ(host.flags, ENDPOINT_F_HOST);
    EXPECT_EQ(host.ifindex, 0U);
}

TEST(EndpointDeviceMap, RoundTrip) {
    const DeviceEndpoint both{.id = EndpointId(7),
                              .identity = IdentityId(4711),
                              .ipv4 = ip("10.1.0.9"),
                              .ipv6 = ip("fd00::9"),
                              .mac = mac("02:00:00:00:00:01"),
                              .node_mac = mac("02:00:00:00:00:02"),
                              .skip_source_check = true};
    EXPECT_EQ(EndpointDeviceMap::decode(EndpointDeviceMap::encode(both)), both);
    DeviceEndpoint v6_only = both;
    v6_only.ipv4 = {};
    v6_only.skip_source_check = false;
    v6_only.pass_arp = true;
    EXPECT_EQ(EndpointDeviceMap::decode(EndpointDeviceMap::encode(v6_only)), v6_only);
    EXPECT_EQ(EndpointDeviceMap::encode(v6_only).flags, ENDPOINT_DEV_F_ARP_PASS);
}

// contracts.md 2.5, "bpf ipcache list".
TEST(IpcacheMap, PrintsAsCiliumDoes) {
    EXPECT_EQ(IpcacheMap::print({.identity = IdentityId(28723)}),
              "identity=28723 encryptkey=0 tunnelendpoint=0.0.0.0 flags=<none>");
    EXPECT_EQ(IpcacheMap::print({.identity = identity::kHealth, .tunnel_endpoint = ip("192.168.122.123")}),
              "identity=4 encryptkey=0 tunnelendpoint=192.168.122.123 flags=hastunnel");
}

TEST(IpcacheMap, RoundTrip) {
    for (const char* text : {"10.0.0.0/8", "10.0.0.115/32", "0.0.0.0/0", "fd00::/64", "::/0", "fd00::1/128"}) {
        const ipcache_key key = IpcacheMap::encode_key(prefix(text));
        EXPECT_EQ(IpcacheMap::decode_key(key), prefix(text));
        EXPECT_EQ(key.prefixlen, 32U + static_cast<unsigned>(prefix(text).length()));
    }
    for (const IpcacheEntry& entry :
         {IpcacheEntry{.identity = IdentityId(300)},
          IpcacheEntry{.identity = IdentityId(300), .tunnel_endpoint = ip("1.2.3.4")},
          IpcacheEntry{
              .identity = IdentityId(300), .tunnel_endpoint = ip("fd00::2"), .encrypt_key = 3, .skip_tunnel = true}}) {
        EXPECT_EQ(IpcacheMap::decode(IpcacheMap::encode(entry)), entry);
    }
    EXPECT_EQ(IpcacheMap::encode({.tunnel_endpoint = ip("fd00::2")}).flags,
              IPCACHE_F_HAS_TUNNEL_EP | IPCACHE_F_IPV6_TUNNEL_EP);
}

TEST(IpcacheMap, LongestPrefixWins) {
    REQUIRE_ROOT();
    const auto map = IpcacheMap::create_private(16);
    ASSERT_TRUE(map) << map.error().to_string();
    ASSERT_TRUE(map->put(prefix("0.0.0.0/0"), {.identity = identity::kWorld}));
    ASSERT_TRUE(map->put(prefix("10.0.1.0/24"), {.identity = identity::kWorld, .tunnel_endpoint = ip("192.168.0.2")}));
    ASSERT_TRUE(map->put(prefix("10.0.1.7/32"), {.identity = IdentityId(900)}));
    EXPECT_EQ(map->get(ip("10.0.1.7"))->identity, IdentityId(900));
    EXPECT_EQ(map->get(ip("10.0.1.8"))->tunnel_endpoint, ip("192.168.0.2"));
    EXPECT_EQ(map->get(ip("8.8.8.8"))->identity, identity::kWorld);
    EXPECT_EQ(map->get(ip("fd00::1")).error().code, Code::kNotFound);
    EXPECT_EQ(map->list()->size(), 3U);
    ASSERT_TRUE(map->remove(prefix("10.0.1.7/32")));
    ASSERT_TRUE(map->remove(prefix("10.0.1.7/32")));
    EXPECT_EQ(map->get(ip("10.0.1.7"))->identity, identity::kWorld);
}

TEST(EndpointMap, ListsWhatWasPut) {
    REQUIRE_ROOT();
    const auto map = EndpointMap::create_private(16);
    ASSERT_TRUE(map) << map.error().to_string();
    ASSERT_TRUE(map->put(ip("10.0.0.63"), nginx()));
    ASSERT_TRUE(map->put(ip("fd00::1"), {.host = true}));
    const auto all = map->list();
    ASSERT_TRUE(all);
    EXPECT_EQ(*all, (std::map<IpAddress, LocalEndpoint>{{ip("10.0.0.63"), nginx()}, {ip("fd00::1"), {.host = true}}}));
    const auto devices = EndpointDeviceMap::create_private(16);
    ASSERT_TRUE(devices);
    ASSERT_TRUE(devices->put(IfIndex(9), {.id = EndpointId(1)}));
    ASSERT_EQ(devices->list()->size(), 1U);
    ASSERT_TRUE(devices->remove(IfIndex(9)));
    EXPECT_TRUE(devices->list()->empty());
}

TEST(Generations, OnlyWhatChangedMoves) {
    REQUIRE_ROOT();
    auto generations = Generations::create_private();
    ASSERT_TRUE(generations) << generations.error().to_string();
    EXPECT_EQ(generations->node(), 0U);
    generations->bump_node();
    generations->bump_prefix(prefix("10.0.0.0/8"));
    EXPECT_EQ(generations->node(), 2U);
    generations->bump_address(ip("10.0.0.1"));
    generations->bump_prefix(prefix("10.0.0.1/32"));
    EXPECT_EQ(generations->address(ip("10.0.0.1")), 2U);
    generations->bump_prefix(prefix("fd00::1/128"));
    EXPECT_EQ(generations->address(ip("fd00::1")), 1U);
    EXPECT_EQ(generations->node(), 2U);
    generations->bump_endpoint(EndpointId(65535));
    generations->bump_endpoint(EndpointId(0));
    EXPECT_EQ(generations->endpoint(EndpointId(65535)), 1U);
    EXPECT_EQ(generations->endpoint(EndpointId(0)), 0U);
    EXPECT_EQ(generations->host_endpoint(), EndpointId(0));
    for (int again = 0; again < 2; ++again) generations->set_host_endpoint(EndpointId(7));
    EXPECT_EQ(generations->host_endpoint(), EndpointId(7));
    EXPECT_EQ(generations->node(), 3U);
    EXPECT_EQ(generations->endpoint(EndpointId(7)), 0U);
    Generations moved = std::move(*generations);
    moved.bump_node();
    EXPECT_EQ(moved.node(), 4U);
}

TEST(Metrics, Texts) {
    EXPECT_EQ(reason_text(133), "Policy denied");
    EXPECT_EQ(reason_text(0), "Success");
    EXPECT_EQ(reason_text(250), "Unknown (250)");
    EXPECT_EQ(direction_text(METRIC_INGRESS), "INGRESS");
    EXPECT_EQ(direction_text(METRIC_EGRESS), "EGRESS");
    EXPECT_EQ(direction_text(METRIC_SERVICE), "SERVICE");
    EXPECT_EQ(source_file_text(1), "pod.bpf.c");
    EXPECT_EQ(source_file_text(99), "unknown (99)");
}

TEST(Metrics, SumsOverCpus) {
    REQUIRE_ROOT();
    const auto map = MetricsMap::create_private();
    ASSERT_TRUE(map) << map.error().to_string();
    EXPECT_TRUE(map->list()->empty());
    std::vector<metrics_value> per_cpu(1024, metrics_value{.count = 2, .bytes = 100});
    const std::uint32_t index = metrics_index(133, METRIC_EGRESS);
    ASSERT_TRUE(map->raw().update(&index, per_cpu.data()));
    const auto rows = map->list();
    ASSERT_TRUE(rows);
    ASSERT_EQ(rows->size(), 1U);
    EXPECT_EQ(rows->front().reason, 133);
    EXPECT_EQ(rows->front().direction, METRIC_EGRESS);
    EXPECT_EQ(rows->front().packets % 2, 0U);
    EXPECT_EQ(rows->front().bytes, rows->front().packets * 50);
}

FlowRow tcp_flow(std::string_view source, std::uint16_t sport, std::string_view destination, std::uint16_t dport) {
    FlowRow row;
    row.source = ip(source);
    row.destination = ip(destination);
    row.source_port = sport;
    row.destination_port = dport;
    row.protocol = 6;
    return row;
}

TEST(FlowMaps, KeyIsTheSameForBothDirections) {
    for (const auto& [a, b] :
         {std::pair{"10.0.0.63", "10.0.0.115"}, {"10.0.0.255", "10.0.1.0"}, {"10.0.0.1", "10.0.0.1"}}) {
        const flow_key4 there = FlowMaps::encode_key4(tcp_flow(a, 40542, b, 53));
        const flow_key4 back = FlowMaps::encode_key4(tcp_flow(b, 53, a, 40542));
        EXPECT_EQ(std::memcmp(&there, &back, sizeof(there)), 0);
        EXPECT_LE(ntohl(there.addr[0]), ntohl(there.addr[1]));
    }
    const flow_key6 there = FlowMaps::encode_key6(tcp_flow("fd00::2", 1, "fd00::1", 2));
    EXPECT_EQ(there.port[0], htons(2));
    flow value{};
    value.flags = FLOW_F_INITIATOR_HIGH;
    const FlowRow row = FlowMaps::decode(there, value);
    EXPECT_EQ(row.source, ip("fd00::2"));
    EXPECT_EQ(row.source_port, 1);
    value.flags = 0;
    EXPECT_EQ(FlowMaps::decode(there, value).source, ip("fd00::1"));
}

// contracts.md 2.5, "bpf ct list".
TEST(FlowMaps, PrintsAsCiliumDoes) {
    FlowRow row = tcp_flow("10.0.0.63", 40542, "10.0.0.115", 53);
    row.value.expires = 127'018;  // 17048 s
    row.value.endpoint_src = 811;
    row.value.identity_src = 28723;
    row.value.rev_nat = 2;
    row.value.flags = FLOW_F_CLOSING_LOW | FLOW_F_CLOSING_HIGH | FLOW_F_ESTABLISHED;
    row.value.tcp_flags[0] = 0x1b;
    row.value.tcp_flags[1] = 0x13;
    row.value.half[0].action = FLOW_DELIVER;
    row.value.half[0].decided_at = 126'943;
    row.value.half[0].packets = 4;
    row.value.half[0].bytes = 400;
    row.value.half[1].packets = 3;
    row.value.half[1].bytes = 300;
    EXPECT_EQ(
        FlowMaps::print(row),
        "TCP OUT 10.0.0.63:40542 -> 10.0.0.115:53 expires=17048 Packets=7 Bytes=700 RxFlagsSeen=0x13 LastRxReport=0 "
        "TxFlagsSeen=0x1b LastTxReport=17038 Flags=0x0013 [ RxClosing TxClosing SeenNonSyn ] RevNAT=2 "
        "SourceSecurityID=28723 BackendID=0 NatPort=0 ");
    // Seen from the endpoint that was called, the original direction is what it receives.
    row.value.endpoint_src = 0;
    row.value.endpoint_dst = 811;
    row.value.flags = FLOW_F_CLOSING_LOW;
    EXPECT_EQ(
        FlowMaps::print(row),
        "TCP IN 10.0.0.63:40542 -> 10.0.0.115:53 expires=17048 Packets=7 Bytes=700 RxFlagsSeen=0x1b LastRxReport=17038 "
        "TxFlagsSeen=0x13 LastTxReport=0 Flags=0x0001 [ RxClosing ] RevNAT=2 SourceSecurityID=28723 BackendID=0 "
        "NatPort=0 ");
    // A service's connection as its opener sees it, and masqueraded on its way out.
    row.value.backend_id = 7;
    row.value.rev_nat = 2;
    row.value.flags |= FLOW_F_REWRITE_LOW | FLOW_F_SNAT | FLOW_F_NODE_PORT;
    row.value.rewrite.sport = htons(40000);
    EXPECT_TRUE(FlowMaps::print(row).starts_with("TCP SVC 10.0.0.63:40542 -> 10.0.0.115:53 ")) << FlowMaps::print(row);
    EXPECT_NE(FlowMaps::print(row).find("NodePort ] RevNAT=2 "), std::string::npos) << FlowMaps::print(row);
    EXPECT_NE(FlowMaps::print(row).find("BackendID=7 NatPort=40000 "), std::string::npos) << FlowMaps::print(row);
    EXPECT_EQ(FlowMaps::print_remaining(row, row.value.expires - 75), "(remaining: 10 sec(s))");
    EXPECT_EQ(FlowMaps::print_remaining(row, row.value.expires + 75), "(remaining: -10 sec(s))");
}

class FlowCollection : public ::testing::Test {
protected:
    void SetUp() override {
        REQUIRE_ROOT();
        auto created = FlowMaps::create_private(10'000);
        ASSERT_TRUE(created) << created.error().to_string();
        maps_.emplace(std::move(*created));
    }
    void add(const FlowRow& row, std::uint32_t expires, std::uint16_t endpoint = 0) {
        flow value{};
        value.expires = expires;
        value.endpoint_src = endpoint;
        const auto put = row.source.is_v4() ? maps_->v4().put(FlowMaps::encode_key4(row), value)
                                            : maps_->v6().put(FlowMaps::encode_key6(row), value);
        ASSERT_TRUE(put) << put.error().to_string();
    }
    std::size_t count() {
        std::size_t n = 0;
        EXPECT_TRUE(maps_->for_each([&n](const FlowRow&) { ++n; }));
        return n;
    }
    std::optional<FlowMaps> maps_;
};

TEST_F(FlowCollection, RemovesWhatExpired) {
    for (std::uint16_t port = 1; port <= 5000; ++port) {
        add(tcp_flow("10.0.0.1", port, "10.0.0.2", 80), port <= 3000 ? 99 : 101);
    }
    add(tcp_flow("fd00::1", 1, "fd00::2", 80), 99);
    add(tcp_flow("fd00::1", 2, "fd00::2", 80), 100);
    const auto outcome = maps_->collect(100);
    ASSERT_TRUE(outcome) << outcome.error().to_string();
    EXPECT_EQ(outcome->seen, 5002U);
    EXPECT_EQ(outcome->removed, 3001U);
    EXPECT_EQ(count(), 2001U);
}

TEST_F(FlowCollection, TellsWhatExpiredAsItWasLast) {
    add(tcp_flow("10.0.0.1", 1, "10.0.0.2", 80), 99, 5);
    add(tcp_flow("10.0.0.1", 2, "10.0.0.2", 80), 101, 6);
    add(tcp_flow("10.0.0.1", 3, "10.0.0.2", 80), 101, 7);
    add(tcp_flow("fd00::1", 4, "fd00::2", 80), 99, 8);
    std::vector<std::uint16_t> ended;
    const auto outcome = maps_->collect(
        100, [](const FlowRow& row) { return row.value.endpoint_src == 7; },
        [&](const FlowRow& row) { ended.push_back(row.value.endpoint_src); });
    ASSERT_TRUE(outcome);
    EXPECT_EQ(outcome->removed, 3U);
    EXPECT_EQ(ended, (std::vector<std::uint16_t>{5, 8})) << "what was taken for another reason has not ended";
}

TEST_F(FlowCollection, TimeMayWrap) {
    add(tcp_flow("10.0.0.1", 1, "10.0.0.2", 80), 0xFFFFFFF0U);  // before the wrap: expired
    add(tcp_flow("10.0.0.1", 2, "10.0.0.2", 80), 20);           // after it: alive
    const auto outcome = maps_->collect(10);
    ASSERT_TRUE(outcome);
    EXPECT_EQ(outcome->removed, 1U);
    maps_->for_each([](const FlowRow& row) { EXPECT_EQ(std::min(row.source_port, row.destination_port), 2); }).value();
}

TEST_F(FlowCollection, AlsoTakesWhatTheCallerNames) {
    add(tcp_flow("10.0.0.1", 1, "10.0.0.2", 80), 200, 5);
    add(tcp_flow("10.0.0.1", 2, "10.0.0.2", 80), 200, 6);
    const auto outcome = maps_->collect(100, [](const FlowRow& row) { return row.value.endpoint_src == 5; });
    ASSERT_TRUE(outcome);
    EXPECT_EQ(outcome->removed, 1U);
    EXPECT_EQ(count(), 1U);
}

TEST_F(FlowCollection, BothEntriesOfATranslatedConnectionGoTogether) {
    FlowRow opener = tcp_flow("10.0.0.1", 1000, "10.96.0.1", 80);
    opener.value.flags = FLOW_F_REWRITE_LOW | FLOW_F_SNAT;
    opener.value.expires = 200;
    opener.value.endpoint_src = 5;
    opener.value.rewrite.saddr = to_axo_addr(ip("172.18.0.2"));
    opener.value.rewrite.daddr = to_axo_addr(ip("10.0.9.9"));
    opener.value.rewrite.sport = htons(40000);
    opener.value.rewrite.dport = htons(8080);
    opener.value.rewrite.zone = FLOW_ZONE_UPLINK;
    FlowRow other = tcp_flow("172.18.0.2", 40000, "10.0.9.9", 8080);
    other.zone = FLOW_ZONE_UPLINK;
    other.value.expires = 200;
    ASSERT_TRUE(maps_->v4().put(FlowMaps::encode_key4(opener), opener.value));
    ASSERT_TRUE(maps_->v4().put(FlowMaps::encode_key4(other), other.value));
    // The same addresses at another place are another connection.
    add(tcp_flow("172.18.0.2", 40000, "10.0.9.9", 8080), 200);
    const auto outcome = maps_->collect(100, [](const FlowRow& row) { return row.value.endpoint_src == 5; });
    ASSERT_TRUE(outcome);
    EXPECT_EQ(outcome->removed, 2U);
    EXPECT_EQ(count(), 1U);
}

TEST(FlowMaps, TicksFollowTheMonotonicClock) {
    timespec now{};
    ASSERT_EQ(::clock_gettime(CLOCK_MONOTONIC, &now), 0);
    const auto seconds = static_cast<std::int64_t>(now.tv_sec);
    EXPECT_NEAR(static_cast<double>(FlowMaps::tick_seconds(FlowMaps::now_tick())), static_cast<double>(seconds), 1.0);
}

}  // namespace
}  // namespace axo
