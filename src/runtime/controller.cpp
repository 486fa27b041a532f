#include "runtime/controller.h"

#include <algorithm>

#include "base/elapsed.h"
#include "base/log.h"

namespace axo {
namespace {

constexpr Duration kFirstRetry = std::chrono::seconds(1);
constexpr Duration kLongestRetry = std::chrono::seconds(60);

}  // namespace

Controller::Controller(EventLoop& loop, ControllerRegistry& registry, std::string name, Work work, Duration interval)
    : loop_(loop), registry_(registry), work_(std::move(work)), alive_(std::make_shared<bool>(true)) {
    status_.name = std::move(name);
    status_.interval = interval;
    registry_.controllers_.push_back(this);
    if (interval > Duration{0}) arm(interval);
}

Controller::~Controller() {
    std::erase(registry_.controllers_, this);
}

void Controller::trigger() {
    if (scheduled_) return;
    scheduled_ = true;
    loop_.post([this, alive = std::weak_ptr<bool>(alive_)] {
        if (alive.expired()) return;
        scheduled_ = false;
        run_once(Cause::kTrigger);
    });
}

void Controller::arm(Duration delay) {
    timer_ = loop_.after(delay, [this] { run_once(Cause::kTimer); });
}

void Controller::run_once(Cause cause) {
    if (status_.running_since != std::chrono::system_clock::time_point{}) {
        if (next_ != Cause::kTimer) next_ = cause;
        return;
    }
    cause_ = cause;
    status_.running_since = std::chrono::system_clock::now();
    started_ = std::chrono::steady_clock::now();
    const std::weak_ptr<bool> alive = alive_;
    auto task = work_();
    if (alive.expired()) return;
    run_.spawn(std::move(task), [this](Status outcome) { finished(std::move(outcome)); });
}

void Controller::finished(Status outcome) {
    status_.running_since = {};
    registry_.durations_.observe({{"status", outcome ? "success" : "failure"}}, seconds_since(started_));
    if (const auto next = std::exchange(next_, std::nullopt)) {
        loop_.post([this, cause = *next, alive = std::weak_ptr<bool>(alive_)] {
            if (!alive.expired()) run_once(cause);
        });
    }
    const auto now = std::chrono::system_clock::now();
    if (outcome) {
        ++status_.success_count;
        status_.consecutive_failures = 0;
        status_.last_success = now;
        status_.last_error.clear();
        retry_ = Duration{0};
        if (status_.interval > Duration{0}) {
            arm(status_.interval);
        } else {
            timer_.cancel();
        }
        return;
    }
    ++status_.failure_count;
    ++status_.consecutive_failures;
    status_.last_failure = now;
    status_.last_error = outcome.error().to_string();
    // A trigger during the wait for a retry neither postpones that retry nor lengthens its backoff; otherwise a busy
    // source would keep what failed from ever being tried again.
    if (cause_ == Cause::kTrigger && retry_ > Duration{0}) return;
    retry_ = retry_ == Duration{0} ? kFirstRetry : std::min(retry_ * 2, kLongestRetry);
    arm(retry_);
}

std::vector<ControllerStatus> ControllerRegistry::all() const {
    std::vector<ControllerStatus> statuses;
    statuses.reserve(controllers_.size());
    for (const Controller* controller : controllers_) statuses.push_back(controller->status());
    std::ranges::stable_sort(statuses, {}, &ControllerStatus::name);
    return statuses;
}

}  // namespace axo
