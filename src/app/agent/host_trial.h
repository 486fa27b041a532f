// Commit-confirm of host policies: after a change of the host endpoint's policy the node has to stay reachable, or the
// policy that was confirmed last comes back within a minute.
//
// What has to go on: probes of the nodes that answered before, both ways: theirs have to reach this node, too.
// Thread: the loop's only.
#pragma once

#include <functional>
#include <set>
#include <string>

#include "features/health/module.h"

namespace axo {

class HostTrial {
public:
    struct Callbacks {
        std::function<void()> confirm;
        std::function<void(const std::string& why)> roll_back;
        // "": the store answers, as it did before.
        std::function<std::string()> store_problem;
    };
    HostTrial(EventLoop& loop, Callbacks callbacks) : loop_(loop), callbacks_(std::move(callbacks)) {}
    // nullptr: nodes are not probed, only the store is looked at.
    void set_health(HealthChecker* health) { health_ = health; }

    void changing();  // remembers what works now
    void changed();   // starts watching, or starts again
    [[nodiscard]] bool running() const { return running_; }

private:
    void look();
    void judge();

    EventLoop& loop_;
    Callbacks callbacks_;
    Logger log_{"host-policy"};
    HealthChecker* health_ = nullptr;
    std::set<std::string> reachable_;  // names of nodes
    bool heard_ = false;               // others reached this node
    std::chrono::steady_clock::time_point changed_at_{};
    int failures_ = 0;
    bool running_ = false;
    EventLoop::Handle next_;
};

}  // namespace axo
