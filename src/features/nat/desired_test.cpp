#include "features/nat/desired.h"

#include <gtest/gtest.h>

namespace axo::nat {
namespace {

IpAddress ip(const char* text) {
    return IpAddress::parse(text).value();
}
Prefix prefix(const char* text) {
    return Prefix::parse(text).value();
}

std::vector<Device> devices() {
    return {{.name = "eth0",
             .link = IfIndex(2),
             .addresses = {ip("10.1.0.5"), ip("192.168.1.5"), ip("fe80::5"), ip("2001:db8::5")}},
            {.name = "eth1", .link = IfIndex(3), .addresses = {ip("10.2.0.5")}},
            {.name = "eth2", .link = IfIndex(4), .addresses = {ip("fe80::9")}}};
}

TEST(SourceAddresses, EachDeviceItsOwn) {
    const auto sources = source_addresses(devices(), devices(), {});
    ASSERT_EQ(sources.size(), 2U);  // eth2 has only a link-local address
    EXPECT_EQ(sources.at(IfIndex(2)), (NatSource{ip("10.1.0.5"), ip("2001:db8::5")}));
    EXPECT_EQ(sources.at(IfIndex(3)), (NatSource{ip("10.2.0.5"), {}}));
}

TEST(SourceAddresses, TheNodesAddressIsPreferredWhereItIs) {
    const auto sources =
        source_addresses(devices(), devices(), {.address_device = {}, .node_ipv4 = ip("192.168.1.5"), .node_ipv6 = {}});
    EXPECT_EQ(sources.at(IfIndex(2)).ipv4, ip("192.168.1.5"));
    EXPECT_EQ(sources.at(IfIndex(3)).ipv4, ip("10.2.0.5"));
}

TEST(SourceAddresses, FamiliesThatAreOff) {
    const auto sources =
        source_addresses(devices(), devices(), {.ipv4 = false, .address_device = {}, .node_ipv4 = {}, .node_ipv6 = {}});
    ASSERT_EQ(sources.size(), 1U);
    EXPECT_EQ(sources.at(IfIndex(2)), (NatSource{{}, ip("2001:db8::5")}));
}

TEST(SourceAddresses, OneDevicesAddressForAll) {
    std::vector<Device> all = devices();
    all.push_back({.name = "lo1", .link = IfIndex(9), .addresses = {ip("198.51.100.1")}});
    AddressSettings settings;
    settings.address_device = "lo1";
    const auto sources = source_addresses(devices(), all, settings);
    ASSERT_EQ(sources.size(), 3U);
    for (const auto& [link, source] : sources) EXPECT_EQ(source, (NatSource{ip("198.51.100.1"), {}}));
    settings.address_device = "missing0";
    EXPECT_TRUE(source_addresses(devices(), all, settings).empty());
}

TEST(IpMasqConfig, YamlAndJson) {
    const IpMasqConfig wanted{.non_masquerade_cidrs = {prefix("10.0.0.0/8"), prefix("fd00::/8")},
                              .masquerade_link_local4 = true};
    const auto yaml = parse_ip_masq_config(
        "nonMasqueradeCIDRs:\n- 10.0.0.0/8\n- fd00::/8\nmasqLinkLocal: true\nresyncInterval: 60s\n");
    ASSERT_TRUE(yaml) << yaml.error().message;
    EXPECT_EQ(*yaml, wanted);
    const auto json = parse_ip_masq_config(R"({"nonMasqueradeCIDRs":["10.0.0.0/8","fd00::/8"],"masqLinkLocal":true})");
    ASSERT_TRUE(json) << json.error().message;
    EXPECT_EQ(*json, wanted);
}

TEST(IpMasqConfig, AnEmptyFileMeansTheDefaultsAnEmptyListNone) {
    EXPECT_EQ(parse_ip_masq_config("\n")->non_masquerade_cidrs, default_non_masquerade_cidrs());
    EXPECT_EQ(default_non_masquerade_cidrs().size(), 11U);
    EXPECT_TRUE(parse_ip_masq_config("nonMasqueradeCIDRs: []")->non_masquerade_cidrs.empty());
}

TEST(IpMasqConfig, MistakesNameFieldAndValue) {
    const auto message = [](const char* text) {
        const auto parsed = parse_ip_masq_config(text);
        return parsed ? std::string("accepted") : parsed.error().message;
    };
    EXPECT_EQ(message("nonMasqueradeCIDRs: [10.0.0.0/8, 10.0.0.0/33]"),
              "nonMasqueradeCIDRs[1]=\"10.0.0.0/33\": accepted: a CIDR, e.g. 10.0.0.0/8 or fd00::/8");
    EXPECT_EQ(message("nonMasqueradeCIDRs: 10.0.0.0/8"),
              "nonMasqueradeCIDRs=\"10.0.0.0/8\": accepted: a list of CIDRs, e.g. [10.0.0.0/8]");
    EXPECT_EQ(message("masqLinkLocal: maybe"), "masqLinkLocal=\"maybe\": accepted: true or false");
    EXPECT_EQ(message("- 10.0.0.0/8"), "not an object: accepted: nonMasqueradeCIDRs, masqLinkLocal, masqLinkLocalIPv6");
    EXPECT_NE(message("nonMasqueradeCIDRs: ["), "accepted");
}

TEST(SparedPrefixes, LinkLocalUnlessMasqueraded) {
    const IpMasqConfig config{.non_masquerade_cidrs = {prefix("10.0.0.0/8"), prefix("fd00::/8")}};
    EXPECT_EQ(spared_prefixes(config, true, true), (std::set<Prefix>{prefix("10.0.0.0/8"), prefix("169.254.0.0/16"),
                                                                     prefix("fd00::/8"), prefix("fe80::/10")}));
    EXPECT_EQ(spared_prefixes(config, true, false), (std::set<Prefix>{prefix("10.0.0.0/8"), prefix("169.254.0.0/16")}));
    const IpMasqConfig all{.non_masquerade_cidrs = {}, .masquerade_link_local4 = true, .masquerade_link_local6 = true};
    EXPECT_TRUE(spared_prefixes(all, true, true).empty());
}

}  // namespace
}  // namespace axo::nat
