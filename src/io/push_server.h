// A unix socket that writes to whoever connects, without being asked: what Cilium's monitor socket is.
//
// A client that does not read keeps no one waiting: what it is sent is kept until it reads it, and whoever sends looks
// at pending_bytes() to send less. What a client sends is read and thrown away. Above max_clients, connections are
// accepted and closed. The loop outlives the server; clients outlive it closed. Thread: the loop's only.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "runtime/event_loop.h"

namespace axo {

class PushClient {
public:
    virtual ~PushClient() = default;
    // Nothing happens when the client has gone.
    virtual void send(std::string_view bytes) = 0;
    [[nodiscard]] virtual std::size_t pending_bytes() const = 0;
    // Looks: a client may go without a word.
    virtual bool gone() = 0;
    virtual void close() = 0;
};

class PushServer {
public:
    using Handler = std::function<void(std::shared_ptr<PushClient>)>;

    // handler: gets each client that has connected.
    PushServer(EventLoop& loop, std::size_t max_clients, Handler handler);
    ~PushServer();
    PushServer(const PushServer&) = delete;
    PushServer& operator=(const PushServer&) = delete;
    // As HttpServer::listen_unix has it.
    Status listen_unix(const std::string& path, unsigned mode);
    [[nodiscard]] std::size_t clients() const;
    // Connections that were closed since there were too many.
    [[nodiscard]] std::uint64_t refused() const;

    struct Impl;

private:
    std::shared_ptr<Impl> impl_;
};

}  // namespace axo
