// One client's HTTP/2 connection with its gRPC calls. Thread: the server's only.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "hubble/rpc/call.h"
#include "hubble/rpc/transport.h"

struct nghttp2_session;

namespace axo::rpc {

struct Methods {
    std::map<std::string, Method, std::less<>> by_path;  // "/observer.Observer/GetFlows"
    std::string server_version;                          // header "hubble-server-version"; empty: not sent
};

struct ServerLimits {
    std::size_t connections = 512;
    std::size_t calls = 256;
    // What requests that have not come to their end may take, of a connection and of all.
    std::size_t connection_bytes = 8U << 20, bytes = 64U << 20;
};

// Of the whole server.
struct Load {
    std::size_t calls = 0, bytes = 0;
};

class Connection {
public:
    // load: which this one adds its own to.
    Connection(std::unique_ptr<Transport> transport, const Methods& methods, Load& load, const ServerLimits& limits);
    ~Connection();
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    // Reads what there is and writes what can be written; false: it is over.
    bool drive();
    // Calls that had nothing are asked again.
    bool wake();
    [[nodiscard]] bool wants_write() const { return wants_write_; }
    // Some call has not finished looking: wake() soon.
    [[nodiscard]] bool busy() const { return busy_; }
    [[nodiscard]] int fd() const { return transport_->fd(); }

private:
    friend struct Callbacks;
    struct Stream {
        std::int32_t id = 0;
        std::string path, content_type, encoding, request;
        std::unique_ptr<Call> call;
        std::string out;  // of the message that is being sent
        std::size_t sent = 0;
        std::size_t held = 0;  // bytes it counts for while its request comes
        bool waiting = false, refused = false;
    };
    bool read();
    bool write();
    void begin(Stream& stream);
    // The stream takes so much more; false: that is too much, and it has been refused.
    bool hold(Stream& stream, std::size_t bytes);
    void release(Stream& stream);
    // status: what is wrong. Whatever else the client sends of this request is not looked at.
    void refuse(Stream& stream, const Status& status);
    Result<std::unique_ptr<Call>> start(const Stream& stream);
    void answer_headers(const Stream& stream);
    void finish(std::int32_t id, const Status& status, bool trailers_only);
    // nghttp2's data source.
    long produce(Stream& stream, unsigned char* buffer, std::size_t length, std::uint32_t* flags);

    std::unique_ptr<Transport> transport_;
    const Methods& methods_;
    Load& load_;
    const ServerLimits limits_;
    std::size_t held_ = 0;  // by its streams
    nghttp2_session* session_ = nullptr;
    std::map<std::int32_t, Stream> streams_;
    std::vector<unsigned char> left_;  // taken from nghttp2, not yet written
    std::size_t left_at_ = 0;
    bool wants_write_ = false, busy_ = false;
};

}  // namespace axo::rpc
