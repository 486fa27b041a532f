// What the agent did lately: the last messages flow.AgentEvent, made by the control loop, read by clients. Thread: any.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

namespace axo::hubble {

class AgentEvents {
public:
    struct Entry {
        std::int64_t time_ns = 0;
        std::string event;  // flow.AgentEvent on the wire
    };
    // A Service with thousands of backends is one event: they are bounded in bytes as well.
    explicit AgentEvents(std::size_t capacity = 1024, std::size_t max_bytes = 2U << 20)
        : capacity_(capacity), max_bytes_(max_bytes) {}

    // event: flow.AgentEvent on the wire. (Its class and the datapath's struct flow do not fit into one file.)
    void add(std::string event);
    // The same, made by whoever reads it, on his thread, each time. bytes: what it holds meanwhile.
    void add_later(std::size_t bytes, std::function<std::string()> make);
    // Entries are numbered from 1 on. Those from `from` on; returns the position behind them.
    std::uint64_t read(std::uint64_t from, std::vector<Entry>& out) const;
    [[nodiscard]] std::uint64_t next() const;
    // Gets what add() is given, on the thread that adds it; what is made later is nobody's but the readers'. Set before
    // anybody adds from another thread.
    void set_tap(std::function<void(const std::string& event)> tap) { tap_ = std::move(tap); }
    // Runs when something was added, on the thread that did.
    void set_wake(std::function<void()> wake);

private:
    struct Kept {
        std::int64_t time_ns = 0;
        std::string event;
        std::function<std::string()> make;  // instead of event
        std::size_t bytes = 0;
    };
    void keep(Kept kept);

    const std::size_t capacity_, max_bytes_;
    mutable std::mutex mutex_;
    std::deque<Kept> entries_;
    std::size_t bytes_ = 0;
    std::uint64_t next_ = 1;
    std::function<void()> wake_;
    std::function<void(const std::string&)> tap_;
};

}  // namespace axo::hubble
