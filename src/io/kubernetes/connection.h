// One HTTP/1.1 connection to an API server, asynchronous, over TLS or plain TCP (Boost.Asio and Beast's parser behind a
// compile-time wall). One exchange at a time; bodies come in pieces, so that a watch may last for ever.
//
// A task that is destroyed in the middle of an operation closes the connection. Thread: the loop's only.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "io/kubernetes/access.h"
#include "io/kubernetes/tls.h"
#include "runtime/event_loop.h"
#include "runtime/task.h"

namespace axo::kubernetes {

class Connection {
public:
    struct Head {
        int status = 0;
        std::map<std::string, std::string> headers;  // names in lower case
    };

    // tls: for servers with TLS. server_name: expected in the certificate. kUnavailable, kDeadlineExceeded; when the
    // certificate is the matter: kFailedPrecondition.
    static Task<Result<std::shared_ptr<Connection>>> open(EventLoop& loop, Server server,
                                                          std::shared_ptr<TlsContext> tls, std::string server_name,
                                                          Duration limit);
    virtual ~Connection() = default;

    // Sends a request, given as it goes over the wire, and waits for the head of its answer.
    virtual Task<Result<Head>> exchange(std::string message, Duration limit) = 0;
    // The next piece of the body; empty: it is complete. limit: for silence.
    virtual Task<Result<std::string>> read_body(Duration limit) = 0;
    // After an answer of 101, the bytes of the protocol that was switched to. receive: at least one.
    virtual Task<Status> send(std::string bytes, Duration limit) = 0;
    virtual Task<Result<std::string>> receive(Duration limit) = 0;
    // Whether another exchange is possible: the body has been read to its end and the other side has not closed.
    [[nodiscard]] virtual bool reusable() = 0;
    // No byte of an answer has come since the latest exchange began.
    [[nodiscard]] virtual bool silent() const = 0;
    virtual void close() = 0;
};

}  // namespace axo::kubernetes
