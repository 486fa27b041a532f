#include "datapath/flow_collector.h"

#include <algorithm>

namespace axo {
namespace {

constexpr Duration kShortest = std::chrono::seconds(5);
constexpr Duration kLongest = std::chrono::seconds(30);
constexpr Duration kUnderPressure = std::chrono::seconds(1);

}  // namespace

FlowCollector::FlowCollector(EventLoop& loop, ControllerRegistry& registry, std::shared_ptr<const FlowMaps> flows,
                             std::uint32_t max_entries)
    : loop_(loop),
      flows_(std::move(flows)),
      max_entries_(max_entries),
      interval_(kShortest),
      controller_(loop, registry, "ct-map-gc", [this] { return last_; }) {
    shared_->collector = this;
    schedule(interval_);
}

FlowCollector::~FlowCollector() {
    shared_->collector = nullptr;
}

void FlowCollector::hurry() {
    if (shared_->asked.exchange(true, std::memory_order_relaxed)) return;
    loop_.post([shared = shared_] {
        if (shared->collector != nullptr) shared->collector->start();
    });
}

void FlowCollector::schedule(Duration delay) {
    timer_ = loop_.after(delay, [this] {
        shared_->asked.store(false, std::memory_order_relaxed);
        start();
    });
}

void FlowCollector::start() {
    if (running_) return;
    running_ = true;
    const auto collected = std::make_shared<FlowMaps::Collected>();
    loop_.run_blocking(
        [flows = flows_, ended = ended_, collected]() -> Status {
            TRY_ASSIGN(*collected, flows->collect(FlowMaps::now_tick(), {}, ended));
            return {};
        },
        [shared = shared_, collected](Status outcome) {
            if (shared->collector != nullptr) shared->collector->finished(std::move(outcome), *collected);
        });
}

void FlowCollector::finished(Status outcome, const FlowMaps::Collected& collected) {
    running_ = false;
    last_ = std::move(outcome);
    controller_.trigger();
    const std::uint64_t left = collected.seen - std::min(collected.removed, collected.seen);
    if (collected.removed * 4 > collected.seen) {
        interval_ = std::max(interval_ / 2, kShortest);
    } else if (collected.removed * 20 <= collected.seen) {
        interval_ = std::min(interval_ * 3 / 2, kLongest);
    }
    schedule(left * 4 > max_entries_ * 3 ? kUnderPressure : interval_);
    // A full table that had nothing to give is asked again by the timer, not by every refused packet.
    if (collected.removed > 0) shared_->asked.store(false, std::memory_order_relaxed);
}

}  // namespace axo
