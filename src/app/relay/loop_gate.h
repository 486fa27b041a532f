// The way of other threads' answers to the loop, until whoever waits for them goes: gRPC's calls may end later than
// both. Thread: its owner's is the loop's (or any, when the loop does not run); post: any.
#pragma once

#include <functional>
#include <memory>
#include <mutex>

#include "runtime/event_loop.h"

namespace axo {

class LoopGate {
public:
    using Post = std::function<void(std::function<void()>)>;

    explicit LoopGate(EventLoop& loop) : state_(std::make_shared<State>(&loop)) {}
    ~LoopGate() {
        const std::lock_guard lock(state_->mutex);
        state_->loop = nullptr;
    }
    LoopGate(const LoopGate&) = delete;
    LoopGate& operator=(const LoopGate&) = delete;

    // Outlives the gate, and does nothing then; neither does what it posted before.
    [[nodiscard]] Post post() const {
        return [state = state_](std::function<void()> work) {
            const std::lock_guard lock(state->mutex);
            if (state->loop == nullptr) return;
            state->loop->post([state, work = std::move(work)] {
                // Gates are closed on this thread.
                if (state->loop != nullptr) work();
            });
        };
    }

private:
    struct State {
        explicit State(EventLoop* of) : loop(of) {}
        std::mutex mutex;
        EventLoop* loop;
    };
    std::shared_ptr<State> state_;
};

}  // namespace axo
