#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

#include "app/traffic/icmp.h"
#include "app/traffic/modes.h"
#include "app/traffic/net.h"

namespace axo::traffic {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::duration;

std::atomic<bool> ended{false};

void end_on_signals() {
    struct sigaction action{};
    action.sa_handler = [](int) { ended = true; };
    ::sigaction(SIGTERM, &action, nullptr);
    ::sigaction(SIGINT, &action, nullptr);
}

bool over(const LoadOptions& options, Clock::time_point start) {
    return ended || (options.seconds > 0 && Clock::now() - start >= std::chrono::seconds(options.seconds));
}

double milliseconds(Clock::duration time) {
    return duration<double, std::milli>(time).count();
}

// A datagram's way out and its answer's way in, numbered.
class Channel {
public:
    virtual ~Channel() = default;
    virtual bool send(std::uint64_t number) = 0;
    virtual std::optional<std::uint64_t> receive() = 0;  // without waiting
    [[nodiscard]] virtual int fd() const = 0;
};

class UdpChannel : public Channel {
public:
    static Result<std::unique_ptr<Channel>> open(const LoadOptions& options) {
        const Endpoint to = endpoint(options.to, options.port);
        Fd fd(::socket(to.storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        if (!fd) return fail_errno("socket");
        if (::connect(fd.get(), to.get(), to.length) != 0) return fail_errno("connect");
        return std::unique_ptr<Channel>(new UdpChannel(std::move(fd), options.bytes));
    }
    bool send(std::uint64_t number) override {
        UdpHeader header;
        header.magic = kUdpMagic;
        header.length = static_cast<std::uint32_t>(data_.size());
        header.nonce = number;
        std::memcpy(data_.data(), &header, sizeof header);
        return ::send(fd_.get(), data_.data(), data_.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(data_.size());
    }
    std::optional<std::uint64_t> receive() override {
        std::uint8_t answer[65536];
        const ssize_t n = ::recv(fd_.get(), answer, sizeof answer, 0);
        UdpHeader header;
        if (n < static_cast<ssize_t>(sizeof header)) return std::nullopt;
        std::memcpy(&header, answer, sizeof header);
        return header.nonce;
    }
    [[nodiscard]] int fd() const override { return fd_.get(); }

private:
    UdpChannel(Fd fd, std::size_t bytes) : fd_(std::move(fd)), data_(std::max(bytes, sizeof(UdpHeader))) {
        fill_pattern(0, data_.data(), data_.size());
    }
    Fd fd_;
    std::vector<std::uint8_t> data_;
};

class IcmpChannel : public Channel {
public:
    static Result<std::unique_ptr<Channel>> open(const LoadOptions& options) {
        TRY_ASSIGN(IcmpSocket socket, IcmpSocket::open(options.to, static_cast<std::uint16_t>(::getpid())));
        return std::unique_ptr<Channel>(new IcmpChannel(std::move(socket), options.bytes));
    }
    bool send(std::uint64_t number) override {
        sent_ = number;
        return socket_.send(static_cast<std::uint16_t>(number), bytes_).has_value();
    }
    std::optional<std::uint64_t> receive() override {
        const auto low = socket_.receive(bytes_, false);
        if (!low) return std::nullopt;
        // The sequence on the wire has 16 bits; the number is the latest that ends in them.
        return sent_ - ((sent_ - *low) & 0xffff);
    }
    [[nodiscard]] int fd() const override { return socket_.fd(); }

private:
    IcmpChannel(IcmpSocket socket, std::size_t bytes) : socket_(std::move(socket)), bytes_(bytes) {}
    IcmpSocket socket_;
    std::size_t bytes_;
    std::uint64_t sent_ = 0;
};

}  // namespace

Status load(const LoadOptions& options) {
    end_on_signals();
    TRY_ASSIGN(const auto channel, options.protocol == "icmp" ? IcmpChannel::open(options) : UdpChannel::open(options));
    const auto interval = std::chrono::nanoseconds(1'000'000'000 / options.per_second);
    std::vector<bool> answered;
    std::uint64_t received = 0, doubled = 0, refused = 0;
    Clock::duration longest{};
    const auto start = Clock::now();
    auto last_answer = start, next = start;
    const auto collect = [&] {
        while (const auto number = channel->receive()) {
            if (*number >= answered.size()) continue;
            if (answered[*number]) {
                ++doubled;
                continue;
            }
            answered[*number] = true;
            ++received;
            const auto now = Clock::now();
            longest = std::max(longest, now - last_answer);
            last_answer = now;
        }
    };
    std::puts("ready");
    std::fflush(stdout);
    while (!over(options, start)) {
        const auto now = Clock::now();
        if (now >= next) {
            answered.push_back(false);
            if (!channel->send(answered.size() - 1)) ++refused;
            next += interval;
            // After a stall of this process the pace goes on from now, rather than in one burst.
            if (now > next + std::chrono::milliseconds(100)) next = now + interval;
        }
        pollfd ready{channel->fd(), POLLIN, 0};
        const auto wait = std::chrono::duration_cast<std::chrono::nanoseconds>(next - Clock::now()).count();
        const timespec limit{0, wait > 0 ? wait : 0};
        if (::ppoll(&ready, 1, &limit, nullptr) > 0) collect();
    }
    const auto stragglers = Clock::now() + std::chrono::seconds(1);
    while (received < answered.size() && Clock::now() < stragglers) {
        ::poll(nullptr, 0, 1);
        collect();
    }
    std::vector<std::uint64_t> missing;
    for (std::uint64_t i = 0; i < answered.size() && missing.size() < 20; ++i) {
        if (!answered[i]) missing.push_back(i);
    }
    const nlohmann::json result{
        {"sent", answered.size()}, {"received", received}, {"lost", answered.size() - received},
        {"doubled", doubled},      {"refused", refused},   {"longest-gap-ms", milliseconds(longest)},
        {"first-missing", missing}};
    std::puts(result.dump().c_str());
    return {};
}

Status stream(const LoadOptions& options) {
    end_on_signals();
    TRY_ASSIGN(const Fd fd, connect_tcp(options.to, options.port, 5000));
    const int on = 1;
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (!send_all(fd.get(), "echo\n", 5)) return fail_errno("send");
    std::puts("ready");
    std::fflush(stdout);
    const auto interval = std::chrono::nanoseconds(1'000'000'000 / options.per_second);
    std::vector<std::uint8_t> block(options.bytes), answer(options.bytes);
    std::uint64_t rounds = 0;
    std::string trouble;
    Clock::duration longest{};
    const auto start = Clock::now();
    while (!over(options, start)) {
        const auto sent = Clock::now();
        fill_pattern(rounds * block.size(), block.data(), block.size());
        if (!send_all(fd.get(), block.data(), block.size()) || !receive_all(fd.get(), answer.data(), answer.size())) {
            trouble = std::string("after ") + std::to_string(rounds) +
                      " rounds: " + (errno == EAGAIN ? "no answer for 5 s" : std::strerror(errno));
            break;
        }
        if (block != answer) {
            trouble = "other bytes came back than were sent, in round " + std::to_string(rounds);
            break;
        }
        ++rounds;
        longest = std::max(longest, Clock::now() - sent);
        const auto rest = sent + interval - Clock::now();
        if (rest.count() > 0) {
            const timespec limit{0, std::chrono::duration_cast<std::chrono::nanoseconds>(rest).count()};
            ::ppoll(nullptr, 0, &limit, nullptr);
        }
    }
    tcp_info info{};
    socklen_t size = sizeof info;
    ::getsockopt(fd.get(), IPPROTO_TCP, TCP_INFO, &info, &size);
    const nlohmann::json result{{"alive", trouble.empty()},
                                {"error", trouble},
                                {"rounds", rounds},
                                {"retransmits", info.tcpi_total_retrans},
                                {"longest-round-ms", milliseconds(longest)}};
    std::puts(result.dump().c_str());
    return {};
}

}  // namespace axo::traffic
