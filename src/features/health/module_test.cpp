// Whose probes count as having reached this node.
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

}  // namespace
}  // namespace axo
