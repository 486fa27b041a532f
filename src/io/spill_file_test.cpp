#include "io/spill_file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <random>

namespace axo {
namespace {

TEST(SpillFile, KeepsTextsThroughChangesAndReuse) {
    SpillFile file;
    std::mt19937 random(1);
    std::map<int, std::pair<SpillFile::Place, std::string>> kept;
    std::uint64_t end = 0;
    for (int step = 0; step < 5000; ++step) {
        const int key = static_cast<int>(random() % 50);
        const auto known = kept.find(key);
        if (known != kept.end() && random() % 4 == 0) {
            file.release(known->second.first);
            kept.erase(known);
            continue;
        }
        std::string text(random() % 3000, static_cast<char>('a' + step % 26));
        text += std::to_string(step);
        const auto place = file.put(text, known == kept.end() ? SpillFile::Place{} : known->second.first);
        end = std::max(end, place.offset + place.size);
        kept.insert_or_assign(key, std::pair(place, std::move(text)));
    }
    for (const auto& [key, one] : kept) EXPECT_EQ(file.get(one.first).value_or("(error)"), one.second);
    // 50 texts of up to 3 KB, in a few dozen sizes: not the 5 MB that went through.
    EXPECT_LT(end, 1'500'000U);
}

TEST(SpillFile, WhatCannotBeWrittenStaysInMemory) {
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
    const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
    SpillFile file;
    const auto first = file.put(std::string(100, 'a'));
    const rlimit small{.rlim_cur = 4096, .rlim_max = before.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
    const auto large = file.put(std::string(10'000, 'b'));
    EXPECT_EQ(file.get(large).value_or("(error)"), std::string(10'000, 'b'));
    EXPECT_EQ(file.get(first).value_or("(error)"), std::string(100, 'a'));
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
    std::signal(SIGXFSZ, old_handler);
    const auto again = file.put(std::string(10'000, 'c'), large);
    EXPECT_EQ(file.get(again).value_or("(error)"), std::string(10'000, 'c'));
}

}  // namespace
}  // namespace axo
