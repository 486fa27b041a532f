// Reads BPF_MAP_TYPE_RINGBUF on a thread of its own.
//
// The producer submits without wake-ups; the reader drains every `interval` and when woken by a
// quarter-full ring. The callback runs on the reader's thread and must not block.
#pragma once

#include <functional>
#include <memory>
#include <span>

#include "base/result.h"
#include "runtime/event_loop.h"

namespace axo {

class RingBufferReader {
public:
    using Callback = std::function<void(std::span<const std::byte> record)>;
    // map_fd is duplicated.
    static Result<std::unique_ptr<RingBufferReader>> start(int map_fd, Duration interval, Callback callback);
    virtual ~RingBufferReader() = default;  // stops and joins
    [[nodiscard]] virtual std::uint64_t records() const = 0;
};

}  // namespace axo
