#include "runtime/controller.h"

#include <gtest/gtest.h>

using namespace std::chrono_literals;

namespace axo {
namespace {

class ControllerTest : public testing::Test {
protected:
    void run_for(Duration duration) {
        const auto stopper = loop.after(duration, [this] { loop.stop(); });
        loop.run();
    }
    EventLoop loop;
    ControllerRegistry registry;
};

TEST_F(ControllerTest, SeveralTriggersAreOneRun) {
    int runs = 0;
    Controller controller(loop, registry, "one", [&]() -> Status {
        ++runs;
        return {};
    });
    for (int i = 0; i < 5; ++i) controller.trigger();
    EXPECT_EQ(runs, 0);
    run_for(5ms);
    EXPECT_EQ(runs, 1);
    EXPECT_EQ(controller.status().success_count, 1U);
    EXPECT_GT(controller.status().last_success.time_since_epoch().count(), 0);
    EXPECT_EQ(controller.status().last_failure.time_since_epoch().count(), 0);
}

TEST_F(ControllerTest, ATriggerFromTheWorkItselfRunsAgain) {
    int runs = 0;
    Controller* self = nullptr;
    Controller controller(loop, registry, "again", [&]() -> Status {
        if (++runs == 1) self->trigger();
        return {};
    });
    self = &controller;
    controller.trigger();
    run_for(5ms);
    EXPECT_EQ(runs, 2);
}

TEST_F(ControllerTest, RunsAtItsInterval) {
    int runs = 0;
    const Controller controller(
        loop, registry, "often",
        [&]() -> Status {
            ++runs;
            return {};
        },
        10ms);
    run_for(65ms);
    EXPECT_GE(runs, 2);
    EXPECT_LE(runs, 6);
}

TEST_F(ControllerTest, AFailureIsRetriedAfterASecondAndCounted) {
    int runs = 0;
    bool by_timer = false;
    Controller* self = nullptr;
    Controller controller(loop, registry, "failing", [&]() -> Status {
        by_timer = self->timer_run();
        if (++runs == 1) return fail(Code::kUnavailable, "not yet");
        loop.stop();
        return {};
    });
    self = &controller;
    controller.trigger();
    run_for(100ms);
    EXPECT_EQ(runs, 1);
    EXPECT_FALSE(by_timer);
    EXPECT_EQ(controller.status().failure_count, 1U);
    EXPECT_EQ(controller.status().consecutive_failures, 1U);
    EXPECT_EQ(controller.status().last_error, "not yet");
    const auto start = std::chrono::steady_clock::now();
    run_for(3s);
    EXPECT_EQ(runs, 2);
    EXPECT_TRUE(by_timer);
    EXPECT_GT(std::chrono::steady_clock::now() - start, 700ms);
    EXPECT_EQ(controller.status().failure_count, 1U);
    EXPECT_EQ(controller.status().consecutive_failures, 0U);
    EXPECT_EQ(controller.status().last_error, "");
}

TEST_F(ControllerTest, TriggersDoNotPostponeARetry) {
    int timer_runs = 0;
    Controller* self = nullptr;
    Controller controller(loop, registry, "busy", [&]() -> Status {
        timer_runs += self->timer_run() ? 1 : 0;
        return fail(Code::kUnavailable, "never");
    });
    self = &controller;
    const auto busy = loop.every(20ms, [&] { controller.trigger(); });
    run_for(1400ms);
    EXPECT_EQ(timer_runs, 1);
}

TEST_F(ControllerTest, DestructionCancelsAPendingRun) {
    bool ran = false;
    {
        Controller controller(loop, registry, "gone", [&]() -> Status {
            ran = true;
            return {};
        });
        controller.trigger();
        EXPECT_EQ(registry.all().size(), 1U);
    }
    EXPECT_TRUE(registry.all().empty());
    run_for(5ms);
    EXPECT_FALSE(ran);
}

TEST_F(ControllerTest, AControllerMayBeDestroyedByItsOwnWork) {
    std::unique_ptr<Controller> controller;
    controller = std::make_unique<Controller>(loop, registry, "self", [&]() -> Status {
        const auto end = std::move(controller);
        return {};
    });
    controller->trigger();
    run_for(5ms);
    EXPECT_TRUE(registry.all().empty());
}

Task<Status> wait_until_set(Awaited<Status>& event, int& runs) {
    ++runs;
    co_return co_await event;
}

TEST_F(ControllerTest, WorkThatWaitsRunsOnceAtATime) {
    int runs = 0;
    Awaited<Status> first, second;
    Controller controller(loop, registry, "waits", [&]() { return wait_until_set(runs == 0 ? first : second, runs); });
    controller.trigger();
    run_for(5ms);
    EXPECT_EQ(runs, 1);
    EXPECT_NE(controller.status().running_since.time_since_epoch().count(), 0);
    EXPECT_EQ(controller.status().success_count, 0U);
    for (int i = 0; i < 3; ++i) {
        controller.trigger();
        run_for(1ms);
    }
    EXPECT_EQ(runs, 1);
    first.set({});
    EXPECT_EQ(controller.status().success_count, 1U);
    EXPECT_EQ(controller.status().running_since.time_since_epoch().count(), 0);
    run_for(5ms);
    EXPECT_EQ(runs, 2);
    second.set(fail(Code::kUnavailable, "late"));
    EXPECT_EQ(controller.status().last_error, "late");
    run_for(5ms);
    EXPECT_EQ(runs, 2);
}

TEST_F(ControllerTest, DestructionEndsARunThatWaits) {
    int runs = 0;
    Awaited<Status> event;
    {
        Controller controller(loop, registry, "waits", [&]() { return wait_until_set(event, runs); });
        controller.trigger();
        run_for(5ms);
    }
    EXPECT_EQ(runs, 1);
    EXPECT_TRUE(registry.all().empty());
}

TEST_F(ControllerTest, TheRegistryListsAllByNameEvenEqualOnes) {
    const auto nothing = []() -> Status { return {}; };
    const Controller b(loop, registry, "b", nothing);
    const Controller a(loop, registry, "a", nothing);
    {
        const Controller second(loop, registry, "b", nothing);
        EXPECT_EQ(registry.all().size(), 3U);
    }
    const auto all = registry.all();
    ASSERT_EQ(all.size(), 2U);
    EXPECT_EQ(all[0].name, "a");
    EXPECT_EQ(all[1].name, "b");
}

}  // namespace
}  // namespace axo
