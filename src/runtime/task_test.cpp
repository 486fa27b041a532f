#include "runtime/task.h"

#include <gtest/gtest.h>

using namespace std::chrono_literals;

namespace axo {
namespace {

// Something whose end can be seen.
struct Flag {
    explicit Flag(bool& f) : flag(f) {}
    Flag(const Flag&) = delete;
    Flag& operator=(const Flag&) = delete;
    ~Flag() { flag = true; }
    bool& flag;
};

class TaskTest : public testing::Test {
protected:
    Task<int> after(Duration time, int value) {
        CO_AWAIT([[maybe_unused]] const auto slept, slept_for(time));
        co_return value;
    }
    Task<int> slept_for(Duration time) {
        co_await sleep_for(loop_, time);
        co_return 0;
    }
    Task<Result<int>> sum(Task<Result<int>> a, Task<Result<int>> b) {
        CO_TRY_ASSIGN(const int first, std::move(a));
        CO_TRY_ASSIGN(const int second, std::move(b));
        ++sums_;
        co_return first + second;
    }
    Task<Result<int>> late(Result<int> value) {
        co_await sleep_for(loop_, 1ms);
        co_return value;
    }
    Task<Status> wait_with(Awaited<int>& event, std::string text, bool& destroyed) {
        const Flag flag(destroyed);
        const int value = co_await event;
        if (value != 7 || text != "a text too long for the small string optimization")
            co_return fail(Code::kInternal, "");
        co_return Status{};
    }

    EventLoop loop_;
    int sums_ = 0;
};

TEST_F(TaskTest, AValueThatIsThereNeedsNoLoop) {
    Task<Result<int>> task = 5;
    EXPECT_TRUE(task.is_ready());
    int seen = 0;
    TaskGroup group;
    group.spawn(std::move(task), [&](Result<int> value) { seen = *value; });
    EXPECT_EQ(seen, 5);
    EXPECT_TRUE(group.empty());
    // A coroutine that only meets such values ends before spawn returns.
    group.spawn(sum(2, 3), [&](Result<int> value) { seen = *value; });
    EXPECT_EQ(seen, 5);
    EXPECT_TRUE(group.empty());
}

TEST_F(TaskTest, IsLazy) {
    {
        const auto never = sum(1, 2);
        EXPECT_FALSE(never.is_ready());
    }
    EXPECT_EQ(sums_, 0);
}

TEST_F(TaskTest, WaitsAndReturnsErrors) {
    EXPECT_EQ(run_to_end(loop_, after(1ms, 3)), 3);
    EXPECT_EQ(run_to_end(loop_, sum(late(1), late(2))), 3);
    EXPECT_EQ(run_to_end(loop_, sum(late(1), late(fail(Code::kNotFound, "x")))).error().code, Code::kNotFound);
    EXPECT_EQ(run_to_end(loop_, sum(fail(Code::kAborted, "x"), late(2))).error().code, Code::kAborted);
    EXPECT_EQ(sums_, 1);
}

TEST_F(TaskTest, DestructionEndsWhatWaits) {
    bool destroyed = false;
    bool done = false;
    Awaited<int> event;
    {
        TaskGroup group;
        group.spawn(wait_with(event, "a text too long for the small string optimization", destroyed),
                    [&](const Status&) { done = true; });
        EXPECT_EQ(group.size(), 1U);
        EXPECT_FALSE(destroyed);
    }
    EXPECT_TRUE(destroyed);
    EXPECT_FALSE(done);
}

TEST_F(TaskTest, AnOutcomeResumesItsTaskAtOnce) {
    bool destroyed = false;
    std::optional<Status> outcome;
    Awaited<int> event;
    TaskGroup group;
    group.spawn(wait_with(event, "a text too long for the small string optimization", destroyed),
                [&](Status status) { outcome = std::move(status); });
    event.set(7);
    event.set(8);
    EXPECT_TRUE(outcome && *outcome);
    EXPECT_TRUE(destroyed);
    EXPECT_TRUE(group.empty());
}

TEST_F(TaskTest, DoneMayEndTheGroupOrStartTheNextTask) {
    auto group = std::make_unique<TaskGroup>();
    int rounds = 0;
    std::function<void(int)> next = [&](int) {
        if (++rounds == 3) return group.reset();
        group->spawn(after(1ms, rounds), next);
    };
    group->spawn(after(1ms, 0), next);
    const auto stop = loop_.after(50ms, [this] { loop_.stop(); });
    loop_.run();
    EXPECT_EQ(rounds, 3);
    EXPECT_EQ(group, nullptr);
}

// The group's owner is destroyed by what its own task does.
struct Owner {
    Task<Status> end_yourself(EventLoop& loop, std::unique_ptr<Owner>& self, int& steps, bool& destroyed) {
        const Flag flag(destroyed);
        co_await sleep_for(loop, 1ms);
        self.reset();
        ++steps;  // still running
        co_await sleep_for(loop, 1ms);
        ++steps;  // never
        co_return Status{};
    }
    TaskGroup tasks;
};

TEST_F(TaskTest, AGroupMayBeDestroyedByItsOwnTask) {
    auto owner = std::make_unique<Owner>();
    int steps = 0;
    bool destroyed = false;
    bool done = false;
    owner->tasks.spawn(owner->end_yourself(loop_, owner, steps, destroyed), [&](const Status&) { done = true; });
    const auto stop = loop_.after(20ms, [this] { loop_.stop(); });
    loop_.run();
    EXPECT_EQ(steps, 1);
    EXPECT_TRUE(destroyed);
    EXPECT_FALSE(done);
}

TEST_F(TaskTest, ManyWaitForOneOutcome) {
    Waiters<Result<int>> waiters;
    int sum = 0;
    TaskGroup group, leaving;
    for (int i = 0; i < 3; ++i) group.spawn(waiters.wait(), [&](const Result<int>& value) { sum += *value; });
    leaving.spawn(waiters.wait(), [&](const Result<int>&) { sum += 1000; });
    leaving.cancel();
    waiters.settle(5);
    EXPECT_EQ(sum, 15);
    EXPECT_TRUE(group.empty());
    waiters.settle(7);
    EXPECT_EQ(sum, 15);
}

TEST_F(TaskTest, ALimitEndsWhatTakesLonger) {
    bool destroyed = false;
    Awaited<int> never;
    auto outcome = run_to_end(loop_, within(loop_, 5ms, "waiting", wait_with(never, "", destroyed)));
    EXPECT_EQ(outcome.error().code, Code::kDeadlineExceeded);
    EXPECT_EQ(outcome.error().message, "waiting: no answer within 5 ms");
    EXPECT_TRUE(destroyed);
    EXPECT_EQ(run_to_end(loop_, within(loop_, 5s, "waiting", late(4))), 4);
}

Task<Result<int>> chain(EventLoop& loop, int depth) {
    if (depth == 0) {
        co_await sleep_for(loop, 1ms);
        co_return 0;
    }
    CO_TRY_ASSIGN(const int below, chain(loop, depth - 1));
    co_return below + 1;
}

TEST_F(TaskTest, ChainsUnwind) {
    EXPECT_EQ(run_to_end(loop_, chain(loop_, 1000)), 1000);
}

}  // namespace
}  // namespace axo
