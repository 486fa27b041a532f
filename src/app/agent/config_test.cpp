#include <gtest/gtest.h>

#include <fstream>

#include "app/agent/config_internal.h"

namespace axo {
namespace {

class ConfigDir : public testing::Test {
protected:
    void SetUp() override {
        char pattern[] = "/tmp/axo-config-XXXXXX";
        path_ = ::mkdtemp(pattern);
    }
    void TearDown() override { std::filesystem::remove_all(path_); }
    void put(const std::string& key, const std::string& value) { std::ofstream(path_ / key) << value; }
    Result<ParsedConfig> parse(std::vector<std::string> arguments,
                               std::map<std::string, std::string> environment = {}) {
        arguments.push_back("--config-dir=" + path_.string());
        environment.emplace("K8S_NODE_NAME", "n1");
        return parse_config(arguments, environment);
    }
    std::filesystem::path path_;
};

TEST_F(ConfigDir, DefaultsAreCiliums) {
    const auto parsed = parse({});
    ASSERT_TRUE(parsed) << parsed.error().message;
    const Config& config = parsed->config;
    EXPECT_EQ(config.node_name, "n1");
    EXPECT_EQ(config.cluster_name, "default");
    EXPECT_TRUE(config.ipv4);
    EXPECT_FALSE(config.ipv6);
    EXPECT_EQ(config.datapath.routing, RoutingMode::kTunnel);
    EXPECT_EQ(config.datapath.tunnel_port, 8472);
    EXPECT_EQ(config.socket_path, "/var/run/cilium/cilium.sock");
    EXPECT_EQ(config.datapath.ct_tcp, std::chrono::seconds(8000));
    EXPECT_TRUE(parsed->warnings.empty());
}

// What policies may say and what the programs do go together.
TEST_F(ConfigDir, TheHostFirewallIsOfBoth) {
    const auto off = parse({});
    const auto on = parse({"--enable-host-firewall"});
    ASSERT_TRUE(off && on);
    EXPECT_FALSE(off->config.policy.host_firewall || off->config.datapath.host_firewall);
    EXPECT_TRUE(on->config.policy.host_firewall && on->config.datapath.host_firewall);
}

TEST_F(ConfigDir, FlagsWinOverEnvironmentOverDirectory) {
    put("cluster-name", "from-dir\n");
    put("mtu", "1400\n");
    put("tunnel-port", "4789");
    const auto parsed =
        parse({"--cluster-name=from-flag"}, {{"CILIUM_CLUSTER_NAME", "from-env"}, {"CILIUM_MTU", "1300"}});
    ASSERT_TRUE(parsed) << parsed.error().message;
    EXPECT_EQ(parsed->config.cluster_name, "from-flag");
    EXPECT_EQ(parsed->config.datapath.mtu, 1300U);
    EXPECT_EQ(parsed->config.datapath.tunnel_port, 4789);
}

TEST_F(ConfigDir, AllMistakesAreReportedAtOnceWithKeyValueAndAcceptedValues) {
    put("routing-mode", "geneve");
    put("enable-ipv4", "maybe");
    const auto parsed = parse({"--tunnel-port=70000", "--no-such-flag=1", "--ipv4-native-routing-cidr=10.0.0.1/8"});
    ASSERT_FALSE(parsed);
    const std::string& message = parsed.error().message;
    EXPECT_NE(message.find("5 mistakes"), std::string::npos) << message;
    EXPECT_NE(message.find("/routing-mode: routing-mode='geneve': accepted: tunnel, native"), std::string::npos)
        << message;
    EXPECT_NE(message.find("enable-ipv4='maybe': accepted: true or false"), std::string::npos) << message;
    EXPECT_NE(message.find("--tunnel-port: tunnel-port='70000': accepted: a number from 0 to 65535"), std::string::npos)
        << message;
    EXPECT_NE(message.find("--no-such-flag: unknown flag"), std::string::npos) << message;
    EXPECT_NE(message.find("accepted: an IPv4 CIDR"), std::string::npos) << message;
}

TEST_F(ConfigDir, UnknownKeysInTheDirectoryWarnKnownOnesOfCiliumDoNot) {
    put("enable-ipvv4", "true");
    put("tofqdns-min-ttl", "0");
    put("..data", "x");
    const auto parsed = parse({});
    ASSERT_TRUE(parsed) << parsed.error().message;
    ASSERT_EQ(parsed->warnings.size(), 1U);
    EXPECT_NE(parsed->warnings[0].find("unknown key 'enable-ipvv4'"), std::string::npos);
}

TEST_F(ConfigDir, MissingFeaturesWarnAndThoseThatProtectAreRefused) {
    put("enable-bgp-control-plane", "true");
    put("enable-wireguard", "false");
    const auto warned = parse({});
    ASSERT_TRUE(warned);
    ASSERT_EQ(warned->warnings.size(), 1U);
    EXPECT_NE(warned->warnings[0].find("BGP is not available in this version"), std::string::npos);

    for (const char* flag : {"--enable-wireguard", "--enable-ipsec=true"}) {
        const auto refused = parse({flag});
        ASSERT_FALSE(refused) << flag;
        EXPECT_NE(refused.error().message.find("not available in this version"), std::string::npos)
            << refused.error().message;
    }
}

TEST_F(ConfigDir, CombinationsAreChecked) {
    EXPECT_FALSE(parse({"--enable-ipv4=false"}));
    EXPECT_FALSE(parse({"--auto-direct-node-routes"}));
    EXPECT_FALSE(parse({"--cluster-id=3"}));
    EXPECT_FALSE(parse({"--node-name=../x"}));
    EXPECT_TRUE(parse({"--auto-direct-node-routes", "--routing-mode", "native", "--direct-routing-skip-unreachable",
                       "--ipv4-native-routing-cidr=10.0.0.0/8"}));
}

TEST_F(ConfigDir, ListsAndFlagsOfTcp) {
    const auto parsed = parse({"--devices=eth0,eth1", "--devices=wlan+", "--monitor-aggregation-flags=syn,ack",
                               "--log-opt=format=json,level=error"});
    ASSERT_TRUE(parsed) << parsed.error().message;
    EXPECT_EQ(parsed->config.datapath.devices, (std::vector<std::string>{"eth0", "eth1", "wlan+"}));
    EXPECT_EQ(parsed->config.datapath.monitor_tcp_flags, 0x12);
    EXPECT_EQ(parsed->config.log_level, LogLevel::kError);
}

TEST(Duration, GoSyntax) {
    EXPECT_EQ(*parse_duration("1h2m3s"), std::chrono::seconds(3723));
    EXPECT_EQ(*parse_duration("1.5s"), std::chrono::milliseconds(1500));
    EXPECT_EQ(*parse_duration("100ms"), std::chrono::milliseconds(100));
    EXPECT_EQ(*parse_duration("0"), Duration{0});
    for (const char* bad : {"", "5", "s", "1d", "-1s", "1s2", "1..2s", "99999999999999999999h"})
        EXPECT_FALSE(parse_duration(bad)) << bad;
}

TEST(Tables, EveryKeyIsListedOnce) {
    std::map<std::string, int> seen;
    for (const ConfigOption& option : config_options()) EXPECT_EQ(++seen[option.key], 1) << option.key;
    for (const MissingFeature& feature : missing_features())
        EXPECT_EQ(++seen[std::string(feature.key)], 1) << feature.key;
    EXPECT_TRUE(is_known_cilium_key("preallocate-bpf-maps"));
    EXPECT_FALSE(is_known_cilium_key("preallocate-bpf-map"));
}

// Every default that --help shows is one the parser accepts.
TEST(Tables, DefaultsParse) {
    for (const ConfigOption& option : config_options()) {
        if (option.default_text.empty() || option.default_text.starts_with("<")) continue;
        Config config;
        const auto done = option.parse(config, option.default_text);
        EXPECT_TRUE(done) << option.key << ": " << (done ? "" : done.error().message);
    }
}

}  // namespace
}  // namespace axo
