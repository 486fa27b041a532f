// Keeps this node's netfilter rules as they should be: masquerading, bypass of connection tracking, and, beside a
// kube-proxy, its ClusterIP rules out of the way. Rules that are right are not written; what somebody else changes is
// looked at when the kernel tells of it, and every few minutes.
//
// The tools iptables-save and iptables-restore (and those of IPv6) do the work, on another thread. Thread: the loop's.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/log.h"
#include "features/nat/rules.h"
#include "runtime/controller.h"
#include "runtime/event_loop.h"

namespace axo::nat {

class Netfilter {
public:
    struct Options {
        bool ipv4 = true, ipv6 = false;
        RuleSettings rules{};
        bool proxy_adapter = false;
        std::chrono::seconds lock_timeout{5};
    };
    struct Counts {
        std::uint64_t checks = 0, writes = 0;
        std::uint64_t taken_from_kube_proxy = 0;
    };
    // In the calling thread's network namespace.
    Netfilter(EventLoop& loop, ControllerRegistry& registry, Options options);
    ~Netfilter();
    Netfilter(const Netfilter&) = delete;
    Netfilter& operator=(const Netfilter&) = delete;

    void set_state(RuleState state);
    [[nodiscard]] Counts counts() const { return counts_; }
    // Of the last check; "": all is as it should be.
    [[nodiscard]] const std::string& problem() const { return problem_; }

private:
    struct Outcome;
    void check_soon(Duration delay);
    void check();
    static Status check_family(Family family, const Options& options, const RuleState& state, Outcome& outcome);
    Status run();

    EventLoop& loop_;
    Logger log_{"netfilter"};
    Options options_;
    RuleState state_;
    Counts counts_;
    std::string problem_;
    bool stated_ = false, checking_ = false, again_ = false;
    Status last_;
    Fd changes_;
    EventLoop::Handle readable_, soon_, interval_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
    Controller controller_;
};

}  // namespace axo::nat
