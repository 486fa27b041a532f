// Nanoseconds per packet, against an empty program. With AXO_BPF_BENCH=<file> as many runs as figures need, each result
// written as one JSON object per line; without it, only as many as show that the path measured is the one meant.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <vector>

namespace axo::test {

inline bool benching() {
    return std::getenv("AXO_BPF_BENCH") != nullptr;
}

struct Figure {
    double median, baseline;
    double lowest, highest;
    std::size_t runs;
};

// run(repeat), empty(repeat): nanoseconds per packet. One buffer is reused by all repeats of a system call, and every
// repeat takes a hop from it: with the highest hop limit 200 repeats stay on the fast path. Many short calls, then.
template <class Run, class Empty>
Figure measure(Run run, Empty empty, int calls = benching() ? 500 : 2) {
    constexpr std::uint32_t kRepeat = 200;
    // The kernel cuts off what is less than a nanosecond: half of one on average, which an empty program's five would
    // miss.
    const auto average = [calls](std::uint64_t sum) { return static_cast<double>(sum) / calls + 0.5; };
    std::vector<double> values, baselines;
    for (int i = 0; i < 7; ++i) {
        std::uint64_t baseline = 0, value = 0;
        for (int call = 0; call < calls; ++call) {
            baseline += empty(kRepeat);
            value += run(kRepeat);
        }
        baselines.push_back(average(baseline));
        values.push_back(average(value));
    }
    std::ranges::sort(values);
    std::ranges::sort(baselines);
    return {values[3], baselines[3], values.front(), values.back(), values.size()};
}

inline void report(const char* name, const Figure& figure) {
    std::cout << name << ": " << figure.median << " ns, empty program " << figure.baseline << " ns\n";
    const char* file = std::getenv("AXO_BPF_BENCH");
    if (file == nullptr) return;
    std::ofstream out(file, std::ios::app);
    out << "{\"name\":\"" << name << "\",\"value\":" << figure.median
        << ",\"unit\":\"ns\",\"baseline\":\"empty program\",\"baseline_value\":" << figure.baseline
        << ",\"ratio\":" << figure.median / figure.baseline << ",\"runs\":" << figure.runs
        << ",\"min\":" << figure.lowest << ",\"max\":" << figure.highest << "}\n";
}

}  // namespace axo::test
