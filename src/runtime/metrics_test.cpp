#include "runtime/metrics.h"

#include <gtest/gtest.h>

namespace axo {
namespace {

TEST(Metrics, PrintsFamiliesAsPrometheusReadsThem) {
    MetricSet set("cilium_");
    set.gauge("endpoint_state", "Endpoints by state", 3, {{"endpoint_state", "ready"}});
    set.gauge("endpoint_state", "Endpoints by state", 1, {{"endpoint_state", "wait\"ing\\\n"}});
    set.counter("drop_count_total", "Dropped packets", 12345678901.0, {{"reason", "Policy denied"}});
    EXPECT_EQ(set.text(),
              "# HELP cilium_drop_count_total Dropped packets\n"
              "# TYPE cilium_drop_count_total counter\n"
              "cilium_drop_count_total{reason=\"Policy denied\"} 12345678901\n"
              "# HELP cilium_endpoint_state Endpoints by state\n"
              "# TYPE cilium_endpoint_state gauge\n"
              "cilium_endpoint_state{endpoint_state=\"ready\"} 3\n"
              "cilium_endpoint_state{endpoint_state=\"wait\\\"ing\\\\\\n\"} 1\n");
}

TEST(Metrics, AHistogramsBucketsAddUp) {
    MetricHistogram histogram({0.1, 1});
    for (const double value : {0.05, 0.1, 0.5, 7.0}) histogram.observe(value);
    MetricSet set("x_");
    set.histogram("seconds", "Time", histogram);
    const std::string text = set.text();
    EXPECT_NE(text.find("x_seconds_count 4\n"), std::string::npos) << text;
    EXPECT_NE(text.find("x_seconds_sum 7.65"), std::string::npos) << text;
    EXPECT_NE(text.find("x_seconds_bucket{le=\"0.1"), std::string::npos) << text;
    EXPECT_NE(text.find("} 2\n"), std::string::npos) << text;
    EXPECT_NE(text.find("x_seconds_bucket{le=\"1\"} 3\n"), std::string::npos) << text;
    EXPECT_NE(text.find("x_seconds_bucket{le=\"+Inf\"} 4\n"), std::string::npos) << text;
}

TEST(Metrics, TimesAreToldByLabels) {
    MetricTimes times("wait_seconds", "Time");
    times.observe({{"status", "good"}}, 0.02);
    times.observe({{"status", "good"}}, 20);
    times.observe({{"status", "bad"}}, 0.001);
    MetricSet set("x_");
    times.add_to(set);
    const std::string text = set.text();
    EXPECT_NE(text.find("x_wait_seconds_count{status=\"good\"} 2\n"), std::string::npos) << text;
    EXPECT_NE(text.find("x_wait_seconds_bucket{status=\"good\",le=\"10\"} 1\n"), std::string::npos) << text;
    EXPECT_NE(text.find("x_wait_seconds_bucket{status=\"bad\",le=\"0.005"), std::string::npos) << text;
}

TEST(Metrics, TheSelectionTakesOut) {
    const auto selection = MetricSelection::parse("-cilium_a +cilium_c");
    ASSERT_TRUE(selection);
    MetricSet set("cilium_", *selection);
    set.gauge("a", "", 1);
    set.gauge("b", "", 1);
    set.gauge("c", "", 1);
    std::vector<std::string> names;
    for (const auto& [name, family] : set.families()) names.push_back(name);
    EXPECT_EQ(names, (std::vector<std::string>{"cilium_b", "cilium_c"}));
    const auto wrong = MetricSelection::parse("+a cilium_b");
    ASSERT_FALSE(wrong);
    EXPECT_NE(wrong.error().message.find("\"cilium_b\""), std::string::npos);
    EXPECT_FALSE(MetricSelection::parse("-"));
}

TEST(Metrics, KnowsItsOwnProcess) {
    MetricSet set("cilium_");
    set.add_process();
    for (const char* name :
         {"cilium_process_cpu_seconds_total", "cilium_process_resident_memory_bytes", "cilium_process_open_fds",
          "cilium_process_start_time_seconds", "cilium_process_max_fds", "cilium_process_virtual_memory_bytes"}) {
        const auto family = set.families().find(name);
        ASSERT_NE(family, set.families().end()) << name;
        if (name != std::string("cilium_process_cpu_seconds_total")) {
            EXPECT_GT(family->second.samples.front().value, 0) << name;
        }
    }
    const double now = static_cast<double>(std::time(nullptr));
    EXPECT_NEAR(set.families().at("cilium_process_start_time_seconds").samples.front().value, now, 60);
}

}  // namespace
}  // namespace axo
