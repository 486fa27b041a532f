#include <netinet/tcp.h>

#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "tests/cluster/traffic/modes.h"
#include "tests/cluster/traffic/net.h"

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
                                {"p50-us", percentile(0.5)},
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

}  // namespace

Status request_response(const RateOptions& options) {
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

}  // namespace axo::traffic
