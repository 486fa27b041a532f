// Keeps the flow tables free of what has expired: off the loop, at an interval that follows the load, and at once when
// the datapath could not create a flow. Thread: the loop's only, except hurry().
#pragma once

#include <atomic>
#include <memory>

#include "maps/flow_map.h"
#include "runtime/controller.h"
#include "runtime/event_loop.h"

namespace axo {

class FlowCollector {
public:
    // Shares the maps with a pass that still runs on the pool when this object goes.
    FlowCollector(EventLoop& loop, ControllerRegistry& registry, std::shared_ptr<const FlowMaps> flows,
                  std::uint32_t max_entries);
    ~FlowCollector();
    FlowCollector(const FlowCollector&) = delete;
    FlowCollector& operator=(const FlowCollector&) = delete;

    // Any thread: a flow could not be created, collect now. Called once per refused packet, so it must be cheap.
    void hurry();
    // Called for what has expired, on a thread of the pool, perhaps once more after this object has gone.
    void set_ended(std::function<void(const FlowRow&)> ended) { ended_ = std::move(ended); }
    void replace_maps(std::shared_ptr<const FlowMaps> flows) { flows_ = std::move(flows); }

private:
    void schedule(Duration delay);
    void start();
    void finished(Status outcome, const FlowMaps::Collected& collected);

    struct Shared {
        std::atomic<bool> asked = false;
        FlowCollector* collector = nullptr;  // the loop's; null once gone
    };
    EventLoop& loop_;
    std::shared_ptr<const FlowMaps> flows_;
    std::function<void(const FlowRow&)> ended_;
    std::uint64_t max_entries_;
    Duration interval_;
    bool running_ = false;
    Status last_;
    std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
    Controller controller_;  // tells the outcome in the list of controllers
    EventLoop::Handle timer_;
};

}  // namespace axo
