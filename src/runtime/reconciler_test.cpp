#include "runtime/reconciler.h"

#include <gtest/gtest.h>

using namespace std::chrono_literals;

namespace axo {
namespace {

using Entries = std::map<int, std::string>;

// A kernel of ints and strings that counts what is done to it and can refuse.
struct FakeKernel {
    Entries entries;
    int lists = 0;
    int puts = 0;
    int removes = 0;
    int commits = 0;
    bool list_fails = false;
    std::set<int> refused;

    Reconciler<int, std::string>::Operations operations() {
        return {.list = [this]() -> Result<Entries> {
                    ++lists;
                    if (list_fails) return fail(Code::kUnavailable, "cannot list");
                    return entries;
                },
                .put = [this](const int& key, const std::string& value) -> Status {
                    ++puts;
                    if (refused.contains(key)) return fail(Code::kResourceExhausted, "full");
                    entries[key] = value;
                    return {};
                },
                .remove = [this](const int& key) -> Status {
                    ++removes;
                    if (refused.contains(key)) return fail(Code::kPermissionDenied, "pinned");
                    entries.erase(key);
                    return {};
                },
                .describe = [](const int& key) { return "entry " + std::to_string(key); },
                .committed = [this] { ++commits; }};
    }
    [[nodiscard]] int writes() const { return puts + removes; }
};

class ReconcilerTest : public testing::Test {
protected:
    void settle(Duration duration = 5ms) {
        const auto stopper = loop.after(duration, [this] { loop.stop(); });
        loop.run();
    }
    EventLoop loop;
    ControllerRegistry registry;
    FakeKernel kernel;
    Reconciler<int, std::string> reconciler{loop, registry, "entries", kernel.operations()};
};

TEST_F(ReconcilerTest, ARestartWithEqualStateWritesNothing) {
    kernel.entries = {{1, "a"}, {2, "b"}};
    reconciler.set_desired({{1, "a"}, {2, "b"}}, true);
    settle();
    EXPECT_EQ(kernel.writes(), 0);
    EXPECT_EQ(kernel.commits, 0);
    EXPECT_EQ(reconciler.counters().unchanged_at_start, 2U);
    EXPECT_EQ(reconciler.counters().added + reconciler.counters().updated + reconciler.counters().removed, 0U);
}

TEST_F(ReconcilerTest, ARestartWhoseStateArrivesPieceByPieceCountsEachObjectOnce) {
    kernel.entries = {{1, "a"}, {2, "b"}};
    reconciler.put_desired(1, "a");
    settle();
    reconciler.put_desired(2, "b");
    settle();
    reconciler.put_desired(3, "c");
    settle();
    reconciler.set_complete();
    settle();
    EXPECT_EQ(reconciler.counters().unchanged_at_start, 2U);
    EXPECT_EQ(reconciler.counters().added, 1U);
    EXPECT_EQ(kernel.writes(), 1);
}

// A cluster's nodes at a start: each is to be in force before the next.
TEST_F(ReconcilerTest, WhatIsAppliedPieceByPieceBeforeTheStartIsListedForOnce) {
    kernel.entries = {{1, "a"}, {2, "other"}, {1000, "nobody's"}};
    for (int key = 1; key <= 100; ++key) {
        reconciler.put_desired(key, "a");
        ASSERT_TRUE(reconciler.flush());
        ASSERT_EQ(kernel.entries[key], "a");
    }
    EXPECT_EQ(kernel.lists, 1);
    EXPECT_EQ(kernel.puts, 99);
    reconciler.put_desired(3, "b");
    kernel.refused = {4};
    reconciler.put_desired(4, "b");
    EXPECT_FALSE(reconciler.flush());
    EXPECT_EQ(kernel.entries[3], "b");
    kernel.refused = {};
    reconciler.put_desired(4, "b");
    EXPECT_TRUE(reconciler.flush());
    EXPECT_EQ(kernel.entries[4], "b");
    EXPECT_TRUE(kernel.entries.contains(1000)) << "until everything is known";
    reconciler.set_complete();
    settle();
    EXPECT_FALSE(kernel.entries.contains(1000));
    EXPECT_EQ(kernel.lists, 2);
    EXPECT_EQ(reconciler.counters().unchanged_at_start, 1U);
    EXPECT_TRUE(reconciler.errors().empty());
}

TEST_F(ReconcilerTest, TheFirstDiffAddsUpdatesAndPrunes) {
    kernel.entries = {{1, "a"}, {2, "old"}, {9, "stale"}};
    reconciler.set_desired({{1, "a"}, {2, "new"}, {3, "c"}}, true);
    settle();
    EXPECT_EQ(kernel.entries, (Entries{{1, "a"}, {2, "new"}, {3, "c"}}));
    EXPECT_EQ(reconciler.counters().unchanged_at_start, 1U);
    EXPECT_EQ(reconciler.counters().added, 1U);
    EXPECT_EQ(reconciler.counters().updated, 1U);
    EXPECT_EQ(reconciler.counters().removed, 1U);
    EXPECT_EQ(kernel.commits, 1);
}

TEST_F(ReconcilerTest, NothingIsPrunedBeforeComplete) {
    kernel.entries = {{1, "a"}, {9, "stale"}};
    reconciler.set_desired({{1, "a"}}, false);
    reconciler.put_desired(2, "b");
    reconciler.remove_desired(9);
    settle();
    EXPECT_TRUE(kernel.entries.contains(9));
    EXPECT_TRUE(kernel.entries.contains(2));
    reconciler.set_complete();
    settle();
    EXPECT_FALSE(kernel.entries.contains(9));
    EXPECT_EQ(reconciler.counters().removed, 1U);
}

TEST_F(ReconcilerTest, CompleteBeforeAnyDesiredStateHolds) {
    kernel.entries = {{1, "a"}};
    reconciler.set_complete();
    reconciler.set_desired({{1, "a"}}, false);
    settle();
    EXPECT_EQ(kernel.writes(), 0);
    EXPECT_EQ(reconciler.counters().unchanged_at_start, 1U);
}

TEST_F(ReconcilerTest, AfterTheStartChangesAreWrittenWithoutListing) {
    reconciler.set_desired({{1, "a"}}, true);
    settle();
    const int lists = kernel.lists;
    reconciler.put_desired(2, "b");
    reconciler.put_desired(1, "A");
    reconciler.set_desired({{1, "A"}, {2, "b"}, {3, "c"}}, true);
    settle();
    reconciler.remove_desired(3);
    settle();
    EXPECT_EQ(kernel.lists, lists);
    EXPECT_EQ(kernel.entries, (Entries{{1, "A"}, {2, "b"}}));
    EXPECT_EQ(reconciler.counters().added, 3U);
    EXPECT_EQ(reconciler.counters().updated, 1U);
    EXPECT_EQ(reconciler.counters().removed, 1U);
}

TEST_F(ReconcilerTest, EqualValuesAreNeitherWrittenNorCounted) {
    reconciler.set_desired({{1, "a"}}, true);
    settle();
    const int writes = kernel.writes();
    const int commits = kernel.commits;
    reconciler.put_desired(1, "a");
    settle();
    reconciler.put_desired(1, "b");  // there and back within one turn
    reconciler.put_desired(1, "a");
    settle();
    reconciler.put_desired(2, "short-lived");
    reconciler.remove_desired(2);
    settle();
    reconciler.set_desired({{1, "a"}}, true);
    settle();
    EXPECT_EQ(kernel.writes(), writes);
    EXPECT_EQ(kernel.commits, commits);
    EXPECT_EQ(reconciler.counters().updated, 0U);
}

TEST_F(ReconcilerTest, AFailureTouchesOnlyItsObjectAndIsRetried) {
    kernel.refused = {2};
    reconciler.set_desired({{1, "a"}, {2, "b"}, {3, "c"}}, true);
    settle();
    EXPECT_EQ(kernel.entries, (Entries{{1, "a"}, {3, "c"}}));
    ASSERT_EQ(reconciler.errors().size(), 1U);
    EXPECT_EQ(reconciler.errors().begin()->first, 2);
    EXPECT_EQ(reconciler.counters().failed, 1U);
    EXPECT_EQ(registry.all().at(0).last_error, "entry 2: full");

    // Other changes go on without trying it again and again.
    reconciler.put_desired(4, "d");
    settle();
    EXPECT_TRUE(kernel.entries.contains(4));
    EXPECT_EQ(reconciler.counters().failed, 1U);
    EXPECT_EQ(reconciler.errors().size(), 1U);

    kernel.refused.clear();
    settle(1300ms);
    EXPECT_EQ(kernel.entries.at(2), "b");
    EXPECT_TRUE(reconciler.errors().empty());
    EXPECT_EQ(reconciler.counters().added, 4U);
    EXPECT_EQ(registry.all().at(0).consecutive_failures, 0U);
}

TEST_F(ReconcilerTest, AFailedObjectThatChangesIsTriedAtOnceWhateverItsValue) {
    reconciler.set_desired({{1, "a"}}, true);
    settle();
    kernel.refused = {1};
    reconciler.put_desired(1, "b");
    settle();
    EXPECT_EQ(reconciler.counters().failed, 1U);
    kernel.refused.clear();
    reconciler.put_desired(1, "a");  // what the kernel had; but nobody knows what the failed attempt left
    settle();
    EXPECT_TRUE(reconciler.errors().empty());
    EXPECT_EQ(kernel.puts, 3);
    EXPECT_EQ(kernel.entries.at(1), "a");
}

TEST_F(ReconcilerTest, AFailedRemovalStaysAnError) {
    reconciler.set_desired({{1, "a"}}, true);
    settle();
    kernel.refused = {1};
    reconciler.remove_desired(1);
    settle();
    EXPECT_EQ(reconciler.errors().size(), 1U);
    reconciler.put_desired(1, "a");
    kernel.refused.clear();
    settle();
    EXPECT_TRUE(reconciler.errors().empty());
    EXPECT_EQ(reconciler.counters().removed, 0U);
}

TEST_F(ReconcilerTest, AFailingListIsAnErrorOfTheControllerAndWritesNothing) {
    kernel.list_fails = true;
    reconciler.set_desired({{1, "a"}}, true);
    settle();
    EXPECT_EQ(kernel.writes(), 0);
    EXPECT_EQ(registry.all().at(0).last_error, "reading actual state: cannot list");
    kernel.list_fails = false;
    reconciler.resync();
    settle();
    EXPECT_EQ(kernel.entries.size(), 1U);
}

TEST_F(ReconcilerTest, ResyncRepairsWhatOthersChanged) {
    reconciler.set_desired({{1, "a"}, {2, "b"}}, true);
    settle();
    kernel.entries = {{2, "changed"}, {7, "foreign"}};
    reconciler.resync();
    settle();
    EXPECT_EQ(kernel.entries, (Entries{{1, "a"}, {2, "b"}}));
}

TEST_F(ReconcilerTest, FlushAppliesNowAndReportsOnlyItsOwnFailures) {
    kernel.refused = {5};
    reconciler.set_desired({{1, "a"}, {5, "e"}}, true);
    settle();
    reconciler.put_desired(2, "b");
    EXPECT_TRUE(reconciler.flush());
    EXPECT_EQ(kernel.entries.at(2), "b");
    kernel.refused.insert(3);
    reconciler.put_desired(3, "c");
    const auto refused = reconciler.flush();
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().message, "entry 3: full");
    EXPECT_EQ(reconciler.errors().size(), 2U);
}

}  // namespace
}  // namespace axo
