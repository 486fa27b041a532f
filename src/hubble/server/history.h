// Flows from before the ring's oldest one. Thread: any.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "hubble/core/record.h"

namespace axo::hubble {

class History {
public:
    // A block of flows, in the order of time; blocks are numbered in the order they were written, and numbers are used
    // once.
    using Block = std::uint64_t;
    static constexpr Block kEnd = std::numeric_limits<Block>::max();

    virtual ~History() = default;
    // The first block that may have flows from this time on, the last one of all; kEnd: there is none.
    [[nodiscard]] virtual Block seek(std::int64_t since_ns) const = 0;
    [[nodiscard]] virtual Block last() const = 0;
    // Those before and behind it; kEnd: there is none. A block that is gone meanwhile stands before all there are.
    [[nodiscard]] virtual Block previous(Block block) const = 0;
    [[nodiscard]] virtual Block next(Block block) const = 0;
    // Whether all its flows are later; false if it is gone.
    [[nodiscard]] virtual bool is_after(Block block, std::int64_t time_ns) const = 0;
    // The block's flows; none if it is gone or cannot be read.
    [[nodiscard]] virtual std::vector<FlowRecord> read(Block block) const = 0;
};

}  // namespace axo::hubble
