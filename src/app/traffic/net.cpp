#include "app/traffic/net.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/time.h>

#include <cstring>

namespace axo::traffic {

Endpoint endpoint(const IpAddress& address, std::uint16_t port) {
    Endpoint result;
    if (address.is_v4()) {
        sockaddr_in v4{};
        v4.sin_family = AF_INET;
        v4.sin_port = htons(port);
        std::memcpy(&v4.sin_addr, address.bytes().data(), 4);
        std::memcpy(&result.storage, &v4, sizeof v4);
        result.length = sizeof v4;
    } else {
        sockaddr_in6 v6{};
        v6.sin6_family = AF_INET6;
        v6.sin6_port = htons(port);
        std::memcpy(&v6.sin6_addr, address.bytes().data(), 16);
        std::memcpy(&result.storage, &v6, sizeof v6);
        result.length = sizeof v6;
    }
    return result;
}

IpAddress unmapped(const std::uint8_t bytes[16]) {
    static constexpr std::uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (std::memcmp(bytes, kMapped, sizeof kMapped) == 0)
        return IpAddress::v4({bytes[12], bytes[13], bytes[14], bytes[15]});
    return IpAddress::v6(bytes);
}

IpAddress address_of(const Endpoint& from) {
    if (from.storage.ss_family == AF_INET) {
        sockaddr_in v4;
        std::memcpy(&v4, &from.storage, sizeof v4);
        return IpAddress::v4(v4.sin_addr.s_addr);
    }
    sockaddr_in6 v6;
    std::memcpy(&v6, &from.storage, sizeof v6);
    return unmapped(v6.sin6_addr.s6_addr);
}

std::uint16_t port_of(const Endpoint& from) {
    // The port has the same place in both families.
    sockaddr_in v4;
    std::memcpy(&v4, &from.storage, sizeof v4);
    return ntohs(v4.sin_port);
}

std::string text_of(const IpAddress& address, std::uint16_t port) {
    const std::string text = address.to_string();
    return (address.is_v4() ? text : "[" + text + "]") + ":" + std::to_string(port);
}

Endpoint local_end(int fd) {
    Endpoint end;
    end.length = sizeof end.storage;
    ::getsockname(fd, end.get(), &end.length);
    return end;
}

Endpoint remote_end(int fd) {
    Endpoint end;
    end.length = sizeof end.storage;
    ::getpeername(fd, end.get(), &end.length);
    return end;
}

void map_into(const IpAddress& address, std::uint8_t bytes[16]) {
    if (address.is_v4()) {
        bytes[10] = bytes[11] = 0xff;
        std::memcpy(bytes + 12, address.bytes().data(), 4);
    } else {
        std::memcpy(bytes, address.bytes().data(), 16);
    }
}

Status bind_to_port(int fd, const IpAddress& peer, std::uint16_t from_port) {
    if (from_port == 0) return {};
    const int on = 1;
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    const Endpoint own =
        endpoint(peer.is_v6() ? IpAddress::v6(std::array<std::uint8_t, 16>{}) : IpAddress::v4({0, 0, 0, 0}), from_port);
    if (::bind(fd, own.get(), own.length) != 0) return fail_errno("bind to port " + std::to_string(from_port));
    return {};
}

Status set_timeouts(int fd, int timeout_ms) {
    const timeval time{timeout_ms / 1000, (timeout_ms % 1000) * 1000};
    if (::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time) != 0 ||
        ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time) != 0) {
        return fail_errno("setting a socket's time limits");
    }
    return {};
}

Result<Fd> connect_tcp(const IpAddress& to, std::uint16_t port, int timeout_ms, std::uint16_t from_port) {
    const Endpoint target = endpoint(to, port);
    Fd fd(::socket(target.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd) return fail_errno("socket");
    TRY(bind_to_port(fd.get(), to, from_port));
    TRY(set_timeouts(fd.get(), timeout_ms));  // SO_SNDTIMEO bounds connect as well
    if (::connect(fd.get(), target.get(), target.length) != 0) {
        const int err = errno == EINPROGRESS ? ETIMEDOUT : errno;
        return fail_errno("connect to " + text_of(to, port), err);
    }
    return fd;
}

bool send_all(int fd, const void* data, std::size_t size) {
    const auto* bytes = static_cast<const std::uint8_t*>(data);
    while (size > 0) {
        const ssize_t n = ::send(fd, bytes, size, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        bytes += n;
        size -= static_cast<std::size_t>(n);
    }
    return true;
}

bool receive_all(int fd, void* data, std::size_t size) {
    auto* bytes = static_cast<std::uint8_t*>(data);
    while (size > 0) {
        const ssize_t n = ::recv(fd, bytes, size, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        bytes += n;
        size -= static_cast<std::size_t>(n);
    }
    return true;
}

std::string receive_line(int fd) {
    std::string line;
    char c = 0;
    while (receive_all(fd, &c, 1)) {
        if (c == '\n') return line;
        line += c;
    }
    return {};
}

namespace {
// SplitMix64 of the index: cheap, and every eight bytes of the pattern are different.
std::uint64_t pattern_word(std::uint64_t index) {
    std::uint64_t z = (index + 1) * 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}
}  // namespace

void fill_pattern(std::uint64_t offset, std::uint8_t* data, std::size_t size) {
    std::size_t i = 0;
    while (i < size) {
        const std::uint64_t word = pattern_word((offset + i) / 8);
        for (std::uint64_t byte = (offset + i) % 8; byte < 8 && i < size; ++byte, ++i)
            data[i] = static_cast<std::uint8_t>(word >> (8 * byte));
    }
}

bool matches_pattern(std::uint64_t offset, const std::uint8_t* data, std::size_t size) {
    std::uint8_t expected[4096];
    for (std::size_t done = 0; done < size;) {
        const std::size_t part = std::min(sizeof expected, size - done);
        fill_pattern(offset + done, expected, part);
        if (std::memcmp(expected, data + done, part) != 0) return false;
        done += part;
    }
    return true;
}

Status pin_to_cpu(int cpu) {
    if (cpu < 0) return {};
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (::sched_setaffinity(0, sizeof set, &set) != 0) return fail_errno("pinning to CPU " + std::to_string(cpu));
    return {};
}

}  // namespace axo::traffic
