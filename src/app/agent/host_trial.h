// Commit-confirm of host policies: after a change of the host endpoint's policy the node has to stay reachable, or the
// policy that was confirmed last comes back within a minute.
//
// What has to go on: the object store answers, if it did before; so do the nodes that answered health probes before,
// and theirs have to reach this node, too. Thread: the loop's only.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "features/health/module.h"

namespace axo {

class HostTrial {
public:
    using Time = std::chrono::steady_clock::time_point;
    struct Callbacks {
        std::function<void()> confirm;
        std::function<void(const std::string& why)> roll_back;
        // ObjectStore::reachable of the store that tells the node its policy.
        std::function<bool()> store_answers;
        // Asks the store for something, so that store_answers knows: one that only watches may hear nothing for
        // minutes, cut off or not. done runs when it has answered or failed. Not set: it is known anyway.
        std::function<void(std::function<void()> done)> ask_store{};
    };
    // The other nodes, as health checking sees them.
    struct Peers {
        // Probes all of them now; done runs when all have answered or timed out.
        std::function<void(std::function<void()> done)> probe;
        // By name: whether the node answered its latest probe.
        std::function<std::map<std::string, bool>()> answering;
        // Whether another node's probe has reached this one since then.
        std::function<bool(Time)> heard_since;
    };
    struct Timing {
        Duration first_look = std::chrono::milliseconds(500);
        Duration interval = std::chrono::seconds(2);
        // Others' probes come at their interval; after this long without any of them, a node that heard some in
        // `recent` before the change is cut off.
        Duration silence = std::chrono::seconds(40);
        Duration recent = std::chrono::minutes(1);
        Duration trial = std::chrono::seconds(45);
    };
    HostTrial(EventLoop& loop, Callbacks callbacks) : HostTrial(loop, std::move(callbacks), Timing()) {}
    HostTrial(EventLoop& loop, Callbacks callbacks, Timing timing)
        : loop_(loop), callbacks_(std::move(callbacks)), timing_(timing) {}
    // nullptr, and before: nodes are not probed, only the store is looked at.
    void set_health(HealthChecker* health);
    void set_peers(std::optional<Peers> peers) { peers_ = std::move(peers); }

    void changing();  // remembers what works now; during a trial, beside what worked before it
    void changed();   // starts watching, or starts again
    [[nodiscard]] bool running() const { return running_; }

private:
    void look();
    void ask_store();
    void judge();

    EventLoop& loop_;
    Callbacks callbacks_;
    Timing timing_;
    Logger log_{"host-policy"};
    std::optional<Peers> peers_;
    // What worked before: the store, probes of nodes (their names), others' probes of this node.
    bool store_answered_ = false;
    std::set<std::string> reachable_;
    bool heard_ = false;
    Time changed_at_{};
    std::uint64_t round_ = 0;  // of probes; answers of an earlier one do not count
    int failures_ = 0;
    bool running_ = false;
    bool asking_ = false;
    EventLoop::Handle next_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace axo
