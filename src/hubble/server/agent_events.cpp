#include "hubble/server/agent_events.h"

#include <chrono>

namespace axo::hubble {

void AgentEvents::add(std::string event) {
    if (tap_) tap_(event);
    const std::size_t bytes = event.size();
    keep({.event = std::move(event), .bytes = bytes});
}

void AgentEvents::add_later(std::size_t bytes, std::function<std::string()> make) {
    keep({.make = std::move(make), .bytes = bytes});
}

void AgentEvents::keep(Kept kept) {
    kept.time_ns = std::chrono::nanoseconds(std::chrono::system_clock::now().time_since_epoch()).count();
    std::vector<Kept> gone;  // what they hold is let go without the lock
    std::function<void()> wake;
    {
        const std::lock_guard lock(mutex_);
        bytes_ += kept.bytes;
        entries_.push_back(std::move(kept));
        // The newest stays, however large.
        while (entries_.size() > capacity_ || (bytes_ > max_bytes_ && entries_.size() > 1)) {
            bytes_ -= entries_.front().bytes;
            gone.push_back(std::move(entries_.front()));
            entries_.pop_front();
        }
        ++next_;
        wake = wake_;
    }
    if (wake) wake();
}

std::uint64_t AgentEvents::read(std::uint64_t from, std::vector<Entry>& out) const {
    std::vector<Kept> found;
    std::uint64_t next = 0;
    {
        const std::lock_guard lock(mutex_);
        const std::uint64_t first = next_ - entries_.size();
        for (std::uint64_t position = std::max(from, first); position < next_; ++position)
            found.push_back(entries_[position - first]);
        next = next_;
    }
    for (Kept& kept : found)
        out.push_back({.time_ns = kept.time_ns, .event = kept.make ? kept.make() : std::move(kept.event)});
    return next;
}

std::uint64_t AgentEvents::next() const {
    const std::lock_guard lock(mutex_);
    return next_;
}

void AgentEvents::set_wake(std::function<void()> wake) {
    const std::lock_guard lock(mutex_);
    wake_ = std::move(wake);
}

}  // namespace axo::hubble
