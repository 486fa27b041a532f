#include "io/http.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <fstream>
#include <future>
#include <thread>

#include "base/fd.h"

using namespace std::chrono_literals;

namespace axo {
namespace {

std::string temporary_directory() {
    std::string name = "/tmp/axo-http-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    return name;
}

// A server whose loop runs on a thread of its own, and what a test needs to talk to it.
class HttpTest : public testing::Test {
protected:
    void SetUp() override {
        server = std::make_unique<HttpServer>(
            loop, [this](const HttpRequest& request, std::shared_ptr<HttpResponder> responder) {
                serve(request, std::move(responder));
            });
    }
    void TearDown() override {
        stop();
        std::filesystem::remove_all(directory);
    }
    void start() {
        const auto listening = server->listen_unix(path);
        ASSERT_TRUE(listening) << listening.error().to_string();
        thread = std::thread([this] { loop.run(); });
    }
    void stop() {
        if (!thread.joinable()) return;
        loop.stop();
        thread.join();
        kept.reset();
        server.reset();
    }

    void serve(const HttpRequest& request, const std::shared_ptr<HttpResponder>& responder) {
        ++requests;
        if (request.path == "/echo") {
            HttpResponse response{
                .body = request.body,
                .headers = {{"X-Method", request.method}, {"X-Length", std::to_string(request.body.size())}}};
            responder->send(std::move(response));
        } else if (request.path == "/describe me") {
            std::string text = request.method + "|" + request.peer + "|" + request.header("x-a") + "|";
            for (const auto& [name, value] : request.query) text += name + "=" + value + ";";
            responder->send({.body = text, .headers = {}});
        } else if (request.path == "/later") {
            timer = loop.after(30ms, [responder] { responder->send({.status = 201, .body = "done", .headers = {}}); });
        } else if (request.path == "/drop") {
            return;
        } else if (request.path == "/throw") {
            throw std::runtime_error("handler failed");
        } else if (request.path == "/stream") {
            responder->send_head(200, "text/plain");
            for (int i = 0; i < 5; ++i) EXPECT_TRUE(responder->send_chunk("line " + std::to_string(i) + "\n"));
            responder->end();
        } else if (request.path == "/slow-stream") {
            responder->send_head(200, "text/plain");
            kept = responder;
            timer = loop.every(400ms, [this, n = 0]() mutable {
                kept->send_chunk("tick");
                if (++n < 2) return;
                kept->end();
                timer.cancel();
            });
        } else if (request.path == "/torn-stream") {
            responder->send_head(200, "text/plain");
            responder->send_chunk("part");
        } else if (request.path == "/keep") {
            responder->send_head(200, "text/plain");
            responder->send_chunk("x");
            responder->on_gone([this] { gone = true; });
            kept = responder;
        } else if (request.path == "/flood") {
            responder->send_head(200, "text/plain");
            kept = responder;
            while (responder->send_chunk(std::string(1 << 20, 'f'))) {
                most_pending = std::max(most_pending.load(), responder->pending_bytes());
            }
            flooded = true;
        } else if (request.path == "/never") {
            responder->on_gone([this] { gone = true; });
            kept = responder;
        } else {
            responder->send({.status = 404, .body = "\"no such path\"", .headers = {}});
        }
    }

    [[nodiscard]] HttpClient client(Duration timeout = 5s) const {
        auto connected = HttpClient::connect("unix://" + path, timeout);
        if (!connected) throw std::runtime_error(connected.error().to_string());
        return std::move(*connected);
    }
    [[nodiscard]] Fd raw() const {
        Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
        if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0)
            throw std::runtime_error("connect");
        const timeval limit{.tv_sec = 5, .tv_usec = 0};
        ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        return fd;
    }
    // Sends bytes as they are and returns all that comes back until the server closes.
    [[nodiscard]] std::string exchange(const std::string& bytes, bool half_close = false) const {
        const Fd fd = raw();
        std::size_t sent = 0;
        while (sent < bytes.size()) {
            const auto count = ::send(fd.get(), bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
            if (count <= 0) break;
            sent += static_cast<std::size_t>(count);
        }
        if (half_close) ::shutdown(fd.get(), SHUT_WR);
        return read_all(fd);
    }
    static std::string read_all(const Fd& fd) {
        std::string answer;
        char buffer[4096];
        for (;;) {
            const auto count = ::recv(fd.get(), buffer, sizeof(buffer), 0);
            if (count <= 0) return answer;
            answer.append(buffer, static_cast<std::size_t>(count));
        }
    }
    template <class Condition>
    static bool eventually(Condition condition) {
        for (int i = 0; i < 500; ++i) {
            if (condition()) return true;
            std::this_thread::sleep_for(10ms);
        }
        return false;
    }

    EventLoop loop;
    const std::string directory = temporary_directory();
    const std::string path = directory + "/run/test.sock";
    std::unique_ptr<HttpServer> server;
    std::thread thread;
    EventLoop::Handle timer;
    std::shared_ptr<HttpResponder> kept;
    std::atomic<int> requests = 0;
    std::atomic<bool> gone = false;
    std::atomic<bool> flooded = false;
    std::atomic<std::size_t> most_pending = 0;
};

TEST_F(HttpTest, DecodesPathQueryAndHeaders) {
    start();
    auto http = client();
    const auto answer =
        http.request("GET", "/describe%20me?type=drop&type=trace&a%26b=c+d%2B&flag", {}, {{"X-A", "value"}});
    ASSERT_TRUE(answer) << answer.error().to_string();
    EXPECT_EQ(answer->status, 200);
    EXPECT_EQ(answer->body, "GET|unix|value|a&b=c d+;flag=;type=drop,trace;");
    EXPECT_EQ(answer->content_type, "application/json");
}

TEST_F(HttpTest, KeepsTheConnectionForFurtherRequests) {
    start();
    auto http = client();
    for (int i = 0; i < 20; ++i) {
        const auto answer = http.request("PUT", "/echo", "body " + std::to_string(i));
        ASSERT_TRUE(answer) << answer.error().to_string();
        EXPECT_EQ(answer->body, "body " + std::to_string(i));
    }
    EXPECT_EQ(http.request("GET", "/missing")->status, 404);
}

TEST_F(HttpTest, LargeBodiesBothWays) {
    start();
    auto http = client(20s);
    std::string body(15 * 1024 * 1024, 'a');
    for (std::size_t i = 0; i < body.size(); i += 997) body[i] = static_cast<char>('a' + i % 26);
    const auto answer = http.request("POST", "/echo", body);
    ASSERT_TRUE(answer) << answer.error().to_string();
    EXPECT_TRUE(answer->body == body);
}

TEST_F(HttpTest, ABodyOverTheLimitIsRefused) {
    start();
    auto http = client(20s);
    const auto answer = http.request("POST", "/echo", std::string(17 * 1024 * 1024, 'a'));
    ASSERT_TRUE(answer) << answer.error().to_string();
    EXPECT_EQ(answer->status, 413);
    EXPECT_EQ(requests, 0);
    EXPECT_EQ(http.request("POST", "/echo", "small")->status, 200);
}

TEST_F(HttpTest, HeadersOverTheLimitAreRefused) {
    start();
    EXPECT_TRUE(
        exchange("GET /echo HTTP/1.1\r\nX: " + std::string(100 * 1024, 'h') + "\r\n\r\n").starts_with("HTTP/1.1 431 "));
    EXPECT_TRUE(exchange("GET /" + std::string(100 * 1024, 'p') + " HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 431 "));
    EXPECT_EQ(requests, 0);
}

TEST_F(HttpTest, WhatIsNotHttpGets400AndTheServerLives) {
    start();
    const std::string null_byte("GET /a%00b HTTP/1.1\r\nConnection: close\r\n\r\n");
    for (const std::string& bytes :
         {std::string("nonsense\r\n\r\n"), std::string("GET  HTTP/1.1\r\n\r\n"), std::string("GET / HTTP/9.9\r\n\r\n"),
          std::string("\0\1\2\3\r\n\r\n", 8), std::string("GET / HTTP/1.1\r\nNo colon here\r\n\r\n"),
          std::string("POST /echo HTTP/1.1\r\nContent-Length: -5\r\n\r\n"),
          std::string("POST /echo HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
          std::string("POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n"),
          std::string("GET /%zz HTTP/1.1\r\nConnection: close\r\n\r\n"),
          std::string("GET /a?b=%1 HTTP/1.1\r\nConnection: close\r\n\r\n"),
          std::string("GET relative HTTP/1.1\r\nConnection: close\r\n\r\n"), null_byte}) {
        const std::string answer = exchange(bytes);
        EXPECT_TRUE(answer.starts_with("HTTP/1.1 400 ")) << bytes << " -> " << answer;
    }
    EXPECT_EQ(exchange("GET /echo HT", true), "");  // cut off: nobody is left to answer
    EXPECT_EQ(requests, 0);
    EXPECT_EQ(client().request("GET", "/echo")->status, 200);
}

TEST_F(HttpTest, PipelinedRequestsAreAnsweredInOrder) {
    start();
    const std::string answer = exchange(
        "GET /later HTTP/1.1\r\nHost: a\r\n\r\nPOST /echo HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET /missing HTTP/1.1\r\nConnection: close\r\n\r\n");
    const auto first = answer.find("201 Created");
    const auto second = answer.find("abc");
    const auto third = answer.find("404 Not Found");
    ASSERT_NE(third, std::string::npos) << answer;
    EXPECT_LT(first, second);
    EXPECT_LT(second, third);
}

TEST_F(HttpTest, AClientThatHasClosedItsSideStillGetsItsAnswer) {
    start();
    EXPECT_NE(exchange("GET /later HTTP/1.1\r\nHost: a\r\n\r\n", true).find("201 Created"), std::string::npos);
}

TEST_F(HttpTest, Http10AndHeadAndContinue) {
    start();
    const std::string old = exchange("GET /stream HTTP/1.0\r\n\r\n");
    EXPECT_NE(old.find("\r\n\r\nline 0\nline 1\n"), std::string::npos) << old;
    EXPECT_EQ(old.find("chunked"), std::string::npos);
    auto http = client();
    const auto head = http.request("HEAD", "/describe%20me");
    ASSERT_TRUE(head) << head.error().to_string();
    EXPECT_EQ(head->body, "");
    EXPECT_NE(head->headers.at("content-length"), "0");
    EXPECT_EQ(http.request("GET", "/echo")->status, 200);
    const auto expecting = http.request("POST", "/echo", "patient", {{"Expect", "100-continue"}});
    ASSERT_TRUE(expecting) << expecting.error().to_string();
    EXPECT_EQ(expecting->body, "patient");
}

TEST_F(HttpTest, DroppedAndThrowingHandlersAnswer500) {
    start();
    auto http = client();
    EXPECT_EQ(http.request("GET", "/drop")->status, 500);
    EXPECT_EQ(http.request("GET", "/throw")->status, 500);
    EXPECT_EQ(http.request("GET", "/echo")->status, 200);
}

TEST_F(HttpTest, StreamsChunksAndReusesTheConnection) {
    start();
    auto http = client();
    std::string text;
    const auto outcome = http.stream("GET", "/stream", [&](std::string_view piece) {
        text += piece;
        return true;
    });
    ASSERT_TRUE(outcome) << outcome.error().to_string();
    EXPECT_EQ(text, "line 0\nline 1\nline 2\nline 3\nline 4\n");
    EXPECT_EQ(http.request("GET", "/stream")->body, text);
}

TEST_F(HttpTest, AStreamMayBeSilentLongerThanTheTimeout) {
    start();
    auto http = client(100ms);
    int pieces = 0;
    const auto outcome = http.stream("GET", "/slow-stream", [&](std::string_view piece) {
        EXPECT_EQ(piece, "tick");
        ++pieces;
        return true;
    });
    EXPECT_TRUE(outcome) << outcome.error().to_string();
    EXPECT_EQ(pieces, 2);
}

TEST_F(HttpTest, ATornStreamIsAnErrorNotAnEnd) {
    start();
    auto http = client();
    std::string text;
    const auto outcome = http.stream("GET", "/torn-stream", [&](std::string_view piece) {
        text += piece;
        return true;
    });
    ASSERT_FALSE(outcome);
    EXPECT_EQ(outcome.error().code, Code::kDataLoss);
}

TEST_F(HttpTest, AStreamThatIsRefusedIsAnErrorWithTheAnswer) {
    start();
    auto http = client();
    const auto outcome = http.stream("GET", "/missing", [](std::string_view) { return true; });
    ASSERT_FALSE(outcome);
    EXPECT_EQ(outcome.error().code, Code::kNotFound);
    EXPECT_NE(outcome.error().message.find("no such path"), std::string::npos);
}

TEST_F(HttpTest, TheServerNoticesAClientLeavingASilentStream) {
    start();
    {
        auto http = client();
        const auto outcome = http.stream("GET", "/keep", [](std::string_view) { return false; });
        EXPECT_TRUE(outcome);
    }
    EXPECT_TRUE(eventually([this] { return gone.load(); }));
    std::promise<bool> refused;
    loop.post([&] { refused.set_value(kept->client_gone() && !kept->send_chunk("y")); });
    EXPECT_TRUE(refused.get_future().get());
}

TEST_F(HttpTest, AClientThatDoesNotReadIsCutOff) {
    start();
    const Fd fd = raw();
    const std::string request = "GET /flood HTTP/1.1\r\n\r\n";
    ASSERT_EQ(::send(fd.get(), request.data(), request.size(), 0), static_cast<ssize_t>(request.size()));
    EXPECT_TRUE(eventually([this] { return flooded.load(); }));
    EXPECT_GT(most_pending, 1U << 20);
    EXPECT_LE(most_pending, 65U << 20);
}

TEST_F(HttpTest, TheClientGivesUpAfterItsTimeout) {
    start();
    auto http = client(100ms);
    const auto begin = std::chrono::steady_clock::now();
    const auto answer = http.request("GET", "/never");
    const auto took = std::chrono::steady_clock::now() - begin;
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, Code::kDeadlineExceeded);
    EXPECT_GE(took, 100ms);
    EXPECT_LT(took, 2s);
    EXPECT_TRUE(eventually([this] { return gone.load(); }));
    EXPECT_EQ(http.request("GET", "/echo")->status, 200);  // a late answer is not taken for this one
}

TEST_F(HttpTest, IdleConnectionsAreClosedAndTheClientConnectsAgain) {
    server->set_idle_timeout(100ms);
    start();
    auto http = client();
    EXPECT_EQ(http.request("GET", "/echo")->status, 200);
    const Fd silent = raw();
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_EQ(read_all(silent), "");
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 2s);
    std::this_thread::sleep_for(100ms);
    const auto again = http.request("GET", "/echo");
    ASSERT_TRUE(again) << again.error().to_string();
}

TEST_F(HttpTest, ManyClientsAtOnce) {
    start();
    std::vector<std::thread> threads;
    std::atomic<int> good = 0;
    for (int t = 0; t < 8; ++t) {
        threads.emplace_back([&, t] {
            for (int i = 0; i < 50; ++i) {
                auto http = client();
                const std::string body = std::to_string(t) + ":" + std::to_string(i);
                const auto answer = http.request("PUT", "/echo", body);
                if (answer && answer->body == body) ++good;
            }
        });
    }
    for (auto& thread_of_client : threads) thread_of_client.join();
    EXPECT_EQ(good, 400);
}

TEST_F(HttpTest, ServesTcpOnBothFamilies) {
    for (const char* address : {"127.0.0.1", "::1"}) {
        const auto listening = server->listen_tcp(*IpAddress::parse(address), 0);
        if (!listening && *address == ':') continue;  // a machine without IPv6
        ASSERT_TRUE(listening) << listening.error().to_string();
        ASSERT_NE(server->tcp_port(), 0);
        const std::string url =
            std::string("http://") + (*address == ':' ? "[::1]" : address) + ":" + std::to_string(server->tcp_port());
        std::string peer;
        std::thread asking([&] {
            auto http = HttpClient::connect(url, 5s);
            if (http) {
                const auto answer = http->request("GET", "/describe%20me");
                if (answer) peer = answer->body;
            }
            loop.stop();
        });
        loop.run();
        asking.join();
        EXPECT_TRUE(peer.starts_with(*address == ':' ? "GET|[::1]:" : "GET|127.0.0.1:")) << peer;
    }
}

TEST_F(HttpTest, TakesAListeningDescriptor) {
    Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string other = directory + "/other.sock";
    std::strncpy(address.sun_path, other.c_str(), sizeof(address.sun_path) - 1);
    ASSERT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    ASSERT_EQ(::listen(fd.get(), 5), 0);
    ASSERT_TRUE(server->listen_fd(fd.release()));
    start();
    auto http = HttpClient::connect("unix://" + other, 5s);
    ASSERT_TRUE(http) << http.error().to_string();
    EXPECT_EQ(http->request("GET", "/echo")->status, 200);
}

TEST_F(HttpTest, ALiveSocketIsRefusedAndKept) {
    start();
    EventLoop other_loop;
    HttpServer other(other_loop, [](const HttpRequest&, const std::shared_ptr<HttpResponder>&) {});
    const auto refused = other.listen_unix(path);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::kAlreadyExists);
    EXPECT_EQ(refused.error().message, "another process is listening on " + path);
    EXPECT_EQ(client().request("GET", "/echo")->status, 200);
}

TEST_F(HttpTest, AStaleSocketIsReplacedWithTheModeAskedForAndRemovedAtTheEnd) {
    std::filesystem::create_directories(directory + "/run");
    {
        const Fd dead(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
        ASSERT_EQ(::bind(dead.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    }
    ASSERT_TRUE(std::filesystem::exists(path));
    start();
    struct stat info{};
    ASSERT_EQ(::stat(path.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0660U);
    EXPECT_EQ(client().request("GET", "/echo")->status, 200);
    stop();
    EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(HttpTest, OtherFilesAreNotReplaced) {
    std::ofstream(directory + "/precious") << "text";
    const auto refused = server->listen_unix(directory + "/precious");
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("is not a socket"), std::string::npos);
    EXPECT_TRUE(std::filesystem::exists(directory + "/precious"));
    const auto too_long = server->listen_unix("/tmp/" + std::string(200, 'x'));
    ASSERT_FALSE(too_long);
    EXPECT_EQ(too_long.error().code, Code::kInvalidArgument);
}

TEST_F(HttpTest, ConnectionErrorsNameTheAddress) {
    const auto absent = HttpClient::connect("unix://" + directory + "/none.sock", 1s);
    ASSERT_FALSE(absent);
    EXPECT_EQ(absent.error().code, Code::kUnavailable);
    EXPECT_NE(absent.error().message.find("/none.sock"), std::string::npos);
    for (const char* bad : {"ftp://x", "unix://", "http://", "http://name.example:80", "http://127.0.0.1:0",
                            "http://127.0.0.1:99999", "http://[::1"}) {
        const auto refused = HttpClient::connect(bad, 1s);
        ASSERT_FALSE(refused) << bad;
        EXPECT_EQ(refused.error().code, Code::kInvalidArgument) << bad;
    }
    start();
    auto http = client();
    EXPECT_EQ(http.request("GET", "/a b").error().code, Code::kInvalidArgument);
    EXPECT_EQ(http.request("GET", "/a", {}, {{"X", "a\r\nY: b"}}).error().code, Code::kInvalidArgument);
}

}  // namespace
}  // namespace axo
