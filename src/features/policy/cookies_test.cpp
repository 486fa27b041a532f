#include "features/policy/cookies.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "bpf/api/policy.h"

namespace axo::policy {
namespace {

std::uint32_t first_letter(std::string_view name) {
    return static_cast<std::uint32_t>(name[0] - 'a');
}
std::uint32_t end_of_numbers(std::string_view) {
    return 0xffffffff;
}

TEST(Cookies, AreTheHashOfTheName) {
    CookieTable table;
    EXPECT_FALSE(table.acquire("rule"));
    EXPECT_EQ(table.cookie("rule"), CookieTable::default_hash("rule"));
    EXPECT_EQ(*table.name(table.cookie("rule")), "rule");
    EXPECT_EQ(table.cookie("other"), 0U);
    EXPECT_EQ(table.name(4), nullptr);
}

// The number is part of images that outlive the agent: a change of the hash is a change of format.
TEST(Cookies, TheHashStaysWhatItIs) {
    EXPECT_EQ(CookieTable::default_hash(""), 3815724313U);
    EXPECT_EQ(CookieTable::default_hash("CiliumNetworkPolicy"), 3044962195U);
}

TEST(Cookies, AreCounted) {
    CookieTable table;
    table.acquire("rule");
    table.acquire("rule");
    table.release("rule");
    EXPECT_NE(table.cookie("rule"), 0U);
    table.release("rule");
    EXPECT_EQ(table.cookie("rule"), 0U);
    EXPECT_EQ(table.size(), 0U);
    EXPECT_FALSE(table.release("rule"));
}

TEST(Cookies, NeverTakeTheReservedNumbers) {
    CookieTable low(first_letter);
    low.acquire("a");
    low.acquire("b");
    EXPECT_GE(low.cookie("a"), std::uint32_t{POLICY_COOKIE_FIRST});
    EXPECT_GE(low.cookie("b"), std::uint32_t{POLICY_COOKIE_FIRST});
    EXPECT_NE(low.cookie("a"), low.cookie("b"));
    CookieTable high(end_of_numbers);
    high.acquire("x");
    high.acquire("y");
    EXPECT_EQ(high.cookie("x"), 0xffffffffU);
    EXPECT_EQ(high.cookie("y"), std::uint32_t{POLICY_COOKIE_FIRST}) << "goes on at the first number of rules";
}

TEST(Cookies, DependOnTheSetOfNamesOnly) {
    std::mt19937 random(3);
    int moves = 0;
    for (int round = 0; round < 2000; ++round) {
        std::set<std::string> wanted;
        CookieTable table(first_letter);
        for (int step = 0; step < 30; ++step) {
            std::string name(1, static_cast<char>('a' + random() % 6));
            name += static_cast<char>('a' + random() % 3);
            const bool known = wanted.contains(name);
            std::map<std::string, std::uint32_t> before;
            for (const std::string& one : wanted) before[one] = table.cookie(one);
            const bool moved = known ? table.release(name) : table.acquire(name);
            if (known) {
                wanted.erase(name);
                before.erase(name);
            } else {
                wanted.insert(name);
            }
            const bool really =
                std::ranges::any_of(before, [&](const auto& one) { return table.cookie(one.first) != one.second; });
            ASSERT_EQ(moved, really);
            moves += moved ? 1 : 0;
        }
        CookieTable straight(first_letter);
        for (const std::string& name : wanted) straight.acquire(name);
        std::set<std::uint32_t> distinct;
        for (const std::string& name : wanted) {
            ASSERT_EQ(table.cookie(name), straight.cookie(name));
            ASSERT_EQ(*table.name(table.cookie(name)), name);
            distinct.insert(table.cookie(name));
        }
        ASSERT_EQ(distinct.size(), wanted.size());
    }
    EXPECT_GT(moves, 1000);
}

}  // namespace
}  // namespace axo::policy
