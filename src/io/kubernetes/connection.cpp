#include "io/kubernetes/connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <limits>
#include <optional>

namespace axo::kubernetes {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
namespace ssl = boost::asio::ssl;
using asio::ip::tcp;
using boost::system::error_code;

constexpr std::uint32_t kHeaderLimit = 64 * 1024;
constexpr std::size_t kReadSize = 16 * 1024;
// A peer that is gone without a word (power, network) is noticed after some 30 s.
constexpr int kKeepIdle = 15, kKeepInterval = 5, kKeepCount = 3, kUserTimeoutMs = 30'000;

std::string lower(std::string_view text) {
    std::string out(text);
    for (char& c : out) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return out;
}

class AsioConnection final : public Connection, public std::enable_shared_from_this<AsioConnection> {
public:
    AsioConnection(EventLoop& loop, Server server, std::shared_ptr<TlsContext> tls, std::string server_name)
        : loop_(loop),
          server_(std::move(server)),
          server_name_(std::move(server_name)),
          tls_(std::move(tls)),
          socket_(loop.io_context()) {}
    AsioConnection(const AsioConnection&) = delete;
    AsioConnection& operator=(const AsioConnection&) = delete;

    Task<Status> connect(Duration limit) {
        CO_TRY_ASSIGN(const std::vector<tcp::endpoint> addresses, resolve(limit));
        Status last;
        for (const tcp::endpoint& address : addresses) {
            CO_AWAIT(last, connect_to(address, limit));
            if (last) break;
        }
        CO_TRY(std::move(last));
        set_options();
        if (server_.tls) CO_TRY(handshake(limit));
        co_return Status{};
    }

    Task<Result<Head>> exchange(std::string message, Duration limit) override {
        out_ = std::move(message);
        silent_ = true;
        complete_ = false;
        parser_.emplace();
        parser_->header_limit(kHeaderLimit);
        parser_->body_limit(std::numeric_limits<std::uint64_t>::max());
        // The first write may already fail while the server's reason for it waits to be read: so it is read.
        CO_AWAIT(const Outcome written, write(limit));
        if (written.error && !server_.tls) co_return failed("sending", written.error);
        while (!parser_->is_header_done()) {
            CO_TRY(more("answer", limit));
            error_code error;
            buffer_.consume(parser_->put(buffer_.data(), error));
            if (error && error != http::error::need_more) co_return failed("answer", error);
        }
        Head head;
        head.status = static_cast<int>(parser_->get().result_int());
        for (const auto& field : parser_->get())
            head.headers.emplace(lower({field.name_string().data(), field.name_string().size()}),
                                 std::string(field.value()));
        complete_ = parser_->is_done();
        co_return head;
    }

    Task<Result<std::string>> read_body(Duration limit) override {
        while (!parser_->is_done()) {
            std::string piece(kReadSize, '\0');
            auto& body = parser_->get().body();
            body.data = piece.data();
            body.size = piece.size();
            body.more = true;
            error_code error;
            if (buffer_.size() > 0) {
                const std::size_t used = parser_->put(buffer_.data(), error);
                buffer_.consume(used);
                if (error == http::error::need_buffer || error == http::error::need_more) error = {};
                if (error) co_return failed("body", error);
                piece.resize(piece.size() - body.size);
                if (!piece.empty()) co_return piece;
                // The head of a chunk alone is progress too.
                if (used > 0 && buffer_.size() > 0) continue;
                if (parser_->is_done()) break;
            }
            CO_AWAIT(const Status read, more("body", limit));
            if (read) continue;
            if (!eof_) co_return forward_error(read.error());
            parser_->put_eof(error);
            if (error) co_return failed("body", error);
        }
        complete_ = true;
        co_return std::string();
    }

    Task<Status> send(std::string bytes, Duration limit) override {
        out_ = std::move(bytes);
        complete_ = false;
        CO_AWAIT(const Outcome written, write(limit));
        if (written.error) co_return failed("sending", written.error);
        co_return Status{};
    }

    Task<Result<std::string>> receive(Duration limit) override {
        complete_ = false;
        if (buffer_.size() == 0) CO_TRY(more("receiving", limit));
        std::string bytes(static_cast<const char*>(buffer_.data().data()), buffer_.size());
        buffer_.consume(buffer_.size());
        co_return bytes;
    }

    bool reusable() override {
        if (!complete_ || !parser_ || !parser_->keep_alive() || !socket_.is_open() || buffer_.size() != 0) return false;
        // Anything to read on an idle connection is its end.
        pollfd state{.fd = socket_.native_handle(), .events = POLLIN | POLLRDHUP, .revents = 0};
        return ::poll(&state, 1, 0) == 0;
    }
    [[nodiscard]] bool silent() const override { return silent_; }
    void close() override {
        error_code ignored;
        socket_.close(ignored);
    }

private:
    struct Outcome {
        error_code error;
        std::size_t bytes = 0;
    };
    // Ties an operation of Asio to the task that awaits it, whichever ends first.
    struct Link {
        explicit Link(AsioConnection& c) : connection(c) {}
        Link(const Link&) = delete;
        Link& operator=(const Link&) = delete;
        ~Link() {
            *slot = nullptr;
            if (!outcome.is_set()) connection.close();
        }
        AsioConnection& connection;
        Awaited<Outcome> outcome;
        std::shared_ptr<Awaited<Outcome>*> slot = std::make_shared<Awaited<Outcome>*>(&outcome);
    };

    // start: gets the handler of an operation and begins it.
    template <class Start>
    Task<Outcome> run(Start start, Duration limit) {
        Link link(*this);
        timed_out_ = false;
        const auto timer = loop_.after(limit, [this] {
            timed_out_ = true;
            close();
        });
        start([self = shared_from_this(), slot = link.slot](const error_code& error, std::size_t bytes = 0) {
            if (*slot != nullptr) (*slot)->set({error, bytes});
        });
        co_return co_await link.outcome;
    }

    // TLS or not: the same operations.
    template <class Operation>
    void on_stream(Operation operation) {
        if (stream_)
            operation(*stream_);
        else
            operation(socket_);
    }

    Task<Outcome> write(Duration limit) {
        const auto start = [this](auto handler) {
            on_stream([&](auto& stream) { asio::async_write(stream, asio::buffer(out_), std::move(handler)); });
        };
        return run(start, limit);
    }

    Task<Status> more(std::string_view what, Duration limit) {
        const auto start = [this](auto handler) {
            on_stream([&](auto& stream) { stream.async_read_some(buffer_.prepare(kReadSize), std::move(handler)); });
        };
        CO_AWAIT(const Outcome outcome, run(start, limit));
        if (outcome.error) {
            eof_ = outcome.error == asio::error::eof || outcome.error == ssl::error::stream_truncated;
            co_return failed(what, outcome.error);
        }
        silent_ = false;
        buffer_.commit(outcome.bytes);
        co_return Status{};
    }

    Task<Result<std::vector<tcp::endpoint>>> resolve(Duration limit) {
        std::vector<tcp::endpoint> addresses;
        error_code error;
        const auto literal = asio::ip::make_address(server_.host, error);
        if (!error) {
            addresses.emplace_back(literal, server_.port);
            co_return addresses;
        }
        resolver_.emplace(loop_.io_context());
        auto found = std::make_shared<std::vector<tcp::endpoint>>();
        const auto start = [this, found](auto handler) {
            resolver_->async_resolve(
                server_.host, std::to_string(server_.port),
                [found, handler](const error_code& failure, const tcp::resolver::results_type& results) mutable {
                    for (const auto& result : results) found->push_back(result.endpoint());
                    handler(failure);
                });
        };
        CO_AWAIT(const Outcome outcome, run(start, limit));
        resolver_.reset();
        if (outcome.error || found->empty()) co_return failed("looking up its name", outcome.error);
        co_return *found;
    }

    Task<Status> connect_to(const tcp::endpoint& address, Duration limit) {
        error_code error;
        socket_.close(error);
        socket_.open(address.protocol(), error);
        if (error) co_return failed("connecting", error);
        const auto start = [this, address](auto handler) { socket_.async_connect(address, std::move(handler)); };
        CO_AWAIT(const Outcome outcome, run(start, limit));
        if (outcome.error) co_return failed("connecting to " + address.address().to_string(), outcome.error);
        co_return Status{};
    }

    void set_options() {
        const int fd = socket_.native_handle();
        const auto set = [fd](int level, int option, int value) {
            ::setsockopt(fd, level, option, &value, sizeof(value));
        };
        set(IPPROTO_TCP, TCP_NODELAY, 1);
        set(SOL_SOCKET, SO_KEEPALIVE, 1);
        set(IPPROTO_TCP, TCP_KEEPIDLE, kKeepIdle);
        set(IPPROTO_TCP, TCP_KEEPINTVL, kKeepInterval);
        set(IPPROTO_TCP, TCP_KEEPCNT, kKeepCount);
        set(IPPROTO_TCP, TCP_USER_TIMEOUT, kUserTimeoutMs);
    }

    Task<Status> handshake(Duration limit) {
        stream_.emplace(socket_, tls_->native());
        SSL* session = stream_->native_handle();
        error_code error;
        const bool literal = !asio::ip::make_address(server_name_, error).is_unspecified() && !error;
        if (!literal) SSL_set_tlsext_host_name(session, server_name_.c_str());
        if (!tls_->insecure()) {
            X509_VERIFY_PARAM* expected = SSL_get0_param(session);
            if (literal)
                X509_VERIFY_PARAM_set1_ip_asc(expected, server_name_.c_str());
            else
                X509_VERIFY_PARAM_set1_host(expected, server_name_.c_str(), server_name_.size());
            stream_->set_verify_callback(
                [this](bool good, ssl::verify_context& context) {
                    X509_STORE_CTX* store = context.native_handle();
                    if (!good)
                        problem_ = certificate_problem(X509_STORE_CTX_get_error(store),
                                                       X509_STORE_CTX_get_current_cert(store), server_name_);
                    return good;
                },
                error);
        }
        const auto start = [this](auto handler) {
            stream_->async_handshake(ssl::stream_base::client, std::move(handler));
        };
        CO_AWAIT(const Outcome outcome, run(start, limit));
        if (!outcome.error) co_return Status{};
        if (!problem_.empty()) co_return fail(Code::kFailedPrecondition, server_.to_string() + ": " + problem_);
        co_return failed("TLS", outcome.error);
    }

    [[nodiscard]] std::unexpected<Error> failed(std::string_view what, const error_code& error) {
        const std::string where = server_.to_string() + ": " + std::string(what) + ": ";
        close();
        if (timed_out_) return fail(Code::kDeadlineExceeded, where + "no answer in time");
        if (error == asio::error::eof || error == ssl::error::stream_truncated || error == http::error::partial_message)
            return fail(Code::kUnavailable, where + "the connection was closed");
        return fail(Code::kUnavailable, where + error.message());
    }

    EventLoop& loop_;
    Server server_;
    std::string server_name_;
    std::shared_ptr<TlsContext> tls_;
    tcp::socket socket_;
    std::optional<ssl::stream<tcp::socket&>> stream_;
    std::optional<tcp::resolver> resolver_;
    std::string out_;
    beast::flat_buffer buffer_;
    std::optional<http::response_parser<http::buffer_body>> parser_;
    std::string problem_;
    bool timed_out_ = false, eof_ = false, silent_ = true, complete_ = false;
};

Task<Result<std::shared_ptr<Connection>>> connected(std::shared_ptr<AsioConnection> connection, Duration limit) {
    CO_TRY(connection->connect(limit));
    co_return std::shared_ptr<Connection>(std::move(connection));
}

}  // namespace

Task<Result<std::shared_ptr<Connection>>> Connection::open(EventLoop& loop, Server server,
                                                           std::shared_ptr<TlsContext> tls, std::string server_name,
                                                           Duration limit) {
    if (server_name.empty()) server_name = server.host;
    return connected(std::make_shared<AsioConnection>(loop, std::move(server), std::move(tls), std::move(server_name)),
                     limit);
}

}  // namespace axo::kubernetes
