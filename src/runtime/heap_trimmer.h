// Gives memory that the heap has free back to the kernel: after a start or a large change much of it is, and the
// allocator keeps it. Thread: the loop's only.
#pragma once

#include "runtime/event_loop.h"

namespace axo {

class HeapTrimmer {
public:
    explicit HeapTrimmer(EventLoop& loop);

private:
    EventLoop::Handle timer_;
};

}  // namespace axo
