#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "base/file.h"
#include "hubble/server/exporter.h"
#include "model/json.h"

namespace axo::hubble {
namespace {

namespace fs = std::filesystem;

class ExporterTest : public ::testing::Test {
protected:
    void SetUp() override { fs::create_directories(folder_); }
    void TearDown() override { fs::remove_all(folder_); }

    ExportSettings settings(const std::string& name) const {
        ExportSettings settings;
        settings.name = name;
        settings.file.path = (folder_ / (name + ".log")).string();
        return settings;
    }
    void flows(int count, std::uint16_t port = 80) {
        for (int i = 0; i < count; ++i) {
            flow_event event{};
            event.type = EVENT_TRACE;
            event.ethertype = 0x0800;
            event.proto = IPPROTO_TCP;
            event.endpoint_dst = 7;
            event.sport = htons(static_cast<std::uint16_t>(1000 + i));
            event.dport = htons(port);
            observer_.observe(event);
        }
    }
    std::vector<Json> lines(const fs::path& path) const {
        std::vector<Json> all;
        std::ifstream file(path);
        for (std::string line; std::getline(file, line);) all.push_back(Json::parse(line));
        return all;
    }
    std::vector<Json> wait_for(const fs::path& path, std::size_t count) const {
        for (int i = 0; i < 300; ++i) {
            auto found = lines(path);
            if (found.size() >= count) return found;
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
        }
        return lines(path);
    }

    fs::path folder_ = fs::temp_directory_path() / ("axo-export-" + std::to_string(::getpid()));
    Observer observer_{{.cluster = "east", .node = "n1", .node_labels = {}, .version = "v", .capacity = 1023}, nullptr};
};

TEST_F(ExporterTest, WritesLinesThatFiltersAndMasksLeave) {
    Exporters exporters(observer_);
    ExportSettings all = settings("all"), some = settings("some");
    some.include = {R"({"destination_port":["443"]})"};
    some.exclude = {R"({"source_port":["1001"]})"};
    some.field_mask = {"l4.TCP.source_port", "node_name"};
    exporters.set({all, some});
    flows(3);
    flows(3, 443);
    const auto everything = wait_for(all.file.path, 6);
    ASSERT_EQ(everything.size(), 6U);
    EXPECT_EQ(everything[0]["node_name"], "east/n1");
    EXPECT_EQ(everything[0]["flow"]["l4"]["TCP"]["destination_port"], 80);
    EXPECT_EQ(everything[0]["flow"]["is_reply"], false);
    EXPECT_EQ(everything[0]["flow"]["Summary"], "TCP Flags: ");
    EXPECT_FALSE(everything[0]["flow"].contains("extensions"));
    const auto left = wait_for(some.file.path, 2);
    ASSERT_EQ(left.size(), 2U);
    EXPECT_EQ(left[0]["flow"], Json::parse(R"({"node_name":"east/n1","l4":{"TCP":{"source_port":1000}}})"));
    EXPECT_EQ(left[1]["flow"]["l4"]["TCP"]["source_port"], 1002);
    // One goes, the other one stays as it is.
    exporters.set({all});
    flows(1);
    EXPECT_EQ(wait_for(all.file.path, 7).size(), 7U);
    EXPECT_EQ(lines(some.file.path).size(), 2U);
    EXPECT_EQ(exporters.status().active, 1U);
}

TEST_F(ExporterTest, AggregatesAndWritesWhatItHasAtTheEnd) {
    ExportSettings one = settings("sum");
    one.aggregation_interval = std::chrono::hours(1);
    one.aggregate = {"l4.TCP.destination_port", "traffic_direction"};
    {
        Exporters exporters(observer_);
        exporters.set({one});
        flows(5);
        flows(2, 443);
        for (int i = 0; i < 200 && observer_.status().seen != 7; ++i)
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
        std::this_thread::sleep_for(std::chrono::milliseconds(600));
        EXPECT_TRUE(lines(one.file.path).empty());
    }
    const auto all = lines(one.file.path);
    ASSERT_EQ(all.size(), 2U);
    int flows = 0;
    for (const Json& line : all) {
        flows += line["flow"]["aggregate"]["ingress_flow_count"].get<int>();
        EXPECT_FALSE(line["flow"]["l4"]["TCP"].contains("source_port"));
    }
    EXPECT_EQ(flows, 7);
}

TEST_F(ExporterTest, FilesAreRotatedCompressedAndLimited) {
    ExportFile file({.path = (folder_ / "events.log").string(), .max_bytes = 1000, .max_backups = 2, .compress = true});
    std::string line(100, 'x');
    line.back() = '\n';
    for (int i = 0; i < 40; ++i) {
        ASSERT_TRUE(file.write(line));
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    std::size_t backups = 0;
    for (const auto& entry : fs::directory_iterator(folder_)) {
        if (entry.path().extension() == ".gz") ++backups;
    }
    EXPECT_EQ(backups, 2U);
    EXPECT_EQ(fs::file_size(folder_ / "events.log"), 1000U);
    ExportFile nowhere({.path = "/proc/no/such.log"});
    EXPECT_FALSE(nowhere.write("x\n"));
}

TEST_F(ExporterTest, RotationLeavesOtherFilesAloneAndTellsWhatItCannotDo) {
    ExportFile file({.path = (folder_ / "events.log").string(), .max_bytes = 100, .max_backups = 1, .compress = true});
    // Another flow log, whose name begins like ours, and its backups.
    const std::vector<std::string> others = {"events-web.log", "events-web-2026-01-02T15-04-05.000.log.gz",
                                             "events-2026.log"};
    for (const std::string& other : others) std::ofstream(folder_ / other) << "x";
    const std::string line = std::string(99, 'x') + "\n";
    for (int i = 0; i < 5; ++i) {
        ASSERT_TRUE(file.write(line));
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    EXPECT_EQ(file.trouble(), "");
    std::size_t backups = 0;
    for (const auto& entry : fs::directory_iterator(folder_)) {
        if (entry.path().extension() != ".gz" || entry.path().filename() == others[1]) continue;
        ++backups;
        EXPECT_EQ(fs::status(entry.path()).permissions(), fs::perms::owner_read | fs::perms::owner_write);
    }
    EXPECT_EQ(backups, 1U);
    for (const std::string& other : others) EXPECT_TRUE(fs::exists(folder_ / other)) << other;
    // What looks like a backup cannot be removed: lines go on, and it is told.
    fs::create_directories(folder_ / "events-2020-01-02T15-04-05.000.log" / "not empty");
    EXPECT_TRUE(file.write(line));
    EXPECT_NE(file.trouble().find("events-2020-01-02T15-04-05.000.log"), std::string::npos) << file.trouble();
    EXPECT_EQ(fs::file_size(folder_ / "events.log"), 100U);
}

TEST_F(ExporterTest, WhatCannotBeWrittenIsCountedAndTold) {
    Exporters exporters(observer_);
    ExportSettings one = settings("no");
    one.file.path = (folder_ / "here" / "no.log").string();
    std::ofstream(folder_ / "here") << "a file, not a folder";
    exporters.set({one});
    flows(5);
    Exporters::Status status;
    for (int i = 0; i < 300 && status.lost["no"] != 5; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        status = exporters.status();
    }
    EXPECT_EQ(status.lost["no"], 5U);
    EXPECT_FALSE(status.up["no"]);
    EXPECT_NE(status.errors["no"].find("here"), std::string::npos) << status.errors["no"];
    fs::remove(folder_ / "here");
    flows(2);
    EXPECT_EQ(wait_for(one.file.path, 2).size(), 2U);
    for (int i = 0; i < 100 && !status.errors.empty(); ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        status = exporters.status();
    }
    EXPECT_TRUE(status.errors.empty()) << "it is mended";
    EXPECT_EQ(status.lost["no"], 5U);
}

TEST(FlowLogs, AreReadAndMistakesAreNamed) {
    const auto all = parse_flow_logs(R"(flowLogs:
- name: web
  filePath: /var/run/cilium/hubble/web.log
  fieldMask: [time, verdict]
  includeFilters:
  - {source_pod: [shop/], verdict: [DROPPED]}
  fileMaxSizeMb: 1
  fileCompress: true
  end: "2030-01-02T15:04:05Z"
- name: sum
  filePath: stdout
  fieldAggregate: [source.namespace]
  aggregationInterval: 10s
)");
    ASSERT_TRUE(all) << all.error().message;
    EXPECT_EQ(all->at("web").file.max_bytes, 1U << 20);
    EXPECT_EQ(all->at("web").file.max_backups, 5U);
    EXPECT_TRUE(all->at("web").file.compress);
    EXPECT_EQ(all->at("web").end_ns, 1893596645'000'000'000);
    EXPECT_EQ(all->at("sum").aggregation_interval, std::chrono::seconds(10));
    const auto error = [](const std::string& text) {
        const auto parsed = parse_flow_logs(text);
        return parsed ? std::string("no error") : parsed.error().message;
    };
    EXPECT_NE(error("flowLogs: [{filePath: /a}]").find("name"), std::string::npos);
    EXPECT_NE(error("flowLogs: [{name: a, filePath: /a}, {name: b, filePath: /a}]").find("filePath"),
              std::string::npos);
    EXPECT_NE(error("flowLogs: [{name: a, filePath: /a}, {name: a, filePath: /b}]").find("name"), std::string::npos);
    EXPECT_NE(error("flowLogs: [{name: a, filePath: /a, fieldMask: [no]}]").find("flow log a: fieldMask: \"no\""),
              std::string::npos);
    EXPECT_NE(error("flowLogs: [{name: a, filePath: /a, includeFilters: [{source_ip: [x]}]}]")
                  .find("includeFilters[0].source_ip: \"x\""),
              std::string::npos);
    EXPECT_NE(error("flowLogs: [{name: a, filePath: /a, includeFilters: [{no: [x]}]}]").find("is no FlowFilter"),
              std::string::npos);
    EXPECT_NE(error("flowLogs: [{name: a, filePath: /a, aggregationInterval: soon}]").find("aggregationInterval"),
              std::string::npos);
}

}  // namespace
}  // namespace axo::hubble
