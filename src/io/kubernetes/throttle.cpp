#include "io/kubernetes/throttle.h"

#include <algorithm>

namespace axo::kubernetes {

Throttle::Throttle(EventLoop& loop, double qps, int burst)
    : loop_(loop), qps_(qps), burst_(std::max(1, burst)), tokens_(burst_) {}

Task<void> Throttle::pass(Lane lane) {
    if (qps_ <= 0 || lane == Lane::kPaced) return Task<void>::ready();
    refill();
    if (lane == Lane::kUrgent || (tokens_ >= 1 && queue_.empty())) {
        tokens_ = std::max(tokens_ - 1, -burst_);
        return Task<void>::ready();
    }
    return wait();
}

Task<void> Throttle::wait() {
    struct Place {
        explicit Place(Awaited<std::monostate>& turn) : slot(std::make_shared<Awaited<std::monostate>*>(&turn)) {}
        Place(const Place&) = delete;
        Place& operator=(const Place&) = delete;
        ~Place() { *slot = nullptr; }
        std::shared_ptr<Awaited<std::monostate>*> slot;
    };
    Awaited<std::monostate> turn;
    const Place place(turn);
    queue_.push_back(place.slot);
    serve();
    co_await turn;
}

std::size_t Throttle::waiting() const {
    return static_cast<std::size_t>(std::ranges::count_if(queue_, [](const auto& slot) { return *slot != nullptr; }));
}

void Throttle::refill() {
    const auto now = Clock::now();
    const double seconds = std::chrono::duration<double>(now - filled_).count();
    tokens_ = std::min(burst_, tokens_ + seconds * qps_);
    filled_ = now;
}

// Lets go whose turn it is, and comes back when the next token is due.
void Throttle::serve() {
    refill();
    while (!queue_.empty()) {
        const auto slot = queue_.front();
        if (*slot == nullptr) {  // gave up
            queue_.pop_front();
            continue;
        }
        if (tokens_ < 1) {
            const auto due = std::chrono::duration<double>((1 - tokens_) / qps_);
            timer_ = loop_.after(std::chrono::duration_cast<Duration>(due) + std::chrono::microseconds(100),
                                 [this] { serve(); });
            return;
        }
        queue_.pop_front();
        tokens_ -= 1;
        (*slot)->set({});
    }
    timer_.cancel();
}

}  // namespace axo::kubernetes
