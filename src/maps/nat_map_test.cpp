#include "maps/nat_map.h"

#include <gtest/gtest.h>
#include <unistd.h>

namespace axo {
namespace {

IpAddress ip(const char* text) {
    return IpAddress::parse(text).value();
}
Prefix prefix(const char* text) {
    return Prefix::parse(text).value();
}

TEST(NatAddressMap, KeepsEachFamilyOrNone) {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    const auto map = NatAddressMap::create_private();
    ASSERT_TRUE(map) << map.error().message;
    const std::map<IfIndex, NatSource> wanted = {{IfIndex(2), {ip("172.18.1.11"), ip("fd00:18:1::11")}},
                                                 {IfIndex(3), {ip("192.168.0.1"), {}}},
                                                 {IfIndex(4), {{}, ip("fd00::1")}}};
    for (const auto& [link, source] : wanted) ASSERT_TRUE(map->put(link, source));
    EXPECT_EQ(map->list().value(), wanted);
    ASSERT_TRUE(map->remove(IfIndex(3)));
    ASSERT_TRUE(map->remove(IfIndex(3)));
    EXPECT_EQ(map->list()->size(), 2U);
}

TEST(IpMasqMap, HoldsPrefixesOfBothFamilies) {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    const auto map = IpMasqMap::create_private();
    ASSERT_TRUE(map) << map.error().message;
    const std::set<Prefix> wanted = {prefix("10.0.0.0/8"), prefix("169.254.0.0/16"), prefix("fd00::/8"),
                                     prefix("2001:db8::1/128"), prefix("0.0.0.0/0")};
    for (const Prefix& one : wanted) ASSERT_TRUE(map->put(one));
    EXPECT_EQ(map->list().value(), wanted);
    ASSERT_TRUE(map->remove(prefix("10.0.0.0/8")));
    ASSERT_TRUE(map->remove(prefix("fd00::/8")));
    EXPECT_EQ(map->list()->size(), 3U);
}

}  // namespace
}  // namespace axo
