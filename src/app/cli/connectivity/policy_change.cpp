#include "app/cli/connectivity/policy_change.h"

#include <thread>

namespace axo::cli::connectivity {

namespace {

using Clock = std::chrono::steady_clock;

Result<std::int64_t> revision_of(TestCluster& cluster, const Peer& node) {
    TRY_ASSIGN(const Json policy, cluster.ask_agent(node, {"policy", "get"}));
    return number(policy, "revision");
}

Result<std::int64_t> later_revision(TestCluster& cluster, const Peer& node, std::int64_t before) {
    const auto end = Clock::now() + std::chrono::seconds(10);
    for (;;) {
        TRY_ASSIGN(const std::int64_t revision, revision_of(cluster, node));
        if (revision > before) return revision;
        if (Clock::now() > end)
            return fail(Code::kDeadlineExceeded, "node " + node.name + " does not take note of the policy");
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
}

}  // namespace

Status change_policies(TestCluster& cluster, const std::function<Status()>& make,
                       const std::function<Status(const Peer& node, const std::string& revision)>& wait) {
    TRY_ASSIGN(const std::vector<Peer> nodes, cluster.nodes());
    std::vector<std::int64_t> before;
    for (const Peer& node : nodes) {
        TRY_ASSIGN(const std::int64_t revision, revision_of(cluster, node));
        before.push_back(revision);
    }
    TRY(make());
    for (std::size_t i = 0; i < nodes.size(); ++i) {
        TRY_ASSIGN(const std::int64_t revision, later_revision(cluster, nodes[i], before[i]));
        TRY(wait(nodes[i], std::to_string(revision)));
    }
    return {};
}

}  // namespace axo::cli::connectivity
