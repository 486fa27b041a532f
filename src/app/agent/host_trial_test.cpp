// A host policy that cuts its node off is taken back; one that does not is kept.
#include "app/agent/host_trial.h"

#include <gtest/gtest.h>

namespace axo {
namespace {

using namespace std::chrono_literals;

class Trial : public testing::Test {
protected:
    Trial()
        : trial_(loop_,
                 {.confirm = [this] { outcome_ = "confirmed"; },
                  .roll_back = [this](const std::string& why) { outcome_ = why; },
                  .store_answers = [this] { return store_answers_; }},
                 {.first_look = 5ms, .interval = 10ms, .silence = 250ms, .recent = 1min, .trial = 400ms}) {
        use_peers();
    }
    void use_peers() {
        trial_.set_peers(HostTrial::Peers{.probe =
                                              [this](std::function<void()> done) {
                                                  ++probes_;
                                                  if (held_) return asked_.push_back(std::move(done));
                                                  waiting_.push_back(loop_.after(answer_after_, std::move(done)));
                                              },
                                          .answering = [this] { return nodes_; },
                                          .heard_since = [this](HostTrial::Time time) { return heard_at_ >= time; }});
    }
    void change() {
        trial_.changing();
        trial_.changed();
    }
    // Until it is over; how long that took.
    Duration finish(Duration limit = 3s) {
        const auto start = std::chrono::steady_clock::now();
        const auto poll = loop_.every(1ms, [&] {
            if (!trial_.running() || std::chrono::steady_clock::now() - start > limit) loop_.stop();
        });
        loop_.run();
        return std::chrono::steady_clock::now() - start;
    }
    void run_for(Duration time) {
        const auto timer = loop_.after(time, [this] { loop_.stop(); });
        loop_.run();
    }

    EventLoop loop_;
    std::map<std::string, bool> nodes_{{"b", true}, {"c", true}, {"down", false}};
    HostTrial::Time heard_at_ = std::chrono::steady_clock::now() - 1h;
    bool store_answers_ = true;
    std::string outcome_;
    Duration answer_after_ = 1ms;
    bool held_ = false;  // probes are answered by the test
    std::vector<std::function<void()>> asked_;
    int probes_ = 0;
    std::vector<EventLoop::Handle> waiting_;
    HostTrial trial_;
};

TEST_F(Trial, ConfirmedWhenTheNodeStaysReachable) {
    change();
    EXPECT_TRUE(trial_.running());
    EXPECT_GE(finish(), 400ms) << "not before its time";
    EXPECT_EQ(outcome_, "confirmed");
    EXPECT_GE(probes_, 3);
}

TEST_F(Trial, RolledBackWhenANodeStopsToAnswer) {
    change();
    nodes_["c"] = false;
    EXPECT_LT(finish(), 400ms);
    EXPECT_EQ(outcome_, "node c answered health probes before the change and does not since");
}

TEST_F(Trial, OneLostProbeIsNone) {
    held_ = true;
    change();
    while (asked_.empty()) run_for(1ms);
    nodes_["b"] = false;
    held_ = false;
    asked_[0]();
    nodes_["b"] = true;
    finish();
    EXPECT_EQ(outcome_, "confirmed");
}

TEST_F(Trial, NodesThatDidNotAnswerBeforeOrLeaveTheClusterProveNothing) {
    change();
    nodes_.erase("b");
    nodes_["new"] = false;
    finish();
    EXPECT_EQ(outcome_, "confirmed");
}

TEST_F(Trial, WhoWasHeardBeforeHasToBeHeardAfterwards) {
    heard_at_ = std::chrono::steady_clock::now();
    change();
    run_for(5ms);
    EXPECT_GE(finish(), 240ms);
    EXPECT_EQ(outcome_, "no other node's health probe has reached this node since the change");

    heard_at_ = std::chrono::steady_clock::now();
    change();
    run_for(5ms);
    heard_at_ = std::chrono::steady_clock::now();
    finish();
    EXPECT_EQ(outcome_, "confirmed");
}

TEST_F(Trial, AStoreThatIsAwayTakesThePolicyBackEvenWithoutHealthChecking) {
    trial_.set_health(nullptr);
    change();
    finish();
    EXPECT_EQ(outcome_, "confirmed");
    change();
    store_answers_ = false;
    EXPECT_LT(finish(), 400ms);
    EXPECT_EQ(outcome_, "the object store answered before the change and does not since");
    // One that was away before proves nothing.
    change();
    finish();
    EXPECT_EQ(outcome_, "confirmed");
    EXPECT_EQ(probes_, 0);
}

// Who only watches would not notice.
TEST(HostTrial, TheStoreIsAskedOneQuestionAtATime) {
    EventLoop loop;
    bool known = true;
    int questions = 0;
    std::string outcome;
    std::vector<EventLoop::Handle> answers;
    HostTrial trial(loop,
                    {.confirm = [&] { outcome = "confirmed"; },
                     .roll_back = [&](const std::string& why) { outcome = why; },
                     .store_answers = [&] { return known; },
                     .ask_store =
                         [&](std::function<void()> done) {
                             ++questions;
                             answers.push_back(loop.after(50ms, [&known, done = std::move(done)] {
                                 known = false;
                                 done();
                             }));
                         }},
                    {.first_look = 5ms, .interval = 10ms, .silence = 250ms, .recent = 1min, .trial = 400ms});
    trial.changing();
    trial.changed();
    const auto poll = loop.every(1ms, [&] {
        if (!trial.running()) loop.stop();
    });
    loop.run();
    EXPECT_EQ(outcome, "the object store answered before the change and does not since");
    EXPECT_LE(questions, 2);
}

// An agent that starts gets its first policy before it probes anybody.
TEST_F(Trial, NodesThatAreKnownByTheNextChangeCountFromThenOn) {
    trial_.set_health(nullptr);
    change();
    run_for(20ms);
    use_peers();
    change();
    nodes_["c"] = false;
    EXPECT_LT(finish(), 400ms);
    EXPECT_EQ(outcome_, "node c answered health probes before the change and does not since");
}

TEST_F(Trial, AnotherChangeStartsTheTimeAgainAndKeepsWhatWorkedBeforeTheFirst) {
    change();
    run_for(100ms);
    nodes_["b"] = false;
    change();
    EXPECT_LT(finish(), 400ms);
    EXPECT_EQ(outcome_, "node b answered health probes before the change and does not since");
    // A later trial does not expect of b what it cannot.
    change();
    run_for(100ms);
    EXPECT_TRUE(trial_.running());
    change();
    EXPECT_GE(finish(), 390ms);
    EXPECT_EQ(outcome_, "confirmed");
}

// Or one lost packet would count twice.
TEST_F(Trial, AnswersToProbesOfAnEarlierChangeDoNotCount) {
    held_ = true;
    change();
    while (asked_.empty()) run_for(1ms);
    change();
    while (asked_.size() < 2) run_for(1ms);
    nodes_["b"] = false;
    held_ = false;
    asked_[0]();
    asked_[1]();
    EXPECT_TRUE(trial_.running());
    nodes_["b"] = true;
    finish();
    EXPECT_EQ(outcome_, "confirmed");
}

TEST_F(Trial, ProbesThatEndAfterItAreHarmless) {
    answer_after_ = 30ms;
    {
        HostTrial gone(loop_,
                       {.confirm = [] { FAIL(); },
                        .roll_back = [](const std::string&) { FAIL(); },
                        .store_answers = [] { return true; }},
                       {.first_look = 1ms, .interval = 1ms, .silence = 1ms, .recent = 1ms, .trial = 1ms});
        gone.set_peers(HostTrial::Peers{
            .probe =
                [this](std::function<void()> done) { waiting_.push_back(loop_.after(answer_after_, std::move(done))); },
            .answering = [] { return std::map<std::string, bool>{}; },
            .heard_since = [](HostTrial::Time) { return false; }});
        gone.changed();
        run_for(10ms);
        EXPECT_EQ(waiting_.size(), 1U);
    }
    run_for(40ms);
}

}  // namespace
}  // namespace axo
