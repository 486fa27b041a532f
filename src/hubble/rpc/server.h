// A gRPC server over HTTP/2, on one thread, for methods that take one message and answer with any number of them.
//
// Not Debian's gRPC library: that brings eight threads and ten megabytes into a process that should be small, and takes
// messages whether or not a client reads them. Thread: start, stop, wake, set_tls from any; methods run on the
// server's.
#pragma once

#include <memory>
#include <string>

#include "base/ip.h"
#include "base/result.h"
#include "hubble/rpc/connection.h"
#include "hubble/rpc/tls.h"

namespace axo::rpc {

class Server {
public:
    static Result<std::unique_ptr<Server>> start(Methods methods, ServerLimits limits = {});
    virtual ~Server() = default;

    virtual Status listen_unix(const std::string& path, unsigned mode) = 0;
    // tls: clients are refused until set_tls has given a context.
    virtual Status listen_tcp(const IpAddress& address, std::uint16_t port, bool tls) = 0;
    // Of connections from now on.
    virtual void set_tls(TlsContext context) = 0;
    // Calls that had nothing are asked again.
    virtual void wake() = 0;
    // Port of the last listen_tcp.
    [[nodiscard]] virtual std::uint16_t port() const = 0;
};

}  // namespace axo::rpc
