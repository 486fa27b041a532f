// Controllers: named pieces of recurring work with retry, as `status --verbose` lists them.
//
// A Controller runs its work when triggered and, optionally, at an interval; a failure is retried with
// exponential backoff (base, doubled, at most 60 s). Work may wait (Task): one run at a time, a trigger
// meanwhile is one more run afterwards, and destroying the controller ends a run that waits. The registry is
// what the status API reads; it outlives its controllers. Thread: the loop's only.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "runtime/event_loop.h"
#include "runtime/metrics.h"
#include "runtime/task.h"

namespace axo {

struct ControllerStatus {
    std::string name;
    std::uint64_t success_count = 0;
    std::uint64_t failure_count = 0;
    std::uint64_t consecutive_failures = 0;
    std::chrono::system_clock::time_point last_success{};  // epoch: never
    std::chrono::system_clock::time_point last_failure{};
    std::string last_error;                                 // of the latest run; empty when that was a success
    Duration interval{0};                                   // 0: only when triggered
    std::chrono::system_clock::time_point running_since{};  // epoch: it does not run now
};

class ControllerRegistry;

class Controller {
public:
    using Work = std::function<Task<Status>()>;
    Controller(EventLoop& loop, ControllerRegistry& registry, std::string name, Work work,
               Duration interval = Duration{0});
    ~Controller();
    Controller(const Controller&) = delete;
    Controller& operator=(const Controller&) = delete;

    // Runs the work on the next loop turn; several triggers before that are one run. A pending retry keeps its time.
    void trigger();
    // For the work itself: whether this run is a retry or the interval's, rather than a trigger's.
    [[nodiscard]] bool timer_run() const { return cause_ == Cause::kTimer; }
    [[nodiscard]] const ControllerStatus& status() const { return status_; }

private:
    enum class Cause { kTrigger, kTimer };
    void run_once(Cause cause);
    void finished(Status outcome);
    void arm(Duration delay);

    EventLoop& loop_;
    ControllerRegistry& registry_;
    Work work_;
    ControllerStatus status_;
    Cause cause_ = Cause::kTrigger;
    bool scheduled_ = false;
    std::optional<Cause> next_;  // a run that the present one keeps waiting
    std::chrono::steady_clock::time_point started_{};
    Duration retry_{0};  // 0: the latest run succeeded
    EventLoop::Handle timer_;
    std::shared_ptr<bool> alive_;
    TaskGroup run_;
};

class ControllerRegistry {
public:
    [[nodiscard]] std::vector<ControllerStatus> all() const;
    // How long runs took, waiting included.
    [[nodiscard]] const MetricTimes& durations() const { return durations_; }

private:
    friend class Controller;
    std::vector<const Controller*> controllers_;
    MetricTimes durations_{"controllers_runs_duration_seconds",
                           "Duration in seconds of the controller process labeled by completion status"};
};

}  // namespace axo
