#include "hubble/server/agent_events.h"

#include <chrono>

namespace axo::hubble {

void AgentEvents::add(std::string event) {
    Entry entry;
    entry.time_ns = std::chrono::nanoseconds(std::chrono::system_clock::now().time_since_epoch()).count();
    entry.event = std::move(event);
    std::function<void()> wake;
    {
        const std::lock_guard lock(mutex_);
        bytes_ += entry.event.size();
        entries_.push_back(std::move(entry));
        // The newest stays, however large.
        while (entries_.size() > capacity_ || (bytes_ > max_bytes_ && entries_.size() > 1)) {
            bytes_ -= entries_.front().event.size();
            entries_.pop_front();
        }
        ++next_;
        wake = wake_;
    }
    if (wake) wake();
}

std::uint64_t AgentEvents::read(std::uint64_t from, std::vector<Entry>& out) const {
    const std::lock_guard lock(mutex_);
    const std::uint64_t first = next_ - entries_.size();
    for (std::uint64_t position = std::max(from, first); position < next_; ++position)
        out.push_back(entries_[position - first]);
    return next_;
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
