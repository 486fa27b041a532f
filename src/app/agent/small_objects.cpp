// A cache of small objects in front of malloc. Reading one manifest makes and frees hundreds of nodes of a size;
// glibc's own cache keeps seven of them a thread, the rest pay for the arena's lock and its lists (a fifth of the
// agent's time when 1,000 services change), and more can only be asked for from the environment. Thread: each has its
// own.
#include <malloc.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <utility>

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

namespace {

// glibc's chunks on 64 bits: multiples of 16 of which 8 are its own, 32 at least.
constexpr std::size_t kUnit = 16;
constexpr std::size_t kOwn = 8;
constexpr std::size_t kSmallest = 32;
constexpr std::size_t kLargest = 272;
constexpr std::size_t kMostBytes = std::size_t{64} << 10;  // a thread

struct Free {
    Free* next;
};

struct Cache {
    std::array<Free*, kLargest / kUnit + 1> lists;
    std::size_t bytes;
    bool closed;  // the thread ends: what its last destructors free goes straight back

    void empty() {
        for (Free*& list : lists) {
            while (list != nullptr) std::free(std::exchange(list, list->next));
        }
        bytes = 0;
    }
};

constinit thread_local Cache cache{};

struct AtExit {
    bool armed = false;
    ~AtExit() {
        cache.closed = true;
        cache.empty();
    }
};
thread_local AtExit at_exit;

constexpr std::size_t chunk_of(std::size_t size) {
    return std::max((size + kOwn + kUnit - 1) & ~(kUnit - 1), kSmallest);
}

void* take(std::size_t size) {
    if (size <= kLargest - kOwn) {
        const std::size_t chunk = chunk_of(size);
        if (Free*& list = cache.lists[chunk / kUnit]; list != nullptr) {
            cache.bytes -= chunk;
            return std::exchange(list, list->next);
        }
    }
    while (true) {
        if (void* memory = std::malloc(size)) return memory;
        const std::new_handler handler = std::get_new_handler();
        if (handler == nullptr) throw std::bad_alloc();
        handler();
    }
}

void give(void* memory, std::size_t chunk) {
    if (chunk > kLargest || cache.bytes + chunk > kMostBytes || cache.closed) {
        std::free(memory);
        return;
    }
    at_exit.armed = true;  // the first use registers its destructor
    Free*& list = cache.lists[chunk / kUnit];
    list = new (memory) Free{list};
    cache.bytes += chunk;
}

}  // namespace

void* operator new(std::size_t size) {
    return take(size);
}

void operator delete(void* memory) noexcept {
    if (memory != nullptr) give(memory, ::malloc_usable_size(memory) + kOwn);
}

void operator delete(void* memory, std::size_t size) noexcept {
    if (memory != nullptr) give(memory, chunk_of(size));
}

#endif
