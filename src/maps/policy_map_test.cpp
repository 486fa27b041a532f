#include "maps/policy_map.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "maps/generations.h"
#include "maps/private_map.h"

namespace axo {
namespace {

#define REQUIRE_ROOT() \
    if (::geteuid() != 0) GTEST_SKIP() << "needs root"

std::vector<policy_row> image_of(std::size_t rows, std::uint64_t seed) {
    std::vector<policy_row> image(rows);
    for (std::size_t i = 0; i < rows; ++i) image[i].rules[i % 4] = seed + i;
    return image;
}

bool equal(std::span<const policy_row> a, std::span<const policy_row> b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

void reclaim(PolicySlabs& slabs) {
    const auto batch = slabs.take_retired();
    ASSERT_TRUE(batch.wait());
    slabs.free(batch);
}

// The same map, as an agent that starts later finds it.
Result<RawBpfMap> outer_map() {
    LIBBPF_OPTS(bpf_map_create_opts, options);
    options.map_flags = BPF_F_MMAPABLE | BPF_F_INNER_MAP;
    const Fd inner(::bpf_map_create(BPF_MAP_TYPE_ARRAY, "inner", 4, sizeof(policy_row), 1, &options));
    return create_private_map({.name = "cilium_policy_slabs",
                               .type = BPF_MAP_TYPE_ARRAY_OF_MAPS,
                               .key_size = 4,
                               .value_size = 4,
                               .max_entries = POLICY_SLABS,
                               .inner_map_fd = inner.get()});
}
RawBpfMap again(const RawBpfMap& map) {
    return RawBpfMap::from_fd(Fd(::dup(map.fd())), map.info().name).value();
}

TEST(PolicySlabs, PlacesReadsAndReusesOnlyAfterTheGracePeriod) {
    REQUIRE_ROOT();
    auto slabs = PolicySlabs::create_private();
    ASSERT_TRUE(slabs) << slabs.error().to_string();
    EXPECT_EQ(slabs->usage().bytes, 65536U);
    EXPECT_TRUE(equal(*slabs->image(PolicySlabs::open_policy()), std::vector<policy_row>(2)));
    const auto first_image = image_of(2000, 7), second_image = image_of(40, 9), third_image = image_of(30, 11);
    const auto first = slabs->place(first_image);
    const auto second = slabs->place(second_image);
    ASSERT_TRUE(first && second);
    EXPECT_EQ(first->slab(), 0U);
    EXPECT_EQ(first->row(), 4U);
    EXPECT_TRUE(equal(*slabs->image(*first), first_image));
    EXPECT_TRUE(equal(*slabs->image(*second), second_image));
    EXPECT_EQ(*slabs->digest(*second), PolicySlabs::digest(second_image));
    EXPECT_NE(PolicySlabs::digest(second_image), PolicySlabs::digest(image_of(40, 10)));
    EXPECT_NE(PolicySlabs::digest(std::vector<policy_row>(2)), PolicySlabs::digest(std::vector<policy_row>(3)));
    int called = 0;
    slabs->set_retire_callback([&called] { ++called; });
    slabs->retire(*first);
    slabs->retire(*first);
    slabs->retire(PolicySlabs::open_policy());
    EXPECT_EQ(called, 1);
    const auto batch = slabs->take_retired();
    // Not yet free: the rows keep their content and nobody gets them.
    const auto third = slabs->place(third_image);
    ASSERT_TRUE(third);
    EXPECT_NE(third->row(), first->row());
    EXPECT_TRUE(equal(*slabs->image(*first), first_image));
    ASSERT_TRUE(batch.wait());
    slabs->free(batch);
    EXPECT_EQ(slabs->image(*first).error().code, Code::kNotFound);
    EXPECT_EQ(slabs->adopt(*first).error().code, Code::kNotFound);
    EXPECT_EQ(slabs->place(first_image)->value, first->value);
}

TEST(PolicySlabs, GrowsAndShrinksAndRefusesWhatDoesNotFit) {
    REQUIRE_ROOT();
    auto slabs = PolicySlabs::create_private(1U << 20);
    ASSERT_TRUE(slabs);
    EXPECT_EQ(slabs->place({}).error().code, Code::kInvalidArgument);
    EXPECT_EQ(slabs->place(std::vector<policy_row>(PolicySlabs::kMaxImageRows + 1U)).error().code,
              Code::kInvalidArgument);
    const auto large = image_of(10000, 1);  // 313 KiB: a slab of 512
    const auto a = slabs->place(large);
    ASSERT_TRUE(a) << a.error().to_string();
    EXPECT_EQ(slabs->usage().bytes, 65536U + 524288U);
    const auto before = slabs->usage();
    const auto refused = slabs->place(large);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::kResourceExhausted);
    EXPECT_NE(refused.error().message.find("524288"), std::string::npos) << refused.error().message;
    EXPECT_NE(refused.error().message.find("1048576"), std::string::npos) << refused.error().message;
    EXPECT_EQ(slabs->usage().used_bytes, before.used_bytes);
    EXPECT_EQ(slabs->usage().bytes, before.bytes);
    const auto small = slabs->place(image_of(8000, 2));  // 256 KiB still fit
    ASSERT_TRUE(small) << small.error().to_string();
    slabs->retire(*a);
    slabs->retire(*small);
    reclaim(*slabs);
    EXPECT_EQ(slabs->usage().images, 1U);
    const std::size_t empty_slabs = slabs->usage().slabs;
    reclaim(*slabs);
    // The largest empty slab is kept for the next change.
    EXPECT_EQ(slabs->usage().slabs, 2U) << empty_slabs;
    EXPECT_EQ(slabs->usage().bytes, 65536U + 524288U);
    EXPECT_TRUE(slabs->place(large));
    EXPECT_EQ(slabs->usage().bytes, 65536U + 524288U);
}

TEST(PolicySlabs, ManySmallOnesFillEveryGap) {
    REQUIRE_ROOT();
    auto slabs = PolicySlabs::create_private(4U << 20);
    ASSERT_TRUE(slabs);
    std::vector<std::pair<PolicyLocation, std::vector<policy_row>>> placed;
    std::uint32_t state = 1;
    const auto random = [&] { return state = state * 1664525U + 1013904223U, state >> 8; };
    for (int round = 0; round < 4000; ++round) {
        if (placed.empty() || random() % 5 < 3) {
            auto image = image_of(1 + random() % 60, random());
            const auto location = slabs->place(image);
            ASSERT_TRUE(location) << location.error().to_string();
            placed.emplace_back(*location, std::move(image));
        } else {
            const std::size_t victim = random() % placed.size();
            slabs->retire(placed[victim].first);
            placed.erase(placed.begin() + static_cast<std::ptrdiff_t>(victim));
            if (random() % 100 == 0) reclaim(*slabs);
        }
    }
    reclaim(*slabs);
    std::uint64_t rows = 3;
    for (const auto& [location, image] : placed) {
        EXPECT_TRUE(equal(*slabs->image(location), image));
        rows += image.size() + 1;
    }
    EXPECT_EQ(slabs->usage().used_bytes, rows * sizeof(policy_row));
    for (const auto& [location, image] : placed) slabs->retire(location);
    reclaim(*slabs);
    EXPECT_EQ(slabs->usage().used_bytes, 3 * sizeof(policy_row));
}

TEST(PolicySlabs, ALaterAgentAdoptsWhatIsInForce) {
    REQUIRE_ROOT();
    const auto outer = outer_map();
    ASSERT_TRUE(outer) << outer.error().to_string();
    const auto kept = image_of(3000, 5), forgotten = image_of(100, 6);
    PolicyLocation kept_at, forgotten_at;
    {
        auto slabs = PolicySlabs::use(again(*outer));
        ASSERT_TRUE(slabs) << slabs.error().to_string();
        forgotten_at = *slabs->place(forgotten);
        kept_at = *slabs->place(kept);
    }
    auto slabs = PolicySlabs::use(again(*outer));
    ASSERT_TRUE(slabs) << slabs.error().to_string();
    EXPECT_EQ(slabs->image(kept_at).error().code, Code::kNotFound);
    const auto reference = kept_at.reference(POLICY_REF_F_INGRESS | POLICY_REF_F_AUDIT);
    ASSERT_TRUE(slabs->adopt(PolicyLocation::of_reference(reference)));
    ASSERT_TRUE(slabs->adopt(kept_at));
    EXPECT_TRUE(equal(*slabs->image(kept_at), kept));
    EXPECT_EQ(*slabs->digest(kept_at), PolicySlabs::digest(kept));
    EXPECT_EQ(slabs->adopt({5, 1}).error().code, Code::kNotFound);
    EXPECT_EQ(slabs->adopt({0, 17}).error().code, Code::kNotFound);
    // Nobody named it: its rows are free, and once they are used there is nothing to adopt.
    const auto next = slabs->place(image_of(120, 8));
    ASSERT_TRUE(next);
    EXPECT_EQ(next->value, forgotten_at.value);
    ASSERT_TRUE(slabs->place(image_of(3000, 9)));
    EXPECT_TRUE(equal(*slabs->image(kept_at), kept));
}

TEST(Generations, APolicyAndItsGenerationChangeTogether) {
    REQUIRE_ROOT();
    auto generations = Generations::create_private();
    ASSERT_TRUE(generations) << generations.error().to_string();
    const EndpointId id(77);
    EXPECT_EQ(generations->policy(id), 0U);
    const PolicyLocation location(3, 12345);
    const std::uint32_t reference = location.reference(POLICY_REF_F_EGRESS);
    EXPECT_EQ(PolicyLocation::of_reference(reference), location);
    EXPECT_EQ(location.slab(), 3U);
    EXPECT_EQ(location.row(), 12345U);
    generations->set_policy(id, reference);
    EXPECT_EQ(generations->policy(id), reference);
    EXPECT_EQ(generations->endpoint(id), 1U);
    generations->bump_endpoint(id);
    EXPECT_EQ(generations->policy(id), reference);
    EXPECT_EQ(generations->endpoint(id), 2U);
    EXPECT_EQ(generations->endpoint(EndpointId(76)), 0U);
    EXPECT_EQ(generations->policy(EndpointId(78)), 0U);
    generations->set_policy(EndpointId(0), reference);
    EXPECT_EQ(generations->policy(EndpointId(0)), 0U);
    // Neither loses the other's step.
    {
        const std::jthread bumping([&] {
            for (int i = 0; i < 100000; ++i) generations->bump_endpoint(id);
        });
        for (std::uint32_t i = 0; i < 100000; ++i) generations->set_policy(id, i << POLICY_REF_ROW_SHIFT);
    }
    EXPECT_EQ(generations->endpoint(id), 200002U);
}

}  // namespace
}  // namespace axo
