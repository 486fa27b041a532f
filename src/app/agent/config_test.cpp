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

TEST_F(ConfigDir, HubbleAsCiliumsConfigMapSaysIt) {
    put("enable-hubble", "true");
    put("hubble-listen-address", ":4244");
    put("hubble-tls-cert-file", "/tls/server.crt");
    put("hubble-tls-key-file", "/tls/server.key");
    put("hubble-tls-client-ca-files", "/tls/ca.crt");
    put("hubble-event-buffer-capacity", "1023");
    put("hubble-metrics",
        "dns:query;ignoreAAAA drop tcp httpV2:exemplars=true;labelsContext=source_ip,traffic_direction");
    put("hubble-export-allowlist", R"({"verdict":["DROPPED"]} {"source_pod":["kube-system/"]})");
    const auto parsed = parse({});
    ASSERT_TRUE(parsed) << parsed.error().message;
    const HubbleConfig& hubble = parsed->config.hubble;
    EXPECT_TRUE(hubble.enabled && hubble.tls);
    EXPECT_EQ(hubble.listen_addresses.size(), 2U) << "of both families";
    EXPECT_EQ(hubble.listen_port, 4244);
    EXPECT_EQ(hubble.socket_path, "/var/run/cilium/hubble.sock");
    EXPECT_EQ(hubble.capacity, 1023U);
    EXPECT_EQ(hubble.exported.include.size(), 2U);
    EXPECT_EQ(parse({"--hubble-listen-address=[::1]:4244"})->config.hubble.listen_addresses[0].to_string(), "::1");
    for (const char* bad : {"--hubble-listen-address=4244", "--hubble-event-buffer-capacity=4096",
                            "--hubble-metrics=drops", "--hubble-tls-key-file=", "--hubble-export-allowlist={",
                            "--hubble-history-max-age=1s", "--hubble-metrics-server=x:9965"})
        EXPECT_FALSE(parse({bad})) << bad;
}

TEST_F(ConfigDir, ProcIsAnotherOnesInAContainer) {
    put("procfs", "/host/proc");
    const auto parsed = parse({});
    ASSERT_TRUE(parsed) << parsed.error().message;
    EXPECT_EQ(parsed->config.given.at("procfs"), "/host/proc");
    EXPECT_FALSE(parse({"--procfs=proc"}));
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

TEST_F(ConfigDir, TheTunnelsProtocolBringsItsPort) {
    const auto vxlan = parse({});
    ASSERT_TRUE(vxlan);
    EXPECT_EQ(vxlan->config.datapath.tunnel_protocol, TunnelProtocol::kVxlan);
    EXPECT_EQ(vxlan->config.datapath.tunnel_port, 8472);
    const auto geneve = parse({"--tunnel-protocol=geneve"});
    ASSERT_TRUE(geneve);
    EXPECT_EQ(geneve->config.datapath.tunnel_protocol, TunnelProtocol::kGeneve);
    EXPECT_EQ(geneve->config.datapath.tunnel_port, 6081);
    EXPECT_TRUE(geneve->warnings.empty());
    const auto chosen =
        parse({"--tunnel-protocol=geneve", "--tunnel-port=7000", "--tunnel-source-port-range=5000-6000"});
    ASSERT_TRUE(chosen);
    EXPECT_EQ(chosen->config.datapath.tunnel_port, 7000);
    ASSERT_EQ(chosen->warnings.size(), 1U);
    EXPECT_NE(chosen->warnings[0].find("tunnel-source-port-range"), std::string::npos);
    const auto other = parse({"--tunnel-protocol=gre"});
    ASSERT_FALSE(other);
    EXPECT_NE(other.error().message.find("tunnel-protocol='gre': accepted: vxlan, geneve"), std::string::npos)
        << other.error().message;
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

// What is wrong with a combination, all of it in one answer; "" when it is accepted.
TEST_F(ConfigDir, ServicesAndMasquerading) {
    const auto refused = [this](std::vector<std::string> arguments) {
        const auto parsed = parse(std::move(arguments));
        return parsed ? std::string() : parsed.error().message;
    };
    const auto contains = [](const std::string& text, const char* part) {
        return text.find(part) != std::string::npos;
    };
    const std::string native = "--routing-mode=native";
    const std::string cidr = "--ipv4-native-routing-cidr=10.0.0.0/8";
    const std::string replaced = "--kube-proxy-replacement=true";
    EXPECT_EQ(refused({replaced, native, cidr, "--bpf-lb-mode=dsr"}), "");
    const std::string geneve = "--tunnel-protocol=geneve";
    const std::string by_geneve = "--bpf-lb-dsr-dispatch=geneve";
    for (const char* mode : {"--bpf-lb-mode=dsr", "--bpf-lb-mode=hybrid", "--bpf-lb-mode-annotation"}) {
        EXPECT_EQ(refused({replaced, geneve, by_geneve, mode}), "");
        EXPECT_EQ(refused({replaced, native, cidr, geneve, by_geneve, mode}), "");
    }
    EXPECT_EQ(refused({replaced, by_geneve}), "");  // without DSR nothing is dispatched
    EXPECT_EQ(refused({"--kube-proxy-replacement=strict"}), "");
    EXPECT_EQ(refused({replaced, "--enable-bpf-masquerade", "--enable-ip-masq-agent"}), "");
    EXPECT_EQ(refused({"--kube-proxy-replacement=partial", "--enable-node-port", "--enable-host-port"}), "");
    EXPECT_EQ(refused({"--enable-kube-proxy-adapter"}), "");
    const std::vector<std::pair<std::vector<std::string>, const char*>> mistakes = {
        {{replaced, "--bpf-lb-mode=hybrid"},
         "bpf-lb-mode=hybrid: with bpf-lb-dsr-dispatch=opt it needs routing-mode=native"},
        {{replaced, "--bpf-lb-mode-annotation"},
         "bpf-lb-mode-annotation=true: with bpf-lb-dsr-dispatch=opt it needs routing-mode=native"},
        {{replaced, "--bpf-lb-mode=dsr"}, "in a tunnel bpf-lb-dsr-dispatch=geneve with tunnel-protocol=geneve"},
        {{replaced, "--bpf-lb-mode=dsr", "--bpf-lb-dsr-dispatch=geneve"},
         "bpf-lb-mode=dsr: with bpf-lb-dsr-dispatch=geneve it needs tunnel-protocol=geneve, but it is vxlan"},
        {{replaced, native, cidr, "--bpf-lb-mode=hybrid", "--bpf-lb-dsr-dispatch=geneve"},
         "bpf-lb-mode=hybrid: with bpf-lb-dsr-dispatch=geneve it needs tunnel-protocol=geneve, but it is vxlan"},
        {{replaced, "--tunnel-protocol=geneve", "--bpf-lb-mode=dsr"},
         "bpf-lb-mode=dsr: with bpf-lb-dsr-dispatch=opt it needs routing-mode=native"},
        {{replaced, native, cidr, "--bpf-lb-dsr-dispatch=ipip"},
         "bpf-lb-dsr-dispatch=ipip: is for load balancers in front of a cluster"},
        {{native, cidr, "--bpf-lb-mode=dsr"}, "bpf-lb-mode=dsr: needs kube-proxy-replacement=true"},
        {{"--bpf-lb-acceleration=native"}, "bpf-lb-acceleration: needs kube-proxy-replacement=true"},
        {{"--enable-node-port"}, "enable-node-port=true: needs kube-proxy-replacement=partial"},
        {{"--kube-proxy-replacement=partial", "--enable-external-ips"},
         "enable-external-ips=true: needs enable-node-port=true"},
        {{replaced, "--enable-kube-proxy-adapter"},
         "enable-kube-proxy-adapter=true: needs kube-proxy-replacement=false"},
        {{"--enable-ip-masq-agent"}, "enable-ip-masq-agent=true: needs enable-bpf-masquerade=true"},
        {{"--enable-bpf-masquerade", "--egress-masquerade-interfaces=eth0"},
         "egress-masquerade-interfaces: is for enable-bpf-masquerade=false"},
        {{"--install-iptables-rules=false"}, "install-iptables-rules=false: nobody would masquerade"},
        {{native}, "ipv4-native-routing-cidr: is needed with routing-mode=native and masquerading"},
        {{"--install-no-conntrack-iptables-rules"},
         "install-no-conntrack-iptables-rules=true: needs routing-mode=native, but it is tunnel"},
        {{"--nat-map-stats-interval=100ms"},
         "nat-map-stats-interval='100ms': accepted: 0s, or a duration of at least 1s"},
        {{"--nat-map-stats-entries=0"}, "nat-map-stats-entries='0'"},
        {{"--nodeport-addresses=10.0.0.0/8,fe80:/64"},
         "nodeport-addresses='10.0.0.0/8,fe80:/64': accepted: a list of at most 16 CIDRs"},
        {{"--node-port-range=32767,30000"}, "node-port-range='32767,30000': accepted: <lowest>,<highest>"},
        {{"--bpf-lb-maglev-table-size=16384"},
         "accepted: 251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521, 131071"},
        {{"--bpf-lb-maglev-hash-seed=short"}, "accepted: 12 bytes in base64"},
        {{"--kube-proxy-replacement=maybe"}, "accepted: true, strict, partial, probe, false, disabled"},
        {{"--kube-proxy-replacement-healthz-bind-address=10256"}, "accepted: <address>:<port>"},
    };
    for (const auto& [arguments, part] : mistakes)
        EXPECT_TRUE(contains(refused(arguments), part)) << part << "\n" << refused(arguments);
    // Told together.
    const std::string both = refused({"--bpf-lb-acceleration=native", "--enable-ip-masq-agent"});
    EXPECT_TRUE(contains(both, "2 mistakes") && contains(both, "bpf-lb-acceleration") &&
                contains(both, "enable-ip-masq-agent"))
        << both;
}

TEST_F(ConfigDir, ServicesBecomeSettingsOfThePrograms) {
    const auto parsed =
        parse({"--node-port-range=20000,22767", "--bpf-lb-map-max=1000", "--bpf-lb-affinity-map-max=500",
               "--enable-bpf-masquerade", "--enable-ipv6", "--kube-proxy-replacement-healthz-bind-address=[::]:10256",
               "--nodeport-addresses=10.1.2.3/8,fd00::/8", "--enable-health-check-loadbalancer-ip"});
    ASSERT_TRUE(parsed) << parsed.error().message;
    const ServiceSettings& services = parsed->config.datapath.services;
    EXPECT_EQ(services.nat_port_low, 22768);
    EXPECT_EQ(services.service_map_max, 1000U);
    EXPECT_EQ(services.node_port_addresses, (std::vector{*Prefix::parse("10.0.0.0/8"), *Prefix::parse("fd00::/8")}));
    EXPECT_TRUE(parsed->config.services.health_check_load_balancer_ip);
    EXPECT_TRUE(parsed->warnings.empty());
    EXPECT_EQ(services.affinity_map_max, 500U);
    EXPECT_TRUE(services.masquerade4 && services.masquerade6 && !services.netfilter_masquerade);
    EXPECT_EQ(services.maglev_seed, 0x71dcda46U);  // bytes 4 to 7 of JLfvgnHc2kaSUFaI
    EXPECT_EQ(parsed->config.services.healthz_port, 10256);
    const auto plain = parse({});
    ASSERT_TRUE(plain);
    EXPECT_TRUE(plain->config.datapath.services.netfilter_masquerade);
}

TEST_F(ConfigDir, ListsAndFlagsOfTcp) {
    const auto parsed = parse({"--devices=eth0,eth1", "--devices=wlan+", "--monitor-aggregation-flags=syn,ack",
                               "--log-opt=format=json,level=error"});
    ASSERT_TRUE(parsed) << parsed.error().message;
    EXPECT_EQ(parsed->config.datapath.devices, (std::vector<std::string>{"eth0", "eth1", "wlan+"}));
    EXPECT_EQ(parsed->config.datapath.monitor_tcp_flags, 0x12);
    EXPECT_EQ(parsed->config.log_level, LogLevel::kError);
}

TEST(Ipam, MultiPool) {
    auto parsed = parse_config({"--ipam=multi-pool"}, {});
    ASSERT_TRUE(parsed);
    EXPECT_EQ(parsed->config.pre_allocate, (std::map<std::string, std::uint64_t>{{"default", 8}}));
    parsed = parse_config(
        {"--ipam=multi-pool", "--ipam-default-ip-pool=own", "--ipam-multi-pool-pre-allocation=blue=4"}, {});
    ASSERT_TRUE(parsed);
    EXPECT_EQ(parsed->config.pre_allocate, (std::map<std::string, std::uint64_t>{{"blue", 4}, {"own", 1}}))
        << "the node's own addresses come from the default pool";
    EXPECT_FALSE(parse_config({"--ipam=multi-pool", "--ipam-multi-pool-pre-allocation=blue"}, {}));
    parsed = parse_config({"--ipam-default-ip-pool=own"}, {});
    ASSERT_TRUE(parsed);
    ASSERT_EQ(parsed->warnings.size(), 1U);
    EXPECT_EQ(parsed->warnings[0], "ipam-default-ip-pool: has no effect with ipam=cluster-pool");
    EXPECT_FALSE(parse_config({"--ipam=eni"}, {}));
    EXPECT_FALSE(parse_config({"--ipam=kubernetes", "--k8s-require-ipv6-pod-cidr=true"}, {}));
    EXPECT_TRUE(parse_config({"--ipam=kubernetes", "--k8s-require-ipv4-pod-cidr=true"}, {})->warnings.empty());
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
