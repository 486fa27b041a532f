// The server against clients that gRPC's library would not let be: requests that never end.
#include <gtest/gtest.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <map>
#include <thread>

#include "base/fd.h"
#include "hubble/rpc/server.h"

namespace axo::rpc {
namespace {

struct Request {
    std::string path = "/test.Echo/Echo";
    std::string body;    // framed
    bool ends = true;    // or the client never says so
    std::size_t at = 0;  // sent so far
    std::string status, message;
    bool closed = false;
};

class Client {
public:
    explicit Client(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_STREAM, 0)) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path.copy(address.sun_path, sizeof(address.sun_path) - 1);
        EXPECT_EQ(::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
        nghttp2_session_callbacks* callbacks = nullptr;
        ::nghttp2_session_callbacks_new(&callbacks);
        ::nghttp2_session_callbacks_set_on_header_callback(callbacks, &on_header);
        ::nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, &on_close);
        ::nghttp2_session_client_new(&session_, callbacks, this);
        ::nghttp2_session_callbacks_del(callbacks);
        ::nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, nullptr, 0);
    }
    ~Client() { ::nghttp2_session_del(session_); }
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    Request& send(Request request) {
        const auto header = [](std::string_view name, std::string_view value) {
            return nghttp2_nv{const_cast<std::uint8_t*>(reinterpret_cast<const std::uint8_t*>(name.data())),
                              const_cast<std::uint8_t*>(reinterpret_cast<const std::uint8_t*>(value.data())),
                              name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
        };
        const std::array headers{header(":method", "POST"), header(":scheme", "http"), header(":authority", "here"),
                                 header(":path", request.path), header("content-type", "application/grpc")};
        nghttp2_data_provider data{};
        data.read_callback = &read_data;
        const std::int32_t id =
            ::nghttp2_submit_request(session_, nullptr, headers.data(), headers.size(), &data, nullptr);
        EXPECT_GT(id, 0);
        return requests_[id] = std::move(request);
    }
    // Speaks until it is so, or the time is over.
    bool until(const std::function<bool()>& wanted) {
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
        while (std::chrono::steady_clock::now() < end) {
            for (;;) {
                const std::uint8_t* bytes = nullptr;
                const ssize_t length = ::nghttp2_session_mem_send(session_, &bytes);
                if (length <= 0) break;
                if (::send(fd_.get(), bytes, static_cast<std::size_t>(length), MSG_NOSIGNAL) != length) return false;
            }
            if (wanted()) return true;
            pollfd ready{.fd = fd_.get(), .events = POLLIN, .revents = 0};
            if (::poll(&ready, 1, 20) <= 0) continue;
            std::array<std::uint8_t, 16384> buffer;
            const ssize_t got = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
            if (got <= 0) return false;
            if (::nghttp2_session_mem_recv(session_, buffer.data(), static_cast<std::size_t>(got)) < 0) return false;
        }
        return false;
    }
    bool answered(Request& request) {
        return until([&] { return !request.status.empty() && request.closed; });
    }
    // What is to be sent is sent, and the server has had time for it.
    void settle(Request& request) {
        EXPECT_TRUE(until([&] { return request.at == request.body.size(); }));
        const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(100);
        until([&] { return std::chrono::steady_clock::now() > end; });
    }

private:
    static Client& self(void* user) { return *static_cast<Client*>(user); }
    static int on_header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name, std::size_t length,
                         const std::uint8_t* value, std::size_t value_length, std::uint8_t, void* user) {
        Request& request = self(user).requests_[frame->hd.stream_id];
        const std::string_view key(reinterpret_cast<const char*>(name), length);
        const std::string_view text(reinterpret_cast<const char*>(value), value_length);
        if (key == "grpc-status") request.status = text;
        if (key == "grpc-message") request.message = text;
        return 0;
    }
    static int on_close(nghttp2_session*, std::int32_t id, std::uint32_t, void* user) {
        self(user).requests_[id].closed = true;
        return 0;
    }
    static ssize_t read_data(nghttp2_session*, std::int32_t id, std::uint8_t* buffer, std::size_t length,
                             std::uint32_t* flags, nghttp2_data_source*, void* user) {
        Request& request = self(user).requests_[id];
        const std::size_t part = std::min(length, request.body.size() - request.at);
        if (part == 0 && !request.ends) return NGHTTP2_ERR_DEFERRED;
        request.body.copy(reinterpret_cast<char*>(buffer), part, request.at);
        request.at += part;
        if (request.ends && request.at == request.body.size()) *flags |= NGHTTP2_DATA_FLAG_EOF;
        return static_cast<ssize_t>(part);
    }

    Fd fd_;
    nghttp2_session* session_ = nullptr;
    std::map<std::int32_t, Request> requests_;
};

std::string framed(std::size_t length) {
    std::string body(5 + length, 'x');
    body[0] = '\0';
    for (std::size_t i = 1; i < 5; ++i) body[i] = static_cast<char>(length >> (8 * (4 - i)));
    return body;
}

class RpcServer : public ::testing::Test {
protected:
    void SetUp() override {
        Methods methods;
        methods.by_path["/test.Echo/Echo"] = [](std::string_view request) -> Result<std::unique_ptr<Call>> {
            return std::make_unique<Answer>(std::string(request));
        };
        auto server = Server::start(std::move(methods),
                                    {.connections = 8, .calls = 4, .connection_bytes = 100'000, .bytes = 150'000});
        ASSERT_TRUE(server) << server.error().message;
        server_ = std::move(*server);
        ASSERT_TRUE(server_->listen_unix(socket_, 0600));
    }

    const std::string socket_ = "/tmp/axo-rpc-test-" + std::to_string(::getpid()) + ".sock";
    std::unique_ptr<Server> server_;
};

TEST_F(RpcServer, RequestsThatNeverEndAreRefusedBeforeTheyTakeTooMuch) {
    auto one = std::make_unique<Client>(socket_);
    Client two(socket_);
    Request& kept = one->send({.body = framed(60'000), .ends = false});
    one->settle(kept);
    Request& refused = one->send({.body = framed(60'000), .ends = false});
    ASSERT_TRUE(one->answered(refused));
    EXPECT_EQ(refused.status, "8");
    EXPECT_NE(refused.message.find("this connection's requests"), std::string::npos) << refused.message;
    EXPECT_TRUE(kept.status.empty()) << "what fits goes on";
    // Whatever is complete is answered meanwhile.
    Request& small = one->send({.body = framed(1000)});
    ASSERT_TRUE(one->answered(small));
    EXPECT_EQ(small.status, "0");
    // Another connection's part is what the server has left.
    Request& other = two.send({.body = framed(40'000), .ends = false});
    two.settle(other);
    Request& too_much = two.send({.body = framed(50'000), .ends = false});
    ASSERT_TRUE(two.answered(too_much));
    EXPECT_EQ(too_much.status, "8");
    EXPECT_NE(too_much.message.find("this server's requests"), std::string::npos) << too_much.message;
    one.reset();
    for (int i = 0; i < 50; ++i) {
        Request& now = two.send({.body = framed(50'000)});
        ASSERT_TRUE(two.answered(now));
        if (now.status == "0") return;
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    FAIL() << "what a connection held is not free when it has gone";
}

TEST_F(RpcServer, StreamsAndTheirHeadersTakeSomethingToo) {
    Client client(socket_);
    std::size_t refused = 0;
    std::vector<Request*> all;
    for (int i = 0; i < 150; ++i)
        all.push_back(&client.send({.path = "/" + std::string(2000, 'p'), .body = "", .ends = false}));
    // A stream holds some 3,000 bytes.
    const auto count = [&] {
        refused = static_cast<std::size_t>(
            std::ranges::count_if(all, [](const Request* request) { return request->status == "8"; }));
        return refused;
    };
    EXPECT_TRUE(client.until([&] { return count() >= 115; })) << refused;
    client.settle(*all.back());
    EXPECT_LT(count(), 120U);
    Client other(socket_);
    Request& small = other.send({.body = framed(100)});
    ASSERT_TRUE(other.answered(small));
    EXPECT_EQ(small.status, "0");
}

}  // namespace
}  // namespace axo::rpc
