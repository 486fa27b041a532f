#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "app/traffic/modes.h"
#include "app/traffic/net.h"

namespace axo::traffic {
namespace {

constexpr std::size_t kBuffer = 1 << 16;

// ICMP echo requests that have arrived: family, identifier and sequence number to source.
class Witness {
public:
    void saw(std::uint32_t id_and_sequence, const IpAddress& from) {
        const std::lock_guard lock(mutex_);
        seen_[{from.is_v6(), id_and_sequence}] = from;
        changed_.notify_all();
    }
    // The raw socket's copy may be read a moment after the kernel's answer has left.
    IpAddress wait_for(bool v6, std::uint32_t id_and_sequence) {
        const std::pair key(v6, id_and_sequence);
        std::unique_lock lock(mutex_);
        changed_.wait_for(lock, std::chrono::milliseconds(500), [&] { return seen_.contains(key); });
        const auto found = seen_.find(key);
        return found == seen_.end() ? IpAddress() : found->second;
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::map<std::pair<bool, std::uint32_t>, IpAddress> seen_;
};

Result<Fd> listener(int family, int type, std::uint16_t port) {
    Fd fd(::socket(family, type | SOCK_CLOEXEC, 0));
    if (!fd) return fail_errno("socket");
    const int on = 1;
    ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (family == AF_INET6) ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    const Endpoint any = endpoint(
        family == AF_INET6 ? IpAddress::v6(std::array<std::uint8_t, 16>{}) : IpAddress::v4({0, 0, 0, 0}), port);
    if (::bind(fd.get(), any.get(), any.length) != 0) return fail_errno("bind to port " + std::to_string(port));
    if (type == SOCK_STREAM && ::listen(fd.get(), 1024) != 0) return fail_errno("listen");
    return fd;
}

void upload(int fd, std::uint64_t size, nlohmann::json& answer) {
    std::vector<std::uint8_t> buffer(kBuffer);
    std::uint64_t done = 0;
    bool intact = true;
    while (done < size) {
        const ssize_t n = ::recv(fd, buffer.data(), std::min<std::uint64_t>(buffer.size(), size - done), 0);
        if (n <= 0) break;
        intact = intact && matches_pattern(done, buffer.data(), static_cast<std::size_t>(n));
        done += static_cast<std::uint64_t>(n);
    }
    answer["bytes"] = done;
    answer["intact"] = intact;
}

void download(int fd, std::uint64_t size) {
    std::vector<std::uint8_t> buffer(kBuffer);
    for (std::uint64_t done = 0; done < size;) {
        const std::size_t part = std::min<std::uint64_t>(buffer.size(), size - done);
        fill_pattern(done, buffer.data(), part);
        if (!send_all(fd, buffer.data(), part)) return;
        done += part;
    }
}

void converse(const Fd& fd, const Endpoint& peer, Witness& witness) {
    const Endpoint own = local_end(fd.get());
    nlohmann::json answer{{"peer", address_of(peer).to_string()},
                          {"port", port_of(peer)},
                          {"server", text_of(address_of(own), port_of(own))}};
    std::istringstream words(receive_line(fd.get()));
    std::string command;
    std::uint64_t number = 0;
    words >> command >> number;
    if (command == "echo") {
        const int on = 1;
        ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        std::vector<std::uint8_t> buffer(kBuffer);
        for (ssize_t n; (n = ::recv(fd.get(), buffer.data(), buffer.size(), 0)) > 0;) {
            if (!send_all(fd.get(), buffer.data(), static_cast<std::size_t>(n))) return;
        }
        return;
    }
    if (command == "download") {
        download(fd.get(), number);
        return;
    }
    if (command == "bulk") {
        const std::vector<std::uint8_t> buffer(kBuffer);
        while (send_all(fd.get(), buffer.data(), buffer.size())) {
        }
        return;
    }
    if (command == "upload") upload(fd.get(), number, answer);
    if (command == "icmp")
        answer["peer"] = witness.wait_for(address_of(peer).is_v6(), static_cast<std::uint32_t>(number)).to_string();
    const std::string line = answer.dump() + "\n";
    send_all(fd.get(), line.data(), line.size());
}

void serve_tcp(const Fd& listening, Witness& witness) {
    for (;;) {
        Endpoint peer;
        peer.length = sizeof peer.storage;
        Fd fd(::accept4(listening.get(), peer.get(), &peer.length, SOCK_CLOEXEC));
        if (!fd) continue;
        std::thread([fd = std::move(fd), peer, &witness] { converse(fd, peer, witness); }).detach();
    }
}

// Answers from the address that was asked, which a node has several of.
void serve_udp(const Fd& fd) {
    const int on = 1;
    ::setsockopt(fd.get(), IPPROTO_IP, IP_PKTINFO, &on, sizeof on);
    ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on);
    const std::uint16_t port = port_of(local_end(fd.get()));
    std::vector<std::uint8_t> buffer(kBuffer);
    for (;;) {
        Endpoint peer;
        alignas(cmsghdr) char control[256];
        iovec part{buffer.data(), buffer.size()};
        msghdr message{};
        message.msg_name = &peer.storage;
        message.msg_namelen = sizeof peer.storage;
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        message.msg_control = control;
        message.msg_controllen = sizeof control;
        const ssize_t n = ::recvmsg(fd.get(), &message, 0);
        if (n < static_cast<ssize_t>(sizeof(UdpHeader))) continue;
        UdpHeader header;
        std::memcpy(&header, buffer.data(), sizeof header);
        if (header.magic != kUdpMagic) continue;
        const auto size = static_cast<std::size_t>(n);
        header.damaged = header.length != size ||
                         !matches_pattern(sizeof header, buffer.data() + sizeof header, size - sizeof header);
        map_into(address_of(peer), header.peer);
        header.peer_port = port_of(peer);
        header.server_port = port;
        part.iov_len = size;
        // The control message goes back as it came; only the interface is the routing's choice.
        for (cmsghdr* item = CMSG_FIRSTHDR(&message); item != nullptr; item = CMSG_NXTHDR(&message, item)) {
            if (item->cmsg_level == IPPROTO_IP && item->cmsg_type == IP_PKTINFO) {
                in_pktinfo info;
                std::memcpy(&info, CMSG_DATA(item), sizeof info);
                map_into(IpAddress::v4(info.ipi_addr.s_addr), header.server);
                info.ipi_ifindex = 0;
                info.ipi_spec_dst = info.ipi_addr;
                std::memcpy(CMSG_DATA(item), &info, sizeof info);
            } else if (item->cmsg_level == IPPROTO_IPV6 && item->cmsg_type == IPV6_PKTINFO) {
                in6_pktinfo info;
                std::memcpy(&info, CMSG_DATA(item), sizeof info);
                map_into(IpAddress::v6(info.ipi6_addr.s6_addr), header.server);
                if (!IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr)) info.ipi6_ifindex = 0;
                std::memcpy(CMSG_DATA(item), &info, sizeof info);
            }
        }
        std::memcpy(buffer.data(), &header, sizeof header);
        ::sendmsg(fd.get(), &message, 0);
    }
}

void watch_icmp(const Fd& fd, bool v6, Witness& witness) {
    std::vector<std::uint8_t> buffer(kBuffer);
    for (;;) {
        Endpoint peer;
        peer.length = sizeof peer.storage;
        const ssize_t n = ::recvfrom(fd.get(), buffer.data(), buffer.size(), 0, peer.get(), &peer.length);
        if (n <= 0) continue;
        // An IPv4 raw socket delivers the IP header too.
        const std::size_t skip = v6 ? 0 : static_cast<std::size_t>(buffer[0] & 15) * 4;
        if (static_cast<std::size_t>(n) < skip + 8) continue;
        const std::uint8_t* icmp = buffer.data() + skip;
        if (icmp[0] != (v6 ? ICMP6_ECHO_REQUEST : ICMP_ECHO)) continue;
        witness.saw(static_cast<std::uint32_t>(icmp[4]) << 24 | static_cast<std::uint32_t>(icmp[5]) << 16 |
                        static_cast<std::uint32_t>(icmp[6]) << 8 | icmp[7],
                    address_of(peer));
    }
}

// rr and crr: whatever comes goes back; "!" is answered and the connection closed from this side, so that the client's
// ports do not wait in TIME_WAIT.
void serve_rates(const Fd& v4, const Fd& v6, int cpu) {
    if (!pin_to_cpu(cpu)) return;
    const Fd events(::epoll_create1(EPOLL_CLOEXEC));
    const auto add = [&](int fd) {
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.fd = fd;
        ::epoll_ctl(events.get(), EPOLL_CTL_ADD, fd, &event);
    };
    if (v4) add(v4.get());
    if (v6) add(v6.get());
    for (;;) {
        epoll_event ready[64];
        const int count = ::epoll_wait(events.get(), ready, 64, -1);
        for (int i = 0; i < count; ++i) {
            const int fd = ready[i].data.fd;
            if (fd == v4.get() || fd == v6.get()) {
                const int accepted = ::accept4(fd, nullptr, nullptr, SOCK_CLOEXEC);
                if (accepted < 0) continue;
                const int on = 1;
                ::setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                add(accepted);
                continue;
            }
            char byte[256];
            const ssize_t n = ::recv(fd, byte, sizeof byte, 0);
            if (n > 0) send_all(fd, byte, static_cast<std::size_t>(n));
            if (n <= 0 || byte[0] == '!') ::close(fd);
        }
    }
}

}  // namespace

Status serve(std::uint16_t port, int cpu) {
    ::signal(SIGPIPE, SIG_IGN);
    sigset_t end;
    sigemptyset(&end);
    sigaddset(&end, SIGTERM);
    sigaddset(&end, SIGINT);
    ::sigprocmask(SIG_BLOCK, &end, nullptr);  // inherited by every thread below

    static Witness witness;
    static std::vector<Fd> sockets;
    sockets.reserve(16);
    const auto keep = [](Fd fd) -> const Fd& { return sockets.emplace_back(std::move(fd)); };
    for (const int family : {AF_INET, AF_INET6}) {
        TRY_ASSIGN(Fd tcp, listener(family, SOCK_STREAM, port));
        TRY_ASSIGN(Fd udp, listener(family, SOCK_DGRAM, port));
        Fd icmp(::socket(family, SOCK_RAW | SOCK_CLOEXEC,
                         family == AF_INET ? static_cast<int>(IPPROTO_ICMP) : static_cast<int>(IPPROTO_ICMPV6)));
        if (!icmp) return fail_errno("raw ICMP socket");
        const Fd &tcp_fd = keep(std::move(tcp)), &udp_fd = keep(std::move(udp)), &icmp_fd = keep(std::move(icmp));
        std::thread([&] { serve_tcp(tcp_fd, witness); }).detach();
        std::thread([&] { serve_udp(udp_fd); }).detach();
        std::thread([&, v6 = family == AF_INET6] { watch_icmp(icmp_fd, v6, witness); }).detach();
    }
    TRY_ASSIGN(Fd rates4, listener(AF_INET, SOCK_STREAM, static_cast<std::uint16_t>(port + 1)));
    TRY_ASSIGN(Fd rates6, listener(AF_INET6, SOCK_STREAM, static_cast<std::uint16_t>(port + 1)));
    const Fd &rates4_fd = keep(std::move(rates4)), &rates6_fd = keep(std::move(rates6));
    std::thread([&, cpu] { serve_rates(rates4_fd, rates6_fd, cpu); }).detach();
    std::puts("ready");
    std::fflush(stdout);
    int signal_number = 0;
    ::sigwait(&end, &signal_number);
    ::_exit(0);  // the threads hold nothing that outlives the process
}

}  // namespace axo::traffic
