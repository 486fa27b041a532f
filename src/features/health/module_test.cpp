// Whose probes count as having reached this node, and whom it probes when.
#include "features/health/module.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

namespace axo {
namespace {

struct SilentProber : Prober {
    void icmp(const IpAddress&, Duration, Done) override {}
    void http(const IpAddress&, std::uint16_t, const std::string&, Duration, Done) override {}
};

TEST(HealthChecker, HearsAgentsOfOtherNodesThatAskTheNode) {
    EventLoop loop;
    Table<std::string, NodeRow> nodes(loop, "nodes");
    HealthSettings settings;
    settings.instance_id = "me";
    HealthChecker checker(loop, settings, nodes, std::make_unique<SilentProber>());
    const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    ASSERT_EQ(::bind(listener, reinterpret_cast<sockaddr*>(&address), length), 0);
    ASSERT_EQ(::listen(listener, 16), 0);
    ASSERT_EQ(::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length), 0);
    ASSERT_TRUE(checker.listen_fd(listener));

    const auto heard_after = [&](const std::string& path) {
        const auto start = std::chrono::steady_clock::now();
        Status outcome;
        loop.run_blocking(
            [&]() -> Status {
                TRY_ASSIGN(auto client,
                           HttpClient::connect("http://127.0.0.1:" + std::to_string(ntohs(address.sin_port)),
                                               std::chrono::seconds(5)));
                TRY_ASSIGN(const auto answer, client.request("GET", path));
                if (answer.status != 200) return fail(Code::kInternal, "status " + std::to_string(answer.status));
                return {};
            },
            [&](Status status) {
                outcome = std::move(status);
                loop.stop();
            });
        loop.run();
        EXPECT_TRUE(outcome) << path << ": " << outcome.error().message;
        return checker.heard_since(start);
    };
    EXPECT_FALSE(checker.heard_since(std::chrono::steady_clock::now() - std::chrono::hours(1)));
    EXPECT_FALSE(heard_after("/hello")) << "anybody";
    EXPECT_FALSE(heard_after("/hello?from=me&to=host")) << "this very agent";
    EXPECT_FALSE(heard_after("/hello?from=other&to=endpoint"))
        << "its health endpoint, which host policies do not guard";
    EXPECT_TRUE(heard_after("/hello?from=other&to=host"));
    const auto now = std::chrono::steady_clock::now();
    EXPECT_FALSE(checker.heard_since(now + std::chrono::nanoseconds(1)));
}

// Answers "no" at once, or "yes" for addresses that are up.
struct CountingProber : Prober {
    explicit CountingProber(EventLoop& event_loop) : loop(event_loop) {}
    void icmp(const IpAddress& ip, Duration, Done done) override { answer(ip, std::move(done)); }
    void http(const IpAddress& ip, std::uint16_t, const std::string&, Duration, Done done) override {
        ++asked[ip];
        answer(ip, std::move(done));
    }
    void answer(const IpAddress& ip, Done done) {
        loop.post([why = up.contains(ip) ? "" : "no", done = std::move(done)] { done(why, Duration{0}); });
    }

    EventLoop& loop;
    std::map<IpAddress, int> asked;
    std::set<IpAddress> up;
};

TEST(HealthChecker, ANodeThatAppearedIsLookedAtAgainWhateverBecomesOfOthers) {
    EventLoop loop;
    Table<std::string, NodeRow> nodes(loop, "nodes");
    auto owned = std::make_unique<CountingProber>(loop);
    CountingProber& prober = *owned;
    HealthChecker checker(loop, {}, nodes, std::move(owned));
    const auto add = [&](const std::string& name) {
        NodeRow row;
        row.name = name;
        row.addresses = {{"InternalIP", IpAddress::parse("10.0.0." + name).value()}};
        nodes.upsert(name, row);
    };
    const auto run_for = [&loop](std::chrono::milliseconds time) {
        const auto end = loop.after(time, [&loop] { loop.stop(); });
        loop.run();
    };
    const IpAddress dead = IpAddress::parse("10.0.0.1").value(), late = IpAddress::parse("10.0.0.2").value();
    add("1");
    checker.start();
    // Others appear all the time: what is dead is not asked for each of them.
    for (int i = 10; i < 30; ++i) {
        run_for(std::chrono::milliseconds(90));
        add(std::to_string(i));
    }
    // At the start, after 0.3, 0.9 s; a loaded machine may be late.
    EXPECT_GE(prober.asked[dead], 2);
    EXPECT_LE(prober.asked[dead], 3);
    // It comes up after its first looks.
    add("2");
    run_for(std::chrono::milliseconds(800));
    EXPECT_GE(prober.asked[late], 1);
    prober.up.insert(late);
    for (int i = 0; i < 50 && checker.reachable_nodes() == 0; ++i) run_for(std::chrono::milliseconds(100));
    EXPECT_EQ(checker.reachable_nodes(), 1U);
    const int asked = prober.asked[late];
    run_for(std::chrono::milliseconds(1500));
    EXPECT_EQ(prober.asked[late], asked);
}

}  // namespace
}  // namespace axo
