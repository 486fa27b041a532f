// HTTP/1.1 over unix sockets and TCP (Boost.Beast behind a compile-time wall).
//
// Server: asynchronous, on the control loop. A handler may answer at once or keep the responder and
// answer later; a responder that is dropped unanswered answers 500.
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
    std::string peer;                            // "unix" or "ip:port"

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
};

class HttpServer {
public:
    using Handler = std::function<void(const HttpRequest&, std::shared_ptr<HttpResponder>)>;

    explicit HttpServer(EventLoop& loop, Handler handler);
    ~HttpServer();
    // The socket file is replaced if nobody listens on it; mode as given.
    Status listen_unix(const std::string& path, unsigned mode = 0660);
    Status listen_tcp(const IpAddress& address, std::uint16_t port);
    // A listening socket made elsewhere (e.g. in another network namespace); ownership passes.
    Status listen_fd(int fd);

private:
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

class HttpClient {
public:
    // "unix:///var/run/cilium/cilium.sock" or "http://127.0.0.1:9234".
    static Result<HttpClient> connect(const std::string& address, Duration timeout);
    HttpClient(HttpClient&&) noexcept;
    HttpClient& operator=(HttpClient&&) noexcept;
    ~HttpClient();

    Result<HttpResponse> request(const std::string& method, const std::string& target, const std::string& body = {},
                                 const std::map<std::string, std::string>& headers = {});
    // Calls sink per chunk until the server ends the stream or sink returns false.
    Status stream(const std::string& method, const std::string& target, const std::function<bool(std::string_view)>& sink);

private:
    struct Impl;
    explicit HttpClient(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace axo
