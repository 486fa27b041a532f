#include "app/agent/host_trial.h"

#include <algorithm>

namespace axo {
namespace {

constexpr int kFailures = 2;  // in a row: one probe may be lost for any reason

bool answers(const NodeHealth& node) {
    return std::ranges::any_of(node.host,
                               [](const AddressHealth& address) { return address.icmp.ok() || address.http.ok(); });
}

}  // namespace

void HostTrial::set_health(HealthChecker* health) {
    peers_.reset();
    if (health == nullptr) return;
    peers_ = Peers{.probe = [health](std::function<void()> done) { health->probe(std::move(done)); },
                   .answering =
                       [health] {
                           std::map<std::string, bool> nodes;
                           for (const auto& [name, node] : health->results()) {
                               if (!node.local) nodes.emplace(name, answers(node));
                           }
                           return nodes;
                       },
                   .heard_since = [health](Time time) { return health->heard_since(time); }};
}

void HostTrial::changing() {
    if (!running_) {
        store_answered_ = heard_ = false;
        reachable_.clear();
    }
    store_answered_ = store_answered_ || callbacks_.store_answers();
    if (!peers_) return;
    for (const auto& [name, answered] : peers_->answering()) {
        if (answered) reachable_.insert(name);
    }
    heard_ = heard_ || peers_->heard_since(std::chrono::steady_clock::now() - timing_.recent);
}

void HostTrial::changed() {
    running_ = true;
    failures_ = 0;
    changed_at_ = std::chrono::steady_clock::now();
    ++round_;
    log_.info("Host policy changed; it is confirmed when the node stays reachable", {{"peers", reachable_.size()}});
    next_ = loop_.after(timing_.first_look, [this] { look(); });
}

void HostTrial::ask_store() {
    if (!callbacks_.ask_store || asking_) return;
    asking_ = true;
    callbacks_.ask_store([this, alive = std::weak_ptr<bool>(alive_)] {
        if (!alive.expired()) asking_ = false;
    });
}

void HostTrial::look() {
    ask_store();
    if (!peers_) return judge();
    peers_->probe([this, round = ++round_, alive = std::weak_ptr<bool>(alive_)] {
        if (!alive.expired() && round == round_) judge();
    });
}

void HostTrial::judge() {
    if (!running_) return;
    const auto elapsed = std::chrono::steady_clock::now() - changed_at_;
    std::string problem;
    if (store_answered_ && !callbacks_.store_answers())
        problem = "the object store answered before the change and does not since";
    if (problem.empty() && peers_) {
        const auto now = peers_->answering();
        for (const std::string& name : reachable_) {
            const auto node = now.find(name);
            if (node != now.end() && !node->second) {  // one that has left the cluster need not answer
                problem = "node " + name + " answered health probes before the change and does not since";
                break;
            }
        }
        if (problem.empty() && heard_ && elapsed > timing_.silence && !peers_->heard_since(changed_at_))
            problem = "no other node's health probe has reached this node since the change";
    }
    failures_ = problem.empty() ? 0 : failures_ + 1;
    if (failures_ >= kFailures || (!problem.empty() && elapsed > timing_.trial)) {
        running_ = false;
        log_.error("Host policy rolled back", {{"reason", problem}});
        callbacks_.roll_back(problem);
    } else if (elapsed > timing_.trial) {
        running_ = false;
        log_.info("Host policy confirmed");
        callbacks_.confirm();
    } else {
        next_ = loop_.after(timing_.interval, [this] { look(); });
    }
}

}  // namespace axo
