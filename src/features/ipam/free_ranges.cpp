#include "features/ipam/free_ranges.h"

namespace axo {

FreeRanges::Map::const_iterator FreeRanges::find(std::uint64_t number) const {
    auto at = free_.upper_bound(number);
    if (at == free_.begin()) return free_.end();
    --at;
    return number <= at->second ? at : free_.end();
}

bool FreeRanges::take(std::uint64_t number) {
    const auto at = find(number);
    if (at == free_.end()) return false;
    const auto [first, last] = *at;
    free_.erase(at);
    if (first < number) free_.emplace(first, number - 1);
    if (number < last) free_.emplace(number + 1, last);
    return true;
}

void FreeRanges::take_range(std::uint64_t first, std::uint64_t last) {
    auto at = free_.upper_bound(first);
    if (at != free_.begin()) --at;
    while (at != free_.end() && at->first <= last) {
        const auto [from, to] = *at;
        if (to < first) {
            ++at;
            continue;
        }
        at = free_.erase(at);
        if (from < first) free_.emplace(from, first - 1);
        if (last < to) free_.emplace(last + 1, to);
    }
}

void FreeRanges::give_range(std::uint64_t first, std::uint64_t last) {
    take_range(first, last);  // what is free already would overlap
    const auto after = free_.upper_bound(first);
    if (after != free_.begin()) {
        const auto before = std::prev(after);
        if (before->second + 1 == first) {
            first = before->first;
            free_.erase(before);
        }
    }
    if (after != free_.end() && last != UINT64_MAX && after->first == last + 1) {
        last = after->second;
        free_.erase(after);
    }
    free_.emplace(first, last);
}

std::optional<std::uint64_t> FreeRanges::next_free(std::uint64_t from) const {
    if (free_.empty()) return std::nullopt;
    if (find(from) != free_.end()) return from;
    const auto after = free_.upper_bound(from);
    return after != free_.end() ? after->first : free_.begin()->first;
}

}  // namespace axo
