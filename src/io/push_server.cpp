#include "io/push_server.h"

#include <poll.h>
#include <sys/socket.h>

#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <cerrno>
#include <cstring>
#include <unordered_set>

#include "base/log.h"
#include "io/acceptor.h"

namespace axo {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

constexpr std::size_t kWrittenLimit = 64 * 1024;  // written bytes that are kept in front of the others

const Logger kLog("push-server");

class Connection;

}  // namespace

struct PushServer::Impl : std::enable_shared_from_this<PushServer::Impl> {
    Impl(EventLoop& l, std::size_t most, Handler h) : loop(l), max_clients(most), handler(std::move(h)) {}

    bool take(Fd& fd);
    void close();

    EventLoop& loop;
    const std::size_t max_clients;
    Handler handler;
    std::optional<Acceptor> listener;
    std::unordered_set<std::shared_ptr<Connection>> connections;
};

namespace {

class Connection : public PushClient, public std::enable_shared_from_this<Connection> {
public:
    Connection(const std::shared_ptr<PushServer::Impl>& server, asio::io_context& io) : server_(server), socket_(io) {}

    bool open(Fd& fd) {
        error_code error;
        (void)socket_.assign(asio::generic::stream_protocol(AF_UNIX, 0), fd.get(), error);
        if (!error) (void)fd.release();
        return !error;
    }

    void send(std::string_view bytes) override {
        if (closed_) return;
        outbox_ += bytes;
        if (!waiting_) write();
    }
    [[nodiscard]] std::size_t pending_bytes() const override { return outbox_.size() - written_; }

    bool gone() override {
        if (half_closed_ && !closed_) {
            pollfd state{.fd = socket_.native_handle(), .events = 0, .revents = 0};
            if (::poll(&state, 1, 0) > 0 && (state.revents & (POLLHUP | POLLERR)) != 0) close();
        }
        return closed_;
    }

    void close() override {
        if (std::exchange(closed_, true)) return;
        error_code ignored;
        (void)socket_.close(ignored);
        outbox_ = {};
        written_ = 0;
        if (const auto server = server_.lock()) server->connections.erase(shared_from_this());
    }

    void watch_peer() {
        socket_.async_wait(asio::socket_base::wait_read, [self = shared_from_this()](const error_code& error) {
            if (!error && !self->closed_) self->discard_input();
        });
    }

private:
    void discard_input() {
        char buffer[4096];
        const auto count = ::recv(socket_.native_handle(), buffer, sizeof(buffer), MSG_DONTWAIT);
        if (count > 0 || (count < 0 && (errno == EAGAIN || errno == EINTR))) return watch_peer();
        if (count < 0) return close();
        // Closed for writing only, it may still be reading.
        half_closed_ = true;
        (void)gone();
    }

    void write() {
        while (pending_bytes() != 0) {
            const auto count = ::send(socket_.native_handle(), outbox_.data() + written_, pending_bytes(),
                                      MSG_DONTWAIT | MSG_NOSIGNAL);
            if (count < 0 && errno == EINTR) continue;
            if (count < 0 && errno == EAGAIN) return wait_for_room();
            if (count < 0) return close();
            written_ += static_cast<std::size_t>(count);
            if (written_ > kWrittenLimit) outbox_.erase(0, std::exchange(written_, 0));
        }
        outbox_ = {};
        written_ = 0;
    }

    void wait_for_room() {
        waiting_ = true;
        socket_.async_wait(asio::socket_base::wait_write, [self = shared_from_this()](const error_code& error) {
            self->waiting_ = false;
            if (!error && !self->closed_) self->write();
        });
    }

    std::weak_ptr<PushServer::Impl> server_;
    asio::generic::stream_protocol::socket socket_;
    std::string outbox_;
    std::size_t written_ = 0;
    bool waiting_ = false, half_closed_ = false, closed_ = false;
};

}  // namespace

bool PushServer::Impl::take(Fd& fd) {
    if (connections.size() >= max_clients) return false;
    auto connection = std::make_shared<Connection>(shared_from_this(), loop.io_context());
    if (!connection->open(fd)) return true;
    connections.insert(connection);
    connection->watch_peer();
    handler(std::move(connection));
    return true;
}

void PushServer::Impl::close() {
    listener.reset();
    const std::vector<std::shared_ptr<Connection>> open(connections.begin(), connections.end());
    for (const auto& connection : open) connection->close();
}

PushServer::PushServer(EventLoop& loop, std::size_t max_clients, Handler handler)
    : impl_(std::make_shared<Impl>(loop, max_clients, std::move(handler))) {}

PushServer::~PushServer() {
    impl_->close();
}

Status PushServer::listen_unix(const std::string& path, unsigned mode) {
    TRY_ASSIGN(UnixListener listener, open_unix_listener(path, mode));
    impl_->listener.emplace(impl_->loop, std::move(listener.fd), std::move(listener.file), kLog,
                            [impl = impl_.get()](Fd& fd, const sockaddr_storage&) { return impl->take(fd); });
    return {};
}

std::size_t PushServer::clients() const {
    return impl_->connections.size();
}

std::uint64_t PushServer::refused() const {
    return impl_->listener ? impl_->listener->refused() : 0;
}

}  // namespace axo
