// Sockets and payloads shared by the server and the clients of axoneme-traffic. Thread: any.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/ip.h"
#include "base/result.h"

namespace axo::traffic {

struct Endpoint {
    sockaddr_storage storage{};
    socklen_t length = 0;
    [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
    [[nodiscard]] sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};
Endpoint endpoint(const IpAddress& address, std::uint16_t port);
// IPv4-mapped addresses come out as IPv4.
IpAddress address_of(const Endpoint& endpoint);
std::uint16_t port_of(const Endpoint& endpoint);
// "192.0.2.1:80", "[2001:db8::1]:80"
std::string text_of(const IpAddress& address, std::uint16_t port);
Endpoint local_end(int fd);
Endpoint remote_end(int fd);

// from_port: of this end; 0: any.
Result<Fd> connect_tcp(const IpAddress& to, std::uint16_t port, int timeout_ms, std::uint16_t from_port = 0);
Status bind_to_port(int fd, const IpAddress& peer, std::uint16_t from_port);
Status set_timeouts(int fd, int timeout_ms);

// False when the peer has gone or the time is over.
bool send_all(int fd, const void* data, std::size_t size);
bool receive_all(int fd, void* data, std::size_t size);
// Up to the newline, which is taken away; empty when the stream ends before.
std::string receive_line(int fd);

// The n-th bytes of an endless pattern that does not repeat within a segment, so that a lost, doubled or moved piece
// shows.
void fill_pattern(std::uint64_t offset, std::uint8_t* data, std::size_t size);
bool matches_pattern(std::uint64_t offset, const std::uint8_t* data, std::size_t size);

// What a UDP datagram of ours begins with; the server fills in what it saw and sends the datagram back.
struct UdpHeader {
    std::uint32_t magic = 0;
    std::uint32_t length = 0;  // of the whole datagram
    std::uint64_t nonce = 0;
    std::uint8_t peer[16] = {};  // as the server saw it; IPv4 as ::ffff:a.b.c.d
    std::uint16_t peer_port = 0;
    std::uint16_t damaged = 0;  // 1: the server's copy did not match the pattern
    std::uint16_t server_port = 0;
    std::uint16_t padding = 0;
    std::uint8_t server[16] = {};  // address that the datagram had when it arrived
};
inline constexpr std::uint32_t kUdpMagic = 0x41584f55;

IpAddress unmapped(const std::uint8_t sixteen_bytes[16]);
void map_into(const IpAddress& address, std::uint8_t sixteen_bytes[16]);

// Pins the calling thread. -1: leaves it alone.
Status pin_to_cpu(int cpu);

}  // namespace axo::traffic
