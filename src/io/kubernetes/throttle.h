// How fast requests may go out: a token bucket, as client-go's QPS and burst, with a fast lane.
//
// Urgent requests (leases, status) never wait for it, but what they take is missing to the others. What paces itself
// (watches, with their backoff) has nothing to do with it. Thread: the loop's only.
#pragma once

#include <chrono>
#include <deque>
#include <memory>

#include "runtime/event_loop.h"
#include "runtime/task.h"

namespace axo::kubernetes {

enum class Lane { kBulk, kUrgent, kPaced };

class Throttle {
public:
    // qps <= 0: no limit.
    Throttle(EventLoop& loop, double qps, int burst);

    // Ends when the request may go.
    Task<void> pass(Lane lane);
    [[nodiscard]] std::size_t waiting() const;

private:
    using Clock = std::chrono::steady_clock;
    void refill();
    void serve();
    Task<void> wait();

    EventLoop& loop_;
    double qps_;
    double burst_;
    double tokens_;
    Clock::time_point filled_ = Clock::now();
    std::deque<std::shared_ptr<Awaited<std::monostate>*>> queue_;
    EventLoop::Handle timer_;
};

}  // namespace axo::kubernetes
