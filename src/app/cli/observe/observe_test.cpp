// Flags to requests, settings from their places, flows from files.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "app/cli/observe/go_time.h"
#include "app/cli/observe/input_file.h"
#include "app/cli/observe/observe_command.h"
#include "base/file.h"
#include "hubble/text/proto_json.h"

namespace axo::cli {
namespace {

const WallTime kNow{std::chrono::seconds(1'000'000)};

std::string request(const std::vector<std::string>& arguments) {
    Settings settings("localhost:4245");
    ObserveCommand command(settings);
    const auto rest = parse_flags(command.flag_sets("flows"), arguments);
    if (!rest) return rest.error().message;
    const auto options = command.printer_options(false);
    if (!options) return options.error().message;
    const auto made = command.flows_request(kNow);
    return made ? proto_json(*made) : made.error().message;
}

TEST(ObserveRequest, SelectsFlows) {
    EXPECT_EQ(request({}), R"({"number":"20"})");
    EXPECT_EQ(request({"--last", "5"}), R"({"number":"5"})");
    EXPECT_EQ(request({"--first=5"}), R"({"number":"5","first":true})");
    EXPECT_EQ(request({"--all"}), R"({"number":"18446744073709551615"})");
    EXPECT_EQ(request({"-f"}), R"({"follow":true})");
    EXPECT_EQ(request({"-f", "--last", "3"}), R"({"number":"3","follow":true})");
    EXPECT_EQ(request({"--since", "10s"}), R"({"since":"1970-01-12T13:46:30Z"})");
    EXPECT_EQ(request({"--since", "1970-01-02", "--until", "1970-01-02T15:04Z"}),
              R"({"since":"1970-01-02T00:00:00Z","until":"1970-01-02T15:04:00Z"})");
    EXPECT_EQ(request({"--until", "1s", "-f"}), R"({"follow":true})");
    EXPECT_EQ(request({"-o", "json", "--field-mask", "l4,source.pod_name", "--last", "1"}),
              R"({"number":"1","field_mask":"l4,source.podName","experimental":{"field_mask":"l4,source.podName"}})");
}

TEST(ObserveRequest, ExplainAsksForWhatOnlyWeKnow) {
    EXPECT_EQ(request({"--explain", "--last", "1"}),
              R"({"number":"1","extensions":{"@type":"type.googleapis.com/axoneme.FlowCounters"}})");
}

TEST(ObserveRequest, RefusesWhatContradictsItself) {
    EXPECT_EQ(request({"--first", "1", "--last", "1"}), "cannot set both --first and --last");
    EXPECT_EQ(request({"--first", "1", "--all"}), "cannot set both --first and --all");
    EXPECT_EQ(request({"--first", "1", "-f"}), "cannot set both --first and --follow");
    EXPECT_EQ(request({"--last", "1", "--all"}), "cannot set both --last and --all");
    EXPECT_EQ(request({"-o", "table", "-f"}), "table output format is not compatible with follow mode");
    EXPECT_EQ(request({"-o", "xml"}), "invalid output format: xml");
    EXPECT_EQ(request({"--field-mask", "l4"}), "compact output format is not compatible with custom field mask");
    EXPECT_NE(request({"-o", "json", "--field-mask", "bogus"}).find("invalid path \"bogus\""), std::string::npos);
    EXPECT_NE(
        request({"--since", "yesterday"}).find("failed to parse the since time: failed to convert yesterday to time"),
        std::string::npos);
    EXPECT_NE(request({"--last", "-1"}).find("invalid argument \"-1\" for \"--last\" flag"), std::string::npos);
    EXPECT_EQ(request({"-o", "json", "--explain"}), "--explain goes with the output formats compact and dict");
}

TEST(GoTime, LayoutsAndDurations) {
    EXPECT_EQ(format_layout(TimeLayout::kStampMilli, 1234, 567'800'000), "Jan  1 00:20:34.567");
    EXPECT_EQ(format_layout(time_layout("RFC3339Nano"), 1234, 567'800'000), "1970-01-01T00:20:34.5678Z");
    EXPECT_EQ(format_layout(time_layout("rfc3339milli"), 1234, 0), "1970-01-01T00:20:34Z");
    EXPECT_EQ(format_layout(time_layout("RFC1123Z"), 1234, 0), "Thu, 01 Jan 1970 00:20:34 +0000");
    EXPECT_EQ(format_layout(time_layout("YearMonthDayHour"), 1234, 0), "1970-01-01T00Z");
    EXPECT_EQ(*parse_go_duration("1h30m"), std::chrono::minutes(90));
    EXPECT_EQ(*parse_go_duration("1.5s"), std::chrono::milliseconds(1500));
    EXPECT_FALSE(parse_go_duration("5"));
    EXPECT_FALSE(parse_go_duration(""));
    EXPECT_FALSE(parse_go_duration("5 parsecs"));
    EXPECT_EQ(*parse_moment("Thu, 01 Jan 1970 02:20:34 +0200", kNow), WallTime(std::chrono::seconds(1234)));
    EXPECT_EQ(*parse_moment("1970-01-01T02+02:00", kNow), WallTime(std::chrono::seconds(0)));
}

class SettingsTest : public testing::Test {
protected:
    void SetUp() override {
        ASSERT_NE(::mkdtemp(folder_.data()), nullptr);
        file_ = folder_ + "/config.yaml";
    }
    void TearDown() override {
        ::unsetenv("HUBBLE_SERVER");
        std::filesystem::remove_all(folder_);
    }
    Status load(Settings& settings, std::vector<std::string> arguments) {
        arguments.insert(arguments.begin(), {"--config", file_});
        const auto parsed = parse_flags({&settings.server_flags(), &settings.global_flags()}, arguments);
        EXPECT_TRUE(parsed) << parsed.error().message;
        return settings.load();
    }
    std::string folder_ = "/tmp/axo-hubble-XXXXXX", file_;
};

TEST_F(SettingsTest, FlagsBeforeEnvironmentBeforeFile) {
    ASSERT_TRUE(write_atomic(file_, "server: file:1\ntls: true\ntls-ca-cert-files: [a, b]\n"));
    Settings from_file("localhost:4245");
    ASSERT_TRUE(load(from_file, {}));
    EXPECT_EQ(from_file.text("server"), "file:1");
    EXPECT_TRUE(from_file.flag("tls"));
    EXPECT_EQ(from_file.list("tls-ca-cert-files"), (std::vector<std::string>{"a", "b"}));
    ::setenv("HUBBLE_SERVER", "env:2", 1);
    Settings from_env("localhost:4245");
    ASSERT_TRUE(load(from_env, {}));
    EXPECT_EQ(from_env.text("server"), "env:2");
    Settings from_flag("localhost:4245");
    ASSERT_TRUE(load(from_flag, {"--server", "flag:3"}));
    EXPECT_EQ(from_flag.text("server"), "flag:3");
}

TEST_F(SettingsTest, SetGetReset) {
    Settings settings("localhost:4245");
    EXPECT_FALSE(load(settings, {}));  // asked for and not there
    ASSERT_TRUE(settings.set("server", "relay:80"));
    ASSERT_TRUE(settings.set("timeout", "3s"));
    ASSERT_TRUE(settings.set("tls-ca-cert-files", "[x,y]"));
    EXPECT_EQ(*read_file(file_), "server: relay:80\ntimeout: 3s\ntls-ca-cert-files:\n- x\n- \"y\"\n");
    EXPECT_NE(settings.set("timeout", "soon").error().message.find("expected type=duration"), std::string::npos);
    EXPECT_EQ(settings.set("bogus", "1").error().message, "unknown key: bogus");
    ASSERT_TRUE(settings.set("server", ""));
    Settings again("localhost:4245");
    ASSERT_TRUE(load(again, {}));
    EXPECT_EQ(*again.get("server"), "localhost:4245");
    EXPECT_EQ(*again.get("tls-ca-cert-files"), "[x y]");
    EXPECT_NE(again.view().find("request-timeout: 12s\n"), std::string::npos);
    ASSERT_TRUE(again.reset());
    EXPECT_EQ(*read_file(file_), "{}\n");
}

TEST_F(SettingsTest, ABrokenFileIsNamed) {
    ASSERT_TRUE(write_atomic(file_, "timeout: soon\n"));
    Settings settings("localhost:4245");
    const Status loaded = load(settings, {});
    ASSERT_FALSE(loaded);
    EXPECT_NE(loaded.error().message.find(file_ + ": cannot assign value=soon for key=timeout"), std::string::npos);
}

std::vector<std::string> read(const std::string& text, const observer::GetFlowsRequest& request,
                              std::string* warnings = nullptr) {
    std::istringstream in(text);
    std::vector<std::string> uuids;
    const Status done = read_flows(
        in, request,
        [&](const observer::GetFlowsResponse& response) {
            uuids.push_back(response.has_flow() ? response.flow().uuid() : "lost");
            return true;
        },
        [&](const std::string& warning) {
            if (warnings != nullptr) *warnings += warning + "\n";
        });
    EXPECT_TRUE(done) << done.error().message;
    return uuids;
}

TEST(InputFile, FirstLastTimesAndFilters) {
    const std::string text =
        "{\"flow\":{\"uuid\":\"a\",\"verdict\":\"FORWARDED\"},\"time\":\"1970-01-01T00:00:01Z\"}\n"
        "{\"flow\":{\"uuid\":\"b\",\"verdict\":\"DROPPED\"},\"time\":\"1970-01-01T00:00:02Z\"}\n\n"
        "{\"lost_events\":{\"num_events_lost\":\"3\"},\"time\":\"1970-01-01T00:00:02Z\"}\n"
        "nonsense\n"
        "{\"flow\":{\"uuid\":\"c\",\"verdict\":\"DROPPED\",\"news\":1,\"time\":\"1970-01-01T00:00:03Z\"}}\n";
    using Uuids = std::vector<std::string>;
    observer::GetFlowsRequest all;
    std::string warnings;
    EXPECT_EQ(read(text, all, &warnings), (Uuids{"a", "b", "lost", "c"}));
    EXPECT_NE(warnings.find("line 5: not a flow"), std::string::npos);
    EXPECT_NE(warnings.find("line 6: unknown fields are left out"), std::string::npos);
    observer::GetFlowsRequest last;
    last.set_number(2);
    EXPECT_EQ(read(text, last), (Uuids{"lost", "c"}));
    observer::GetFlowsRequest first;
    first.set_number(1);
    first.set_first(true);
    EXPECT_EQ(read(text, first), Uuids{"a"});
    observer::GetFlowsRequest since;
    since.mutable_since()->set_seconds(3);
    EXPECT_EQ(read(text, since), Uuids{"c"});
    observer::GetFlowsRequest dropped;
    dropped.add_whitelist()->add_verdict(flow::DROPPED);
    dropped.add_blacklist()->add_uuid("b");
    EXPECT_EQ(read(text, dropped), (Uuids{"lost", "c"}));
}

}  // namespace
}  // namespace axo::cli
