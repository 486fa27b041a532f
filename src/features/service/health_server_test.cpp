#include "features/service/health_server.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <thread>

namespace axo::service {
namespace {

class HealthServerTest : public testing::Test {
protected:
    // Asks from another thread, as the client blocks.
    HttpResponse ask(std::uint16_t port) {
        HttpResponse answer{.status = 0};
        std::thread client([&] {
            auto connection =
                HttpClient::connect("http://127.0.0.1:" + std::to_string(port), std::chrono::milliseconds(500));
            if (connection) {
                if (auto got = connection->request("GET", "/healthz")) answer = *got;
            }
            loop_.stop();
        });
        loop_.run();
        client.join();
        return answer;
    }
    void turn() {
        const auto stop = loop_.after(std::chrono::milliseconds(30), [this] { loop_.stop(); });
        loop_.run();
    }
    static std::uint16_t free_port() {
        EventLoop loop;
        HttpServer server(loop, [](const auto&, const auto&) {});
        EXPECT_TRUE(server.listen_tcp(IpAddress::parse("127.0.0.1").value(), 0));
        return server.tcp_port();
    }

    EventLoop loop_;
    ControllerRegistry registry_;
    std::map<std::string, std::string> rejected_;
    HealthServer server_{loop_, registry_,
                         [this](const std::string& where, const Error& error) { rejected_[where] = error.message; },
                         [this](const std::string& where) { rejected_.erase(where); }};
};

TEST_F(HealthServerTest, AnswersWhatIsSoNow) {
    const std::uint16_t port = free_port();
    server_.set_addresses({IpAddress::parse("127.0.0.1").value()});
    server_.set_ports({{port, {{"shop", "web"}, 2}}});
    turn();
    HttpResponse answer = ask(port);
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(nlohmann::json::parse(answer.body),
              nlohmann::json::parse(R"({"service": {"namespace": "shop", "name": "web"}, "localEndpoints": 2})"));
    server_.set_ports({{port, {{"shop", "web"}, 0}}});
    EXPECT_EQ(ask(port).status, 503);
    server_.set_ports({});
    EXPECT_EQ(server_.listening(), 0U);
    EXPECT_EQ(ask(port).status, 0);
}

TEST_F(HealthServerTest, APortThatIsTakenIsReportedUntilItIsFree) {
    const IpAddress here = IpAddress::parse("127.0.0.1").value();
    auto other = std::make_unique<HttpServer>(loop_, [](const auto&, const auto&) {});
    ASSERT_TRUE(other->listen_tcp(here, 0));
    const std::uint16_t port = other->tcp_port();
    server_.set_addresses({here});
    server_.set_ports({{port, {{"shop", "web"}, 1}}});
    turn();
    const std::string where = "Service shop/web healthCheckNodePort " + std::to_string(port);
    EXPECT_TRUE(rejected_.contains(where));
    other.reset();
    server_.set_ports({{port, {{"shop", "web"}, 1}}});
    turn();
    EXPECT_TRUE(rejected_.empty());
    EXPECT_EQ(server_.listening(), 1U);
}

}  // namespace
}  // namespace axo::service
