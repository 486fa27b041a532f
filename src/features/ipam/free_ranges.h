// Which of the numbers 0..last are free, kept as ranges: O(log n) in what is taken, whatever `last` is.
// Thread: any one at a time (values).
#pragma once

#include <cstdint>
#include <map>
#include <optional>

namespace axo {

class FreeRanges {
public:
    FreeRanges() = default;
    // Everything from first to last is free; nothing is when first > last.
    FreeRanges(std::uint64_t first, std::uint64_t last) {
        if (first <= last) free_.emplace(first, last);
    }

    [[nodiscard]] bool is_free(std::uint64_t number) const { return find(number) != free_.end(); }
    // False when it is not free.
    bool take(std::uint64_t number);
    // Takes what is free of first..last.
    void take_range(std::uint64_t first, std::uint64_t last);
    void give(std::uint64_t number) { give_range(number, number); }
    // first <= last.
    void give_range(std::uint64_t first, std::uint64_t last);
    // The first free number from `from` on, going round at the end.
    [[nodiscard]] std::optional<std::uint64_t> next_free(std::uint64_t from) const;
    [[nodiscard]] bool none_free() const { return free_.empty(); }

private:
    using Map = std::map<std::uint64_t, std::uint64_t>;  // first -> last, disjoint and not adjacent
    [[nodiscard]] Map::const_iterator find(std::uint64_t number) const;
    Map free_;
};

}  // namespace axo
