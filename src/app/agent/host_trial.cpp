#include "app/agent/host_trial.h"

#include <algorithm>

namespace axo {
namespace {

constexpr auto kInterval = std::chrono::seconds(2);
constexpr int kFailures = 2;  // in a row: one probe may be lost for any reason
// Others' probes come at their interval; after this long without any of them, a node that heard some before is cut off.
constexpr auto kSilence = std::chrono::seconds(40);
constexpr auto kTrial = std::chrono::seconds(45);

bool answers(const NodeHealth& node) {
    return std::ranges::any_of(node.host,
                               [](const AddressHealth& address) { return address.icmp.ok() || address.http.ok(); });
}

}  // namespace

void HostTrial::changing() {
    if (running_ || health_ == nullptr) return;
    reachable_.clear();
    for (const auto& [name, node] : health_->results()) {
        if (!node.local && answers(node)) reachable_.insert(name);
    }
    heard_ = health_->heard_since(std::chrono::steady_clock::now() - std::chrono::minutes(1));
}

void HostTrial::changed() {
    running_ = true;
    failures_ = 0;
    changed_at_ = std::chrono::steady_clock::now();
    log_.info("Host policy changed; it is confirmed when the node stays reachable", {{"peers", reachable_.size()}});
    next_ = loop_.after(std::chrono::milliseconds(500), [this] { look(); });
}

void HostTrial::look() {
    if (health_ == nullptr) return judge();
    health_->probe([this] { judge(); });
}

void HostTrial::judge() {
    if (!running_) return;
    const auto elapsed = std::chrono::steady_clock::now() - changed_at_;
    std::string problem = callbacks_.store_problem();
    if (problem.empty() && health_ != nullptr) {
        for (const std::string& name : reachable_) {
            const auto node = health_->results().find(name);
            if (node != health_->results().end() && !answers(node->second)) {
                problem = "node " + name + " answered health probes before the change and does not since";
                break;
            }
        }
        if (problem.empty() && heard_ && elapsed > kSilence && !health_->heard_since(changed_at_))
            problem = "no other node's health probe has reached this node since the change";
    }
    failures_ = problem.empty() ? 0 : failures_ + 1;
    if (failures_ >= kFailures || (!problem.empty() && elapsed > kTrial)) {
        running_ = false;
        log_.error("Host policy rolled back", {{"reason", problem}});
        callbacks_.roll_back(problem);
    } else if (elapsed > kTrial) {
        running_ = false;
        log_.info("Host policy confirmed");
        callbacks_.confirm();
    } else {
        next_ = loop_.after(kInterval, [this] { look(); });
    }
}

}  // namespace axo
