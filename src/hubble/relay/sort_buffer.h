// Puts what arrives from many nodes into the order of its times, as far as a bounded number of messages and a bounded
// wait allow. A node whose clock is wrong disorders its own flows only: nobody waits for its times. Thread: any one at
// a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace axo::relay_server {

class SortBuffer {
public:
    using Clock = std::chrono::steady_clock;
    struct Message {
        std::int64_t time_ns = 0;  // as the node says
        std::string bytes;
    };

    // A message waits until `capacity` others are there or for `wait`, whichever is first.
    SortBuffer(std::size_t capacity, Clock::duration wait) : capacity_(capacity), wait_(wait) {}

    // out: what has to leave to make room, in order.
    void push(Message message, Clock::time_point now, std::vector<std::string>& out);
    // What has waited long enough, in order.
    void drain(Clock::time_point now, std::vector<std::string>& out);
    // All that is left, in order.
    void finish(std::vector<std::string>& out);
    [[nodiscard]] std::size_t size() const { return heap_.size(); }

private:
    struct Entry {
        std::int64_t time_ns;
        std::uint64_t number;  // keeps messages of one time in the order of arrival
        Clock::time_point arrived;
        std::string bytes;
    };
    static bool later(const Entry& a, const Entry& b);

    const std::size_t capacity_;
    const Clock::duration wait_;
    std::vector<Entry> heap_;  // the earliest is in front
    std::uint64_t next_ = 0;
};

}  // namespace axo::relay_server
