// Node-to-node health: answers probes on the node and inside the health endpoint, and probes every node of the cluster.
// Thread: the loop's only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "features/health/desired.h"
#include "features/health/prober.h"
#include "io/http.h"
#include "runtime/controller.h"
#include "runtime/table.h"

namespace axo {

struct HealthSettings {
    bool ipv4 = true, ipv6 = false;
    bool endpoints = true;  // enable-endpoint-health-checking
    std::uint16_t port = 4240;
    std::string instance_id;  // told by /hello: who answers here
    Duration timeout = std::chrono::seconds(3);
};

class HealthChecker {
public:
    HealthChecker(EventLoop& loop, HealthSettings settings, Table<std::string, NodeRow>& nodes,
                  std::unique_ptr<Prober> prober);

    // Answers GET /hello on the node. Inside the health endpoint too, once it exists: ownership of the socket passes.
    Status listen();
    Status listen_fd(int fd) { return responder_.listen_fd(fd); }
    // Probes now; done (may be empty) runs when all have answered or timed out.
    void probe(std::function<void()> done = {});
    // The first probe goes out, later ones at the interval.
    void start();

    [[nodiscard]] const std::map<std::string, NodeHealth>& results() const { return results_; }
    [[nodiscard]] Duration interval() const { return interval_; }
    [[nodiscard]] WallTime last_probe() const { return last_probe_; }
    [[nodiscard]] std::size_t reachable_nodes() const;
    // Whether an agent of another node has asked for /hello since then.
    [[nodiscard]] bool heard_since(std::chrono::steady_clock::time_point time) const { return heard_at_ >= time; }

private:
    void nodes_changed();
    void probe_nodes(const std::vector<std::string>& names, Duration timeout, std::function<void()> done);
    void probe_fresh();
    void look_again();
    void schedule();

    EventLoop& loop_;
    HealthSettings settings_;
    Table<std::string, NodeRow>& nodes_;
    std::unique_ptr<Prober> prober_;
    HttpServer responder_;
    std::map<std::string, NodeHealth> results_;
    Duration interval_{0};
    WallTime last_probe_{};
    std::chrono::steady_clock::time_point heard_at_{};
    bool started_ = false;
    // Nodes that appeared a moment ago and were not reachable yet: looked at again before the interval does.
    struct Fresh {
        int looks = 0;
        std::chrono::steady_clock::time_point next;
    };
    std::map<std::string, Fresh> fresh_;
    std::chrono::steady_clock::time_point soon_at_;
    Table<std::string, NodeRow>::Watch watch_;
    EventLoop::Handle timer_, soon_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// Whether an agent with another instance id than ours answers /hello at one of the addresses. Blocking: for a pool
// thread.
bool other_agent_answers(const std::vector<IpAddress>& addresses, std::uint16_t port, const std::string& own_instance);

}  // namespace axo
