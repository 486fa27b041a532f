#include <netinet/tcp.h>

#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "app/traffic/modes.h"
#include "app/traffic/net.h"

namespace axo::traffic {
namespace {

using Clock = std::chrono::steady_clock;

// Runs `once` until the time is over and prints how often it could.
Status measure(const RateOptions& options, const std::function<Status()>& once) {
    TRY(pin_to_cpu(options.cpu));
    std::vector<float> times;  // microseconds
    times.reserve(1 << 20);
    const auto warm_up = Clock::now() + std::chrono::milliseconds(200);
    while (Clock::now() < warm_up) TRY(once());
    const auto start = Clock::now();
    const auto end =
        start + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(options.seconds));
    auto before = start;
    while (before < end) {
        TRY(once());
        const auto now = Clock::now();
        times.push_back(std::chrono::duration<float, std::micro>(now - before).count());
        before = now;
    }
    const double seconds = std::chrono::duration<double>(before - start).count();
    std::ranges::sort(times);
    const auto percentile = [&](double part) {
        return times[static_cast<std::size_t>(part * static_cast<double>(times.size() - 1))];
    };
    const nlohmann::json result{{"transactions", times.size()},
                                {"seconds", seconds},
                                {"per-second", static_cast<double>(times.size()) / seconds},
                                {"min-us", times.front()},
                                {"max-us", times.back()},
                                {"mean-us", seconds * 1e6 / static_cast<double>(times.size())},
                                {"p50-us", percentile(0.5)},
                                {"p90-us", percentile(0.9)},
                                {"p99-us", percentile(0.99)}};
    std::puts(result.dump().c_str());
    return {};
}

Result<Fd> connect_rates(const RateOptions& options) {
    TRY_ASSIGN(Fd fd, connect_tcp(options.to, static_cast<std::uint16_t>(options.port + 1), 2000));
    const int on = 1;
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

// A datagram that gets no answer within a second is lost, and the measurement with it.
Status udp_request_response(const RateOptions& options) {
    const Endpoint to = endpoint(options.to, options.port);
    const Fd fd(::socket(to.storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!fd) return fail_errno("socket");
    TRY(set_timeouts(fd.get(), 1000));
    if (::connect(fd.get(), to.get(), to.length) != 0) return fail_errno("connect");
    UdpHeader header;
    header.magic = kUdpMagic;
    header.length = sizeof header;
    return measure(options, [&]() -> Status {
        if (::send(fd.get(), &header, sizeof header, 0) < 0 || ::recv(fd.get(), &header, sizeof header, 0) < 0)
            return fail_errno("request/response");
        return {};
    });
}

}  // namespace

Status request_response(const RateOptions& options) {
    if (options.protocol == "udp") return udp_request_response(options);
    TRY_ASSIGN(const Fd fd, connect_rates(options));
    return measure(options, [&]() -> Status {
        char byte = '?';
        if (!send_all(fd.get(), &byte, 1) || !receive_all(fd.get(), &byte, 1)) return fail_errno("request/response");
        return {};
    });
}

Status connect_request_response(const RateOptions& options) {
    return measure(options, [&]() -> Status {
        TRY_ASSIGN(const Fd fd, connect_rates(options));
        char byte = '!';
        if (!send_all(fd.get(), &byte, 1) || !receive_all(fd.get(), &byte, 1))
            return fail_errno("connect/request/response");
        // The server closes; its end is the end of the transaction.
        if (const auto got = ::recv(fd.get(), &byte, 1, 0); got != 0)
            return got < 0 ? fail_errno("waiting for the server's end")
                           : fail(Code::kInternal, "more than one byte came back");
        return {};
    });
}

Status bulk(const RateOptions& options) {
    TRY(pin_to_cpu(options.cpu));
    TRY_ASSIGN(const Fd fd, connect_tcp(options.to, options.port, 2000));
    const std::string command = "bulk\n";
    if (!send_all(fd.get(), command.data(), command.size())) return fail_errno("send");
    std::vector<char> buffer(1 << 20);
    const auto receive_until = [&](Clock::time_point end) -> Result<std::uint64_t> {
        std::uint64_t bytes = 0;
        while (Clock::now() < end) {
            const auto got = ::recv(fd.get(), buffer.data(), buffer.size(), 0);
            if (got <= 0) return fail_errno("receive");
            bytes += static_cast<std::uint64_t>(got);
        }
        return bytes;
    };
    TRY(receive_until(Clock::now() + std::chrono::milliseconds(200)));
    const auto start = Clock::now();
    TRY_ASSIGN(const std::uint64_t bytes, receive_until(start + std::chrono::duration_cast<Clock::duration>(
                                                                    std::chrono::duration<double>(options.seconds))));
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    const nlohmann::json result{
        {"bytes", bytes}, {"seconds", seconds}, {"mbit-per-second", static_cast<double>(bytes) * 8 / seconds / 1e6}};
    std::puts(result.dump().c_str());
    return {};
}

}  // namespace axo::traffic
