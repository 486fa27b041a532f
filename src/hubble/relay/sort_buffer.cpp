#include "hubble/relay/sort_buffer.h"

#include <algorithm>

namespace axo::relay_server {

bool SortBuffer::later(const Entry& a, const Entry& b) {
    return a.time_ns != b.time_ns ? a.time_ns > b.time_ns : a.number > b.number;
}

void SortBuffer::push(Message message, Clock::time_point now, std::vector<std::string>& out) {
    heap_.push_back({message.time_ns, next_++, now, std::move(message.bytes)});
    std::ranges::push_heap(heap_, later);
    while (heap_.size() > capacity_) {
        std::ranges::pop_heap(heap_, later);
        out.push_back(std::move(heap_.back().bytes));
        heap_.pop_back();
    }
}

void SortBuffer::drain(Clock::time_point now, std::vector<std::string>& out) {
    const auto waited = [&](const Entry& entry) { return entry.arrived + wait_ <= now; };
    // The earliest wait longest where clocks are right; one that runs ahead would stay behind for ever.
    const auto rest = std::ranges::partition(heap_, waited);
    const auto gone = rest.begin() - heap_.begin();
    if (gone == 0) return;
    std::ranges::sort(heap_.begin(), rest.begin(), [](const Entry& a, const Entry& b) { return later(b, a); });
    for (auto entry = heap_.begin(); entry != rest.begin(); ++entry) out.push_back(std::move(entry->bytes));
    heap_.erase(heap_.begin(), rest.begin());
    std::ranges::make_heap(heap_, later);
}

void SortBuffer::finish(std::vector<std::string>& out) {
    std::ranges::sort(heap_, [](const Entry& a, const Entry& b) { return later(b, a); });
    for (Entry& entry : heap_) out.push_back(std::move(entry.bytes));
    heap_.clear();
}

}  // namespace axo::relay_server
