#include "hubble/core/ring.h"

namespace axo::hubble {

void FlowRing::add(FlowRecord record) {
    FlowRecord gone;  // released outside of the lock
    std::function<void()>* wake = nullptr;
    {
        const std::lock_guard lock(mutex_);
        if (records_.size() < capacity_) {
            // Growth by doubling would hold the ring twice.
            if (records_.capacity() == 0) records_.reserve(capacity_);
            records_.push_back(std::move(record));
        } else {
            FlowRecord& slot = records_[(next_ - 1) % capacity_];
            gone = std::move(slot);
            slot = std::move(record);
        }
        ++next_;
        if (armed_ && wake_) {
            armed_ = false;
            wake = &wake_;
        }
    }
    if (wake != nullptr) (*wake)();
}

FlowRing::Span FlowRing::span() const {
    const std::lock_guard lock(mutex_);
    return {next_ - records_.size(), next_};
}

std::uint64_t FlowRing::read(std::uint64_t from, std::size_t limit, std::vector<FlowRecord>& out,
                             std::uint64_t& missed) const {
    const std::lock_guard lock(mutex_);
    const std::uint64_t first = next_ - records_.size();
    missed = from < first ? first - from : 0;
    from = std::max(from, first);
    const std::uint64_t end = std::min<std::uint64_t>(next_, from + limit);
    for (std::uint64_t position = from; position < end; ++position) out.push_back(at(position));
    return std::max(from, end);
}

std::uint64_t FlowRing::read_back(std::uint64_t before, std::size_t limit, std::vector<FlowRecord>& out) const {
    const std::lock_guard lock(mutex_);
    const std::uint64_t first = next_ - records_.size();
    before = std::min(before, next_);
    while (before > first && limit != 0) {
        out.push_back(at(--before));
        --limit;
    }
    return before;
}

void FlowRing::set_wake(std::function<void()> wake) {
    const std::lock_guard lock(mutex_);
    wake_ = std::move(wake);
}

void FlowRing::arm() {
    const std::lock_guard lock(mutex_);
    armed_ = true;
}

}  // namespace axo::hubble
