#include "runtime/heap_trimmer.h"

#include <malloc.h>

#include <algorithm>
#include <ctime>

namespace axo {
namespace {

constexpr Duration kInterval = std::chrono::seconds(1);
constexpr std::size_t kWorthwhile = std::size_t{2} << 20;
// A look goes through everything that is free: 20 ms in a heap that a large cluster has been through. While the process
// works it may take a fiftieth of that work, and while it rests a five hundredth of the time.
constexpr int kShare = 50;
constexpr std::chrono::seconds kLongest{10};

std::chrono::nanoseconds cpu_time(clockid_t clock) {
    timespec time{};
    ::clock_gettime(clock, &time);
    return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

struct Look {
    std::size_t untouched = 0;  // free memory that the kernel has already
    std::chrono::nanoseconds enough_work{0};
    std::chrono::steady_clock::time_point latest{};

    void operator()() {
        if (cpu_time(CLOCK_PROCESS_CPUTIME_ID) < enough_work && std::chrono::steady_clock::now() < latest) return;
        const auto begun = cpu_time(CLOCK_THREAD_CPUTIME_ID);
        // Free memory is counted whether the kernel has it or not: only what was used and freed since counts.
        const std::size_t free = ::mallinfo2().fordblks;
        const auto cost = cpu_time(CLOCK_THREAD_CPUTIME_ID) - begun;
        untouched = std::min(untouched, free);
        if (free >= untouched + kWorthwhile) {
            ::malloc_trim(0);
            untouched = free;
        }
        enough_work = cpu_time(CLOCK_PROCESS_CPUTIME_ID) + kShare * cost;
        latest = std::chrono::steady_clock::now() + kLongest;
    }
};

}  // namespace

HeapTrimmer::HeapTrimmer(EventLoop& loop) : timer_(loop.every(kInterval, Look{})) {}

}  // namespace axo
