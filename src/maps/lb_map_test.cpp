#include "maps/lb_map.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "maps/lb_tables.h"

namespace axo {
namespace {

#define REQUIRE_ROOT() \
    if (::geteuid() != 0) GTEST_SKIP() << "needs root"

IpAddress ip(const char* text) {
    return IpAddress::parse(text).value();
}

TEST(LbMaps, KeysAreCiliums) {
    const lb4_key key = LbMaps::encode4({ip("10.96.0.1"), 443, IPPROTO_TCP, LB_SCOPE_INTERNAL});
    const unsigned char bytes[] = {10, 96, 0, 1, 1, 187, 0, 0, 6, 1, 0, 0};
    EXPECT_EQ(std::memcmp(&key, bytes, sizeof(bytes)), 0);
    const LbFrontend six{ip("fd00::1"), 53, IPPROTO_UDP, LB_SCOPE_EXTERNAL};
    const lb6_key key6 = LbMaps::encode6(six);
    EXPECT_EQ(ntohs(key6.dport), 53);
    EXPECT_EQ(LbMaps::decode(key6), six);
    EXPECT_EQ(six.to_string(), "[fd00::1]:53/UDP");
    EXPECT_EQ((LbFrontend{ip("10.96.0.1"), 443, IPPROTO_TCP, LB_SCOPE_INTERNAL}.to_string()), "10.96.0.1:443/TCP/i");
    EXPECT_EQ((LbFrontend{ip("10.96.0.1")}.to_string()), "10.96.0.1:0/ANY");
}

TEST(LbMaps, ServicesOfBothFamilies) {
    REQUIRE_ROOT();
    auto maps = LbMaps::create_private({.services = 2, .backends = 16, .source_ranges = 4});
    ASSERT_TRUE(maps) << maps.error().to_string();
    lb_service value{};
    value.size = 3;
    value.rev_nat_index = 7;
    const LbFrontend four{ip("10.96.0.1"), 80, IPPROTO_TCP}, six{ip("fd00:96::1"), 80, IPPROTO_TCP};
    ASSERT_TRUE(maps->put_service(four, value));
    ASSERT_TRUE(maps->put_service(six, value));
    ASSERT_TRUE(maps->put_service({ip("10.96.0.2"), 80, IPPROTO_TCP}, value));
    const auto full = maps->put_service({ip("10.96.0.3"), 80, IPPROTO_TCP}, value);
    ASSERT_FALSE(full);
    EXPECT_EQ(full.error().code, Code::kResourceExhausted);
    EXPECT_EQ(full.error().message, "map cilium_lb4_services_v2 is full: it has 2 entries (bpf-lb-map-max)");
    EXPECT_EQ(maps->services()->size(), 3U);
    EXPECT_TRUE(maps->remove_service(four));
    EXPECT_TRUE(maps->remove_service(four));
    const auto rest = maps->services().value();
    ASSERT_EQ(rest.size(), 2U);
    EXPECT_TRUE(std::ranges::any_of(rest, [&](const auto& one) { return one.first == six && one.second == value; }));
}

TEST(LbMaps, BackendsLieInMemory) {
    REQUIRE_ROOT();
    auto maps = LbMaps::create_private({.services = 2, .backends = 100, .source_ranges = 4});
    ASSERT_TRUE(maps);
    EXPECT_EQ(maps->capacity(), 100U);
    LbBackendRow row{.id = 5,
                     .address = {ip("fd00:10::5"), 8080, IPPROTO_TCP},
                     .state = LB_BACKEND_TERMINATING,
                     .zone = 2,
                     .pod_id = 77};
    maps->put_backend(row);
    EXPECT_EQ(maps->backend(5), row);
    EXPECT_TRUE(maps->is_backend(5, row.address));
    EXPECT_FALSE(maps->is_backend(6, row.address));
    row.state = LB_BACKEND_ACTIVE;
    maps->put_backend(row);
    EXPECT_EQ(maps->backend(5), row);
    row.address = {ip("10.0.0.5"), 80, IPPROTO_UDP};
    maps->put_backend(row);
    EXPECT_EQ(maps->backends(), std::vector<LbBackendRow>{row});
    maps->free_backend(5);
    EXPECT_FALSE(maps->backend(5));
    EXPECT_FALSE(maps->is_backend(5, row.address));
    // Ids that do not exist are nobody's.
    maps->put_backend({.id = 100, .address = row.address});
    maps->put_backend({.id = 0, .address = row.address});
    EXPECT_TRUE(maps->backends().empty());
}

TEST(LbMaps, PortsAreBits) {
    REQUIRE_ROOT();
    auto maps = LbMaps::create_private({});
    ASSERT_TRUE(maps);
    for (const std::uint16_t port : {0, 63, 64, 30080, 65535}) maps->set_port_bit(IPPROTO_UDP, port, true);
    maps->set_port_bit(IPPROTO_SCTP, 30080, true);
    maps->set_port_bit(IPPROTO_ICMP, 30080, true);  // has no ports
    maps->set_port_bit(IPPROTO_UDP, 63, false);
    EXPECT_TRUE(maps->port_bit(IPPROTO_UDP, 30080));
    EXPECT_FALSE(maps->port_bit(IPPROTO_TCP, 30080));
    using Bits = std::vector<std::pair<std::uint8_t, std::uint16_t>>;
    EXPECT_EQ(
        maps->port_bits(),
        (Bits{{IPPROTO_UDP, 0}, {IPPROTO_UDP, 64}, {IPPROTO_UDP, 30080}, {IPPROTO_UDP, 65535}, {IPPROTO_SCTP, 30080}}));
    const auto all = maps->all();
    const auto ports =
        std::ranges::find_if(all, [](const RawBpfMap* map) { return map->info().name == map_name::kLbPorts; });
    ASSERT_NE(ports, all.end());
    std::uint32_t word = LB_PORTS_SCTP * 1024 + 30080 / 64;
    std::uint64_t bits = 0;
    ASSERT_TRUE((*ports)->lookup(&word, &bits));
    EXPECT_EQ(bits, 1ULL << (30080 % 64));
}

TEST(LbMaps, AffinityExpiresByItsGroupsTimeout) {
    REQUIRE_ROOT();
    auto maps = LbMaps::create_private({});
    ASSERT_TRUE(maps);
    const auto all = maps->all();
    const auto affinity =
        std::ranges::find_if(all, [](const RawBpfMap* map) { return map->info().name == map_name::kLbAffinity; });
    ASSERT_NE(affinity, all.end());
    constexpr std::uint32_t kNow = 5;  // the counter has gone round
    const auto put = [&](const char* client, std::uint32_t group, std::uint32_t seconds_ago) {
        lb_affinity_key key{};
        std::memcpy(key.client.bytes, ip(client).bytes().data(), ip(client).bytes().size());
        key.group = group;
        key.family = ip(client).is_v6() ? AXO_FAMILY_IPV6 : AXO_FAMILY_IPV4;
        const lb_affinity_val value{
            static_cast<std::uint32_t>(kNow -
                                       (static_cast<std::uint64_t>(seconds_ago) * 1'000'000'000 >> AXO_TICK_SHIFT)),
            9};
        ASSERT_TRUE((*affinity)->update(&key, &value));
    };
    put("192.0.2.1", 1, 50);
    put("192.0.2.2", 1, 70);
    put("fd00::2", 2, 70);
    put("192.0.2.3", 3, 0);
    lb_affinity_key cookie{};
    const std::uint64_t number = 0x123456789;
    std::memcpy(cookie.client.bytes, &number, sizeof(number));
    cookie.group = 2;
    cookie.netns_cookie = 1;
    const lb_affinity_val now{kNow, 4};
    ASSERT_TRUE((*affinity)->update(&cookie, &now));
    const auto removed = maps->collect_affinity(kNow, [](std::uint32_t group) {
        return group == 1 ? 60U : group == 2 ? 3600U : 0U;
    });
    ASSERT_TRUE(removed);
    EXPECT_EQ(*removed, 2U);
    std::vector<std::string> left;
    for (const auto rows = maps->affinity().value(); const LbAffinityRow& row : rows)
        left.push_back(row.client ? row.client.to_string() : std::to_string(row.netns_cookie));
    std::ranges::sort(left);
    EXPECT_EQ(left, (std::vector<std::string>{"192.0.2.1", "4886718345", "fd00::2"}));
}

TEST(LbMaps, SourceRangesAndMatches) {
    REQUIRE_ROOT();
    auto maps = LbMaps::create_private({.services = 2, .backends = 3, .source_ranges = 2});
    ASSERT_TRUE(maps);
    const LbSourceRange four{3, Prefix::parse("10.0.0.0/8").value()}, six{3, Prefix::parse("fd00::/16").value()},
        every{4, Prefix::parse("0.0.0.0/0").value()};
    for (const auto& range : {four, six, every}) ASSERT_TRUE(maps->put_source_range(range));
    EXPECT_EQ(maps->put_source_range({5, four.prefix}).error().code, Code::kResourceExhausted);
    auto ranges = maps->source_ranges().value();
    std::ranges::sort(ranges);
    EXPECT_EQ(ranges.size(), 3U);
    EXPECT_TRUE(std::ranges::find(ranges, every) != ranges.end());
    ASSERT_TRUE(maps->remove_source_range(four));
    ASSERT_TRUE(maps->remove_source_range(four));
    EXPECT_EQ(maps->source_ranges()->size(), 2U);

    ASSERT_TRUE(maps->put_affinity_match({1, 2}, 9));
    ASSERT_TRUE(maps->put_affinity_match({1, 2}, 10));
    const auto matches = maps->affinity_matches().value();
    ASSERT_EQ(matches.size(), 1U);
    EXPECT_EQ(matches[0].second, 10U);
    ASSERT_TRUE(maps->remove_affinity_match({1, 2}));
    EXPECT_TRUE(maps->affinity_matches()->empty());
}

std::vector<std::uint32_t> numbers(std::uint32_t from, std::uint32_t count) {
    std::vector<std::uint32_t> ids(count);
    for (std::uint32_t i = 0; i < count; ++i) ids[i] = from + i;
    return ids;
}

TEST(LbTables, EqualTablesAreOneUntilNobodyUsesThem) {
    REQUIRE_ROOT();
    auto tables = LbTables::create_private();
    ASSERT_TRUE(tables) << tables.error().to_string();
    EXPECT_EQ(tables->take({}).value(), LbTable{});
    const auto a = tables->take(numbers(1, 9)), b = tables->take(numbers(1, 9)), c = tables->take(numbers(1, 8));
    ASSERT_TRUE(a && b && c);
    EXPECT_EQ(*a, *b);
    EXPECT_NE(a->location, c->location);
    EXPECT_EQ(tables->ids(*a).value(), numbers(1, 9));
    EXPECT_EQ(tables->ids(*c).value(), numbers(1, 8));
    bool retired = false;
    tables->set_retire_callback([&] { retired = true; });
    tables->release(*a);
    EXPECT_FALSE(retired);
    tables->release(*b);
    EXPECT_TRUE(retired);
    // Readable, and not taken again, until the grace period is over.
    EXPECT_TRUE(tables->ids(*a));
    EXPECT_NE(tables->take(numbers(1, 9))->location, a->location);
    const auto used = tables->usage().used_bytes;
    const auto batch = tables->take_retired();
    ASSERT_TRUE(batch.wait());
    tables->free(batch);
    EXPECT_LT(tables->usage().used_bytes, used);
    EXPECT_FALSE(tables->ids(*a));
}

TEST(LbTables, ALaterAgentTakesThemOver) {
    REQUIRE_ROOT();
    auto tables = LbTables::create_private();
    ASSERT_TRUE(tables);
    const auto kept = *tables->take(numbers(10, 20)), lost = *tables->take(numbers(50, 3));
    auto later = LbTables::use(RawBpfMap::from_fd(Fd(::dup(tables->raw().fd())), "cilium_lb_tables").value());
    ASSERT_TRUE(later) << later.error().to_string();
    ASSERT_TRUE(later->adopt(kept));
    EXPECT_EQ(later->ids(kept).value(), numbers(10, 20));
    EXPECT_EQ(*later->take(numbers(10, 20)), kept);
    // What nobody named is free.
    EXPECT_EQ(later->take(numbers(70, 3))->location, lost.location);
    EXPECT_EQ(later->adopt({12345 << 6, 4}).error().code, Code::kNotFound);
    EXPECT_EQ(later->adopt({kept.location, 1000}).error().code, Code::kDataLoss);
}

TEST(LbTables, MoreThanMayBeIsRefused) {
    REQUIRE_ROOT();
    auto tables = LbTables::create_private(1 << 17);
    ASSERT_TRUE(tables);
    std::uint32_t placed = 0;
    Result<LbTable> last = LbTable{};
    while (last && placed < 1000) {
        last = tables->take(numbers(1 + placed * 2000, 2000));
        placed += last ? 1 : 0;
    }
    ASSERT_FALSE(last);
    EXPECT_EQ(last.error().code, Code::kResourceExhausted);
    EXPECT_NE(last.error().message.find("backend tables need another"), std::string::npos) << last.error().message;
    EXPECT_GE(placed, 14U);
    EXPECT_EQ(tables->ids(*tables->take(numbers(1, 2000))).value(), numbers(1, 2000));
}

}  // namespace
}  // namespace axo
