// Takes the connections of a listening socket, a bounded number per turn of the loop.
//
// Out of descriptors or memory it pauses, and clients wait in the backlog. A connection that nobody takes is closed,
// counted, and told of once a minute. Thread: the loop's only.
#pragma once

#include <sys/socket.h>

#include <chrono>
#include <functional>
#include <optional>

#include "base/fd.h"
#include "base/log.h"
#include "io/listen_socket.h"
#include "runtime/event_loop.h"

namespace axo {

class Acceptor {
public:
    // connection: non-blocking, close-on-exec. False: there are too many, the connection is to be closed.
    using Take = std::function<bool(Fd& connection, const sockaddr_storage& peer)>;

    // listening: non-blocking. file: of a unix socket, goes with it. log: outlives it.
    Acceptor(EventLoop& loop, Fd listening, SocketFile file, const Logger& log, Take take);
    Acceptor(const Acceptor&) = delete;
    Acceptor& operator=(const Acceptor&) = delete;
    // Connections that were closed because there were too many.
    [[nodiscard]] std::uint64_t refused() const { return refused_; }

private:
    void watch();
    void accept();
    void note_refusal();

    EventLoop& loop_;
    const Fd listening_;
    const SocketFile file_;
    const Logger& log_;
    const Take take_;
    EventLoop::Handle readable_, pause_;
    std::uint64_t refused_ = 0;
    std::optional<std::chrono::steady_clock::time_point> refusal_told_;
};

}  // namespace axo
