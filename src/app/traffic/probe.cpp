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

#include "app/traffic/icmp.h"
#include "app/traffic/modes.h"
#include "app/traffic/net.h"

namespace axo::traffic {
namespace {

using Json = nlohmann::json;
using Clock = std::chrono::steady_clock;

struct Target {
    IpAddress to;
    std::uint16_t port = 0, from_port = 0;
    std::string kind, expect_peer;
    std::size_t bytes = 0;
    int timeout_ms = 2000;
    int times = 1;
    bool unconnected = false;
};

// Who we are to the server, who it is by its own account, and who it is by our socket's account. Empty: not known.
struct Answer {
    std::string peer, server, believed;
};

Answer answer_of(const Json& json, std::string believed) {
    return {json.value("peer", ""), json.value("server", ""), std::move(believed)};
}

std::string believed_peer(int fd) {
    const Endpoint peer = remote_end(fd);
    return text_of(address_of(peer), port_of(peer));
}

std::uint64_t random_number() {
    static std::atomic<std::uint64_t> counter{std::random_device{}()};
    return counter.fetch_add(0x9e3779b97f4a7c15ULL) ^ (static_cast<std::uint64_t>(::getpid()) << 40);
}

// What the server says about us, in answer to one command line.
Result<Answer> converse(const Target& target, const std::string& command,
                        const std::function<Status(int)>& between = {},
                        const std::function<Status(const Json&)>& judge = {}) {
    TRY_ASSIGN(const Fd fd, connect_tcp(target.to, target.port, target.timeout_ms, target.from_port));
    const std::string believed = believed_peer(fd.get());
    const std::string line = command + "\n";
    if (!send_all(fd.get(), line.data(), line.size())) return fail_errno("send");
    if (between) TRY(between(fd.get()));
    const std::string answer = receive_line(fd.get());
    if (answer.empty())
        return fail(Code::kDeadlineExceeded,
                    "the connection was made, but no answer came within " + std::to_string(target.timeout_ms) + " ms");
    const Json json = Json::parse(answer, nullptr, false);
    if (!json.is_object()) return fail(Code::kInternal, "unexpected answer: " + answer);
    if (judge) TRY(judge(json));
    return answer_of(json, believed);
}

Result<Answer> probe_tcp(const Target& target) {
    return converse(target, "who");
}

Result<Answer> probe_upload(const Target& target) {
    return converse(
        target, "upload " + std::to_string(target.bytes),
        [&](int fd) -> Status {
            std::vector<std::uint8_t> data(target.bytes);
            fill_pattern(0, data.data(), data.size());
            if (!send_all(fd, data.data(), data.size()))
                return fail_errno("sending " + std::to_string(target.bytes) + " bytes");
            return {};
        },
        [&](const Json& answer) -> Status {
            if (answer.value("bytes", std::size_t{0}) != target.bytes)
                return fail(Code::kDataLoss, "the server got " + answer["bytes"].dump() + " bytes");
            if (!answer.value("intact", false))
                return fail(Code::kDataLoss, "the server got other bytes than were sent");
            return {};
        });
}

Result<Answer> probe_download(const Target& target) {
    TRY_ASSIGN(const Fd fd, connect_tcp(target.to, target.port, target.timeout_ms, target.from_port));
    const std::string line = "download " + std::to_string(target.bytes) + "\n";
    if (!send_all(fd.get(), line.data(), line.size())) return fail_errno("send");
    std::vector<std::uint8_t> data(target.bytes);
    if (!receive_all(fd.get(), data.data(), data.size())) return fail(Code::kDeadlineExceeded, "the download stopped");
    if (!matches_pattern(0, data.data(), data.size()))
        return fail(Code::kDataLoss, "other bytes arrived than were sent");
    return Answer{.peer = {}, .server = {}, .believed = believed_peer(fd.get())};
}

// Datagrams may be lost in a full queue; three attempts within the time.
Result<Answer> probe_udp(const Target& target) {
    const Endpoint to = endpoint(target.to, target.port);
    const Fd fd(::socket(to.storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!fd) return fail_errno("socket");
    TRY(set_timeouts(fd.get(), target.timeout_ms / 3));
    // Larger than the MTU is meant to be fragmented, also when the path's MTU is not known yet.
    const int discover = IP_PMTUDISC_DONT;
    ::setsockopt(fd.get(), IPPROTO_IP, IP_MTU_DISCOVER, &discover, sizeof discover);
    const int discover6 = IPV6_PMTUDISC_DONT;
    ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_MTU_DISCOVER, &discover6, sizeof discover6);
    TRY(bind_to_port(fd.get(), target.to, target.from_port));
    if (!target.unconnected && ::connect(fd.get(), to.get(), to.length) != 0) {
        return fail_errno("connect to " + text_of(target.to, target.port));
    }
    UdpHeader header;
    std::vector<std::uint8_t> data(std::max(target.bytes, sizeof header));
    fill_pattern(0, data.data(), data.size());
    header.magic = kUdpMagic;
    header.length = static_cast<std::uint32_t>(data.size());
    header.nonce = random_number();
    std::memcpy(data.data(), &header, sizeof header);
    std::vector<std::uint8_t> answer(1 << 16);
    std::string trouble = "no answer within " + std::to_string(target.timeout_ms) + " ms";
    int failed_with = 0;
    for (int attempt = 0; attempt < 3; ++attempt) {
        const ssize_t sent = target.unconnected
                                 ? ::sendto(fd.get(), data.data(), data.size(), MSG_NOSIGNAL, to.get(), to.length)
                                 : ::send(fd.get(), data.data(), data.size(), MSG_NOSIGNAL);
        if (sent < 0) {
            failed_with = errno;
            trouble = std::string("send: ") + std::strerror(errno);
            continue;
        }
        Endpoint from;
        from.length = sizeof from.storage;
        const ssize_t n = ::recvfrom(fd.get(), answer.data(), answer.size(), 0, from.get(), &from.length);
        if (n < 0 && errno != EAGAIN) {
            failed_with = errno;
            trouble = std::string("receive: ") + std::strerror(errno);
        }
        if (n < static_cast<ssize_t>(sizeof header)) continue;
        UdpHeader back;
        std::memcpy(&back, answer.data(), sizeof back);
        if (back.nonce != header.nonce) continue;
        if (back.damaged != 0) return fail(Code::kDataLoss, "the server got other bytes than were sent");
        if (static_cast<std::size_t>(n) != data.size() ||
            !matches_pattern(sizeof back, answer.data() + sizeof back, data.size() - sizeof back)) {
            return fail(Code::kDataLoss, "other bytes came back than were sent");
        }
        return Answer{
            .peer = unmapped(back.peer).to_string(),
            .server = text_of(unmapped(back.server), back.server_port),
            .believed = target.unconnected ? text_of(address_of(from), port_of(from)) : believed_peer(fd.get())};
    }
    return forward_error({.code = Code::kDeadlineExceeded, .message = trouble, .sys_errno = failed_with});
}

Result<Answer> probe_icmp(const Target& target) {
    TRY_ASSIGN(IcmpSocket socket, IcmpSocket::open(target.to, static_cast<std::uint16_t>(random_number() % 65535 + 1)));
    TRY(set_timeouts(socket.fd(), target.timeout_ms / 3));
    // Other programs probe the same server; identifier and sequence together tell them apart.
    auto sequence = static_cast<std::uint16_t>(random_number() >> 16);
    for (int attempt = 0; attempt < 3; ++attempt, ++sequence) {
        TRY(socket.send(sequence, target.bytes));
        if (!socket.receive(target.bytes)) continue;
        if (target.port == 0) return Answer{};
        return converse(target, "icmp " + std::to_string(std::uint32_t{socket.id()} << 16 | sequence));
    }
    return fail(Code::kDeadlineExceeded, "no echo reply within " + std::to_string(target.timeout_ms) + " ms");
}

// Nobody listens: a reset, or an ICMP error, has to come back at once.
Result<Answer> probe_closed(const Target& target) {
    auto connection = connect_tcp(target.to, target.port, target.timeout_ms, target.from_port);
    if (connection) return fail(Code::kFailedPrecondition, "the connection was accepted");
    if (connection.error().sys_errno != ECONNREFUSED) return forward_error(connection.error());
    return Answer{};
}

Result<Answer> probe_once(const Target& target) {
    if (target.kind == "tcp") return probe_tcp(target);
    if (target.kind == "udp") return probe_udp(target);
    if (target.kind == "icmp") return probe_icmp(target);
    if (target.kind == "upload") return probe_upload(target);
    if (target.kind == "download") return probe_download(target);
    if (target.kind == "closed") return probe_closed(target);
    return fail(Code::kInvalidArgument,
                "kind '" + target.kind + "': expected tcp, udp, icmp, upload, download or closed");
}

// The error's name where tests tell errors apart; "" for a mere silence.
std::string name_of(int error) {
    switch (error) {
        case 0: return "";
        case EAGAIN:
        case ETIMEDOUT: return "ETIMEDOUT";
        case ECONNREFUSED: return "ECONNREFUSED";
        case EHOSTUNREACH: return "EHOSTUNREACH";
        case ENETUNREACH: return "ENETUNREACH";
        case EPERM: return "EPERM";
        case EACCES: return "EACCES";
        default: return std::strerror(error);
    }
}

void run(const Target& target, Json& item) {
    Json servers = Json::object(), peers = Json::object();
    const auto count = [](Json& counts, const std::string& name) {
        if (!name.empty()) counts[name] = counts.value(name, 0) + 1;
    };
    for (int i = 0; i < target.times; ++i) {
        const auto answer = probe_once(target);
        if (!answer) {
            item["error"] = answer.error().message;
            item["errno"] = name_of(answer.error().sys_errno);
            break;
        }
        count(servers, answer->server);
        count(peers, answer->peer);
        item["peer"] = answer->peer;
        item["server"] = answer->server;
        item["believed"] = answer->believed;
        if (!target.expect_peer.empty() && answer->peer != target.expect_peer) {
            item["error"] = "the receiver saw source address " + answer->peer + " instead of " + target.expect_peer;
            break;
        }
    }
    item["servers"] = servers;
    item["peers"] = peers;
}

Json probe_item(Json item) {
    const auto start = Clock::now();
    item["peer"] = item["server"] = item["believed"] = item["errno"] = "";
    if (const auto address = IpAddress::parse(item.value("to", "")); address) {
        run({.to = *address,
             .port = item.value("port", std::uint16_t{0}),
             .from_port = item.value("from-port", std::uint16_t{0}),
             .kind = item.value("kind", ""),
             .expect_peer = item.value("expect-peer", ""),
             .bytes = item.value("bytes", std::size_t{0}),
             .timeout_ms = item.value("timeout-ms", 2000),
             .times = item.value("times", 1),
             .unconnected = item.value("unconnected", false)},
            item);
    } else {
        item["error"] = address.error().message;
    }
    item["ms"] = std::chrono::duration<double, std::milli>(Clock::now() - start).count();
    item["ok"] = !item.contains("error");
    return item;
}

}  // namespace

Status probe() {
    // As far as the list goes: a standard input from afar may have no end.
    Json list;
    try {
        std::cin >> list;
    } catch (const Json::exception&) {
        list = Json(Json::value_t::discarded);
    }
    if (!list.is_array()) return fail(Code::kInvalidArgument, "standard input: expected a JSON list of targets");
    std::atomic<std::size_t> next{0};
    std::vector<std::thread> workers;
    for (std::size_t i = 0; i < std::min<std::size_t>(16, list.size()); ++i) {
        workers.emplace_back([&] {
            for (std::size_t at; (at = next.fetch_add(1)) < list.size();) list[at] = probe_item(list[at]);
        });
    }
    for (auto& worker : workers) worker.join();
    std::puts(list.dump().c_str());
    return {};
}

}  // namespace axo::traffic
