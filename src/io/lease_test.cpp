#include "io/lease.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "io/resources.h"
#include "io/store_fixture.h"
#include "model/time.h"

using namespace std::chrono_literals;

namespace axo {
namespace {

using Json = nlohmann::json;

std::string temporary_directory() {
    std::string name = "/tmp/axo-lease-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    return name;
}

// A candidate with a store of its own, as in a process of its own.
struct Candidate {
    Candidate(EventLoop& on, const std::string& root, const std::string& name) : loop(on) {
        store = SyncStore(loop, open_object_store("dir:" + root, loop));
        config.identity = name;
        config.lease_duration = 1s;
        config.renew_deadline = 500ms;
        config.retry_period = 100ms;
    }
    void run() {
        election =
            std::make_unique<LeaderElection>(loop, *store, config,
                                             LeaderElection::Callbacks{.started_leading = [this] { ++started; },
                                                                       .stopped_leading = [this] { ++stopped; }});
    }
    [[nodiscard]] bool leads() const { return election && election->is_leader(); }

    EventLoop& loop;
    SyncStore store;
    LeaseConfig config;
    std::unique_ptr<LeaderElection> election;
    int started = 0;
    int stopped = 0;
};

class LeaseTest : public testing::Test {
protected:
    void TearDown() override { std::filesystem::remove_all(root); }
    void settle(Duration duration) {
        const auto stopper = loop.after(duration, [this] { loop.stop(); });
        loop.run();
    }
    template <class Condition>
    Duration until(Condition condition, Duration patience = 8s) {
        const auto start = std::chrono::steady_clock::now();
        while (!condition() && std::chrono::steady_clock::now() - start < patience) settle(5ms);
        EXPECT_TRUE(condition());
        return std::chrono::steady_clock::now() - start;
    }
    Json lease(Candidate& by) { return *by.store->get(resources::kLease, by.config.lease); }

    const std::string root = temporary_directory();
    EventLoop loop;
};

TEST_F(LeaseTest, OneLeadsAndTheOtherTakesOverWhenItIsReleased) {
    Candidate a(loop, root, "a");
    Candidate b(loop, root, "b");
    a.run();
    EXPECT_FALSE(a.leads());
    until([&] { return a.leads(); });
    b.run();
    settle(1500ms);
    EXPECT_TRUE(a.leads());
    EXPECT_FALSE(b.leads());
    EXPECT_EQ(b.election->holder(), "a");
    const Json spec = lease(a)["spec"];
    EXPECT_EQ(spec["holderIdentity"], "a");
    EXPECT_EQ(spec["leaseDurationSeconds"], 1);
    EXPECT_EQ(spec["leaseTransitions"], 0);
    EXPECT_LT(spec["acquireTime"], spec["renewTime"]);
    a.election.reset();
    EXPECT_EQ(lease(a)["spec"]["holderIdentity"], "");
    EXPECT_LT(until([&] { return b.leads(); }), 900ms);
    EXPECT_EQ(lease(b)["spec"]["leaseTransitions"], 1);
    EXPECT_EQ(a.started, 1);
    EXPECT_EQ(a.stopped, 0);
    EXPECT_EQ(b.started, 1);
}

TEST_F(LeaseTest, ADeadHolderIsReplacedAfterTheDurationWhateverItsClockSaid) {
    for (const auto skew : {-1h, 0h, 1h}) {
        Candidate b(loop, root, "b");
        const std::string then = format_time_micro(std::chrono::system_clock::now() + skew);
        const Json dead = {{"metadata", {{"name", b.config.lease.name}, {"namespace", b.config.lease.name_space}}},
                           {"spec",
                            {{"holderIdentity", "dead"},
                             {"leaseDurationSeconds", 1},
                             {"acquireTime", then},
                             {"renewTime", then},
                             {"leaseTransitions", 4}}}};
        ASSERT_TRUE(b.store->create(resources::kLease, dead));
        b.run();
        const auto took = until([&] { return b.leads(); });
        EXPECT_GE(took, 900ms);
        EXPECT_LT(took, 4s);
        EXPECT_EQ(lease(b)["spec"]["leaseTransitions"], 5);
        b.election.reset();
        ASSERT_TRUE(b.store->remove(resources::kLease, b.config.lease));
    }
}

TEST_F(LeaseTest, AHolderThatComesBackUnderItsNameContinues) {
    Candidate a(loop, root, "a");
    const std::string now = format_time_micro(std::chrono::system_clock::now());
    ASSERT_TRUE(a.store->create(
        resources::kLease,
        {{"metadata", {{"name", a.config.lease.name}, {"namespace", a.config.lease.name_space}}},
         {"spec", {{"holderIdentity", "a"}, {"leaseDurationSeconds", 15}, {"acquireTime", now}, {"renewTime", now}}}}));
    a.run();
    EXPECT_LT(until([&] { return a.leads(); }), 5s);
    EXPECT_EQ(lease(a)["spec"]["acquireTime"], now);
}

TEST_F(LeaseTest, ALeaderWhoseLeaseIsTakenSaysSoAtOnce) {
    Candidate a(loop, root, "a");
    a.run();
    until([&] { return a.leads(); });
    Candidate thief(loop, root, "thief");
    Json stolen = lease(thief);
    stolen["spec"]["holderIdentity"] = "thief";
    ASSERT_TRUE(thief.store->update(resources::kLease, stolen));
    EXPECT_LT(until([&] { return a.stopped == 1; }), 800ms);
    EXPECT_FALSE(a.leads());
    until([&] { return a.started == 2; });  // the thief does not renew
}

TEST_F(LeaseTest, ALeaderThatCannotRenewGivesUpBeforeOthersMayLead) {
    Candidate a(loop, root, "a");
    a.run();
    until([&] { return a.leads(); });
    std::filesystem::rename(root, root + "-away");
    const auto took = until([&] { return a.stopped == 1; });
    EXPECT_LT(took, 1s);
    EXPECT_FALSE(a.leads());
    std::filesystem::rename(root + "-away", root);
    until([&] { return a.leads(); });
}

TEST_F(LeaseTest, AProcessThatWasStoppedDoesNotBelieveItStillLeads) {
    Candidate a(loop, root, "a");
    a.run();
    until([&] { return a.leads(); });
    std::this_thread::sleep_for(1100ms);  // the loop does not turn
    EXPECT_FALSE(a.leads());
    until([&] { return a.leads(); });  // nobody else was there
}

TEST_F(LeaseTest, OddLeasesAreTakenOverNotTrippedOver) {
    Candidate a(loop, root, "a");
    ASSERT_TRUE(a.store->create(
        resources::kLease,
        {{"metadata", {{"name", a.config.lease.name}, {"namespace", a.config.lease.name_space}}}, {"spec", "odd"}}));
    a.run();
    until([&] { return a.leads(); });
}

// Threads stand for processes: each has a loop, a store and an election of its own.
TEST_F(LeaseTest, NeverTwoAtOnce) {
    std::atomic<int> leaders = 0;
    std::atomic<int> most = 0;
    std::atomic<int> terms = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&, i] {
            for (int term = 0; term < 3; ++term) {
                EventLoop own;
                Candidate candidate(own, root, std::to_string(i));
                EventLoop::Handle end;
                LeaderElection::Callbacks callbacks;
                callbacks.started_leading = [&] {
                    most = std::max(most.load(), ++leaders);
                    ++terms;
                    end = own.after(50ms, [&] { own.stop(); });
                };
                callbacks.stopped_leading = [&] { --leaders; };
                candidate.election =
                    std::make_unique<LeaderElection>(own, *candidate.store, candidate.config, callbacks);
                own.run();
                --leaders;
                candidate.election.reset();
            }
        });
    }
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(terms, 12);
    EXPECT_EQ(most, 1);
    EXPECT_EQ(leaders, 0);
}

}  // namespace
}  // namespace axo
