// Controllers: named pieces of recurring work with retry, as `status --verbose` lists them.
//
// A Controller runs its function when triggered and, optionally, at an interval; a failure is
// retried with exponential backoff (base, doubled, at most 60 s). The registry is what the status
// API reads. Thread: the loop's only.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "runtime/event_loop.h"

namespace axo {

struct ControllerStatus {
    std::string name;
    std::uint64_t success_count = 0;
    std::uint64_t failure_count = 0;
    std::uint64_t consecutive_failures = 0;
    std::chrono::system_clock::time_point last_success{};  // epoch: never
    std::chrono::system_clock::time_point last_failure{};
    std::string last_error;    // of the latest failure
    Duration interval{0};      // 0: only when triggered
};

class ControllerRegistry;

class Controller {
public:
    using Work = std::function<Status()>;
    Controller(EventLoop& loop, ControllerRegistry& registry, std::string name, Work work, Duration interval = Duration{0});
    ~Controller();
    Controller(const Controller&) = delete;
    Controller& operator=(const Controller&) = delete;

    // Runs the work on the next loop turn; several triggers before that are one run.
    void trigger();
    [[nodiscard]] const ControllerStatus& status() const { return status_; }

private:
    void run_once();

    EventLoop& loop_;
    ControllerRegistry& registry_;
    Work work_;
    ControllerStatus status_;
    bool scheduled_ = false;
    EventLoop::Handle timer_;
    std::shared_ptr<bool> alive_;
};

class ControllerRegistry {
public:
    [[nodiscard]] std::vector<ControllerStatus> all() const;

private:
    friend class Controller;
    std::map<std::string, const Controller*> controllers_;
};

}  // namespace axo
