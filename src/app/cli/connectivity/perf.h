// `axoneme connectivity perf`: rates and throughput between pods and between nodes, on one node and across.
// Thread: main's.
#pragma once

#include <string>
#include <vector>

#include "app/cli/connectivity/cluster.h"

namespace axo::cli::connectivity {

struct PerfOptions {
    std::string name_space = "cilium-test-1";
    double seconds = 10;  // of each measurement
    int samples = 1;      // of each; the median counts
    bool crr = false;     // TCP_CRR, too
    bool udp = true;
    bool host_net = true;  // between nodes, too
    bool same_node = true, other_node = true;
    std::string output;  // json …
};

struct Measurement {
    std::string scenario;  // "pod-to-pod"
    bool same_node = false;
    std::string test;  // "TCP_RR"
    double seconds = 0;
    // Rates, in microseconds and per second; 0 in a measurement of throughput.
    double min = 0, mean = 0, max = 0, p50 = 0, p90 = 0, p99 = 0, per_second = 0;
    double mbit_per_second = 0;
};

Status run_perf(TestCluster& cluster, const PerfOptions& options);
std::string perf_text(const std::vector<Measurement>& measurements, const std::string& name_space);
Json perf_json(const std::vector<Measurement>& measurements);

}  // namespace axo::cli::connectivity
