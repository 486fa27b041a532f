#include "features/nat/netfilter.h"

#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <array>

#include "features/nat/iptables.h"
#include "kernel/iptables.h"

namespace axo::nat {

namespace {

// What others write through nftables, which is what iptables is made of today. Nothing where there is none.
Fd open_changes() {
    Fd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER));
    sockaddr_nl address{};
    address.nl_family = AF_NETLINK;
    address.nl_groups = 1U << (NFNLGRP_NFTABLES - 1);
    if (!socket || ::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) return {};
    return socket;
}

}  // namespace

struct Netfilter::Outcome {
    std::uint64_t writes = 0, taken = 0;
};

Netfilter::Netfilter(EventLoop& loop, ControllerRegistry& registry, Options options)
    : loop_(loop),
      options_(std::move(options)),
      controller_(loop, registry, "netfilter", [this] { return run(); }, std::chrono::minutes(5)) {
    // Only who has rules there has to know of changes.
    const RuleSettings& rules = options_.rules;
    if (!rules.masquerade4 && !rules.masquerade6 && !rules.no_conntrack && !options_.proxy_adapter) return;
    changes_ = open_changes();
    if (changes_) {
        readable_ = loop_.on_readable(changes_.get(), [this] {
            std::array<char, 16384> buffer;
            while (::recv(changes_.get(), buffer.data(), buffer.size(), 0) > 0) {
            }
            check_soon(std::chrono::milliseconds(20));
        });
    }
    // The old tables of iptables tell nobody.
    interval_ =
        loop_.every(changes_ ? std::chrono::seconds(30) : std::chrono::seconds(2), [this] { check_soon(Duration{0}); });
}

Netfilter::~Netfilter() {
    *alive_ = false;
}

void Netfilter::set_state(RuleState state) {
    const bool look = !stated_ || asks_for_look(state_, state);
    state_ = std::move(state);
    stated_ = true;
    if (look) check_soon(std::chrono::milliseconds(20));
}

void Netfilter::check_soon(Duration delay) {
    if (soon_ || !stated_) return;
    soon_ = loop_.after(delay, [this] {
        soon_ = {};
        check();
    });
}

void Netfilter::check() {
    if (std::exchange(checking_, true)) {
        again_ = true;
        return;
    }
    auto outcome = std::make_shared<Outcome>();
    loop_.run_blocking(
        [options = options_, state = state_, outcome]() -> Status {
            Status first;
            for (const Family family : {Family::kIpv4, Family::kIpv6}) {
                if (!(family == Family::kIpv4 ? options.ipv4 : options.ipv6)) continue;
                auto done = check_family(family, options, state, *outcome);
                if (!done && first) first = std::move(done);
            }
            return first;
        },
        [this, outcome, alive = alive_](const Status& status) {
            if (!*alive) return;
            checking_ = false;
            ++counts_.checks;
            counts_.writes += outcome->writes;
            counts_.taken_from_kube_proxy += outcome->taken;
            if (outcome->taken != 0)
                log_.info("Took kube-proxy's ClusterIP rules out of KUBE-SERVICES", {{"rules", outcome->taken}});
            if (!status && problem_ != status.error().message)
                log_.error("Netfilter rules are not as they should be", {status.error()});
            problem_ = status ? "" : status.error().message;
            last_ = status;
            controller_.trigger();
            if (std::exchange(again_, false)) check_soon(std::chrono::milliseconds(20));
        });
}

// The controller shows how the last check went; its retries and its interval start another one.
Status Netfilter::run() {
    if (controller_.timer_run()) check_soon(Duration{0});
    return last_;
}

Status Netfilter::check_family(Family family, const Options& options, const RuleState& state, Outcome& outcome) {
    const std::string& tool = iptables_tool(family);
    const std::vector<Chain> chains = wanted_chains(options.rules, state, family);
    for (const char* table : {"nat", "raw"}) {
        const bool any = options.proxy_adapter ||
                         std::ranges::any_of(chains, [](const Chain& chain) { return !chain.rules.empty(); });
        const auto saved = iptables_save(tool, table);
        // Nothing wanted: where the tool is missing there is nothing of ours either.
        if (!saved && !any && saved.error().code == Code::kNotFound) return {};
        if (!saved) return forward_error(saved.error());
        std::string script = correct_chains(*saved, chains, table, options.rules);
        if (std::string_view(table) == "nat") {
            if (options.proxy_adapter) {
                const Adaptation adaptation = adapt_kube_proxy(*saved, options.rules);
                script += adaptation.script;
                outcome.taken += adaptation.taken;
            } else {
                const Chain leftover{.table = "nat", .name = "CILIUM_OUTPUT_nat", .hook = "OUTPUT"};
                script += correct_chains(*saved, {leftover}, table, options.rules);
            }
        }
        if (script.empty()) continue;
        TRY(iptables_restore(tool, script, options.lock_timeout));
        ++outcome.writes;
    }
    return {};
}

}  // namespace axo::nat
