#include "base/ip.h"

#include <gtest/gtest.h>

namespace axo {
namespace {

TEST(IpAddress, ParsesAndPrintsBothFamilies) {
    EXPECT_EQ(IpAddress::parse("10.0.0.1")->to_string(), "10.0.0.1");
    EXPECT_EQ(IpAddress::parse("2001:db8:0:0::1")->to_string(), "2001:db8::1");
    for (const char* bad : {"", "10.0.0", "10.0.0.256", "::g", "10.0.0.1/24", " 10.0.0.1"}) {
        EXPECT_FALSE(IpAddress::parse(bad)) << bad;
    }
}

TEST(IpAddress, PlusCarriesAcrossBytes) {
    EXPECT_EQ(IpAddress::parse("10.0.0.255")->plus(1).to_string(), "10.0.1.0");
    EXPECT_EQ(IpAddress::parse("255.255.255.255")->plus(1).to_string(), "0.0.0.0");
    EXPECT_EQ(IpAddress::parse("fd00::ffff:ffff")->plus(2).to_string(), "fd00::1:0:1");
}

TEST(Prefix, ClearsHostBitsAndContains) {
    const auto prefix = *Prefix::parse("10.1.2.3/20");
    EXPECT_EQ(prefix.to_string(), "10.1.0.0/20");
    EXPECT_TRUE(prefix.contains(*IpAddress::parse("10.1.15.255")));
    EXPECT_FALSE(prefix.contains(*IpAddress::parse("10.1.16.0")));
    EXPECT_FALSE(prefix.contains(*IpAddress::parse("fd00::1")));
    EXPECT_TRUE(prefix.overlaps(*Prefix::parse("10.0.0.0/8")));
    EXPECT_TRUE(Prefix::parse("0.0.0.0/0")->contains(prefix));
    EXPECT_EQ(prefix.size(), 4096U);
    EXPECT_EQ(Prefix::parse("::/0")->size(), ~std::uint64_t{0});
}

TEST(Prefix, RefusesWhatIsNotACidr) {
    for (const char* bad : {"10.0.0.0/33", "fd00::/129", "10.0.0.0/", "10.0.0.0/x", "10.0.0.0/-1", "/8"}) {
        EXPECT_FALSE(Prefix::parse(bad)) << bad;
    }
    const auto host_bits = Prefix::parse_cidr("10.0.0.1/24");
    ASSERT_FALSE(host_bits);
    EXPECT_NE(host_bits.error().message.find("the network is 10.0.0.0/24"), std::string::npos);
    EXPECT_FALSE(Prefix::parse_cidr("10.0.0.1"));
}

TEST(MacAddress, RoundTripsAndRandomIsLocalUnicast) {
    EXPECT_EQ(MacAddress::parse("8a:31:bc:72:83:96")->to_upper_string(), "8A:31:BC:72:83:96");
    EXPECT_FALSE(MacAddress::parse("8a:31:bc:72:83"));
    EXPECT_FALSE(MacAddress::parse("8a:31:bc:72:83:96:00"));
    const auto mac = MacAddress::random();
    EXPECT_EQ(mac.bytes()[0] & 0x03, 0x02);
}

}  // namespace
}  // namespace axo
