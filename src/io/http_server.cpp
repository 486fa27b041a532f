#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <cerrno>
#include <cstring>
#include <unordered_set>

#include "base/log.h"
#include "io/acceptor.h"
#include "io/http.h"
#include "io/http_target.h"

namespace axo {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;
using Clock = std::chrono::steady_clock;

constexpr std::uint32_t kHeaderLimit = 64 * 1024;
constexpr std::uint64_t kBodyLimit = 16 * 1024 * 1024;
constexpr std::size_t kUnsentLimit = 64 * 1024 * 1024;  // a client this far behind its stream is cut off
constexpr std::size_t kSessionLimit = 1024;
constexpr Duration kLinger = std::chrono::seconds(2);

const Logger kLog("http");

std::string lower(std::string_view text) {
    std::string out(text);
    for (char& c : out) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return out;
}

// Nothing of a handler's text may end a header line early.
std::string header_text(std::string_view text) {
    std::string out(text);
    std::erase_if(out, [](char c) { return c == '\r' || c == '\n' || c == '\0'; });
    return out;
}

std::string_view reason_phrase(int status) {
    const auto text = http::obsolete_reason(http::int_to_status(static_cast<unsigned>(status)));
    return {text.data(), text.size()};
}

class Session;

}  // namespace

struct HttpServer::Impl : std::enable_shared_from_this<HttpServer::Impl> {
    Impl(EventLoop& l, Handler h) : loop(l), handler(std::move(h)) {}

    void listen(Fd fd, SocketFile file);
    bool take(Fd& connection, const sockaddr_storage& address);
    void forget(const std::shared_ptr<Session>& session);
    void sweep();
    void close();

    EventLoop& loop;
    Handler handler;
    Duration idle_timeout = std::chrono::seconds(60);
    std::uint16_t port = 0;
    std::vector<std::unique_ptr<Acceptor>> listeners;
    std::unordered_set<std::shared_ptr<Session>> sessions;
    EventLoop::Handle sweeper;  // while there are sessions: an idle server wakes nobody
};

namespace {

// One connection: reads a request, hands it to the handler, writes what the responder is given, starts over.
class Session : public std::enable_shared_from_this<Session> {
public:
    Session(const std::shared_ptr<HttpServer::Impl>& server, asio::io_context& io, std::string peer)
        : server_(server), socket_(io), peer_(std::move(peer)) {}

    bool open(int family, Fd& fd) {
        error_code error;
        (void)socket_.assign(asio::generic::stream_protocol(family, 0), fd.get(), error);
        if (!error) (void)fd.release();
        return !error;
    }
    void read_request();
    void close();
    [[nodiscard]] bool closed() const { return closed_; }
    [[nodiscard]] Clock::time_point deadline() const { return deadline_; }

    // The responder's side; request: which request it answers.
    void send(const HttpResponse& response);
    void send_head(int status, const std::string& content_type);
    bool send_chunk(const std::string& data);
    void end();
    void abandon();
    [[nodiscard]] std::size_t pending_bytes() const { return outbox_.size() + (inflight_.size() - written_); }
    void on_gone(std::function<void()> callback) { gone_ = std::move(callback); }

private:
    enum class Phase { kReading, kHandling, kStreaming, kFinishing, kLingering };

    void on_header(const error_code& error);
    void on_body(const error_code& error);
    void refuse(const error_code& error);
    void dispatch();
    void watch_peer();
    void finish();
    void write();
    void on_written(const error_code& error, std::size_t count);
    void linger();
    void restart_clock(Duration limit) { deadline_ = Clock::now() + limit; }
    void restart_clock() {
        if (const auto server = server_.lock()) restart_clock(server->idle_timeout);
    }
    void stop_clock() { deadline_ = Clock::time_point::max(); }

    std::weak_ptr<HttpServer::Impl> server_;
    asio::generic::stream_protocol::socket socket_;
    bool closed_ = false;
    std::string peer_;
    beast::flat_buffer input_{2 * kHeaderLimit};
    std::optional<http::request_parser<http::string_body>> parser_;
    Phase phase_ = Phase::kReading;
    bool keep_alive_ = false;
    bool head_only_ = false;
    bool chunked_ = false;
    bool watching_peer_ = false;
    bool writing_ = false;
    std::string outbox_;    // accepted, waiting for the write under way
    std::string inflight_;  // being written
    std::size_t written_ = 0;
    std::size_t lingered_ = 0;
    std::function<void()> gone_;
    Clock::time_point deadline_ = Clock::time_point::max();
};

class Responder : public HttpResponder {
public:
    explicit Responder(std::shared_ptr<Session> session) : session_(std::move(session)) {}
    Responder(const Responder&) = delete;
    Responder& operator=(const Responder&) = delete;
    ~Responder() override {
        if (session_) session_->abandon();
    }
    void send(HttpResponse response) override {
        if (!session_ || streaming_) return;
        session_->send(std::move(response));
        session_.reset();  // the connection goes on to the next request, this responder does not
    }
    void send_head(int status, const std::string& content_type) override {
        if (!session_ || streaming_) return;
        streaming_ = true;
        session_->send_head(status, content_type);
    }
    bool send_chunk(std::string data) override {
        if (client_gone()) return false;
        if (!streaming_) send_head(200, "application/octet-stream");
        return session_->send_chunk(data);
    }
    void end() override {
        if (!session_ || !streaming_) return;
        session_->end();
        session_.reset();
    }
    [[nodiscard]] std::size_t pending_bytes() const override { return session_ ? session_->pending_bytes() : 0; }
    [[nodiscard]] bool client_gone() const override { return !session_ || session_->closed(); }
    void on_gone(std::function<void()> callback) override {
        if (session_) session_->on_gone(std::move(callback));
    }

private:
    std::shared_ptr<Session> session_;
    bool streaming_ = false;
};

void Session::read_request() {
    phase_ = Phase::kReading;
    gone_ = nullptr;
    parser_.emplace();
    parser_->header_limit(kHeaderLimit);
    parser_->body_limit(kBodyLimit);
    restart_clock();
    http::async_read_header(
        socket_, input_, *parser_,
        [self = shared_from_this()](const error_code& error, std::size_t) { self->on_header(error); });
}

void Session::on_header(const error_code& error) {
    if (closed()) return;
    if (error) return refuse(error);
    if (!parser_->is_done()) {
        const auto expect = parser_->get()[http::field::expect];
        if (beast::iequals(expect, "100-continue")) {
            outbox_ += "HTTP/1.1 100 Continue\r\n\r\n";
            write();
            if (closed()) return;
        }
    }
    http::async_read(socket_, input_, *parser_,
                     [self = shared_from_this()](const error_code& failure, std::size_t) { self->on_body(failure); });
}

void Session::on_body(const error_code& error) {
    if (closed()) return;
    if (error) return refuse(error);
    dispatch();
}

void Session::refuse(const error_code& error) {
    if (error == http::error::end_of_stream ||
        error.category() != http::make_error_code(http::error::end_of_stream).category()) {
        return close();  // the client is done, or the connection is broken
    }
    int status = 400;
    if (error == http::error::body_limit) status = 413;
    if (error == http::error::header_limit || error == http::error::buffer_overflow) status = 431;
    if (error == http::error::partial_message) return close();
    keep_alive_ = false;
    head_only_ = false;
    phase_ = Phase::kHandling;
    send({.status = status,
          .body = std::string(reason_phrase(status)) + ": " + error.message() + "\n",
          .content_type = "text/plain; charset=utf-8",
          .headers = {}});
}

void Session::dispatch() {
    const auto server = server_.lock();
    if (!server) return close();
    HttpRequest request;
    auto message = parser_->release();
    parser_.reset();
    keep_alive_ = message.keep_alive();
    chunked_ = message.version() >= 11;
    request.method = std::string(message.method_string());
    head_only_ = request.method == "HEAD";
    for (const auto& field : message) {
        const std::string value(field.value());
        auto [slot, fresh] =
            request.headers.emplace(lower({field.name_string().data(), field.name_string().size()}), value);
        if (!fresh) slot->second += ", " + value;
    }
    request.body = std::move(message.body());
    request.peer = peer_;
    phase_ = Phase::kHandling;
    stop_clock();
    const auto target = message.target();
    if (!decode_target({target.data(), target.size()}, request)) {
        return send({.status = 400,
                     .body = "Bad Request: target " + std::string(target).substr(0, 256) + "\n",
                     .content_type = "text/plain; charset=utf-8",
                     .headers = {}});
    }
    try {
        server->handler(request, std::make_shared<Responder>(shared_from_this()));
    } catch (const std::exception& error) {
        // The responder has answered 500 on its way out.
        kLog.error("Request failed", {{"method", request.method}, {"path", request.path}, {"error", error.what()}});
    }
    if (!closed() && (phase_ == Phase::kHandling || phase_ == Phase::kStreaming)) watch_peer();
}

// While nothing is read from the client, its leaving would go unnoticed until the next write.
void Session::watch_peer() {
    if (watching_peer_) return;
    watching_peer_ = true;
    socket_.async_wait(asio::socket_base::wait_read, [self = shared_from_this()](const error_code& error) {
        self->watching_peer_ = false;
        if (error || self->closed()) return;
        if (self->phase_ != Phase::kHandling && self->phase_ != Phase::kStreaming) return;
        char byte = 0;
        const int fd = self->socket_.native_handle();
        const auto count = ::recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
        if (count > 0) return;  // the next request, early; it is read in its turn
        if (count < 0 && (errno == EAGAIN || errno == EINTR)) return self->watch_peer();
        // Closed for writing only, the client may still be waiting for the answer.
        pollfd state{.fd = fd, .events = 0, .revents = 0};
        const bool hung_up = ::poll(&state, 1, 0) > 0 && (state.revents & (POLLHUP | POLLERR)) != 0;
        if (count == 0 && !hung_up && self->phase_ == Phase::kHandling) return;
        self->close();
    });
}

void Session::send(const HttpResponse& response) {
    if (closed() || phase_ != Phase::kHandling) return;
    const bool bodiless =
        response.status == 204 || response.status == 304 || (response.status >= 100 && response.status < 200);
    std::string head =
        "HTTP/1.1 " + std::to_string(response.status) + " " + std::string(reason_phrase(response.status)) + "\r\n";
    if (!bodiless) {
        head += "Content-Type: " + header_text(response.content_type) + "\r\n";
        head += "Content-Length: " + std::to_string(response.body.size()) + "\r\n";
    }
    for (const auto& [name, value] : response.headers) head += header_text(name) + ": " + header_text(value) + "\r\n";
    head += keep_alive_ ? "Connection: keep-alive\r\n\r\n" : "Connection: close\r\n\r\n";
    outbox_ += head;
    if (!bodiless && !head_only_) outbox_ += response.body;
    finish();
}

void Session::send_head(int status, const std::string& content_type) {
    if (closed() || phase_ != Phase::kHandling) return;
    phase_ = Phase::kStreaming;
    if (!chunked_) keep_alive_ = false;  // HTTP/1.0: the end of the connection is the end of the stream
    outbox_ += "HTTP/1.1 " + std::to_string(status) + " " + std::string(reason_phrase(status)) +
               "\r\nContent-Type: " + header_text(content_type) + "\r\n" +
               (chunked_ ? "Transfer-Encoding: chunked\r\n" : "") +
               (keep_alive_ ? "Connection: keep-alive\r\n\r\n" : "Connection: close\r\n\r\n");
    write();
}

bool Session::send_chunk(const std::string& data) {
    if (closed() || phase_ != Phase::kStreaming) return false;
    if (data.empty() || head_only_) return true;  // an empty chunk would end the stream
    if (pending_bytes() + data.size() > kUnsentLimit) {
        kLog.warn("Client does not read its stream, closing", {{"peer", peer_}, {"unsent", pending_bytes()}});
        close();
        return false;
    }
    if (chunked_) {
        char size[20] = {};
        std::snprintf(size, sizeof(size), "%zx\r\n", data.size());
        outbox_ += size;
        outbox_ += data;
        outbox_ += "\r\n";
    } else {
        outbox_ += data;
    }
    write();
    return !closed();
}

void Session::end() {
    if (closed() || phase_ != Phase::kStreaming) return;
    if (chunked_ && !head_only_) outbox_ += "0\r\n\r\n";
    finish();
}

void Session::abandon() {
    if (phase_ == Phase::kHandling) {
        send({.status = 500,
              .body = "\"the request was dropped unanswered\"\n",
              .content_type = "application/json",
              .headers = {}});
    } else if (phase_ == Phase::kStreaming) {
        close();
    }
}

void Session::finish() {
    phase_ = Phase::kFinishing;
    gone_ = nullptr;
    write();
}

void Session::write() {
    if (closed() || writing_) return;
    if (outbox_.empty()) {
        if (phase_ != Phase::kFinishing) {
            if (phase_ == Phase::kStreaming) stop_clock();
            return;
        }
        if (!keep_alive_) return linger();
        return read_request();
    }
    writing_ = true;
    inflight_ = std::exchange(outbox_, {});
    written_ = 0;
    on_written({}, 0);
}

void Session::on_written(const error_code& error, std::size_t count) {
    if (closed()) return;
    if (error) return close();
    written_ += count;
    if (written_ == inflight_.size()) {
        writing_ = false;
        inflight_.clear();
        written_ = 0;
        return write();
    }
    restart_clock();
    socket_.async_write_some(
        asio::buffer(inflight_.data() + written_, inflight_.size() - written_),
        [self = shared_from_this()](const error_code& failure, std::size_t sent) { self->on_written(failure, sent); });
}

// Closing with input unread resets the connection, and the reset may overtake the answer. So: say that nothing more
// comes, read what is under way, then close.
void Session::linger() {
    if (phase_ != Phase::kLingering) {
        phase_ = Phase::kLingering;
        restart_clock(kLinger);
        error_code ignored;
        (void)socket_.shutdown(asio::socket_base::shutdown_send, ignored);
        input_.clear();
    }
    if (lingered_ > 2 * kBodyLimit) return close();
    socket_.async_read_some(input_.prepare(16 * 1024),
                            [self = shared_from_this()](const error_code& error, std::size_t count) {
                                if (self->closed()) return;
                                if (error) return self->close();
                                self->lingered_ += count;
                                self->linger();
                            });
}

void Session::close() {
    if (closed()) return;
    // Only the descriptor goes: completions may be queued that still look at socket, parser and buffers.
    closed_ = true;
    error_code ignored;
    (void)socket_.close(ignored);
    if (const auto server = server_.lock()) server->forget(shared_from_this());
    if (const auto gone = std::exchange(gone_, nullptr)) gone();
}

}  // namespace

void HttpServer::Impl::listen(Fd fd, SocketFile file) {
    listeners.push_back(std::make_unique<Acceptor>(
        loop, std::move(fd), std::move(file), kLog,
        [this](Fd& connection, const sockaddr_storage& address) { return take(connection, address); }));
}

bool HttpServer::Impl::take(Fd& connection, const sockaddr_storage& address) {
    if (sessions.size() >= kSessionLimit) return false;
    std::string peer = "unix";
    if (address.ss_family == AF_INET) {
        const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
        peer = IpAddress::v4(v4.sin_addr.s_addr).to_string() + ":" + std::to_string(ntohs(v4.sin_port));
    } else if (address.ss_family == AF_INET6) {
        const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
        peer = "[" + IpAddress::v6(&v6.sin6_addr).to_string() + "]:" + std::to_string(ntohs(v6.sin6_port));
    }
    auto session = std::make_shared<Session>(shared_from_this(), loop.io_context(), std::move(peer));
    if (!session->open(address.ss_family == AF_UNSPEC ? AF_UNIX : address.ss_family, connection)) return true;
    sessions.insert(session);
    if (!sweeper)
        sweeper = loop.every(std::min<Duration>(std::chrono::seconds(1), idle_timeout / 2), [this] { sweep(); });
    session->read_request();
    return true;
}

void HttpServer::Impl::forget(const std::shared_ptr<Session>& session) {
    sessions.erase(session);
    if (sessions.empty()) sweeper.cancel();
}

void HttpServer::Impl::sweep() {
    const auto now = Clock::now();
    std::vector<std::shared_ptr<Session>> late;
    for (const auto& session : sessions) {
        if (session->deadline() < now) late.push_back(session);
    }
    for (const auto& session : late) session->close();
}

void HttpServer::Impl::close() {
    listeners.clear();
    const std::vector<std::shared_ptr<Session>> open(sessions.begin(), sessions.end());
    for (const auto& session : open) session->close();
}

HttpServer::HttpServer(EventLoop& loop, Handler handler) : impl_(std::make_shared<Impl>(loop, std::move(handler))) {}

HttpServer::~HttpServer() {
    impl_->close();
}

Status HttpServer::listen_unix(const std::string& path, unsigned mode) {
    TRY_ASSIGN(UnixListener listener, open_unix_listener(path, mode));
    impl_->listen(std::move(listener.fd), std::move(listener.file));
    return {};
}

Status HttpServer::listen_tcp(const IpAddress& address, std::uint16_t port) {
    TRY_ASSIGN(Fd fd, open_tcp_listener(address, port));
    impl_->port = local_port(fd.get());
    impl_->listen(std::move(fd), {});
    return {};
}

Status HttpServer::listen_fd(int fd) {
    Fd owned(fd);
    const int flags = ::fcntl(fd, F_GETFL);
    if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0)
        return fail_errno("listening descriptor " + std::to_string(fd));
    impl_->listen(std::move(owned), {});
    return {};
}

std::uint16_t HttpServer::tcp_port() const {
    return impl_->port;
}

void HttpServer::set_idle_timeout(Duration timeout) {
    impl_->idle_timeout = timeout;
}

}  // namespace axo
