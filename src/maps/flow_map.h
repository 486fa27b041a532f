// cilium_flows4 and cilium_flows6: reading, printing and collecting the flow table.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/ip.h"
#include "base/types.h"
#include "bpf/api/flow.h"
#include "kernel/bpf_map.h"

namespace axo {

struct FlowRow {
    IpAddress source;  // of the original direction
    IpAddress destination;
    std::uint16_t source_port = 0;
    std::uint16_t destination_port = 0;
    std::uint8_t protocol = 0;
    flow value{};
};

class FlowMaps {
public:
    // A family that is off has no map.
    static Result<FlowMaps> open(const std::string& v4_pin_path, const std::string& v6_pin_path);
    Status for_each(const std::function<void(const FlowRow&)>& sink) const;

    struct Collected {
        std::uint64_t seen = 0;
        std::uint64_t removed = 0;
    };
    // Removes what expired before now_tick; with `also`, what it returns true for too (e.g. flows of a deleted endpoint).
    Result<Collected> collect(std::uint32_t now_tick, const std::function<bool(const FlowRow&)>& also = {}) const;
    // One line of `bpf ct list`.
    static std::string print(const FlowRow& row, std::uint32_t now_tick);
    static std::uint32_t now_tick();

private:
    FlowMaps() = default;
    BpfMap<flow_key4, flow> v4_;
    BpfMap<flow_key6, flow> v6_;
};

}  // namespace axo
