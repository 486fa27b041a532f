// What a Prometheus endpoint answers, put together when it is asked: numbers stay where they are counted, and nothing
// is paid for between two scrapes. Names are Cilium's. Text format 0.0.4. Thread: one at a time.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace axo {

// Counts of values in ranges, for a metric whose distribution matters. Thread: one at a time.
class MetricHistogram {
public:
    // Upper bounds in rising order, in the metric's unit.
    explicit MetricHistogram(std::vector<double> bounds) : bounds_(std::move(bounds)), counts_(bounds_.size() + 1) {}
    void observe(double value, std::uint64_t times = 1);
    [[nodiscard]] const std::vector<double>& bounds() const { return bounds_; }
    // By bucket, not summed up; the last one is above all bounds.
    [[nodiscard]] const std::vector<std::uint64_t>& counts() const { return counts_; }
    [[nodiscard]] double sum() const { return sum_; }

private:
    std::vector<double> bounds_;
    std::vector<std::uint64_t> counts_;
    double sum_ = 0;
};

// Option `metrics`: "-name" leaves a metric out. "+name" is for those that are off by default, of which there are none.
class MetricSelection {
public:
    // "+cilium_a -cilium_b"; kInvalidArgument names the word that is neither.
    static Result<MetricSelection> parse(std::string_view text);
    [[nodiscard]] bool wants(const std::string& name) const;

private:
    std::map<std::string, bool> chosen_;
};

class MetricSet {
public:
    using Labels = std::vector<std::pair<std::string, std::string>>;
    struct Sample {
        Labels labels{};
        double value = 0;
        const MetricHistogram* histogram = nullptr;  // of histograms; outlives the set
    };
    enum class Kind { kGauge, kCounter, kHistogram };
    struct Family {
        Kind kind = Kind::kGauge;
        std::string help{};
        std::vector<Sample> samples{};
    };

    // prefix: of every name, "cilium_".
    explicit MetricSet(std::string prefix, const MetricSelection& selection = {})
        : prefix_(std::move(prefix)), selection_(selection) {}

    void gauge(std::string_view name, std::string_view help, double value, Labels labels = {});
    void counter(std::string_view name, std::string_view help, double value, Labels labels = {});
    void histogram(std::string_view name, std::string_view help, const MetricHistogram& value, Labels labels = {});
    // A metric that is shown even while it has no value.
    void declare(Kind kind, std::string_view name, std::string_view help);
    // <prefix>process_*: CPU time, memory, descriptors and start of this process.
    void add_process();

    [[nodiscard]] const std::map<std::string, Family>& families() const { return families_; }
    [[nodiscard]] std::string text() const;

private:
    void add(Kind kind, std::string name, std::string_view help, Sample sample);

    std::string prefix_;
    MetricSelection selection_;
    std::map<std::string, Family> families_;
};

// A histogram for each set of labels that has been seen. Labels come from a set that clients do not choose.
class MetricTimes {
public:
    // Of seconds, in Prometheus' own default buckets (5 ms to 10 s).
    MetricTimes(std::string name, std::string help) : name_(std::move(name)), help_(std::move(help)) {}
    void observe(const MetricSet::Labels& labels, double seconds, std::uint64_t times = 1);
    // The set must not outlive this.
    void add_to(MetricSet& set) const;

private:
    std::string name_, help_;
    std::map<MetricSet::Labels, MetricHistogram> times_;
};

inline constexpr std::string_view kMetricsContentType = "text/plain; version=0.0.4; charset=utf-8";

}  // namespace axo
