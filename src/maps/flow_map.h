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
    IpAddress source{};  // of the original direction
    IpAddress destination{};
    std::uint16_t source_port = 0;
    std::uint16_t destination_port = 0;
    std::uint8_t protocol = 0;
    std::uint8_t zone = FLOW_ZONE_DEFAULT;
    flow value{};
};

class FlowMaps {
public:
    // A family that is off has no map.
    static Result<FlowMaps> open(const std::string& v4_pin_path, const std::string& v6_pin_path);
    // Over descriptors that the caller has (they are duplicated).
    static Result<FlowMaps> use(int v4_fd, int v6_fd);
    // Maps of the same layout that nobody else sees; for tests.
    static Result<FlowMaps> create_private(std::uint32_t max_entries);
    Status for_each(const std::function<void(const FlowRow&)>& sink) const;

    struct Collected {
        std::uint64_t seen = 0;
        std::uint64_t removed = 0;
    };
    // Removes what expired before now_tick; with `also`, what it returns true for too (e.g. flows of a deleted
    // endpoint), and of a translated connection the other entry with it. An entry that a packet has refreshed since it
    // was read stays. With `ended`, what had expired is told as it was last. Blocks: about 1 ms for an empty table, 1 s
    // for a million entries; call it from a thread that may.
    Result<Collected> collect(std::uint32_t now_tick, const std::function<bool(const FlowRow&)>& also = {},
                              const std::function<void(const FlowRow&)>& ended = {}) const;
    // One line of `bpf ct list`, in Cilium's fields. Rx and Tx are seen from the endpoint: of an outgoing connection Tx
    // is the original direction; SVC is a connection as its opener sees it, OUT or IN beside it to the backend;
    // Last…Report is when the direction was last decided or refreshed, in seconds.
    static std::string print(const FlowRow& row);
    // " (remaining: N sec(s))" of `bpf ct list -d`; negative once expired.
    static std::string print_remaining(const FlowRow& row, std::uint32_t now_tick);
    // Ticks of CLOCK_MONOTONIC as the datapath counts them (bpf/api/types.h).
    static std::uint32_t now_tick();
    static std::uint64_t tick_seconds(std::uint32_t tick);

    static FlowRow decode(const flow_key4& key, const flow& value);
    static FlowRow decode(const flow_key6& key, const flow& value);
    static flow_key4 encode_key4(const FlowRow& row);
    static flow_key6 encode_key6(const FlowRow& row);

    [[nodiscard]] const BpfMap<flow_key4, flow>& v4() const { return v4_; }
    [[nodiscard]] const BpfMap<flow_key6, flow>& v6() const { return v6_; }

private:
    FlowMaps() = default;
    BpfMap<flow_key4, flow> v4_;
    BpfMap<flow_key6, flow> v6_;
};

}  // namespace axo
