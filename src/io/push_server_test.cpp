#include "io/push_server.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstring>
#include <filesystem>

#include "base/fd.h"

using namespace std::chrono_literals;

namespace axo {
namespace {

class PushServerTest : public testing::Test {
protected:
    void SetUp() override {
        std::string name = "/tmp/axo-push-XXXXXX";
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        directory_ = name;
        path_ = directory_ / "push.sock";
        make();
    }
    void TearDown() override { std::filesystem::remove_all(directory_); }

    void make() {
        server_ = std::make_unique<PushServer>(
            loop_, 2, [this](std::shared_ptr<PushClient> client) { clients_.push_back(std::move(client)); });
        const auto listening = server_->listen_unix(path_, 0660);
        ASSERT_TRUE(listening) << listening.error().to_string();
    }

    [[nodiscard]] Fd connect() const {
        Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::strncpy(address.sun_path, path_.c_str(), sizeof(address.sun_path) - 1);
        EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
        return fd;
    }

    // Runs the loop until it holds, for two seconds at most.
    bool until(const std::function<bool()>& holds) {
        bool done = false;
        const auto end = std::chrono::steady_clock::now() + 2s;
        const auto tick = loop_.every(1ms, [&] {
            done = holds();
            if (done || std::chrono::steady_clock::now() > end) loop_.stop();
        });
        loop_.run();
        return done;
    }

    // What is there to read now; "" also at the end.
    static std::string read_now(const Fd& fd) {
        std::string text(1 << 20, '\0');
        const auto count = ::recv(fd.get(), text.data(), text.size(), MSG_DONTWAIT);
        text.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
        return text;
    }
    static bool at_end(const Fd& fd) {
        char byte = 0;
        return ::recv(fd.get(), &byte, 1, MSG_DONTWAIT) == 0;
    }

    std::filesystem::path directory_, path_;
    EventLoop loop_;
    std::vector<std::shared_ptr<PushClient>> clients_;
    std::unique_ptr<PushServer> server_;
};

TEST_F(PushServerTest, WritesToWhoeverConnects) {
    const Fd fd = connect();
    ASSERT_TRUE(until([&] { return clients_.size() == 1; }));
    clients_[0]->send("one ");
    clients_[0]->send("two");
    EXPECT_EQ(clients_[0]->pending_bytes(), 0U);
    EXPECT_EQ(read_now(fd), "one two");
    struct stat info{};
    ASSERT_EQ(::stat(path_.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0660U);
}

TEST_F(PushServerTest, WhoDoesNotReadKeepsNobodyWaiting) {
    const Fd slow = connect(), other = connect();
    ASSERT_TRUE(until([&] { return clients_.size() == 2; }));
    std::string sent;
    for (int i = 0; i < 3000; ++i)
        sent += "line " + std::to_string(i) + " of a text that is longer than any socket's buffer\n";
    for (int i = 0; i < 20; ++i) clients_[0]->send(sent);
    EXPECT_GT(clients_[0]->pending_bytes(), sent.size());
    clients_[1]->send("still here");
    EXPECT_EQ(read_now(other), "still here");
    // Nothing of it is lost when it reads at last.
    std::string received;
    EXPECT_TRUE(until([&] {
        received += read_now(slow);
        return received.size() == 20 * sent.size();
    }));
    EXPECT_EQ(clients_[0]->pending_bytes(), 0U);
    EXPECT_EQ(received.substr(19 * sent.size()), sent);
}

TEST_F(PushServerTest, NoticesThatAClientIsGone) {
    Fd fd = connect();
    ASSERT_TRUE(until([&] { return clients_.size() == 1; }));
    fd.reset();
    EXPECT_TRUE(until([&] { return server_->clients() == 0; }));
    EXPECT_TRUE(clients_[0]->gone());
    clients_[0]->send("to nobody");
    EXPECT_EQ(clients_[0]->pending_bytes(), 0U);
}

TEST_F(PushServerTest, WhatClientsSayIsIgnored) {
    Fd fd = connect();
    ASSERT_TRUE(until([&] { return clients_.size() == 1; }));
    ASSERT_EQ(::send(fd.get(), "hello", 5, 0), 5);
    // One that says no more may still be reading.
    ASSERT_EQ(::shutdown(fd.get(), SHUT_WR), 0);
    int looks = 0;
    EXPECT_TRUE(until([&] { return ++looks > 20; }));
    EXPECT_FALSE(clients_[0]->gone());
    clients_[0]->send("answer");
    EXPECT_EQ(read_now(fd), "answer");
    fd.reset();
    EXPECT_TRUE(clients_[0]->gone());
    EXPECT_EQ(server_->clients(), 0U);
}

TEST_F(PushServerTest, TooManyAreRefused) {
    Fd first = connect();
    const Fd second = connect(), third = connect();
    ASSERT_TRUE(until([&] { return server_->refused() == 1; }));
    EXPECT_EQ(server_->clients(), 2U);
    EXPECT_TRUE(at_end(third));
    EXPECT_FALSE(at_end(second));
    // A place that is free again is somebody else's.
    first.reset();
    ASSERT_TRUE(until([&] { return server_->clients() == 1; }));
    const Fd fourth = connect();
    ASSERT_TRUE(until([&] { return clients_.size() == 3; }));
    clients_[2]->send("welcome");
    EXPECT_EQ(read_now(fourth), "welcome");
}

TEST_F(PushServerTest, ANewOneTakesTheOldOnesPlace) {
    const Fd fd = connect();
    ASSERT_TRUE(until([&] { return clients_.size() == 1; }));
    server_.reset();
    EXPECT_TRUE(at_end(fd));
    EXPECT_TRUE(clients_[0]->gone());
    EXPECT_FALSE(std::filesystem::exists(path_));
    // What a process that was killed leaves: a file that nobody listens at.
    const Fd left(::socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path_.c_str(), sizeof(address.sun_path) - 1);
    ASSERT_EQ(::bind(left.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    clients_.clear();
    make();
    const Fd again = connect();
    EXPECT_TRUE(until([&] { return clients_.size() == 1; }));
}

}  // namespace
}  // namespace axo
