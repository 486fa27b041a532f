// Watches how many translated source ports are in use, so that it is told before new connections fail: goes through the
// flow tables at an interval, on another thread.
// Thread: the loop's only.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "features/nat/pressure.h"
#include "runtime/controller.h"
#include "runtime/event_loop.h"

namespace axo::nat {

class NatStats {
public:
    struct Settings {
        PortRange range;
        std::size_t entries = 32;  // of top()
        Duration interval = std::chrono::seconds(30);
    };
    // Connections that got no source port, since the maps were made.
    struct FailureCounter {
        std::string family;                           // "IPv4"
        std::function<Result<std::uint64_t>()> read;  // called on another thread
    };
    // What failed before is not told of.
    NatStats(EventLoop& loop, ControllerRegistry& registry, Settings settings, std::shared_ptr<const FlowMaps> flows,
             std::vector<FailureCounter> failures);
    ~NatStats();
    NatStats(const NatStats&) = delete;
    NatStats& operator=(const NatStats&) = delete;

    // As of the last pass: what nears exhaustion, and failed allocations until five minutes after the last one.
    [[nodiscard]] std::vector<PressureTracker::Problem> problems() const;
    // Most used first.
    [[nodiscard]] const std::vector<PortUse>& top() const { return top_; }
    [[nodiscard]] const PortRange& range() const { return settings_.range; }

private:
    struct Pass;
    struct Failures {
        bool known = false;
        std::uint64_t total = 0;
        std::uint64_t recent = 0;
        std::chrono::steady_clock::time_point last{};
    };
    Status run();
    void start();
    void finished(const Status& outcome, const Pass& pass);
    void note_failures(std::size_t i, std::uint64_t total);

    EventLoop& loop_;
    Logger log_{"nat"};
    Settings settings_;
    std::shared_ptr<const FlowMaps> flows_;
    std::vector<FailureCounter> counters_;
    std::vector<Failures> failures_;  // as counters_
    PressureTracker tracker_;
    std::vector<PortUse> top_;
    bool running_ = false;
    Status last_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
    Controller controller_;
};

}  // namespace axo::nat
