#include "runtime/table.h"

#include <gtest/gtest.h>

using namespace std::chrono_literals;

namespace axo {
namespace {

using Names = Table<int, std::string>;

class TableTest : public testing::Test {
protected:
    void settle() {
        const auto stopper = loop.after(5ms, [this] { loop.stop(); });
        loop.run();
    }
    EventLoop loop;
    Names table{loop, "names"};
};

TEST_F(TableTest, OnlyRealChangesCount) {
    EXPECT_TRUE(table.upsert(1, "a"));
    EXPECT_FALSE(table.upsert(1, "a"));
    EXPECT_EQ(table.revision(), 1U);
    EXPECT_TRUE(table.upsert(1, "b"));
    EXPECT_TRUE(table.erase(1));
    EXPECT_FALSE(table.erase(1));
    EXPECT_EQ(table.revision(), 3U);
    EXPECT_EQ(table.find(1), nullptr);
}

TEST_F(TableTest, AWatcherSeesTheStartThenOneCallPerTurn) {
    table.upsert(1, "a");
    std::vector<std::set<int>> calls;
    const auto watch = table.watch([&](const std::set<int>& changed) { calls.push_back(changed); });
    EXPECT_TRUE(calls.empty());
    settle();
    table.upsert(2, "x");
    table.upsert(2, "y");
    table.erase(1);
    settle();
    EXPECT_EQ(calls, (std::vector<std::set<int>>{{1}, {1, 2}}));
}

TEST_F(TableTest, AnEmptyTableStillMakesTheFirstCall) {
    int calls = 0;
    const auto watch = table.watch([&](const std::set<int>& changed) {
        EXPECT_TRUE(changed.empty());
        ++calls;
    });
    settle();
    EXPECT_EQ(calls, 1);
    table.mark_initialized();
    settle();
    EXPECT_EQ(calls, 2);
    EXPECT_TRUE(table.initialized());
}

TEST_F(TableTest, AnEndedWatchIsNotCalled) {
    int calls = 0;
    auto watch = table.watch([&](const std::set<int>&) { ++calls; });
    watch = {};
    table.upsert(1, "a");
    settle();
    EXPECT_EQ(calls, 0);
}

TEST_F(TableTest, ACallbackMayChangeTheTableAndEndItsWatch) {
    Names::Watch watch;
    int calls = 0;
    watch = table.watch([&](const std::set<int>&) {
        if (++calls == 2) watch = {};
        table.upsert(calls, "again");
    });
    settle();
    EXPECT_EQ(calls, 2);
}

TEST(TableLifetime, AWatchMayOutliveItsTable) {
    EventLoop loop;
    auto table = std::make_unique<Names>(loop, "names");
    int calls = 0;
    auto watch = table->watch([&](const std::set<int>&) { ++calls; });
    table.reset();
    const auto stopper = loop.after(5ms, [&] { loop.stop(); });
    loop.run();
    EXPECT_EQ(calls, 0);
    watch = {};
}

}  // namespace
}  // namespace axo
