#include "io/listen_address.h"

#include <gtest/gtest.h>

#include <thread>

namespace axo {
namespace {

TEST(ListenAddress, ReadsWhatGoPrograms) {
    EXPECT_EQ(parse_listen_address(":9962").value(), (ListenAddress{.address = {}, .port = 9962}));
    EXPECT_EQ(parse_listen_address("[::1]:99").value().address.to_string(), "::1");
    EXPECT_EQ(parse_listen_address("localhost:1").value().address.to_string(), "127.0.0.1");
    EXPECT_EQ(parse_listen_address("10.0.0.1:65535").value().port, 65535);
    for (const char* text : {"", "9962", ":", ":0", ":65536", "host:1", "10.0.0.1", "10.0.0.1:1x", "[::1:1"}) {
        const auto parsed = parse_listen_address(text);
        ASSERT_FALSE(parsed) << text;
        EXPECT_EQ(parsed.error().code, Code::kInvalidArgument) << text;
    }
}

TEST(ListenAddress, WithoutAnAddressBothFamiliesAreHeard) {
    EventLoop loop;
    HttpServer server(loop, [](const HttpRequest&, const std::shared_ptr<HttpResponder>& responder) {
        responder->send({200, "here", "text/plain", {}});
    });
    // A port that is free now; another test may take it, so several are tried.
    bool listening = false;
    for (std::uint16_t port = 20000; !listening && port < 20100; ++port)
        listening = static_cast<bool>(listen_at(server, {.address = {}, .port = port}));
    ASSERT_TRUE(listening);
    const std::uint16_t where = server.tcp_port();
    std::thread client([&] {
        for (const char* host : {"127.0.0.1", "[::1]"}) {
            auto http = HttpClient::connect("http://" + std::string(host) + ":" + std::to_string(where),
                                            std::chrono::seconds(5));
            EXPECT_TRUE(http) << host;
            if (!http) continue;
            const auto answer = http->request("GET", "/");
            EXPECT_EQ(answer ? answer->body : answer.error().to_string(), "here") << host;
        }
        loop.stop();
    });
    loop.run();
    client.join();
}

}  // namespace
}  // namespace axo
