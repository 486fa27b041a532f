#include "features/health/prober.h"

#include <arpa/inet.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <random>

#include "base/fd.h"

namespace axo {

namespace {

using Clock = std::chrono::steady_clock;

// ICMP_FILTER of <linux/icmp.h>, which does not go together with <netinet/ip_icmp.h>.
constexpr int kIcmpFilter = 1;

socklen_t fill(sockaddr_storage& storage, const IpAddress& address, std::uint16_t port) {
    if (address.is_v4()) {
        auto& v4 = reinterpret_cast<sockaddr_in&>(storage);
        v4.sin_family = AF_INET;
        v4.sin_port = htons(port);
        v4.sin_addr.s_addr = address.v4_network_order();
        return sizeof(v4);
    }
    auto& v6 = reinterpret_cast<sockaddr_in6&>(storage);
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    std::memcpy(&v6.sin6_addr, address.bytes().data(), 16);
    return sizeof(v6);
}

std::uint16_t checksum(const void* data, std::size_t size) {
    std::uint32_t sum = 0;
    const auto* bytes = static_cast<const std::uint8_t*>(data);
    for (std::size_t i = 0; i + 1 < size; i += 2) sum += static_cast<std::uint32_t>(bytes[i] | bytes[i + 1] << 8);
    sum = (sum & 0xFFFF) + (sum >> 16);
    sum += sum >> 16;
    return static_cast<std::uint16_t>(~sum);
}

// ICMP and ICMPv6 echo headers are laid out alike.
struct Echo {
    std::uint8_t type = 0, code = 0;
    std::uint16_t checksum = 0;
    std::uint16_t id = 0;
    std::uint16_t sequence = 0;
    std::uint64_t payload[4] = {};
};

class AsyncProber : public Prober {
public:
    explicit AsyncProber(EventLoop& loop) : loop_(loop), id_(static_cast<std::uint16_t>(std::random_device{}())) {}

    Status open(bool ipv4, bool ipv6) {
        epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
        if (!epoll_) return fail_errno("epoll_create1");
        epoll_readable_ = loop_.on_readable(epoll_.get(), [this] { http_events(); });
        if (ipv4) {
            icmp4_.reset(::socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_ICMP));
            if (!icmp4_) return fail_errno("opening a raw ICMP socket (needs CAP_NET_RAW)");
            const std::uint32_t all_but_replies = ~(1U << ICMP_ECHOREPLY);
            ::setsockopt(icmp4_.get(), SOL_RAW, kIcmpFilter, &all_but_replies, sizeof(all_but_replies));
            icmp4_readable_ = loop_.on_readable(icmp4_.get(), [this] { receive(icmp4_.get(), Family::kIpv4); });
        }
        if (ipv6) {
            icmp6_.reset(::socket(AF_INET6, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_ICMPV6));
            if (!icmp6_) return fail_errno("opening a raw ICMPv6 socket (needs CAP_NET_RAW)");
            icmp6_filter filter{};
            ICMP6_FILTER_SETBLOCKALL(&filter);
            ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &filter);
            ::setsockopt(icmp6_.get(), IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof(filter));
            icmp6_readable_ = loop_.on_readable(icmp6_.get(), [this] { receive(icmp6_.get(), Family::kIpv6); });
        }
        return {};
    }

    void icmp(const IpAddress& address, Duration timeout, Done done) override {
        const int socket = address.is_v4() ? icmp4_.get() : icmp6_.get();
        if (socket < 0) {
            done("no ICMP socket of this family", Duration{0});
            return;
        }
        const std::uint16_t sequence = ++sequence_;
        Echo echo;
        echo.type =
            address.is_v4() ? static_cast<std::uint8_t>(ICMP_ECHO) : static_cast<std::uint8_t>(ICMP6_ECHO_REQUEST);
        echo.id = htons(id_);
        echo.sequence = htons(sequence);
        if (address.is_v4()) echo.checksum = checksum(&echo, sizeof(echo));
        sockaddr_storage to{};
        const socklen_t length = fill(to, address, 0);
        const auto start = Clock::now();
        if (::sendto(socket, &echo, sizeof(echo), 0, reinterpret_cast<const sockaddr*>(&to), length) < 0) {
            const std::string why = std::strerror(errno);
            loop_.post([done = std::move(done), why] { done(why, Duration{0}); });
            return;
        }
        pings_[sequence] = {address, start, std::move(done),
                            loop_.after(timeout, [this, sequence] { ping_done(sequence, "Connection timed out"); })};
    }

    void http(const IpAddress& address, std::uint16_t port, const std::string& path, Duration timeout,
              Done done) override {
        Fd fd(::socket(address.is_v4() ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
        if (!fd) {
            const std::string why = std::strerror(errno);
            loop_.post([done = std::move(done), why] { done(why, Duration{0}); });
            return;
        }
        sockaddr_storage to{};
        const socklen_t length = fill(to, address, port);
        const auto start = Clock::now();
        const std::uint64_t key = ++next_http_;
        if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), length) != 0 && errno != EINPROGRESS) {
            const std::string why = std::strerror(errno);
            loop_.post([done = std::move(done), why] { done(why, Duration{0}); });
            return;
        }
        epoll_event event{.events = EPOLLOUT, .data = {.u64 = key}};
        ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd.get(), &event);
        const std::string host = address.is_v6() ? "[" + address.to_string() + "]" : address.to_string();
        requests_[key] = {std::move(fd),
                          start,
                          "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n",
                          {},
                          std::move(done),
                          loop_.after(timeout, [this, key] { http_done(key, "Connection timed out"); })};
    }

private:
    struct Ping {
        IpAddress address;
        Clock::time_point start;
        Done done;
        EventLoop::Handle timeout;
    };
    struct Request {
        Fd fd;
        Clock::time_point start;
        std::string to_send;
        std::string received;
        Done done;
        EventLoop::Handle timeout;
    };

    void ping_done(std::uint16_t sequence, const std::string& failure) {
        auto ping = pings_.extract(sequence);
        if (ping) ping.mapped().done(failure, Clock::now() - ping.mapped().start);
    }

    void receive(int socket, Family family) {
        std::uint8_t packet[1500];
        sockaddr_storage from{};
        socklen_t length = sizeof(from);
        ssize_t size = 0;
        while ((size = ::recvfrom(socket, packet, sizeof(packet), 0, reinterpret_cast<sockaddr*>(&from), &length)) >=
               0) {
            length = sizeof(from);
            std::size_t offset = 0;
            IpAddress source;
            if (family == Family::kIpv4) {
                offset = static_cast<std::size_t>(packet[0] & 0x0F) * 4;
                source = IpAddress::v4(reinterpret_cast<const sockaddr_in&>(from).sin_addr.s_addr);
            } else {
                source = IpAddress::v6(&reinterpret_cast<const sockaddr_in6&>(from).sin6_addr);
            }
            if (static_cast<std::size_t>(size) < offset + 8) continue;
            Echo echo;
            std::memcpy(static_cast<void*>(&echo), packet + offset, 8);
            if (ntohs(echo.id) != id_) continue;
            const std::uint16_t sequence = ntohs(echo.sequence);
            const auto ping = pings_.find(sequence);
            if (ping != pings_.end() && ping->second.address == source) ping_done(sequence, "");
        }
    }

    void http_done(std::uint64_t key, const std::string& failure) {
        auto request = requests_.extract(key);
        if (request) request.mapped().done(failure, Clock::now() - request.mapped().start);
    }

    void http_events() {
        epoll_event events[64];
        const int count = ::epoll_wait(epoll_.get(), events, 64, 0);
        for (int i = 0; i < count; ++i) http_event(events[i].data.u64);
    }

    void http_event(std::uint64_t key) {
        const auto found = requests_.find(key);
        if (found == requests_.end()) return;
        Request& request = found->second;
        if (!request.to_send.empty()) {
            int error = 0;
            socklen_t length = sizeof(error);
            ::getsockopt(request.fd.get(), SOL_SOCKET, SO_ERROR, &error, &length);
            if (error != 0) {
                http_done(key, std::strerror(error));
                return;
            }
            // A request this short fits into the empty buffer of a new connection.
            if (::send(request.fd.get(), request.to_send.data(), request.to_send.size(), MSG_NOSIGNAL) < 0) {
                http_done(key, std::strerror(errno));
                return;
            }
            request.to_send.clear();
            epoll_event event{.events = EPOLLIN, .data = {.u64 = key}};
            ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, request.fd.get(), &event);
            return;
        }
        char buffer[1024];
        const ssize_t size = ::recv(request.fd.get(), buffer, sizeof(buffer), 0);
        if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (size > 0) request.received.append(buffer, static_cast<std::size_t>(size));
        const auto line = request.received.find("\r\n");
        if (line != std::string::npos) {
            const std::string status = request.received.substr(0, line);
            http_done(key, status.starts_with("HTTP/1.") && status.size() > 9 && status[9] == '2'
                               ? ""
                               : "answered " + status);
        } else if (size <= 0 || request.received.size() > 8192) {
            http_done(key, size < 0 ? std::strerror(errno) : "closed without an answer");
        }
    }

    EventLoop& loop_;
    std::uint16_t id_;
    std::uint16_t sequence_ = 0;
    std::uint64_t next_http_ = 0;
    Fd epoll_, icmp4_, icmp6_;
    std::map<std::uint16_t, Ping> pings_;
    std::map<std::uint64_t, Request> requests_;
    EventLoop::Handle epoll_readable_, icmp4_readable_, icmp6_readable_;
};

}  // namespace

Result<std::unique_ptr<Prober>> Prober::create(EventLoop& loop, bool ipv4, bool ipv6) {
    auto prober = std::make_unique<AsyncProber>(loop);
    TRY(prober->open(ipv4, ipv6));
    return prober;
}

}  // namespace axo
