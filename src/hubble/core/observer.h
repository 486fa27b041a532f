// Hubble's core in the agent: from the datapath's events to flows in the ring.
//
//   ring reader's thread: observe() -> decode -> names -> sinks (metrics) -> ring
//   control loop:         names, lost events of the datapath
//   server's thread:      reads the ring
//
// Thread: observe from one; the rest from any.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>

#include "hubble/core/names.h"
#include "hubble/core/ring.h"

namespace axo::hubble {

struct ObserverSettings {
    std::string cluster, node;
    std::vector<std::string> node_labels;  // sorted, "key=value"
    std::string version;
    std::size_t capacity = 4095;
};

class Observer {
public:
    Observer(ObserverSettings settings, std::function<void(const RuleRef&)> rule_wanted);

    // One event of the datapath; message: what stands behind an EVENT_DNS. One that cannot be read is counted.
    void observe(const flow_event& event, std::span<const std::byte> message = {});
    // So many events did not reach us, since the last call. Thread: any.
    void report_lost(LostSource source, std::uint64_t count);

    // Called for each flow before it is in the ring, on the ring reader's thread. To be set before the first event.
    void set_sink(std::function<void(const FlowRecord&)> sink) { sink_ = std::move(sink); }
    // Interfaces have come or gone: indices are looked up anew.
    void forget_interfaces() { interfaces_stale_.store(true, std::memory_order_relaxed); }
    void set_node_labels(std::vector<std::string> labels);
    [[nodiscard]] std::vector<std::string> node_labels() const;

    [[nodiscard]] NameTable& names() { return names_; }
    [[nodiscard]] FlowRing& ring() { return ring_; }
    [[nodiscard]] const FlowRing& ring() const { return ring_; }
    [[nodiscard]] const ObserverSettings& settings() const { return settings_; }
    // "cluster/node"
    [[nodiscard]] const std::string& node_name() const { return node_name_; }

    struct Status {
        std::uint64_t flows = 0, max_flows = 0, seen = 0, uptime_ns = 0;
        double rate = 0;  // flows a second, over the last minute or what there was of it
        std::uint64_t lost_datapath = 0, lost_ring = 0;
        std::uint64_t dns_unread = 0;  // messages on DNS's port that are none, or not whole
    };
    [[nodiscard]] Status status() const;
    // A reader of the ring was too slow.
    void count_ring_lost(std::uint64_t count) { lost_ring_.fetch_add(count, std::memory_order_relaxed); }
    // Namespaces that flows of the last hour had, by cluster. Sorted.
    [[nodiscard]] std::vector<std::pair<std::string, std::string>> namespaces() const;

private:
    std::int64_t wall_time(std::uint64_t monotonic_ns);
    std::shared_ptr<const std::string> interface_name(std::uint32_t index);
    void note_namespace(const EndpointRef& end, std::int64_t time_ns);
    void count_second(std::int64_t second);

    ObserverSettings settings_;
    const std::string node_name_;
    const std::int64_t started_ns_;  // CLOCK_MONOTONIC
    NameTable names_;
    FlowRing ring_;
    std::function<void(const FlowRecord&)> sink_;
    std::uint64_t sequence_;
    std::atomic<std::uint64_t> seen_{0}, lost_datapath_{0}, lost_ring_{0}, dns_unread_{0};
    static constexpr std::int64_t kRateSeconds = 60;
    struct Second {
        std::atomic<std::int64_t> at{-1};
        std::atomic<std::uint32_t> flows{0};
    };
    std::array<Second, kRateSeconds + 1> seconds_;
    // Ring reader's thread only.
    std::int64_t wall_offset_ = 0;
    std::uint64_t offset_checked_ns_ = 0;
    std::unordered_map<std::uint32_t, std::shared_ptr<const std::string>> interfaces_;
    std::atomic<bool> interfaces_stale_{false};
    // Ends whose namespaces were noted lately, by their places in memory.
    struct Noted {
        EndpointRef end;
        std::int64_t at_ns = 0;
    };
    std::array<Noted, 256> noted_;

    mutable std::mutex mutex_;                                                // of what stands below
    std::map<std::pair<std::string, std::string>, std::int64_t> namespaces_;  // when last seen
    std::vector<std::string> node_labels_;
};

}  // namespace axo::hubble
