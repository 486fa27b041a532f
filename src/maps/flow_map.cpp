#include "maps/flow_map.h"

#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <ctime>

#include "maps/convert.h"
#include "maps/private_map.h"

namespace axo {
namespace {

// Large enough that a system call costs nothing per entry, small enough (~0.4 MB) to stay out of the agent's footprint.
constexpr std::uint32_t kBatch = 2048;

void set_ends(FlowRow& row, const IpAddress& low, const IpAddress& high, std::uint16_t low_port,
              std::uint16_t high_port) {
    const bool initiator_high = (row.value.flags & FLOW_F_INITIATOR_HIGH) != 0;
    row.source = initiator_high ? high : low;
    row.destination = initiator_high ? low : high;
    row.source_port = initiator_high ? high_port : low_port;
    row.destination_port = initiator_high ? low_port : high_port;
}

// The table keeps the lower end first; which is lower is asked of bytes in network order, then of ports.
bool is_lower(const FlowRow& row) {
    return row.source == row.destination ? row.source_port <= row.destination_port : row.source < row.destination;
}

// Of a translated connection's entry: the other one, as far as its key goes.
FlowRow other_entry(const FlowRow& row) {
    const flow_rewrite& rewrite = row.value.rewrite;
    const bool v6 = row.source.is_v6();
    FlowRow other;
    other.source = from_axo_addr(rewrite.saddr, v6);
    other.destination = from_axo_addr(rewrite.daddr, v6);
    other.source_port = ntohs(rewrite.sport);
    other.destination_port = ntohs(rewrite.dport);
    other.protocol = row.protocol;
    other.zone = rewrite.zone;
    return other;
}

bool has_other_entry(const flow& value) {
    return (value.flags & (FLOW_F_REWRITE_LOW | FLOW_F_REWRITE_HIGH)) != 0 && (value.flags & FLOW_F_DSR) == 0;
}

template <class Key>
Key encode_key(const FlowRow& row) {
    if constexpr (std::is_same_v<Key, flow_key4>)
        return FlowMaps::encode_key4(row);
    else
        return FlowMaps::encode_key6(row);
}

template <class Key>
class Collector {
public:
    Collector(const BpfMap<Key, flow>& map, std::uint32_t now, const std::function<bool(const FlowRow&)>& also,
              const std::function<void(const FlowRow&)>& ended)
        : map_(map), now_(now), also_(also), ended_(ended) {}

    Status run(FlowMaps::Collected& outcome) {
        std::uint32_t position = 0;
        std::uint32_t capacity = kBatch;
        bool first = true;
        std::vector<Key> keys(capacity);
        std::vector<flow> values(capacity);
        while (true) {
            std::uint32_t count = capacity;
            LIBBPF_OPTS(bpf_map_batch_opts, options);
            const int result = ::bpf_map_lookup_batch(map_.raw().fd(), first ? nullptr : &position, &position,
                                                      keys.data(), values.data(), &count, &options);
            const int error = result < 0 ? errno : 0;
            if (error == ENOSPC) {  // one hash bucket holds more than the whole batch
                capacity *= 2;
                keys.resize(capacity);
                values.resize(capacity);
                continue;
            }
            if (error == EINVAL && first) return run_singly(outcome);  // kernel without batches
            if (error != 0 && error != ENOENT) return fail_errno("reading " + map_.raw().info().name, error);
            outcome.seen += count;
            for (std::uint32_t i = 0; i < count; ++i) TRY(consider(keys[i], values[i], outcome));
            if (error == ENOENT) return {};
            first = false;
        }
    }

private:
    Status run_singly(FlowMaps::Collected& outcome) {
        TRY_ASSIGN(const auto entries, map_.entries());
        outcome.seen += entries.size();
        for (const auto& [key, value] : entries) TRY(consider(key, value, outcome));
        return {};
    }

    [[nodiscard]] bool expired(const flow& value) const { return static_cast<std::int32_t>(value.expires - now_) < 0; }

    Status consider(const Key& key, const flow& value, FlowMaps::Collected& outcome) {
        if (!expired(value)) {
            if (!also_) return {};
            const FlowRow row = FlowMaps::decode(key, value);
            if (!also_(row)) return {};
            if (has_other_entry(value)) TRY(remove_other(encode_key<Key>(other_entry(row)), outcome));
            TRY(map_.remove(key));
            ++outcome.removed;
            return {};
        }
        const auto fresh = map_.get(key);
        if (fresh && !expired(*fresh)) return {};  // a packet came in after the batch was read
        TRY(map_.remove(key));
        ++outcome.removed;
        if (ended_) ended_(FlowMaps::decode(key, fresh ? *fresh : value));
        return {};
    }

    // The pass may have removed it already.
    Status remove_other(const Key& key, FlowMaps::Collected& outcome) {
        if (!map_.get(key)) return {};
        TRY(map_.remove(key));
        ++outcome.removed;
        return {};
    }

    const BpfMap<Key, flow>& map_;
    std::uint32_t now_;
    const std::function<bool(const FlowRow&)>& also_;
    const std::function<void(const FlowRow&)>& ended_;
};

std::string protocol_text(std::uint8_t protocol) {
    switch (protocol) {
        case IPPROTO_TCP: return "TCP";
        case IPPROTO_UDP: return "UDP";
        case IPPROTO_ICMP: return "ICMP";
        case IPPROTO_ICMPV6: return "ICMPv6";
        case IPPROTO_SCTP: return "SCTP";
        default: return std::to_string(protocol);
    }
}

std::string end_text(const IpAddress& ip, std::uint16_t port) {
    return (ip.is_v6() ? "[" + ip.to_string() + "]" : ip.to_string()) + ":" + std::to_string(port);
}

}  // namespace

Result<FlowMaps> FlowMaps::open(const std::string& v4_pin_path, const std::string& v6_pin_path) {
    FlowMaps maps;
    if (!v4_pin_path.empty()) {
        TRY_ASSIGN(maps.v4_, (BpfMap<flow_key4, flow>::open_pinned(v4_pin_path)));
    }
    if (!v6_pin_path.empty()) {
        TRY_ASSIGN(maps.v6_, (BpfMap<flow_key6, flow>::open_pinned(v6_pin_path)));
    }
    return maps;
}

Result<FlowMaps> FlowMaps::use(int v4_fd, int v6_fd) {
    FlowMaps maps;
    TRY_ASSIGN(RawBpfMap v4, RawBpfMap::from_fd(Fd(::dup(v4_fd)), "cilium_flows4"));
    TRY_ASSIGN(maps.v4_, (BpfMap<flow_key4, flow>::wrap(std::move(v4))));
    TRY_ASSIGN(RawBpfMap v6, RawBpfMap::from_fd(Fd(::dup(v6_fd)), "cilium_flows6"));
    TRY_ASSIGN(maps.v6_, (BpfMap<flow_key6, flow>::wrap(std::move(v6))));
    return maps;
}

Result<FlowMaps> FlowMaps::create_private(std::uint32_t max_entries) {
    FlowMaps maps;
    PrivateMapSpec spec{.name = "cilium_flows4",
                        .key_size = sizeof(flow_key4),
                        .value_size = sizeof(flow),
                        .max_entries = max_entries,
                        .flags = BPF_F_NO_PREALLOC};
    TRY_ASSIGN(RawBpfMap v4, create_private_map(spec));
    TRY_ASSIGN(maps.v4_, (BpfMap<flow_key4, flow>::wrap(std::move(v4))));
    spec.name = "cilium_flows6";
    spec.key_size = sizeof(flow_key6);
    TRY_ASSIGN(RawBpfMap v6, create_private_map(spec));
    TRY_ASSIGN(maps.v6_, (BpfMap<flow_key6, flow>::wrap(std::move(v6))));
    return maps;
}

FlowRow FlowMaps::decode(const flow_key4& key, const flow& value) {
    FlowRow row;
    row.protocol = key.proto;
    row.zone = key.zone;
    row.value = value;
    set_ends(row, IpAddress::v4(key.addr[0]), IpAddress::v4(key.addr[1]), ntohs(key.port[0]), ntohs(key.port[1]));
    return row;
}

FlowRow FlowMaps::decode(const flow_key6& key, const flow& value) {
    FlowRow row;
    row.protocol = key.proto;
    row.zone = key.zone;
    row.value = value;
    set_ends(row, IpAddress::v6(static_cast<const void*>(key.addr[0])),
             IpAddress::v6(static_cast<const void*>(key.addr[1])), ntohs(key.port[0]), ntohs(key.port[1]));
    return row;
}

flow_key4 FlowMaps::encode_key4(const FlowRow& row) {
    const bool lower = is_lower(row);
    flow_key4 key{};
    key.addr[lower ? 0 : 1] = row.source.v4_network_order();
    key.addr[lower ? 1 : 0] = row.destination.v4_network_order();
    key.port[lower ? 0 : 1] = htons(row.source_port);
    key.port[lower ? 1 : 0] = htons(row.destination_port);
    key.proto = row.protocol;
    key.zone = row.zone;
    return key;
}

flow_key6 FlowMaps::encode_key6(const FlowRow& row) {
    const bool lower = is_lower(row);
    flow_key6 key{};
    std::memcpy(key.addr[lower ? 0 : 1], row.source.bytes().data(), 16);
    std::memcpy(key.addr[lower ? 1 : 0], row.destination.bytes().data(), 16);
    key.port[lower ? 0 : 1] = htons(row.source_port);
    key.port[lower ? 1 : 0] = htons(row.destination_port);
    key.proto = row.protocol;
    key.zone = row.zone;
    return key;
}

Status FlowMaps::for_each(const std::function<void(const FlowRow&)>& sink) const {
    const auto visit = [&sink]<class Key>(const BpfMap<Key, flow>& map) -> Status {
        if (!map) return {};
        return map.raw().for_each([&sink](const void* key, const void* value) {
            Key k{};
            flow v{};
            std::memcpy(&k, key, sizeof(k));
            std::memcpy(&v, value, sizeof(v));
            sink(decode(k, v));
        });
    };
    TRY(visit(v4_));
    return visit(v6_);
}

Result<FlowMaps::Collected> FlowMaps::collect(std::uint32_t now_tick, const std::function<bool(const FlowRow&)>& also,
                                              const std::function<void(const FlowRow&)>& ended) const {
    Collected outcome;
    if (v4_) TRY(Collector(v4_, now_tick, also, ended).run(outcome));
    if (v6_) TRY(Collector(v6_, now_tick, also, ended).run(outcome));
    return outcome;
}

std::uint32_t FlowMaps::now_tick() {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    const auto ns = static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U + static_cast<std::uint64_t>(now.tv_nsec);
    return static_cast<std::uint32_t>(ns >> AXO_TICK_SHIFT);
}

std::uint64_t FlowMaps::tick_seconds(std::uint32_t tick) {
    return (static_cast<std::uint64_t>(tick) << AXO_TICK_SHIFT) / 1'000'000'000U;
}

std::string FlowMaps::print(const FlowRow& row) {
    const flow& value = row.value;
    const bool initiator_high = (value.flags & FLOW_F_INITIATOR_HIGH) != 0;
    const bool outgoing = value.endpoint_src != 0;
    // half[0] is the direction from the lower end; Tx is the original direction of an outgoing connection.
    const int original = initiator_high ? 1 : 0;
    const int tx = outgoing ? original : 1 - original;
    const auto closing = [&value](int half) {
        return (value.flags & (half == 0 ? FLOW_F_CLOSING_LOW : FLOW_F_CLOSING_HIGH)) != 0;
    };
    const auto last_report = [&](int half) -> unsigned long long {
        const flow_half& direction = value.half[half];
        return direction.action == FLOW_UNDECIDED ? 0 : tick_seconds(direction.decided_at);
    };
    unsigned flags = 0;
    std::string names;
    const auto flag = [&](bool set, unsigned bit, const char* name) {
        if (!set) return;
        flags |= bit;
        names += std::string(name) + " ";
    };
    flag(closing(1 - tx), 0x01, "RxClosing");
    flag(closing(tx), 0x02, "TxClosing");
    flag((value.flags & FLOW_F_LOOPBACK) != 0, 0x08, "LBLoopback");
    flag((value.flags & FLOW_F_ESTABLISHED) != 0, 0x10, "SeenNonSyn");
    flag((value.flags & FLOW_F_NODE_PORT) != 0, 0x20, "NodePort");
    // Only where its replies are rewritten: the backend's node.
    flag((value.flags & (FLOW_F_DSR | FLOW_F_NODE_PORT)) == FLOW_F_DSR, 0x80, "DSRInternal");
    char numbers[384] = {};
    std::snprintf(numbers, sizeof(numbers),
                  " expires=%llu Packets=%llu Bytes=%llu RxFlagsSeen=0x%02x LastRxReport=%llu TxFlagsSeen=0x%02x "
                  "LastTxReport=%llu Flags=0x%04x [ %s] RevNAT=%u SourceSecurityID=%u BackendID=%u NatPort=%u ",
                  static_cast<unsigned long long>(tick_seconds(value.expires)),
                  static_cast<unsigned long long>(value.half[0].packets + value.half[1].packets),
                  static_cast<unsigned long long>(value.half[0].bytes + value.half[1].bytes), value.tcp_flags[1 - tx],
                  last_report(1 - tx), value.tcp_flags[tx], last_report(tx), flags, names.c_str(), value.rev_nat,
                  value.identity_src, value.backend_id,
                  (value.flags & (FLOW_F_SNAT | FLOW_F_TRANSLATED)) == FLOW_F_SNAT ? ntohs(value.rewrite.sport) : 0U);
    const bool service = value.backend_id != 0 && (value.flags & FLOW_F_TRANSLATED) == 0;
    return protocol_text(row.protocol) +
           (service    ? " SVC "
            : outgoing ? " OUT "
                       : " IN ") +
           end_text(row.source, row.source_port) + " -> " + end_text(row.destination, row.destination_port) + numbers;
}

std::string FlowMaps::print_remaining(const FlowRow& row, std::uint32_t now_tick) {
    const auto ticks = static_cast<std::int32_t>(row.value.expires - now_tick);
    const auto seconds = static_cast<std::int64_t>(ticks) * (std::int64_t{1} << AXO_TICK_SHIFT) / 1'000'000'000;
    return "(remaining: " + std::to_string(seconds) + " sec(s))";
}

}  // namespace axo
