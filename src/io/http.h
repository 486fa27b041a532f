// HTTP/1.1 over unix sockets and TCP (Boost.Beast behind a compile-time wall).
//
// Server: asynchronous, on the control loop. A handler may answer at once or keep the responder and
// answer later; a responder that is dropped unanswered answers 500, one dropped in mid-stream breaks the
// connection so that the client sees that something is missing. Limits: 64 KiB of headers (431), 16 MiB of
// body (413), 60 s for a request to arrive or for a write to move (closed). What is not HTTP gets 400.
// Client: blocking, for the CLI, the CNI plugin and threads of the pool. Never on the control loop.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/ip.h"
#include "base/result.h"
#include "runtime/event_loop.h"

namespace axo {

struct HttpRequest {
    std::string method;                          // "GET"
    std::string path;                            // decoded, without query: "/v1/endpoint/12"
    std::map<std::string, std::string> query;    // decoded
    std::map<std::string, std::string> headers;  // names in lower case
    std::string body;
    std::string peer;  // "unix" or "ip:port"

    [[nodiscard]] std::string header(const std::string& lower_case_name) const;
    [[nodiscard]] std::string query_value(const std::string& name) const;
};

struct HttpResponse {
    int status = 200;
    std::string body;
    std::string content_type = "application/json";
    std::map<std::string, std::string> headers;
};

class HttpResponder {
public:
    virtual ~HttpResponder() = default;
    virtual void send(HttpResponse response) = 0;
    // Streams: send_head once, then chunks; returns false when the client has gone.
    virtual void send_head(int status, const std::string& content_type) = 0;
    virtual bool send_chunk(std::string data) = 0;
    virtual void end() = 0;
    // Bytes of chunks accepted but not yet written to the socket: what a producer watches to drop instead of grow.
    [[nodiscard]] virtual std::size_t pending_bytes() const = 0;
    [[nodiscard]] virtual bool client_gone() const = 0;
    // Called once, on the loop, when the client leaves before the answer is complete.
    virtual void on_gone(std::function<void()> callback) = 0;
};

// The loop outlives the server and its responders.
class HttpServer {
public:
    using Handler = std::function<void(const HttpRequest&, std::shared_ptr<HttpResponder>)>;

    explicit HttpServer(EventLoop& loop, Handler handler);
    ~HttpServer();
    // A socket file left behind is replaced; kAlreadyExists when somebody listens on it. Its directory is made. The
    // destructor removes the file.
    Status listen_unix(const std::string& path, unsigned mode = 0660);
    // Port 0: any free one, see tcp_port.
    Status listen_tcp(const IpAddress& address, std::uint16_t port);
    // A listening socket made elsewhere (e.g. in another network namespace); ownership passes.
    Status listen_fd(int fd);
    // Of the latest listen_tcp; 0: none.
    [[nodiscard]] std::uint16_t tcp_port() const;
    // How long a client may keep silent while the server waits for it.
    void set_idle_timeout(Duration timeout);

    struct Impl;

private:
    std::shared_ptr<Impl> impl_;
};

class HttpClient {
public:
    // "unix:///var/run/cilium/cilium.sock" or "http://127.0.0.1:9234". kUnavailable when nobody answers there.
    // timeout: for the connection, and for each request from first byte to last.
    static Result<HttpClient> connect(const std::string& address, Duration timeout);
    HttpClient(HttpClient&&) noexcept;
    HttpClient& operator=(HttpClient&&) noexcept;
    ~HttpClient();

    // Any complete answer is a success, whatever its status. The connection is kept and reused.
    Result<HttpResponse> request(const std::string& method, const std::string& target, const std::string& body = {},
                                 const std::map<std::string, std::string>& headers = {});
    // Calls sink per chunk until the server ends the stream or sink returns false. The timeout covers the time until
    // the head of the answer; a stream may then be silent for as long as it likes. A status other than 2xx is an error.
    Status stream(const std::string& method, const std::string& target,
                  const std::function<bool(std::string_view)>& sink);

private:
    struct Impl;
    explicit HttpClient(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace axo
