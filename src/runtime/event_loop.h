// The control loop: one thread that owns all tables and domain objects of a process.
//
// A thin face over Boost.Asio, so that only runtime/ and io/ pay for its headers. Callbacks run on
// the loop's thread, one at a time, never from inside the call that registered them.
// Thread: post and stop from any; everything else on the loop's own thread (or before run).
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "base/result.h"

namespace boost::asio {
class io_context;
}

namespace axo {

using Duration = std::chrono::nanoseconds;

class EventLoop {
public:
    EventLoop();
    ~EventLoop();
    EventLoop(const EventLoop&) = delete;
    EventLoop& operator=(const EventLoop&) = delete;

    // Until stop. Callbacks already posted when stop is called are not run.
    void run();
    void stop();
    void post(std::function<void()> work);

    // A registration: destroying or cancelling it guarantees that its callback does not run again.
    class Handle {
    public:
        struct State;
        Handle() = default;
        explicit Handle(std::shared_ptr<State> state) : state_(std::move(state)) {}
        Handle(Handle&&) noexcept = default;
        Handle& operator=(Handle&& other) noexcept;
        ~Handle() { cancel(); }
        void cancel();
        explicit operator bool() const { return state_ != nullptr; }

    private:
        std::shared_ptr<State> state_;
    };

    [[nodiscard]] Handle after(Duration delay, std::function<void()> work);
    [[nodiscard]] Handle every(Duration interval, std::function<void()> work);
    // Level-triggered readability. The descriptor stays the caller's and must outlive the handle.
    [[nodiscard]] Handle on_readable(int fd, std::function<void()> work);
    // SIGTERM, SIGINT, SIGHUP …; the number is passed on.
    [[nodiscard]] Handle on_signal(int signal_number, std::function<void(int)> work);

    // Blocking work on a small pool of threads; `done` runs on the loop with its outcome.
    void run_blocking(std::function<Status()> work, std::function<void(Status)> done);

    boost::asio::io_context& io_context();

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace axo
