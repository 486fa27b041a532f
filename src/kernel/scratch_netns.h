// A network namespace for one test, removed with the object. Only for tests.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <string>

#include "kernel/netlink.h"
#include "kernel/netns.h"

namespace axo {

class ScratchNetns {
public:
    explicit ScratchNetns(const std::string& prefix = "axok") {
        static std::atomic<int> next = 0;
        path_ = "/run/netns/" + prefix + "-" + std::to_string(::getpid()) + "-" + std::to_string(next++);
        Status status = create_netns(path_);
        EXPECT_TRUE(status) << status.error().to_string();
        auto fd = open_netns(path_);
        EXPECT_TRUE(fd.has_value());
        if (fd) fd_ = std::move(*fd);
    }
    ScratchNetns(const ScratchNetns&) = delete;
    ScratchNetns& operator=(const ScratchNetns&) = delete;
    ~ScratchNetns() {
        Status status = remove_netns(path_);
        EXPECT_TRUE(status) << status.error().to_string();
    }

    [[nodiscard]] const std::string& path() const { return path_; }
    [[nodiscard]] int fd() const { return fd_.get(); }
    [[nodiscard]] Netlink netlink() const {
        auto netlink = Netlink::open_in(path_);
        EXPECT_TRUE(netlink.has_value());
        return std::move(*netlink);
    }
    // Runs the work inside; its expectations count for the test.
    template <class Work>
    void inside(Work&& work) const {
        Status status = run_in_netns(fd(), [&]() -> Status {
            work();
            return {};
        });
        EXPECT_TRUE(status) << status.error().to_string();
    }

private:
    std::string path_;
    Fd fd_;
};

// For assertions: the message of a failed result, "" for success.
template <class T>
std::string error_of(const Result<T>& result) {
    return result ? std::string() : result.error().to_string();
}
#define ASSERT_OK(expr)                                                   \
    do {                                                                  \
        const auto& axo_status = (expr);                                  \
        ASSERT_TRUE(axo_status.has_value()) << axo::error_of(axo_status); \
    } while (false)
#define EXPECT_OK(expr)                                                   \
    do {                                                                  \
        const auto& axo_status = (expr);                                  \
        EXPECT_TRUE(axo_status.has_value()) << axo::error_of(axo_status); \
    } while (false)

}  // namespace axo
