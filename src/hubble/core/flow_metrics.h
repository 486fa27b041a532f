// Counters over flows, as hubble-metrics asks for them: Hubble's names, labels and context options.
//
// count() runs for every flow: what a flow adds to is remembered for its two ends and what else decides it, so most
// flows are one look-up and one addition per metric. Thread: any.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "hubble/core/record.h"
#include "runtime/metrics.h"

namespace axo::hubble {

class FlowMetrics {
public:
    // "drop:sourceContext=pod|dns;destinationContext=pod tcp flow": what is wrong with it, or the counters at zero.
    static Result<std::unique_ptr<FlowMetrics>> parse(const std::string& text);

    void count(const FlowRecord& record);
    void count_lost(LostSource source, std::uint64_t count);
    // Series that name the pod go.
    void remove_pod(const std::string& name_space, const std::string& pod);
    // Under their full names.
    void add_to(MetricSet& set);

    static constexpr std::size_t kMaxSeries = 10'000;  // of a metric; what is more is counted as refused

private:
    enum class Kind {
        kDrop,
        kFlow,
        kFlowsToWorld,
        kIcmp,
        kPortDistribution,
        kTcp,
        kPolicy,
        kDnsQueries,
        kDnsResponses,
        kDnsResponseTypes,
        kLayer7,
    };
    enum class Context {
        kIdentity,
        kNamespace,
        kPod,
        kPodName,
        kDns,
        kIp,
        kReservedIdentity,
        kWorkload,
        kWorkloadName,
        kApp,
    };
    using Contexts = std::vector<Context>;
    struct Series {
        std::vector<std::string> values;
        std::uint64_t count = 0;
        // The pods that are named.
        std::string source_pod, destination_pod;
    };
    // What decides a series: the ends, and numbers of the flow.
    struct Key {
        const EndpointInfo* source = nullptr;
        const EndpointInfo* destination = nullptr;
        std::uint64_t rest = 0;
        friend bool operator==(const Key&, const Key&) = default;
    };
    struct KeyHash {
        std::size_t operator()(const Key& key) const noexcept;
    };
    struct Known {
        EndpointRef source, destination;  // keep their places in memory
        std::vector<Series*> series;
    };
    struct Metric {
        Kind kind = Kind::kFlow;
        std::string name, help;
        std::vector<std::string> labels;
        Contexts source, destination, source_ingress, source_egress, destination_ingress, destination_egress;
        std::vector<std::string> labels_context;
        bool any_drop = false, port = false, syn_only = false, query = false, ignore_aaaa = false;
        // A label is the flow's own, such as an address or a DNS name: nothing can be remembered for the ends.
        bool own_labels = false;
        std::map<std::vector<std::string>, std::shared_ptr<Series>> series;
        std::unordered_map<Key, Known, KeyHash> known;
        std::uint64_t refused = 0;
    };

    FlowMetrics() = default;
    static Status add(const std::string& text, std::vector<Metric>& metrics);
    static Status set_option(Metric& metric, const std::string& option);
    static Result<Contexts> parse_contexts(const std::string& metric, const std::string& text);
    static void set_labels(Metric& metric);
    static bool is_dns(Kind kind);
    static bool applies(const Metric& metric, const FlowRecord& record);
    static std::uint64_t rest_of(const Metric& metric, const FlowRecord& record);
    static std::vector<std::vector<std::string>> values_of(const Metric& metric, const FlowRecord& record);
    static void add_context(const Metric& metric, const FlowRecord& record, std::vector<std::string>& values);
    static std::string context_value(const Contexts& contexts, const FlowRecord& record, bool source);
    static std::string label_value(const std::string& label, const FlowRecord& record);
    Series* series_of(Metric& metric, std::vector<std::string> values, const FlowRecord& record);
    void count(Metric& metric, const FlowRecord& record);
    // Verdicts that wait for their rule's name: those that have it, and those that have waited long enough.
    void count_unnamed(std::chrono::steady_clock::time_point until);

    mutable std::mutex mutex_;
    std::vector<Metric> metrics_;  // which there are, and what they are called, does not change
    struct Unnamed {
        std::chrono::steady_clock::time_point since;
        FlowRecord record;
    };
    std::deque<Unnamed> unnamed_;
    std::map<LostSource, std::uint64_t> lost_;
};

// "TCP", "ICMPv6", "Unknown L4"
std::string_view protocol_name(const FlowRecord& record);

}  // namespace axo::hubble
