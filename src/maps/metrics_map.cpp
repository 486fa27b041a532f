#include "maps/metrics_map.h"

#include <bpf/libbpf.h>

#include <cstring>

#include "bpf/api/event.h"
#include "maps/private_map.h"

namespace axo {

Result<MetricsMap> MetricsMap::open(const std::string& pin_path) {
    TRY_ASSIGN(RawBpfMap raw, RawBpfMap::open_pinned(pin_path));
    if (raw.info().type != BPF_MAP_TYPE_PERCPU_ARRAY || raw.info().value_size != sizeof(metrics_value) ||
        raw.info().max_entries != METRICS_ENTRIES) {
        return fail(Code::kFailedPrecondition, "map " + pin_path + ": not a per-CPU array of " +
                                                   std::to_string(METRICS_ENTRIES) + " metrics_value entries");
    }
    return MetricsMap(std::move(raw));
}

Result<MetricsMap> MetricsMap::create_private() {
    TRY_ASSIGN(RawBpfMap raw, create_private_map({.name = "cilium_metrics",
                                                  .type = BPF_MAP_TYPE_PERCPU_ARRAY,
                                                  .key_size = sizeof(std::uint32_t),
                                                  .value_size = sizeof(metrics_value),
                                                  .max_entries = METRICS_ENTRIES}));
    return MetricsMap(std::move(raw));
}

Result<std::vector<MetricsRow>> MetricsMap::list() const {
    std::vector<MetricsRow> rows;
    const int cpus = ::libbpf_num_possible_cpus();
    if (cpus < 0) return fail_errno("counting CPUs", -cpus);
    TRY(map_.for_each([&](const void* key, const void* value) {
        std::uint32_t index = 0;
        std::memcpy(&index, key, sizeof(index));
        MetricsRow row;
        row.reason = static_cast<std::uint8_t>(index >> 2);
        row.direction = static_cast<std::uint8_t>(index & 3);
        for (int cpu = 0; cpu < cpus; ++cpu) {
            metrics_value one{};
            std::memcpy(&one, static_cast<const char*>(value) + static_cast<std::size_t>(cpu) * sizeof(one),
                        sizeof(one));
            row.packets += one.count;
            row.bytes += one.bytes;
        }
        if (row.packets != 0) rows.push_back(row);
    }));
    return rows;
}

std::string reason_text(std::uint8_t reason) {
    switch (reason) {
#define X(name, number, text) \
    case number: return text;
        AXO_REASONS(X)
#undef X
        default: return "Unknown (" + std::to_string(reason) + ")";
    }
}

std::string direction_text(std::uint8_t direction) {
    switch (direction) {
        case METRIC_INGRESS: return "INGRESS";
        case METRIC_EGRESS: return "EGRESS";
        case METRIC_SERVICE: return "SERVICE";
        default: return "UNKNOWN";
    }
}

std::string source_file_text(std::uint8_t file) {
    switch (file) {
#define X(number, text) \
    case number: return text;
        AXO_SOURCES(X)
#undef X
        default: return "unknown (" + std::to_string(file) + ")";
    }
}

}  // namespace axo
