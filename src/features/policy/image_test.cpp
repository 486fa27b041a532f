#include "features/policy/image.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace axo::policy {
namespace {

constexpr std::uint8_t kTcp = 6, kUdp = 17, kIcmp = 1;

ImageRule rule(std::uint32_t cookie, std::uint8_t action = POLICY_ALLOW) {
    ImageRule rule;
    rule.everybody = true;
    rule.all_ports = true;
    rule.verdict.cookie = cookie;
    rule.verdict.action = action;
    return rule;
}
ImageRule ports_rule(std::uint32_t cookie, std::vector<PortRange> ports) {
    ImageRule one = rule(cookie);
    one.all_ports = false;
    one.ports = std::move(ports);
    return one;
}
PortRange range(Protocol protocol, std::uint16_t first, std::uint16_t last) {
    return {protocol, first, last, {}};
}

class Image : public testing::Test {
protected:
    void build(std::vector<ImageRule> rules, std::vector<std::uint32_t> identities = {}, bool enforced = true) {
        ImageDirection ingress{enforced, 99, std::move(rules)};
        Result<PolicyImage> built = builder_.build(ingress, {}, identities);
        ASSERT_TRUE(built) << built.error().message;
        image_ = std::move(*built);
    }
    std::uint32_t cookie(std::uint32_t identity, std::uint8_t protocol, std::uint16_t port) const {
        return lookup(image_.rows, Direction::kIngress, IdentityId{identity}, protocol, port).cookie;
    }
    ImageBuilder builder_;
    PolicyImage image_;
};

TEST_F(Image, WithoutRulesIsTwoRows) {
    Result<PolicyImage> open = builder_.build({}, {}, {});
    ASSERT_TRUE(open);
    EXPECT_EQ(open->rows.size(), 2U);
    EXPECT_EQ(open->ref_flags, POLICY_REF_F_READY);
    EXPECT_TRUE(lookup(open->rows, Direction::kEgress, IdentityId{5}, kTcp, 80).allowed());
    Result<PolicyImage> closed = builder_.build({true, 7, {}}, {}, {});
    ASSERT_TRUE(closed);
    EXPECT_EQ(closed->rows.size(), 2U);
    EXPECT_EQ(closed->ref_flags, POLICY_REF_F_READY | POLICY_REF_F_INGRESS);
    EXPECT_EQ(lookup(closed->rows, Direction::kIngress, IdentityId{5}, kTcp, 80),
              (Lookup{.action = POLICY_DENY, .matched = false, .cookie = 7}));
    EXPECT_FALSE(*open == *closed);
}

TEST_F(Image, DenialsWithoutEnforcementHaveToBeLookedUp) {
    build({rule(5, POLICY_DENY)}, {}, false);
    EXPECT_EQ(image_.ref_flags, POLICY_REF_F_READY | POLICY_REF_F_INGRESS);
    EXPECT_FALSE(lookup(image_.rows, Direction::kIngress, IdentityId{5}, kTcp, 80).allowed());
}

TEST_F(Image, TheFirstRuleDecides) {
    const std::vector<Slot> both{0, 1}, second{1};
    ImageRule a = rule(10, POLICY_DENY), b = rule(11);
    a.everybody = b.everybody = false;
    a.members = {&second};
    b.members = {&both};
    build({a, b}, {300, 301});
    EXPECT_EQ(cookie(300, kTcp, 80), 11U);
    EXPECT_EQ(cookie(301, kTcp, 80), 10U);
    EXPECT_EQ(cookie(302, kTcp, 80), 99U);
    EXPECT_EQ(cookie(0, kTcp, 80), 99U) << "0 marks free places of the table, and is nobody's identity";
}

TEST_F(Image, PortsAreCutExactly) {
    build({ports_rule(10, {range(Protocol::kTcp, 80, 80)}), ports_rule(11, {range(Protocol::kTcp, 0, 255)}),
           ports_rule(12, {range(Protocol::kTcp, 256, 65535)}), ports_rule(13, {range(Protocol::kAny, 53, 53)}),
           ports_rule(14, {range(Protocol::kIcmp, 8, 8)})});
    for (std::uint32_t port = 0; port <= 65535; ++port) {
        const auto number = static_cast<std::uint16_t>(port);
        ASSERT_EQ(cookie(1, kTcp, number), port == 80 ? 10U : port <= 255 ? 11U : 12U) << port;
        ASSERT_EQ(cookie(1, kUdp, number), port == 53 ? 13U : 99U) << port;
        ASSERT_EQ(cookie(1, kIcmp, number), port == 8 ? 14U : 99U) << port;
        ASSERT_EQ(cookie(1, 47, number), 99U);
    }
}

TEST_F(Image, RandomRangesAgainstARuleByRuleSearch) {
    std::mt19937 random(11);
    for (int round = 0; round < 30; ++round) {
        std::vector<ImageRule> rules;
        const int count = 1 + static_cast<int>(random() % 600);
        for (int i = 0; i < count; ++i) {
            const auto first = static_cast<std::uint16_t>(random());
            const auto last = static_cast<std::uint16_t>(std::min<std::uint32_t>(65535, first + random() % 3000));
            rules.push_back(ports_rule(static_cast<std::uint32_t>(1000 + i),
                                       {range(Protocol::kTcp, first, last), range(Protocol::kTcp, first, first),
                                        range(Protocol::kUdp, last, last)}));
        }
        const std::vector<ImageRule> copy = rules;
        build(std::move(rules));
        for (int probe = 0; probe < 3000; ++probe) {
            const auto port = static_cast<std::uint16_t>(random());
            for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp}) {
                std::uint32_t expected = 99;
                for (const ImageRule& one : copy) {
                    const bool found = std::ranges::any_of(one.ports, [&](const PortRange& r) {
                        return r.protocol == protocol && r.first <= port && port <= r.last;
                    });
                    if (!found) continue;
                    expected = one.verdict.cookie;
                    break;
                }
                ASSERT_EQ(cookie(1, static_cast<std::uint8_t>(protocol), port), expected);
            }
        }
    }
}

TEST_F(Image, FindsEveryIdentityOfALargeTable) {
    // Numbers in a row, as the cluster gives them, and such that fall together.
    for (const std::uint32_t step : {1U, 256U, 65536U}) {
        std::vector<std::uint32_t> identities;
        std::vector<Slot> odd;
        for (std::uint32_t i = 0; i < 60000; ++i) {
            identities.push_back(256 + i * step);
            if (i % 2 == 1) odd.push_back(i);
        }
        ImageRule one = rule(10);
        one.everybody = false;
        one.members = {&odd};
        build({one}, identities);
        for (std::uint32_t i = 0; i < 60000; ++i) ASSERT_EQ(cookie(identities[i], kTcp, 1), i % 2 == 1 ? 10U : 99U);
        EXPECT_LE(image_.bytes(), 4U << 20);
    }
}

TEST_F(Image, LimitsAreErrorsNotTruncations) {
    const auto error = [&](std::vector<ImageRule> rules, std::vector<std::uint32_t> identities = {}) {
        Result<PolicyImage> built = builder_.build({}, {true, 0, std::move(rules)}, identities);
        EXPECT_FALSE(built);
        if (built) return std::string("no error");
        EXPECT_EQ(built.error().code, Code::kResourceExhausted);
        return built.error().message;
    };
    std::vector<ImageRule> rules(4096, rule(5));
    build(rules);
    EXPECT_EQ(cookie(1, kTcp, 1), 5U);
    rules.push_back(rule(6));
    EXPECT_EQ(error(rules), "egress policy: 4097 rules; at most 4096 fit into one direction of an endpoint");

    // Each port its own set of rules.
    std::vector<ImageRule> many;
    for (std::uint32_t bit = 0; bit < 16; ++bit) {
        std::vector<PortRange> ports;
        for (std::uint32_t port = 0; port < 65536; ++port) {
            const auto number = static_cast<std::uint16_t>(port);
            if ((port >> bit & 1) != 0) ports.push_back(range(Protocol::kTcp, number, number));
        }
        many.push_back(ports_rule(20 + bit, std::move(ports)));
    }
    EXPECT_NE(error(many).find("more than 32767 parts"), std::string::npos);
    many.pop_back();  // 2^15 sets: one too many still
    EXPECT_NE(error(many).find("more than 32767 parts"), std::string::npos);
    many.pop_back();
    build(many);
    EXPECT_EQ(cookie(1, kTcp, 0), 99U);
    EXPECT_EQ(cookie(1, kTcp, 0x3000), 20U + 12);

    // Each identity its own set of rules.
    std::vector<std::uint32_t> identities;
    std::vector<std::vector<Slot>> members(17);
    for (Slot slot = 0; slot < 65536; ++slot) {
        identities.push_back(256 + slot);
        for (std::uint32_t bit = 0; bit < 17; ++bit) {
            if (((slot + 1) >> bit & 1) != 0) members[bit].push_back(slot);
        }
    }
    std::vector<ImageRule> classes;
    for (std::uint32_t bit = 0; bit < 17; ++bit) {
        classes.push_back(rule(40 + bit));
        classes.back().everybody = false;
        classes.back().members = {&members[bit]};
    }
    EXPECT_NE(error(classes, identities).find("more than 65535 classes"), std::string::npos);
    identities.pop_back();
    members[16].clear();
    build(classes, identities);
    EXPECT_EQ(cookie(256, kTcp, 1), 40U);
    EXPECT_EQ(cookie(256 + 32767, kTcp, 1), 40U + 15);
}

}  // namespace
}  // namespace axo::policy
