#include "kernel/ring_buffer.h"

#include <bpf/libbpf.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <thread>

#include "base/fd.h"
#include "kernel/libbpf_log.h"

namespace axo {
namespace {

struct FreeRing {
    void operator()(ring_buffer* ring) const { ring_buffer__free(ring); }
};

// After this many empty rounds the interval doubles, round by round, up to kIdleInterval: an idle
// node is woken ten times a second. A producer that must be heard wakes the reader itself.
constexpr int kEmptyRoundsBeforeIdle = 8;
constexpr std::chrono::milliseconds kIdleInterval{100};

class Reader final : public RingBufferReader {
public:
    Reader(Fd map, std::chrono::milliseconds interval, Callback callback)
        : map_(std::move(map)), interval_(interval), callback_(std::move(callback)) {}

    Status open() {
        const LibbpfLog log;
        ring_.reset(ring_buffer__new(map_.get(), &Reader::receive, this, nullptr));
        if (!ring_) return fail_errno("read ring buffer");
        stop_event_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
        epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
        if (!stop_event_ || !epoll_) return fail_errno("read ring buffer");
        epoll_event stop{};
        stop.events = EPOLLIN;
        // Edge-triggered: only a producer's wake-up ends the wait, not every record that arrives. Level-triggered, a
        // busy ring would never let the reader sleep.
        epoll_event data{};
        data.events = EPOLLIN | EPOLLET;
        if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, stop_event_.get(), &stop) != 0 ||
            ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, map_.get(), &data) != 0) {
            return fail_errno("watch ring buffer");
        }
        thread_ = std::thread([this] { run(); });
        return {};
    }

    ~Reader() override {
        if (!thread_.joinable()) return;
        stopping_ = true;
        const std::uint64_t one = 1;
        [[maybe_unused]] const ssize_t written = ::write(stop_event_.get(), &one, sizeof(one));
        thread_.join();
    }

    [[nodiscard]] std::uint64_t records() const override { return records_.load(std::memory_order_relaxed); }

private:
    static int receive(void* self, void* data, std::size_t size) {
        auto& reader = *static_cast<Reader*>(self);
        reader.callback_({static_cast<const std::byte*>(data), size});
        reader.records_.fetch_add(1, std::memory_order_relaxed);
        // Records left in the ring are the next reader's.
        return reader.stopping_.load(std::memory_order_relaxed) ? -ECANCELED : 0;
    }

    void run() {
        std::chrono::milliseconds wait = interval_;
        int empty_rounds = 0;
        while (!stopping_) {
            const std::uint64_t before = records_;
            ring_buffer__consume(ring_.get());
            if (records_ != before) {
                wait = interval_;
                empty_rounds = 0;
            } else if (++empty_rounds > kEmptyRoundsBeforeIdle) {
                wait = std::max(interval_, std::min(wait * 2, kIdleInterval));
            }
            std::array<epoll_event, 2> events;
            ::epoll_wait(epoll_.get(), events.data(), events.size(), static_cast<int>(wait.count()));
        }
    }

    Fd map_;
    Fd stop_event_;
    Fd epoll_;
    std::chrono::milliseconds interval_;
    Callback callback_;
    std::unique_ptr<ring_buffer, FreeRing> ring_;
    std::atomic<std::uint64_t> records_ = 0;
    std::atomic<bool> stopping_ = false;
    std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<RingBufferReader>> RingBufferReader::start(int map_fd, Duration interval, Callback callback) {
    Fd map(::fcntl(map_fd, F_DUPFD_CLOEXEC, 3));
    if (!map) return fail_errno("read ring buffer");
    const auto milliseconds =
        std::max(std::chrono::ceil<std::chrono::milliseconds>(interval), std::chrono::milliseconds(1));
    auto reader = std::make_unique<Reader>(std::move(map), milliseconds, std::move(callback));
    TRY(reader->open());
    return reader;
}

}  // namespace axo
