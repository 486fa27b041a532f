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

class Connection {
public:
    // calls: of the whole server, which this one adds its own to; at most max_calls.
    Connection(std::unique_ptr<Transport> transport, const Methods& methods, std::size_t& calls, std::size_t max_calls);
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
    [[nodiscard]] bool has_calls() const { return !streams_.empty(); }

private:
    friend struct Callbacks;
    struct Stream {
        std::int32_t id = 0;
        std::string path, content_type, encoding, request;
        std::unique_ptr<Call> call;
        std::string out;  // of the message that is being sent
        std::size_t sent = 0;
        bool counted = false, waiting = false, ended = false, refused = false;
    };
    bool read();
    bool write();
    void begin(Stream& stream);
    Result<std::unique_ptr<Call>> start(const Stream& stream);
    void answer_headers(const Stream& stream);
    void finish(std::int32_t id, const Status& status, bool trailers_only);
    // nghttp2's data source.
    long produce(Stream& stream, unsigned char* buffer, std::size_t length, std::uint32_t* flags);

    std::unique_ptr<Transport> transport_;
    const Methods& methods_;
    std::size_t& calls_;
    const std::size_t max_calls_;
    nghttp2_session* session_ = nullptr;
    std::map<std::int32_t, Stream> streams_;
    std::vector<unsigned char> left_;  // taken from nghttp2, not yet written
    std::size_t left_at_ = 0;
    bool wants_write_ = false, busy_ = false;
};

}  // namespace axo::rpc
