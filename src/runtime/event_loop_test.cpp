#include "runtime/event_loop.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <thread>

#include "base/fd.h"

using namespace std::chrono_literals;

namespace axo {
namespace {

struct Pipe {
    Pipe() {
        int ends[2] = {};
        if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe");
        reader.reset(ends[0]);
        writer.reset(ends[1]);
    }
    void put() const { ASSERT_EQ(::write(writer.get(), "x", 1), 1); }
    void take() const {
        char byte = 0;
        ASSERT_EQ(::read(reader.get(), &byte, 1), 1);
    }
    Fd reader;
    Fd writer;
};

class EventLoopTest : public testing::Test {
protected:
    void run_for(Duration duration) {
        const auto stopper = loop.after(duration, [this] { loop.stop(); });
        loop.run();
    }
    EventLoop loop;
};

TEST_F(EventLoopTest, PostedWorkRunsInOrderAndNeverInsideTheCall) {
    std::vector<int> order;
    loop.post([&] {
        loop.post([&] {
            order.push_back(3);
            loop.stop();
        });
        order.push_back(1);
    });
    loop.post([&] { order.push_back(2); });
    EXPECT_TRUE(order.empty());
    loop.run();
    EXPECT_EQ(order, (std::vector{1, 2, 3}));
}

TEST_F(EventLoopTest, PostFromAnotherThreadWakesTheLoop) {
    std::thread other([this] {
        std::this_thread::sleep_for(20ms);
        loop.post([this] { loop.stop(); });
    });
    loop.run();
    other.join();
}

TEST_F(EventLoopTest, WorkPostedBeforeStopIsNotRun) {
    bool ran = false;
    loop.post([&] {
        loop.post([&] { ran = true; });
        loop.stop();
    });
    loop.run();
    EXPECT_FALSE(ran);
}

TEST_F(EventLoopTest, TimersFireOnceAndRepeatedly) {
    int once = 0;
    int often = 0;
    const auto a = loop.after(5ms, [&] { ++once; });
    const auto b = loop.every(10ms, [&] { ++often; });
    run_for(105ms);
    EXPECT_EQ(once, 1);
    EXPECT_GE(often, 2);
    EXPECT_LE(often, 10);
}

TEST_F(EventLoopTest, AnEndlessDelayDoesNotFire) {
    bool fired = false;
    const auto never = loop.after(Duration::max(), [&] { fired = true; });
    run_for(20ms);
    EXPECT_FALSE(fired);
}

TEST_F(EventLoopTest, CancelledTimerDoesNotFireEvenWhenDue) {
    bool fired = false;
    EventLoop::Handle due = loop.after(0ms, [&] { fired = true; });
    loop.post([&] {
        std::this_thread::sleep_for(5ms);  // the timer is due now, its callback perhaps queued
        due.cancel();
    });
    run_for(20ms);
    EXPECT_FALSE(fired);
}

TEST_F(EventLoopTest, ACallbackMayCancelItselfAndOthers) {
    int runs = 0;
    bool other_ran = false;
    EventLoop::Handle self;
    EventLoop::Handle other = loop.after(10ms, [&] { other_ran = true; });
    // The capture proves that the function object survives its own cancellation.
    self = loop.every(1ms, [&, text = std::string(100, 'x')] {
        ++runs;
        self.cancel();
        other.cancel();
        EXPECT_EQ(text.size(), 100U);
    });
    run_for(30ms);
    EXPECT_EQ(runs, 1);
    EXPECT_FALSE(other_ran);
}

TEST_F(EventLoopTest, ACallbackMayReplaceItsOwnHandle) {
    int runs = 0;
    EventLoop::Handle timer;
    std::function<void()> again = [&] {
        if (++runs < 3) timer = loop.after(1ms, again);
    };
    timer = loop.after(1ms, again);
    run_for(30ms);
    EXPECT_EQ(runs, 3);
}

TEST_F(EventLoopTest, CancelDropsWhatTheCallbackHeld) {
    const auto held = std::make_shared<int>(1);
    auto handle = loop.after(1h, [held] {});
    EXPECT_EQ(held.use_count(), 2);
    handle.cancel();
    EXPECT_EQ(held.use_count(), 1);
}

TEST_F(EventLoopTest, ReadableIsLevelTriggered) {
    const Pipe pipe;
    int calls = 0;
    const auto watch = loop.on_readable(pipe.reader.get(), [&] {
        if (++calls > 2) pipe.take();
    });
    pipe.put();
    run_for(50ms);
    EXPECT_EQ(calls, 3);
}

TEST_F(EventLoopTest, WatchingKeepsTheModeOfTheDescriptorAndLeavesItOpen) {
    const Pipe pipe;
    {
        const auto watch = loop.on_readable(pipe.reader.get(), [] {});
        run_for(5ms);
        EXPECT_EQ(::fcntl(pipe.reader.get(), F_GETFL) & O_NONBLOCK, 0);
    }
    EXPECT_GE(::fcntl(pipe.reader.get(), F_GETFD), 0);
}

TEST_F(EventLoopTest, ReadableWatchMayBeCancelledByItsCallbackAndMadeAgain) {
    const Pipe pipe;
    int calls = 0;
    EventLoop::Handle watch;
    watch = loop.on_readable(pipe.reader.get(), [&] {
        ++calls;
        watch.cancel();
    });
    pipe.put();
    run_for(20ms);
    EXPECT_EQ(calls, 1);
    watch = loop.on_readable(pipe.reader.get(), [&] {
        ++calls;
        pipe.take();
    });
    run_for(20ms);
    EXPECT_EQ(calls, 2);
}

TEST_F(EventLoopTest, ABadDescriptorGivesAnEmptyHandle) {
    const auto watch = loop.on_readable(-1, [] {});
    EXPECT_FALSE(watch);
}

TEST_F(EventLoopTest, SignalsArriveEachTime) {
    int seen = 0;
    const auto watch = loop.on_signal(SIGUSR2, [&](int number) {
        EXPECT_EQ(number, SIGUSR2);
        if (++seen == 2) return loop.stop();
        ::raise(SIGUSR2);
    });
    loop.post([] { ::raise(SIGUSR2); });
    loop.run();
    EXPECT_EQ(seen, 2);
}

TEST_F(EventLoopTest, AnImpossibleSignalGivesAnEmptyHandle) {
    EXPECT_FALSE(loop.on_signal(SIGKILL, [](int) {}));
}

TEST_F(EventLoopTest, BlockingWorkRunsElsewhereAndReportsOnTheLoop) {
    const auto loop_thread = std::this_thread::get_id();
    std::atomic<int> concurrent = 0;
    std::atomic<int> most = 0;
    int done = 0;
    for (int i = 0; i < 12; ++i) {
        loop.run_blocking(
            [&, i]() -> Status {
                EXPECT_NE(std::this_thread::get_id(), loop_thread);
                const int now = ++concurrent;
                for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
                }
                std::this_thread::sleep_for(5ms);
                --concurrent;
                if (i == 3) return fail(Code::kUnavailable, "no");
                if (i == 4) throw std::runtime_error("thrown");
                return {};
            },
            [&, i](Status status) {
                EXPECT_EQ(std::this_thread::get_id(), loop_thread);
                if (i == 3) {
                    EXPECT_EQ(status.error().code, Code::kUnavailable);
                } else if (i == 4) {
                    EXPECT_EQ(status.error().code, Code::kInternal);
                } else {
                    EXPECT_TRUE(status);
                }
                if (++done == 12) loop.stop();
            });
    }
    loop.run();
    EXPECT_EQ(done, 12);
    EXPECT_GT(most, 1);
    EXPECT_LE(most, 4);
}

TEST(EventLoopLifetime, TheDestructorWaitsForBlockingWork) {
    std::atomic<bool> finished = false;
    bool reported = false;
    {
        EventLoop loop;
        std::atomic<bool> started = false;
        loop.run_blocking(
            [&]() -> Status {
                started = true;
                std::this_thread::sleep_for(20ms);
                finished = true;
                return {};
            },
            [&](Status) { reported = true; });
        while (!started) std::this_thread::yield();
    }
    EXPECT_TRUE(finished);
    EXPECT_FALSE(reported);
}

TEST(EventLoopLifetime, HandlesMayOutliveTheLoop) {
    const Pipe pipe;
    EventLoop::Handle timer;
    EventLoop::Handle readable;
    EventLoop::Handle signal;
    const auto held = std::make_shared<int>(1);
    {
        EventLoop loop;
        timer = loop.after(1h, [held] {});
        readable = loop.on_readable(pipe.reader.get(), [held] {});
        signal = loop.on_signal(SIGUSR2, [held](int) {});
    }
    EXPECT_EQ(held.use_count(), 1);
    EXPECT_GE(::fcntl(pipe.reader.get(), F_GETFD), 0);
}

}  // namespace
}  // namespace axo
