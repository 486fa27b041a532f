#include "runtime/heap_trimmer.h"

#include <malloc.h>

#include <algorithm>

namespace axo {
namespace {

constexpr Duration kInterval = std::chrono::seconds(1);
constexpr std::size_t kWorthwhile = std::size_t{2} << 20;

}  // namespace

HeapTrimmer::HeapTrimmer(EventLoop& loop)
    : timer_(loop.every(kInterval, [untouched = std::size_t{0}]() mutable {
          // Free memory is counted whether the kernel has it or not: only what was used and freed since counts.
          const std::size_t free = ::mallinfo2().fordblks;
          untouched = std::min(untouched, free);
          if (free < untouched + kWorthwhile) return;
          ::malloc_trim(0);
          untouched = free;
      })) {}

}  // namespace axo
