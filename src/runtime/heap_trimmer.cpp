#include "runtime/heap_trimmer.h"

#include <malloc.h>

#include <algorithm>
#include <ctime>
#include <utility>

namespace axo {
namespace {

constexpr Duration kInterval = std::chrono::seconds(1);
constexpr std::size_t kWorthwhile = std::size_t{2} << 20;
// A look goes through everything that is free: 20 ms in a heap that a large cluster has been through. It may take a
// twentieth of what the process works, and comes early when work has just ended.
constexpr int kShare = 20, kShareAfterWork = 4;
constexpr std::chrono::milliseconds kQuiet{20};  // of work in an interval

std::chrono::nanoseconds cpu_time(clockid_t clock) {
    timespec time{};
    ::clock_gettime(clock, &time);
    return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

struct Look {
    std::size_t untouched = 0;  // free memory that the kernel has already
    std::chrono::nanoseconds cost{0}, at_look{0}, at_turn{0};

    void operator()() {
        const auto now = cpu_time(CLOCK_PROCESS_CPUTIME_ID);
        const bool quiet = now - std::exchange(at_turn, now) < kQuiet;
        if (now - at_look < (quiet ? kShareAfterWork : kShare) * cost) return;
        const auto begun = cpu_time(CLOCK_THREAD_CPUTIME_ID);
        // Free memory is counted whether the kernel has it or not: only what was used and freed since counts.
        const std::size_t free = ::mallinfo2().fordblks;
        cost = cpu_time(CLOCK_THREAD_CPUTIME_ID) - begun;
        untouched = std::min(untouched, free);
        if (free >= untouched + kWorthwhile) {
            ::malloc_trim(0);
            untouched = free;
        }
        at_turn = at_look = cpu_time(CLOCK_PROCESS_CPUTIME_ID);
    }
};

}  // namespace

HeapTrimmer::HeapTrimmer(EventLoop& loop) : timer_(loop.every(kInterval, Look{})) {}

}  // namespace axo
