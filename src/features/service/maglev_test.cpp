#include "features/service/maglev.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

namespace axo::service {
namespace {

constexpr std::uint32_t kSize = 16381;
const std::uint32_t kSeed = parse_maglev_seed("JLfvgnHc2kaSUFaI").value().murmur;

std::vector<MaglevBackend> backends(int count) {
    std::vector<MaglevBackend> all;
    for (int i = 0; i < count; ++i)
        all.push_back(
            {maglev_name("10.0." + std::to_string(i / 250) + "." + std::to_string(i % 250 + 1) + ":80/TCP", false), 1});
    std::ranges::sort(all, {}, &MaglevBackend::name);
    return all;
}

std::map<std::string, int> shares(const std::vector<MaglevBackend>& all, const std::vector<std::uint16_t>& table) {
    std::map<std::string, int> counts;
    for (const std::uint16_t index : table) ++counts[all[index].name];
    return counts;
}

TEST(Maglev, Murmur3KnowsItsVectors) {
    using Hash = std::array<std::uint64_t, 2>;
    EXPECT_EQ(murmur3_128("", 0), (Hash{0, 0}));
    EXPECT_EQ(murmur3_128("hello", 0), (Hash{0xcbd8a7b341bd9b02ULL, 0x5b1e906a48ae1d19ULL}));
    EXPECT_EQ(murmur3_128("hello, world", 0), (Hash{0x342fac623a5ebc8eULL, 0x4cdcbc079642414dULL}));
    EXPECT_EQ(murmur3_128("The quick brown fox jumps over the lazy dog.", 0),
              (Hash{0xcd99481f9ee902c9ULL, 0x695da1a38987b6e7ULL}));
    EXPECT_NE(murmur3_128("hello", 1), murmur3_128("hello", 0));
}

TEST(Maglev, TheSeedIsReadAsCiliumReadsIt) {
    const auto seeds = parse_maglev_seed("JLfvgnHc2kaSUFaI");
    ASSERT_TRUE(seeds);
    EXPECT_EQ(seeds->murmur, 0x24b7ef82U);
    EXPECT_EQ(seeds->jhash, (std::array<std::uint32_t, 2>{0x71dcda46U, 0x92505688U}));
    for (const char* bad : {"", "JLfvgnHc", "JLfvgnHc2kaSUFa!", "JLfvgnHc2kaSUFaIAAAA"}) {
        const auto refused = parse_maglev_seed(bad);
        ASSERT_FALSE(refused) << bad;
        EXPECT_NE(refused.error().message.find("12 bytes in base64"), std::string::npos);
    }
    EXPECT_TRUE(check_maglev_table_size(251));
    EXPECT_FALSE(check_maglev_table_size(16384));
}

TEST(Maglev, EveryBackendGetsItsShare) {
    for (const int count : {1, 2, 3, 10, 100, 1000}) {
        const auto all = backends(count);
        const auto table = maglev_table(all, kSize, kSeed);
        ASSERT_EQ(table.size(), kSize);
        const auto counts = shares(all, table);
        ASSERT_EQ(counts.size(), static_cast<std::size_t>(count));
        const auto [low, high] = std::ranges::minmax_element(counts, {}, [](const auto& one) { return one.second; });
        EXPECT_LE(high->second - low->second, 1) << count;  // turns go round
    }
}

TEST(Maglev, TheOrderOfTheInputIsTheOnlyOtherInput) {
    const auto all = backends(7);
    EXPECT_EQ(maglev_table(all, kSize, kSeed), maglev_table(all, kSize, kSeed));
    EXPECT_NE(maglev_table(all, kSize, kSeed), maglev_table(all, kSize, kSeed + 1));
    EXPECT_TRUE(maglev_table({}, kSize, kSeed).empty());
}

TEST(Maglev, OneOfAHundredGoesAndHardlyAnyOtherFlowMoves) {
    const auto before = backends(100);
    const auto table = maglev_table(before, kSize, kSeed);
    double worst = 0;
    for (const std::size_t gone : {0UL, 17UL, 50UL, 99UL}) {
        auto after = before;
        after.erase(after.begin() + static_cast<std::ptrdiff_t>(gone));
        const auto next = maglev_table(after, kSize, kSeed);
        std::size_t moved = 0;
        for (std::size_t place = 0; place < kSize; ++place) {
            const std::string& was = before[table[place]].name;
            if (was != before[gone].name && was != after[next[place]].name) ++moved;
        }
        worst = std::max(worst, static_cast<double>(moved) / kSize);
    }
    std::printf("    maglev_moved                                                   %10.3f %%\n", worst * 100);
    EXPECT_LE(worst, 0.02);
}

TEST(Maglev, WeightsAreShares) {
    auto all = backends(4);
    all[1].weight = 3;
    all[2].weight = 0;
    const auto counts = shares(all, maglev_table(all, kSize, kSeed));
    EXPECT_EQ(counts.count(all[2].name), 0U);
    EXPECT_NEAR(counts.at(all[0].name), kSize / 5.0, kSize * 0.01);
    EXPECT_NEAR(counts.at(all[1].name), kSize * 3 / 5.0, kSize * 0.01);
    EXPECT_NEAR(counts.at(all[3].name), kSize / 5.0, kSize * 0.01);
}

}  // namespace
}  // namespace axo::service
