#include "features/nat/stats.h"

namespace axo::nat {

namespace {

constexpr Duration kRemembered = std::chrono::minutes(5);

}  // namespace

struct NatStats::Pass {
    std::vector<PortUse> top;
    std::vector<std::uint64_t> failed;
};

NatStats::NatStats(EventLoop& loop, ControllerRegistry& registry, Settings settings,
                   std::shared_ptr<const FlowMaps> flows, std::vector<FailureCounter> failures)
    : loop_(loop),
      settings_(settings),
      flows_(std::move(flows)),
      counters_(std::move(failures)),
      failures_(counters_.size()),
      tracker_(settings.range),
      controller_(loop, registry, "nat-stats", [this] { return run(); }, settings.interval) {
    start();
}

NatStats::~NatStats() {
    *alive_ = false;
}

// The controller shows how the last pass went; its retries and its interval start another one.
Status NatStats::run() {
    if (controller_.timer_run()) start();
    return last_;
}

void NatStats::start() {
    if (running_) return;
    running_ = true;
    const auto pass = std::make_shared<Pass>();
    loop_.run_blocking(
        [pass, flows = flows_, counters = counters_, settings = settings_]() -> Status {
            for (const FailureCounter& counter : counters) {
                TRY_ASSIGN(const std::uint64_t failed, counter.read());
                pass->failed.push_back(failed);
            }
            PortUseCounter uses(settings.range, FlowMaps::now_tick());
            TRY(flows->for_each([&uses](const FlowRow& row) { uses.add(row); }));
            pass->top = uses.top(settings.entries);
            return {};
        },
        [this, alive = alive_, pass](const Status& outcome) {
            if (*alive) finished(outcome, *pass);
        });
}

void NatStats::finished(const Status& outcome, const Pass& pass) {
    running_ = false;
    last_ = outcome;
    controller_.trigger();
    if (!outcome) return;
    for (std::size_t i = 0; i < pass.failed.size(); ++i) note_failures(i, pass.failed[i]);
    top_ = pass.top;
    for (const PressureTracker::Problem& crossed : tracker_.update(top_))
        log_.warn("Source ports are running out: " + crossed.message, {{"object", crossed.where}});
    if (top_.size() > settings_.entries) top_.resize(settings_.entries);
}

void NatStats::note_failures(std::size_t i, std::uint64_t total) {
    Failures& failures = failures_[i];
    const auto now = std::chrono::steady_clock::now();
    const std::uint64_t added = failures.known && total > failures.total ? total - failures.total : 0;
    failures.known = true;
    failures.total = total;
    if (added != 0) {
        failures.recent += added;
        failures.last = now;
        log_.warn("Connections were refused: no source port was free",
                  {{"family", counters_[i].family}, {"connections", added}, {"lately", failures.recent}});
    } else if (failures.recent != 0 && now - failures.last > kRemembered) {
        failures.recent = 0;
    }
}

std::vector<PressureTracker::Problem> NatStats::problems() const {
    std::vector<PressureTracker::Problem> all = tracker_.problems();
    for (std::size_t i = 0; i < failures_.size(); ++i) {
        if (failures_[i].recent == 0) continue;
        all.push_back({"NAT " + counters_[i].family,
                       std::to_string(failures_[i].recent) +
                           " connections were refused lately: no source port was free; see nat-stats for the "
                           "destinations with the most connections"});
    }
    return all;
}

}  // namespace axo::nat
