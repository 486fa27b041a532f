#include "hubble/server/dns_state.h"

#include <gtest/gtest.h>

#include "model/json_text.h"

namespace axo::hubble {
namespace {

const EndpointOwners kOwners{{7, "c1:eth0"}, {9, "c2:eth0"}};

std::vector<DnsNames::Lookup> some() {
    return {{7, "a.example", 1'700'000'000'123'456'789, 60, {IpAddress::parse("192.0.2.1").value()}},
            {7, "b.example", 5, 4'294'967'295, {IpAddress::parse("2001:db8::1").value()}},
            {9, "a.example", 6, 0, {IpAddress::parse("192.0.2.1").value()}}};
}

TEST(DnsState, IsReadAsItWasWritten) {
    const auto read = parse_dns_state(dns_state_text(some(), kOwners), "names", kOwners);
    ASSERT_TRUE(read) << read.error().message;
    ASSERT_EQ(read->size(), 3U);
    for (std::size_t i = 0; i < 3; ++i) {
        const DnsNames::Lookup &is = (*read)[i], wanted = some()[i];
        EXPECT_EQ(is.endpoint, wanted.endpoint);
        EXPECT_EQ(is.name, wanted.name);
        EXPECT_EQ(is.time_ns, wanted.time_ns);
        EXPECT_EQ(is.ttl, wanted.ttl);
        EXPECT_EQ(is.ips, wanted.ips);
    }
}

TEST(DnsState, NamesStayWithTheirPod) {
    const std::string text = dns_state_text(some(), kOwners);
    const auto read = parse_dns_state(text, "names", {{7, "another:eth0"}, {9, "c2:eth0"}});
    ASSERT_TRUE(read) << read.error().message;
    ASSERT_EQ(read->size(), 1U) << "the number has another owner";
    EXPECT_EQ((*read)[0].endpoint, 9U);
    EXPECT_EQ(dns_state_text(some(), {}), R"({"pods":[],"version":1})") << "of nobody";
}

TEST(DnsState, OfSomethingElseSaysWhatAndWhere) {
    const auto error = [](const std::string& text) {
        const auto read = parse_dns_state(text, "names.json", kOwners);
        return read ? "" : read.error().message;
    };
    EXPECT_NE(error("").find("names.json: "), std::string::npos);
    EXPECT_NE(error(R"({"version":2,"pods":[]})").find("names.json: version: 2"), std::string::npos);
    const std::string text = dns_state_text(some(), kOwners);
    Json json = parse_json(text).value();
    json["pods"][0]["lookups"][1]["ips"] = {"192.0.2.300"};
    EXPECT_NE(error(json_text(json)).find("names.json: pods[0].lookups[1].ips"), std::string::npos)
        << error(json_text(json));
    json = parse_json(text).value();
    json["pods"][0]["lookups"][0]["name"] = "";
    EXPECT_NE(error(json_text(json)).find("pods[0].lookups[0].name"), std::string::npos);
    json["pods"][0]["lookups"][0]["name"] = 7;
    EXPECT_NE(error(json_text(json)).find("pods[0].lookups[0].name"), std::string::npos);
    for (std::size_t length = 0; length < text.size(); ++length) EXPECT_NE(error(text.substr(0, length)), "") << length;
}

}  // namespace
}  // namespace axo::hubble
