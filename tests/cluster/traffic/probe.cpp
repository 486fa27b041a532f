#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "tests/cluster/traffic/icmp.h"
#include "tests/cluster/traffic/modes.h"
#include "tests/cluster/traffic/net.h"

namespace axo::traffic {
namespace {

using Json = nlohmann::json;
using Clock = std::chrono::steady_clock;

struct Target {
    IpAddress to;
    std::uint16_t port = 0;
    std::string kind, expect_peer;
    std::size_t bytes = 0;
    int timeout_ms = 2000;
};

std::uint64_t random_number() {
    static std::atomic<std::uint64_t> counter{std::random_device{}()};
    return counter.fetch_add(0x9e3779b97f4a7c15ULL) ^ (static_cast<std::uint64_t>(::getpid()) << 40);
}

// What the server says about us, in answer to one command line.
Result<Json> converse(const Target& target, const std::string& command,
                      const std::function<Status(int)>& between = {}) {
    TRY_ASSIGN(const Fd fd, connect_tcp(target.to, target.port, target.timeout_ms));
    const std::string line = command + "\n";
    if (!send_all(fd.get(), line.data(), line.size())) return fail_errno("send");
    if (between) TRY(between(fd.get()));
    const std::string answer = receive_line(fd.get());
    if (answer.empty())
        return fail(Code::kDeadlineExceeded,
                    "the connection was made, but no answer came within " + std::to_string(target.timeout_ms) + " ms");
    Json json = Json::parse(answer, nullptr, false);
    if (!json.is_object()) return fail(Code::kInternal, "unexpected answer: " + answer);
    return json;
}

Result<std::string> probe_tcp(const Target& target) {
    TRY_ASSIGN(const Json answer, converse(target, "who"));
    return answer.value("peer", "");
}

Result<std::string> probe_upload(const Target& target) {
    TRY_ASSIGN(const Json answer, converse(target, "upload " + std::to_string(target.bytes), [&](int fd) -> Status {
                   std::vector<std::uint8_t> data(target.bytes);
                   fill_pattern(0, data.data(), data.size());
                   if (!send_all(fd, data.data(), data.size()))
                       return fail_errno("sending " + std::to_string(target.bytes) + " bytes");
                   return {};
               }));
    if (answer.value("bytes", std::size_t{0}) != target.bytes)
        return fail(Code::kDataLoss, "the server got " + answer["bytes"].dump() + " bytes");
    if (!answer.value("intact", false)) return fail(Code::kDataLoss, "the server got other bytes than were sent");
    return answer.value("peer", "");
}

Result<std::string> probe_download(const Target& target) {
    TRY_ASSIGN(const Fd fd, connect_tcp(target.to, target.port, target.timeout_ms));
    const std::string line = "download " + std::to_string(target.bytes) + "\n";
    if (!send_all(fd.get(), line.data(), line.size())) return fail_errno("send");
    std::vector<std::uint8_t> data(target.bytes);
    if (!receive_all(fd.get(), data.data(), data.size())) return fail(Code::kDeadlineExceeded, "the download stopped");
    if (!matches_pattern(0, data.data(), data.size()))
        return fail(Code::kDataLoss, "other bytes arrived than were sent");
    return std::string();
}

// Datagrams may be lost in a full queue; three attempts within the time.
Result<std::string> probe_udp(const Target& target) {
    const Endpoint to = endpoint(target.to, target.port);
    const Fd fd(::socket(to.storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!fd) return fail_errno("socket");
    TRY(set_timeouts(fd.get(), target.timeout_ms / 3));
    // Larger than the MTU is meant to be fragmented, also when the path's MTU is not known yet.
    const int discover = IP_PMTUDISC_DONT;
    ::setsockopt(fd.get(), IPPROTO_IP, IP_MTU_DISCOVER, &discover, sizeof discover);
    const int discover6 = IPV6_PMTUDISC_DONT;
    ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_MTU_DISCOVER, &discover6, sizeof discover6);
    if (::connect(fd.get(), to.get(), to.length) != 0) return fail_errno("connect");
    UdpHeader header;
    std::vector<std::uint8_t> data(std::max(target.bytes, sizeof header));
    fill_pattern(0, data.data(), data.size());
    header.magic = kUdpMagic;
    header.length = static_cast<std::uint32_t>(data.size());
    header.nonce = random_number();
    std::memcpy(data.data(), &header, sizeof header);
    std::vector<std::uint8_t> answer(1 << 16);
    std::string trouble = "no answer within " + std::to_string(target.timeout_ms) + " ms";
    for (int attempt = 0; attempt < 3; ++attempt) {
        if (::send(fd.get(), data.data(), data.size(), MSG_NOSIGNAL) < 0) {
            trouble = std::string("send: ") + std::strerror(errno);
            continue;
        }
        const ssize_t n = ::recv(fd.get(), answer.data(), answer.size(), 0);
        if (n < 0 && errno != EAGAIN) trouble = std::string("receive: ") + std::strerror(errno);
        if (n < static_cast<ssize_t>(sizeof header)) continue;
        UdpHeader back;
        std::memcpy(&back, answer.data(), sizeof back);
        if (back.nonce != header.nonce) continue;
        if (back.damaged != 0) return fail(Code::kDataLoss, "the server got other bytes than were sent");
        if (static_cast<std::size_t>(n) != data.size() ||
            !matches_pattern(sizeof back, answer.data() + sizeof back, data.size() - sizeof back)) {
            return fail(Code::kDataLoss, "other bytes came back than were sent");
        }
        return unmapped(back.peer).to_string();
    }
    return fail(Code::kDeadlineExceeded, trouble);
}

Result<std::string> probe_icmp(const Target& target) {
    TRY_ASSIGN(IcmpSocket socket, IcmpSocket::open(target.to, static_cast<std::uint16_t>(random_number() % 65535 + 1)));
    TRY(set_timeouts(socket.fd(), target.timeout_ms / 3));
    // Other programs probe the same server; identifier and sequence together tell them apart.
    auto sequence = static_cast<std::uint16_t>(random_number() >> 16);
    for (int attempt = 0; attempt < 3; ++attempt, ++sequence) {
        TRY(socket.send(sequence, target.bytes));
        if (!socket.receive(target.bytes)) continue;
        if (target.port == 0) return std::string();
        TRY_ASSIGN(const Json answer,
                   converse(target, "icmp " + std::to_string(std::uint32_t{socket.id()} << 16 | sequence)));
        return answer.value("peer", "");
    }
    return fail(Code::kDeadlineExceeded, "no echo reply within " + std::to_string(target.timeout_ms) + " ms");
}

// Nobody listens: a reset, or an ICMP error, has to come back at once.
Result<std::string> probe_closed(const Target& target) {
    auto connection = connect_tcp(target.to, target.port, target.timeout_ms);
    if (connection) return fail(Code::kFailedPrecondition, "the connection was accepted");
    if (connection.error().sys_errno != ECONNREFUSED) return forward_error(connection.error());
    return std::string();
}

Result<std::string> run(const Target& target) {
    if (target.kind == "tcp") return probe_tcp(target);
    if (target.kind == "udp") return probe_udp(target);
    if (target.kind == "icmp") return probe_icmp(target);
    if (target.kind == "upload") return probe_upload(target);
    if (target.kind == "download") return probe_download(target);
    if (target.kind == "closed") return probe_closed(target);
    return fail(Code::kInvalidArgument,
                "kind '" + target.kind + "': expected tcp, udp, icmp, upload, download or closed");
}

Json run(Json item) {
    Target target;
    const auto address = IpAddress::parse(item.value("to", ""));
    const auto start = Clock::now();
    Result<std::string> peer;
    if (!address) {
        peer = forward_error(address.error());
    } else {
        target = {.to = *address,
                  .port = item.value("port", std::uint16_t{0}),
                  .kind = item.value("kind", ""),
                  .expect_peer = item.value("expect-peer", ""),
                  .bytes = item.value("bytes", std::size_t{0}),
                  .timeout_ms = item.value("timeout-ms", 2000)};
        peer = run(target);
    }
    item["ms"] = std::chrono::duration<double, std::milli>(Clock::now() - start).count();
    if (peer && !target.expect_peer.empty() && *peer != target.expect_peer) {
        item["error"] = "the receiver saw source address " + *peer + " instead of " + target.expect_peer;
    } else if (!peer) {
        item["error"] = peer.error().message;
    }
    item["peer"] = peer.value_or("");
    item["ok"] = !item.contains("error");
    return item;
}

}  // namespace

Status probe() {
    Json list = Json::parse(std::cin, nullptr, false);
    if (!list.is_array()) return fail(Code::kInvalidArgument, "standard input: expected a JSON list of targets");
    std::atomic<std::size_t> next{0};
    std::vector<std::thread> workers;
    for (std::size_t i = 0; i < std::min<std::size_t>(16, list.size()); ++i) {
        workers.emplace_back([&] {
            for (std::size_t at; (at = next.fetch_add(1)) < list.size();) list[at] = run(list[at]);
        });
    }
    for (auto& worker : workers) worker.join();
    std::puts(list.dump().c_str());
    return {};
}

}  // namespace axo::traffic
