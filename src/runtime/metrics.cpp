#include "runtime/metrics.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <sstream>

#include "base/file.h"

namespace axo {
namespace {

prometheus::MetricType type_of(MetricSet::Kind kind) {
    switch (kind) {
        case MetricSet::Kind::kCounter: return prometheus::MetricType::Counter;
        case MetricSet::Kind::kHistogram: return prometheus::MetricType::Histogram;
        default: return prometheus::MetricType::Gauge;
    }
}

prometheus::ClientMetric metric_of(MetricSet::Kind kind, const MetricSet::Sample& sample) {
    prometheus::ClientMetric metric;
    for (const auto& [name, value] : sample.labels) metric.label.push_back({name, value});
    if (kind == MetricSet::Kind::kCounter) {
        metric.counter.value = sample.value;
    } else if (kind == MetricSet::Kind::kGauge) {
        metric.gauge.value = sample.value;
    } else {
        std::uint64_t cumulative = 0;
        const auto& bounds = sample.histogram->bounds();
        for (std::size_t i = 0; i <= bounds.size(); ++i) {
            cumulative += sample.histogram->counts()[i];
            metric.histogram.bucket.push_back(
                {cumulative, i < bounds.size() ? bounds[i] : std::numeric_limits<double>::infinity()});
        }
        metric.histogram.sample_count = cumulative;
        metric.histogram.sample_sum = sample.histogram->sum();
    }
    return metric;
}

// The n-th word of /proc/self/stat, as proc(5) counts, from the state (3) on.
double stat_word(const std::string& stat, std::size_t number) {
    std::istringstream words(stat.substr(std::min(stat.rfind(')') + 2, stat.size())));
    std::string word;
    for (std::size_t i = 3; i <= number; ++i) words >> word;
    return std::strtod(word.c_str(), nullptr);
}

double boot_time() {
    const auto stat = read_file("/proc/stat");
    if (!stat) return 0;
    const std::size_t at = stat->find("btime ");
    return at == std::string::npos ? 0 : std::strtod(stat->c_str() + at + 6, nullptr);
}

}  // namespace

void MetricHistogram::observe(double value, std::uint64_t times) {
    counts_[static_cast<std::size_t>(std::ranges::lower_bound(bounds_, value) - bounds_.begin())] += times;
    sum_ += value * static_cast<double>(times);
}

Result<MetricSelection> MetricSelection::parse(std::string_view text) {
    MetricSelection selection;
    std::istringstream words{std::string(text)};
    for (std::string word; words >> word;) {
        if (word.size() < 2 || (word[0] != '+' && word[0] != '-'))
            return fail(Code::kInvalidArgument, "\"" + word + "\": accepted is +name or -name of a metric");
        selection.chosen_[word.substr(1)] = word[0] == '+';
    }
    return selection;
}

bool MetricSelection::wants(const std::string& name) const {
    const auto chosen = chosen_.find(name);
    return chosen == chosen_.end() || chosen->second;
}

void MetricSet::add(Kind kind, std::string name, std::string_view help, Sample sample) {
    if (!selection_.wants(name)) return;
    Family& family = families_[std::move(name)];
    family.kind = kind;
    if (family.help.empty()) family.help = help;
    family.samples.push_back(std::move(sample));
}

void MetricSet::declare(Kind kind, std::string_view name, std::string_view help) {
    std::string full = prefix_ + std::string(name);
    if (!selection_.wants(full)) return;
    families_.try_emplace(std::move(full), Family{.kind = kind, .help = std::string(help), .samples = {}});
}

void MetricSet::gauge(std::string_view name, std::string_view help, double value, Labels labels) {
    add(Kind::kGauge, prefix_ + std::string(name), help, {.labels = std::move(labels), .value = value});
}

void MetricSet::counter(std::string_view name, std::string_view help, double value, Labels labels) {
    add(Kind::kCounter, prefix_ + std::string(name), help, {.labels = std::move(labels), .value = value});
}

void MetricSet::histogram(std::string_view name, std::string_view help, const MetricHistogram& value, Labels labels) {
    add(Kind::kHistogram, prefix_ + std::string(name), help, {.labels = std::move(labels), .histogram = &value});
}

void MetricTimes::observe(const MetricSet::Labels& labels, double seconds, std::uint64_t times) {
    static const std::vector<double> kBounds{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10};
    times_.try_emplace(labels, kBounds).first->second.observe(seconds, times);
}

void MetricTimes::add_to(MetricSet& set) const {
    for (const auto& [labels, times] : times_) set.histogram(name_, help_, times, labels);
}

void MetricSet::add_process() {
    const double ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
    const auto process = [this](Kind kind, const char* name, const char* help, double value) {
        add(kind, prefix_ + "process_" + name, help, {.value = value});
    };
    if (const auto stat = read_file("/proc/self/stat")) {
        process(Kind::kCounter, "cpu_seconds_total", "Total user and system CPU time spent in seconds.",
                (stat_word(*stat, 14) + stat_word(*stat, 15)) / ticks);
        process(Kind::kGauge, "virtual_memory_bytes", "Virtual memory size in bytes.", stat_word(*stat, 23));
        process(Kind::kGauge, "resident_memory_bytes", "Resident memory size in bytes.",
                stat_word(*stat, 24) * static_cast<double>(::sysconf(_SC_PAGESIZE)));
        process(Kind::kGauge, "start_time_seconds", "Start time of the process since unix epoch in seconds.",
                boot_time() + stat_word(*stat, 22) / ticks);
    }
    std::error_code none;
    double open = 0;
    for (auto fd = std::filesystem::directory_iterator("/proc/self/fd", none); !none && fd != end(fd);
         fd.increment(none))
        ++open;
    process(Kind::kGauge, "open_fds", "Number of open file descriptors.", open);
    process(Kind::kGauge, "max_fds", "Maximum number of open file descriptors.",
            static_cast<double>(::sysconf(_SC_OPEN_MAX)));
}

std::string MetricSet::text() const {
    std::vector<prometheus::MetricFamily> all;
    for (const auto& [name, family] : families_) {
        prometheus::MetricFamily& one = all.emplace_back();
        one.name = name;
        one.help = family.help;
        one.type = type_of(family.kind);
        for (const Sample& sample : family.samples) one.metric.push_back(metric_of(family.kind, sample));
    }
    return prometheus::TextSerializer().Serialize(all);
}

}  // namespace axo
