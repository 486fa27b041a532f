#include "kernel/bpf_map.h"

#include <bpf/libbpf.h>
#include <gtest/gtest.h>

#include <map>

#include "kernel/scratch_netns.h"

namespace axo {
namespace {

struct Key {
    std::uint32_t number = 0;
    auto operator<=>(const Key&) const = default;
};
struct Value {
    std::uint64_t count = 0;
};

RawBpfMap make_map(bpf_map_type type, std::uint32_t key, std::uint32_t value, std::uint32_t entries,
                   std::uint32_t flags = 0) {
    LIBBPF_OPTS(bpf_map_create_opts, options);
    options.map_flags = flags;
    Fd fd(bpf_map_create(type, "axok_test", key, value, entries, &options));
    EXPECT_TRUE(static_cast<bool>(fd)) << std::strerror(errno);
    auto map = RawBpfMap::from_fd(std::move(fd), "axok_test");
    EXPECT_OK(map);
    return std::move(*map);
}

TEST(BpfMap, GetPutRemove) {
    auto map = BpfMap<Key, Value>::wrap(make_map(BPF_MAP_TYPE_HASH, 4, 8, 2));
    ASSERT_OK(map);
    EXPECT_EQ(map->get({1}).error().code, Code::kNotFound);
    ASSERT_OK(map->put({1}, {10}));
    ASSERT_OK(map->put({1}, {11}));
    EXPECT_EQ(map->put({1}, {12}, BPF_NOEXIST).error().code, Code::kAlreadyExists);
    EXPECT_EQ(map->get({1})->count, 11U);
    ASSERT_OK(map->put({2}, {20}));
    const Status full = map->put({3}, {30});
    ASSERT_FALSE(full);
    EXPECT_EQ(full.error().code, Code::kResourceExhausted);
    EXPECT_NE(full.error().message.find("full with 2 entries"), std::string::npos) << full.error().message;
    ASSERT_OK(map->remove({1}));
    ASSERT_OK(map->remove({1}));
    EXPECT_EQ(map->raw().count().value_or(99), 1U);
}

TEST(BpfMap, WrapRefusesOtherSizesAndPerCpuMaps) {
    EXPECT_EQ((BpfMap<Key, Value>::wrap(make_map(BPF_MAP_TYPE_HASH, 4, 16, 2)).error().code),
              Code::kFailedPrecondition);
    EXPECT_EQ((BpfMap<Key, Value>::wrap(make_map(BPF_MAP_TYPE_PERCPU_HASH, 4, 8, 2)).error().code),
              Code::kFailedPrecondition);
}

// Every type, filled to many batches' worth: each entry exactly once.
TEST(BpfMap, EntriesAreCompleteForEveryType) {
    struct Case {
        bpf_map_type type;
        std::uint32_t flags;
    };
    for (const Case& c :
         {Case{BPF_MAP_TYPE_HASH, BPF_F_NO_PREALLOC}, Case{BPF_MAP_TYPE_HASH, 0}, Case{BPF_MAP_TYPE_LRU_HASH, 0},
          Case{BPF_MAP_TYPE_ARRAY, 0}, Case{BPF_MAP_TYPE_PERCPU_HASH, 0}, Case{BPF_MAP_TYPE_PERCPU_ARRAY, 0}}) {
        constexpr std::uint32_t kEntries = 30000;
        const RawBpfMap map =
            make_map(c.type, 4, 8, c.type == BPF_MAP_TYPE_LRU_HASH ? kEntries * 4 : kEntries, c.flags);
        std::vector<std::uint64_t> value(map.value_bytes() / 8);
        for (std::uint32_t i = 0; i < kEntries; ++i) {
            for (std::size_t cpu = 0; cpu < value.size(); ++cpu) value[cpu] = i * 10ULL + cpu;
            ASSERT_OK(map.update(&i, value.data()));
        }
        std::map<std::uint32_t, int> seen;
        bool values_fit = true;
        ASSERT_OK(map.for_each([&](const void* key, const void* data) {
            std::uint32_t number = 0;
            std::memcpy(&number, key, 4);
            if (c.type != BPF_MAP_TYPE_LRU_HASH && number >= kEntries) return;
            ++seen[number];
            for (std::size_t cpu = 0; cpu < value.size(); ++cpu) {
                std::uint64_t word = 0;
                std::memcpy(&word, static_cast<const char*>(data) + cpu * 8, 8);
                values_fit = values_fit && word == number * 10ULL + cpu;
            }
        }));
        EXPECT_EQ(seen.size(), kEntries) << "type " << c.type;
        EXPECT_TRUE(values_fit) << "type " << c.type;
        for (const auto& [number, times] : seen) ASSERT_EQ(times, 1) << "type " << c.type << " key " << number;
        EXPECT_EQ(map.per_cpu(), value.size() > 1 || libbpf_num_possible_cpus() == 1);
    }
}

TEST(BpfMap, EntriesOfLpmTrie) {
    struct Prefix4 {
        std::uint32_t length;
        std::array<std::uint8_t, 4> address;
        auto operator<=>(const Prefix4&) const = default;
    };
    auto map = BpfMap<Prefix4, Value>::wrap(make_map(BPF_MAP_TYPE_LPM_TRIE, 8, 8, 100000, BPF_F_NO_PREALLOC));
    ASSERT_OK(map);
    std::map<Prefix4, std::uint64_t> wanted{{{0, {0, 0, 0, 0}}, 1}, {{8, {10, 0, 0, 0}}, 2}};
    for (std::uint32_t i = 0; i < 5000; ++i) {
        wanted[{32, {10, 1, static_cast<std::uint8_t>(i >> 8), static_cast<std::uint8_t>(i)}}] = i;
    }
    for (const auto& [key, value] : wanted) ASSERT_OK(map->put(key, {value}));
    auto entries = map->entries();
    ASSERT_OK(entries);
    std::map<Prefix4, std::uint64_t> read;
    for (const auto& [key, value] : *entries) read[key] = value.count;
    EXPECT_EQ(entries->size(), wanted.size());
    EXPECT_EQ(read, wanted);
}

TEST(BpfMap, EmptyAndUniterableMaps) {
    const RawBpfMap empty = make_map(BPF_MAP_TYPE_HASH, 4, 8, 10);
    EXPECT_EQ(empty.count().value_or(99), 0U);
    const RawBpfMap ring = make_map(BPF_MAP_TYPE_RINGBUF, 0, 0, 4096);
    EXPECT_EQ(ring.count().error().code, Code::kUnimplemented);
}

// CPU maps know no batches: the walk from key to key.
TEST(BpfMap, EntriesOneByOne) {
    const RawBpfMap map = make_map(BPF_MAP_TYPE_CPUMAP, 4, 4, 2);
    EXPECT_EQ(map.count().value_or(99), 0U);
    const std::uint32_t cpu = 0;
    const std::uint32_t queue = 64;
    ASSERT_OK(map.update(&cpu, &queue));
    std::vector<std::pair<std::uint32_t, std::uint32_t>> seen;
    ASSERT_OK(map.for_each([&](const void* key, const void* value) {
        auto& [k, v] = seen.emplace_back();
        std::memcpy(&k, key, 4);
        std::memcpy(&v, value, 4);
    }));
    EXPECT_EQ(seen, (std::vector<std::pair<std::uint32_t, std::uint32_t>>{{0, 64}}));
}

TEST(BpfMap, MemoryGrowsWithTheMap) {
    auto small = make_map(BPF_MAP_TYPE_ARRAY, 4, 8, 100).memory_bytes();
    auto large = make_map(BPF_MAP_TYPE_ARRAY, 4, 8, 100000).memory_bytes();
    ASSERT_OK(small);
    ASSERT_OK(large);
    EXPECT_GE(*large, 800000U);
    EXPECT_LT(*small, 100000U);
}

TEST(BpfMap, OpenPinnedNamesThePathWhenAbsent) {
    auto absent = RawBpfMap::open_pinned("/sys/fs/bpf/axok-no-such-map");
    ASSERT_FALSE(absent);
    EXPECT_EQ(absent.error().code, Code::kNotFound);
    EXPECT_NE(absent.error().message.find("axok-no-such-map"), std::string::npos);
}

}  // namespace
}  // namespace axo
