// cilium_metrics: forwarded and dropped packets by reason and direction, summed over CPUs.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "bpf/api/drop_reason.h"
#include "bpf/api/metrics.h"
#include "kernel/bpf_map.h"

namespace axo {

struct MetricsRow {
    std::uint8_t reason = 0;
    std::uint8_t direction = 0;  // enum metrics_direction
    std::uint64_t packets = 0;
    std::uint64_t bytes = 0;
};

class MetricsMap {
public:
    static Result<MetricsMap> open(const std::string& pin_path);
    // A map of the same layout that nobody else sees; for tests.
    static Result<MetricsMap> create_private();
    Result<std::vector<MetricsRow>> list() const;  // rows with packets only

    [[nodiscard]] const RawBpfMap& raw() const { return map_; }

private:
    explicit MetricsMap(RawBpfMap map) : map_(std::move(map)) {}
    RawBpfMap map_;
};

// "Policy denied" for 133; "Unknown (N)" for numbers without a text. Direction: "INGRESS", "EGRESS", "SERVICE".
std::string reason_text(std::uint8_t reason);
std::string direction_text(std::uint8_t direction);
// "pod.bpf.c" of a drop event's file number.
std::string source_file_text(std::uint8_t file);

}  // namespace axo
