// Ends the sockets of backends that went: their processes hear of it at once instead of waiting for an answer that
// nobody gives. Datagram sockets of the node and of its pods; TCP connections where wanted.
//
// Backends that go together cost one pass over the namespaces, on a thread of its own. Thread: loop.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "maps/socket_map.h"
#include "runtime/event_loop.h"

namespace axo {

class SocketTerminator {
public:
    struct Options {
        bool tcp = false;  // bpf-lb-sock-terminate-pod-connections
        // Paths of the pods' network namespaces, asked for when a pass begins. One that is gone by then is passed over.
        std::function<std::vector<std::string>()> pod_namespaces{};
    };
    struct Counts {
        std::uint64_t passes = 0, ended = 0, failed = 0;  // failed: namespaces that could not be looked into
    };

    // The node's namespace is that of the thread that makes this object.
    static Result<std::unique_ptr<SocketTerminator>> create(EventLoop& loop, SocketMaps maps, Options options);
    ~SocketTerminator();
    SocketTerminator(const SocketTerminator&) = delete;
    SocketTerminator& operator=(const SocketTerminator&) = delete;

    void backend_gone(const LbAddress& backend);
    [[nodiscard]] Counts counts() const;

private:
    struct Shared;
    SocketTerminator(EventLoop& loop, std::shared_ptr<Shared> shared, Options options);
    void run_pass();

    EventLoop& loop_;
    std::shared_ptr<Shared> shared_;  // what a pass under way needs when this object goes
    Options options_;
    std::set<LbAddress> gone_;
    EventLoop::Handle gather_;
    std::uint64_t passes_ = 0;
    bool running_ = false;
    bool unsupported_ = false;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace axo
