#include "hubble/rpc/server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <csignal>
#include <mutex>
#include <set>
#include <thread>

#include "base/log.h"
#include "io/listen_socket.h"

namespace axo::rpc {

namespace {

// A client that has gone without a word is noticed within two minutes.
void keep_alive(int fd) {
    const int on = 1, idle = 30, interval = 10, count = 3;
    const unsigned timeout_ms = 120'000;
    ::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
    ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
    ::setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof(timeout_ms));
}

class EpollServer final : public Server {
public:
    EpollServer(Methods methods, ServerLimits limits) : methods_(std::move(methods)), limits_(limits) {}

    Status open() {
        epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
        event_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
        if (!epoll_ || !event_) return fail_errno("gRPC server");
        TRY(add(event_.get(), EPOLLIN));
        thread_ = std::thread([this] { run(); });
        return {};
    }

    ~EpollServer() override {
        stopping_ = true;
        signal();
        if (thread_.joinable()) thread_.join();
    }

    Status listen_unix(const std::string& path, unsigned mode) override {
        TRY_ASSIGN(UnixListener opened, open_unix_listener(path, mode));
        const int fd = opened.fd.get();
        const std::lock_guard lock(mutex_);
        listeners_.push_back(
            {std::move(opened.fd), std::make_unique<SocketFile>(std::move(opened.file)), false, false});
        return add(fd, EPOLLIN);
    }

    Status listen_tcp(const IpAddress& address, std::uint16_t port, bool tls) override {
        TRY_ASSIGN(Fd opened, open_tcp_listener(address, port));
        const int fd = opened.get();
        port_ = local_port(fd);
        const std::lock_guard lock(mutex_);
        listeners_.push_back({std::move(opened), nullptr, true, tls});
        return add(fd, EPOLLIN);
    }

    void set_tls(TlsContext context) override {
        const std::lock_guard lock(mutex_);
        tls_ = std::move(context);
    }

    void wake() override {
        // Who comes later looks by himself; without anybody a flow costs no system call.
        if (clients_ != 0 && !woken_.exchange(true)) signal();
    }

    [[nodiscard]] std::uint16_t port() const override { return port_; }

private:
    struct Listener {
        Fd fd;
        std::unique_ptr<SocketFile> file;
        bool tcp = false, tls = false;
    };

    Status add(int fd, std::uint32_t events) {
        epoll_event event{};
        event.events = events;
        event.data.fd = fd;
        if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return fail_errno("gRPC server");
        return {};
    }

    void signal() {
        const std::uint64_t one = 1;
        [[maybe_unused]] const ssize_t put = ::write(event_.get(), &one, sizeof(one));
    }

    // Whether fd is a listener's, and then accepts what waits there.
    bool accept_from(int fd) {
        const std::lock_guard lock(mutex_);
        for (const Listener& listener : listeners_) {
            if (listener.fd.get() != fd) continue;
            for (int i = 0; i < 64; ++i) {
                Fd client(::accept4(fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
                if (!client) return true;
                accepted(listener, std::move(client));
            }
            return true;
        }
        return false;
    }

    void accepted(const Listener& listener, Fd client) {
        if (connections_.size() >= limits_.connections || (listener.tls && !tls_)) return;
        if (listener.tcp) keep_alive(client.get());
        const int fd = client.get();
        auto transport = std::make_unique<Transport>(std::move(client), listener.tls ? tls_ : nullptr);
        auto connection = std::make_unique<Connection>(std::move(transport), methods_, load_, limits_);
        if (!add(fd, EPOLLIN)) return;
        connections_.emplace(fd, std::move(connection));
        clients_ = connections_.size();
        fresh_.push_back(fd);
    }

    void after(int fd, bool alive) {
        const auto found = connections_.find(fd);
        if (!alive) {
            connections_.erase(found);
            clients_ = connections_.size();
            writing_.erase(fd);
            return;
        }
        const bool wants = found->second->wants_write();
        if (wants == writing_.contains(fd)) return;
        epoll_event event{};
        event.events = EPOLLIN | (wants ? EPOLLOUT : 0U);
        event.data.fd = fd;
        ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event);
        if (wants) {
            writing_.insert(fd);
        } else {
            writing_.erase(fd);
        }
    }

    void drive(int fd) {
        const auto found = connections_.find(fd);
        if (found != connections_.end()) after(fd, found->second->drive());
    }

    void wake_all() {
        std::vector<int> all;
        for (const auto& [fd, connection] : connections_) all.push_back(fd);
        for (const int fd : all) after(fd, connections_.at(fd)->wake());
    }

    // A busy ring wakes for every flow that comes; looking at it now and then is cheaper, and soon enough.
    static constexpr std::chrono::milliseconds kWakeInterval{5};

    void run() {
        using Clock = std::chrono::steady_clock;
        // OpenSSL writes to clients that have gone.
        sigset_t pipe;
        ::sigemptyset(&pipe);
        ::sigaddset(&pipe, SIGPIPE);
        ::pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
        bool busy = false, wake = false;
        Clock::time_point next_wake;
        std::array<epoll_event, 64> events;
        while (!stopping_) {
            int timeout = -1;
            if (wake)
                timeout = static_cast<int>(
                    std::max<long>(std::chrono::ceil<std::chrono::milliseconds>(next_wake - Clock::now()).count(), 0));
            if (busy) timeout = 0;
            const int count = ::epoll_wait(epoll_.get(), events.data(), events.size(), timeout);
            for (int i = 0; i < count; ++i) {
                const int fd = events[static_cast<std::size_t>(i)].data.fd;
                if (fd == event_.get()) {
                    std::uint64_t value = 0;
                    [[maybe_unused]] const ssize_t got = ::read(fd, &value, sizeof(value));
                    woken_ = false;
                    wake = true;
                } else if (!accept_from(fd)) {
                    drive(fd);
                }
            }
            // The settings that a client waits for.
            for (const int fd : std::exchange(fresh_, {})) drive(fd);
            if (busy || (wake && Clock::now() >= next_wake)) {
                wake = false;
                wake_all();
                next_wake = Clock::now() + kWakeInterval;
            }
            busy = std::ranges::any_of(connections_, [](const auto& entry) { return entry.second->busy(); });
        }
        connections_.clear();
    }

    const Methods methods_;
    const ServerLimits limits_;
    Fd epoll_, event_;
    std::mutex mutex_;  // of the two below
    std::vector<Listener> listeners_;
    TlsContext tls_;
    std::atomic<bool> woken_ = false, stopping_ = false;
    std::atomic<std::uint16_t> port_ = 0;
    // The thread's only.
    Load load_;
    std::map<int, std::unique_ptr<Connection>> connections_;
    std::atomic<std::size_t> clients_ = 0;  // how many, for other threads
    std::set<int> writing_;
    std::vector<int> fresh_;
    std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<Server>> Server::start(Methods methods, ServerLimits limits) {
    auto server = std::make_unique<EpollServer>(std::move(methods), limits);
    TRY(server->open());
    return server;
}

}  // namespace axo::rpc
