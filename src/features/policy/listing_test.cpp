// Listings against what the datapath decides by the same bytes.
#include "features/policy/listing.h"

#include <gtest/gtest.h>

#include "features/policy/oracle_fixture.h"

namespace axo::policy {
namespace {

// The protocol that a packet has whose slot is this.
constexpr std::uint8_t kProtocols[] = {47, 6, 17, 132, 1, 58, 112, 2};

const ImageEntry* entry_for(const std::vector<ImageEntry>& entries, IdentityId id, policy_slot slot,
                            std::uint16_t port) {
    const ImageEntry* found = nullptr;
    for (const ImageEntry& entry : entries) {
        if (entry.identity != id) continue;
        if (!entry.all_protocols && (entry.protocol != slot || port < entry.first || port > entry.last)) continue;
        EXPECT_EQ(found, nullptr) << "two entries for identity " << id.value << ", " << port_text(entry);
        found = &entry;
    }
    return found;
}

void expect_same(std::span<const policy_row> rows, Direction direction, const std::vector<std::uint16_t>& ports) {
    const std::vector<ImageEntry> entries = list_image(rows, direction, 100000);
    std::vector<IdentityId> ids = named_identities(rows, direction);
    EXPECT_TRUE(std::ranges::is_sorted(ids));
    EXPECT_EQ(std::ranges::adjacent_find(ids), ids.end());
    for (const ImageEntry& entry : entries) {
        EXPECT_EQ(entry.direction, direction);
        EXPECT_TRUE(entry.verdict.matched) << "the default is no entry";
        EXPECT_TRUE(entry.identity.value == 0 || std::ranges::binary_search(ids, entry.identity));
        EXPECT_LE(entry.first, entry.last);
    }
    ids.emplace_back(4711);  // somebody whom no rule names
    for (const IdentityId id : ids) {
        for (std::uint32_t slot = 0; slot < POLICY_SLOTS; ++slot) {
            for (const std::uint16_t port : ports) {
                const Lookup decided = lookup(rows, direction, id, kProtocols[slot], port);
                const ImageEntry* entry = entry_for(entries, id, static_cast<policy_slot>(slot), port);
                if (entry == nullptr) entry = entry_for(entries, IdentityId{}, static_cast<policy_slot>(slot), port);
                ASSERT_EQ(entry != nullptr, decided.matched)
                    << "identity " << id.value << ", slot " << slot << ", port " << port;
                if (entry == nullptr) continue;
                ASSERT_EQ(entry->verdict, decided)
                    << "identity " << id.value << ", slot " << slot << ", port " << port << ": " << port_text(*entry);
            }
        }
    }
    for (const std::size_t limit : {std::size_t{0}, std::size_t{1}, entries.size() / 2}) {
        const auto some = list_image(rows, direction, limit);
        ASSERT_EQ(some.size(), std::min(limit, entries.size()));
        for (std::size_t i = 0; i + 1 < some.size(); ++i) {
            EXPECT_EQ(some[i].identity, entries[i].identity);
            EXPECT_EQ(port_text(some[i]), port_text(entries[i]));
            EXPECT_EQ(some[i].verdict, entries[i].verdict);
        }
    }
}

TEST(ImageListing, SaysWhatTheDatapathDecidesInRandomWorlds) {
    std::size_t images = 0, entries = 0;
    for (std::uint64_t seed = 1; seed <= 150; ++seed) {
        oracle::Worlds worlds(seed);
        const oracle::World world = worlds.world();
        PolicyEngine engine(world.settings);
        oracle::fill(engine, world);
        std::vector<std::uint16_t> ports{0,   1,   8,   52,  53,  54,  79,   80,    81,
                                         127, 128, 255, 256, 257, 443, 8080, 65534, 65535};
        for (int i = 0; i < 8; ++i) ports.push_back(static_cast<std::uint16_t>(worlds.number(65536)));
        for (const EndpointId id : engine.changes()) {
            const auto image = engine.image(id);
            ASSERT_TRUE(image);
            ++images;
            for (const Direction direction : kDirections) {
                SCOPED_TRACE("seed " + std::to_string(seed) + ", endpoint " + id.to_string());
                expect_same(image->rows, direction, ports);
                entries += list_image(image->rows, direction, 100000).size();
                if (HasFatalFailure()) return;
            }
        }
    }
    EXPECT_GT(images, 150U);
    EXPECT_GT(entries, 500U);
}

// Rules with a named port are several of the image, with one name.
TEST(ImageListing, TheSameRuleOnPortsOfSomeAndAllOfOthers) {
    const std::vector<Slot> members{0};
    ImageDirection ingress{.enforced = true, .default_cookie = 99, .rules = {}};
    ImageRule everybody;
    everybody.everybody = true;
    everybody.ports = {{Protocol::kTcp, 80, 80, {}}};
    everybody.verdict.cookie = 20;
    everybody.verdict.action = POLICY_ALLOW;
    ImageRule one = everybody;
    one.everybody = false;
    one.members = {&members};
    one.ports.clear();
    one.all_ports = true;
    ingress.rules = {everybody, one};
    const std::vector<std::uint32_t> identities{300};
    const auto image = ImageBuilder().build(ingress, {}, identities);
    ASSERT_TRUE(image);
    expect_same(image->rows, Direction::kIngress, {0, 79, 80, 81, 65535});
    const auto entries = list_image(image->rows, Direction::kIngress, 10);
    ASSERT_EQ(entries.size(), 2U);
    EXPECT_EQ(port_text(entries[0]), "80/TCP");
    EXPECT_EQ(entries[1].identity, IdentityId(300));
    EXPECT_EQ(port_text(entries[1]), "ANY");
    EXPECT_TRUE(list_image(image->rows, Direction::kEgress, 10).empty());

    // The identity's verdict is that of everybody for most, but not for all.
    ImageRule denied = everybody, rest = everybody;
    denied.verdict.cookie = 30;
    denied.verdict.action = POLICY_DENY;
    rest.all_ports = true;
    rest.ports.clear();
    ingress.rules = {one, denied, rest};
    const auto other = ImageBuilder().build(ingress, {}, identities);
    ASSERT_TRUE(other);
    expect_same(other->rows, Direction::kIngress, {0, 79, 80, 81, 65535});
}

TEST(ImageListing, NeighbouringRangesAreOneEntry) {
    const std::vector<Slot> first{0}, second{1};
    const auto rule = [](const std::vector<Slot>& members, std::uint32_t cookie, PortRange range) {
        ImageRule one;
        one.members = {&members};
        one.ports = {std::move(range)};
        one.verdict.cookie = cookie;
        one.verdict.action = POLICY_ALLOW;
        return one;
    };
    ImageDirection ingress{.enforced = true, .default_cookie = 99, .rules = {}};
    ingress.rules = {rule(first, 20, {Protocol::kTcp, 100, 60000, {}}),
                     rule(second, 21, {Protocol::kTcp, 500, 600, {}}), rule(first, 22, {Protocol::kUdp, 0, 65535, {}}),
                     rule(second, 23, {Protocol::kIcmp, 8, 8, {}})};
    const std::vector<std::uint32_t> identities{300, 301};
    const auto image = ImageBuilder().build(ingress, {}, identities);
    ASSERT_TRUE(image);
    std::string text;
    for (const ImageEntry& entry : list_image(image->rows, Direction::kIngress, 10))
        text += std::to_string(entry.identity.value) + " " + port_text(entry) + " by " +
                std::to_string(entry.verdict.cookie) + "\n";
    EXPECT_EQ(text, "300 100-60000/TCP by 20\n300 UDP by 22\n301 500-600/TCP by 21\n301 8/ICMP by 23\n");
}

TEST(ImageListing, AnImageWithoutRulesHasNoEntries) {
    const auto image = ImageBuilder().build({true, 7, {}}, {}, {});
    ASSERT_TRUE(image);
    EXPECT_TRUE(list_image(image->rows, Direction::kIngress, 10).empty());
    EXPECT_TRUE(named_identities(image->rows, Direction::kIngress).empty());
}

}  // namespace
}  // namespace axo::policy
