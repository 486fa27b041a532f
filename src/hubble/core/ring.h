// The last flows, in the order they came. One writer, any number of readers that copy what they need; who is too slow
// is told how much it has missed. Thread: any.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

#include "hubble/core/record.h"

namespace axo::hubble {

class FlowRing {
public:
    // capacity: 2^n - 1, as hubble-event-buffer-capacity. Memory is taken as flows come.
    explicit FlowRing(std::size_t capacity) : capacity_(capacity) {}

    void add(FlowRecord record);

    // Records are numbered from 1 on, in the order they were added.
    struct Span {
        std::uint64_t first = 1;  // the oldest one that is there
        std::uint64_t next = 1;   // the one after the newest
        [[nodiscard]] std::uint64_t size() const { return next - first; }
    };
    [[nodiscard]] Span span() const;
    // Appends those from `from` on, at most `limit`, and returns the position behind them. `missed`: how many of those
    // asked for are gone.
    std::uint64_t read(std::uint64_t from, std::size_t limit, std::vector<FlowRecord>& out,
                       std::uint64_t& missed) const;
    // The record before `before` backwards: the newest `limit` ones with a position below it, newest first.
    std::uint64_t read_back(std::uint64_t before, std::size_t limit, std::vector<FlowRecord>& out) const;

    [[nodiscard]] std::size_t capacity() const { return capacity_; }
    // wake runs on the writer's thread when something was added after arm(); once, until armed again. Must be quick.
    void set_wake(std::function<void()> wake);
    void arm();

private:
    [[nodiscard]] const FlowRecord& at(std::uint64_t position) const { return records_[(position - 1) % capacity_]; }

    const std::size_t capacity_;
    mutable std::mutex mutex_;
    std::vector<FlowRecord> records_;
    std::uint64_t next_ = 1;
    std::function<void()> wake_;
    bool armed_ = false;
};

}  // namespace axo::hubble
