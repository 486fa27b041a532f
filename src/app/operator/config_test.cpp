#include "app/operator/config.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace axo {
namespace {

using namespace std::chrono_literals;

Result<OperatorInvocation> parse(std::vector<const char*> arguments,
                                 std::map<std::string, std::string> environment = {}) {
    arguments.insert(arguments.begin(), "axoneme-operator");
    return parse_operator_config(static_cast<int>(arguments.size()), arguments.data(), environment);
}

std::string error_of(std::vector<const char*> arguments, std::map<std::string, std::string> environment = {}) {
    const auto parsed = parse(std::move(arguments), std::move(environment));
    return parsed ? std::string("accepted") : parsed.error().message;
}

TEST(OperatorConfig, Defaults) {
    const auto parsed = parse({});
    ASSERT_TRUE(parsed) << parsed.error().message;
    const OperatorConfig& config = parsed->config;
    EXPECT_EQ(config.cluster_pool.ipv4_cidrs, std::vector<Prefix>{Prefix::parse_cidr("10.0.0.0/8").value()});
    EXPECT_TRUE(config.cluster_pool.ipv6_cidrs.empty());
    EXPECT_EQ(config.lease.lease_duration, 15s);
    EXPECT_EQ(config.identity_gc_interval, 15min);
    EXPECT_EQ(config.api->address.to_string(), "127.0.0.1");
    EXPECT_EQ(config.api->port, 9234);
    EXPECT_EQ(config.lease.lease.to_string(), "kube-system/cilium-operator-resource-lock");
}

TEST(OperatorConfig, CanBeCheckedOnly) {
    const auto parsed = parse({"--check-config"});
    ASSERT_TRUE(parsed) << parsed.error().message;
    EXPECT_EQ(parsed->print, "the configuration is valid\n");
    EXPECT_NE(error_of({"--check-config", "--ipam=none"}), "accepted");
}

TEST(OperatorConfig, WhatACiliumChartWrites) {
    const auto parsed = parse({"--ipam=multi-pool", "--unmanaged-pod-watcher-interval=15", "--k8s-namespace=cilium",
                               "--auto-create-cilium-pod-ip-pools=default=ipv4-cidrs:10.0.0.0/8;ipv4-mask-size:24"});
    ASSERT_TRUE(parsed) << parsed.error().message;
    EXPECT_EQ(parsed->config.unmanaged_pod_interval, 15s);
    ASSERT_EQ(parsed->config.auto_pools.size(), 1U);
    EXPECT_EQ(parsed->config.tables.agent_namespace, "cilium") << "the agents' is the operator's own";
    EXPECT_EQ(parse({"--unmanaged-pod-watcher-interval=0"})->config.unmanaged_pod_interval, 0s);
    EXPECT_NE(error_of({"--auto-create-cilium-pod-ip-pools=default"}).find("accepted: NAME=ipv4-cidrs"),
              std::string::npos);
    EXPECT_NE(error_of({"--pod-restart-selector=dns"}).find("accepted: KEY=VALUE"), std::string::npos);
    EXPECT_NE(error_of({"--ipam=eni"}).find("accepted: cluster-pool, multi-pool, kubernetes"), std::string::npos);
}

TEST(OperatorConfig, FlagsInAllTheirForms) {
    const auto parsed =
        parse({"--object-store=dir:/x", "--enable-ipv6", "--enable-ipv4=false", "--cluster-pool-ipv6-cidr",
               "fd00::/104,fd01::/104", "--cluster-pool-ipv6-cidr=fd02::/104", "--identity-gc-interval=1h30m",
               "--nodes-gc-interval=0", "--operator-api-serve-addr=[::1]:99", "--log-opt=format=json,level=debug",
               "--leader-election-lease-duration=1s", "--leader-election-renew-deadline=700ms",
               "--leader-election-retry-period=200ms"});
    ASSERT_TRUE(parsed) << parsed.error().message;
    const OperatorConfig& config = parsed->config;
    EXPECT_EQ(config.object_store, "dir:/x");
    EXPECT_EQ(config.cluster_pool.ipv6_cidrs.size(), 3U);
    EXPECT_TRUE(config.cluster_pool.ipv4_cidrs.empty()) << "the family is off";
    EXPECT_EQ(config.identity_gc_interval, 90min);
    EXPECT_EQ(config.nodes_gc_interval, 0s);
    EXPECT_EQ(config.lease.retry_period, 200ms);
    EXPECT_EQ(config.api->address.to_string(), "::1");
    EXPECT_EQ(config.log_level, LogLevel::kDebug);
    EXPECT_EQ(config.log_format, LogFormat::kJson);
    EXPECT_FALSE(parse({"--operator-api-serve-addr="})->config.api);
    EXPECT_EQ(parse({"--operator-api-serve-addr=", "--cluster-name=x"})->config.cluster_name, "x");
    EXPECT_TRUE(parse({"--enable-ipv6", "--debug"})->config.ipv6);
    EXPECT_FALSE(parse({"--enable-ipv6", "false"})->config.ipv6);
    EXPECT_FALSE(parse({"--operator-api-serve-addr=:1"})->config.api->address);
}

TEST(OperatorConfig, PrecedenceIsFlagEnvironmentDirectory) {
    const auto directory = std::filesystem::temp_directory_path() / ("axo-operator-config-" + std::to_string(getpid()));
    std::filesystem::create_directories(directory);
    std::ofstream(directory / "cluster-pool-ipv4-cidr") << "10.1.0.0/16 10.2.0.0/16\n";
    std::ofstream(directory / "cluster-pool-ipv4-mask-size") << "25";
    std::ofstream(directory / "cluster-name") << "one";
    std::ofstream(directory / "routing-mode") << "a key of the agent";
    const std::string flag = "--config-dir=" + directory.string();
    const auto parsed = parse({flag.c_str(), "--cluster-name=three"},
                              {{"CILIUM_CLUSTER_POOL_IPV4_MASK_SIZE", "26"}, {"CILIUM_CLUSTER_NAME", "two"}});
    ASSERT_TRUE(parsed) << parsed.error().message;
    EXPECT_EQ(parsed->config.cluster_pool.ipv4_cidrs.size(), 2U);
    EXPECT_EQ(parsed->config.cluster_pool.ipv4_mask_size, 26);
    EXPECT_EQ(parsed->config.cluster_name, "three");
    std::ofstream(directory / "nodes-gc-interval") << "soon";
    EXPECT_EQ(error_of({flag.c_str()}),
              directory.string() + "/nodes-gc-interval: \"soon\"; accepted: a duration such as 15s, 5m0s, 1h30m or 0");
    std::filesystem::remove_all(directory);
    EXPECT_NE(error_of({flag.c_str()}).find("config-dir"), std::string::npos);
}

TEST(OperatorConfig, AllMistakesAtOnce) {
    const std::string errors =
        error_of({"--ipam=eni", "--cluster-pool-ipv4-cidr=10.0.0.1/8", "--nodes-gc-interval=5", "--k8s-namespace=A",
                  "--operator-api-serve-addr=9234", "--identity-gc-rate-limit=0", "--debug=maybe"});
    for (const char* part :
         {"--ipam: \"eni\"; accepted: cluster-pool, multi-pool, kubernetes", "\"10.0.0.1/8\"",
          "--nodes-gc-interval: \"5\"", "--k8s-namespace: \"A\"", "--operator-api-serve-addr: \"9234\"",
          "--identity-gc-rate-limit: \"0\"", "--debug: \"maybe\"; accepted: true or false"}) {
        EXPECT_NE(errors.find(part), std::string::npos) << part << "\n" << errors;
    }
    EXPECT_NE(error_of({"--no-such-flag"}).find("--no-such-flag"), std::string::npos);
    EXPECT_NE(error_of({"--enable-ipv4=false"}).find("at least one of them true"), std::string::npos);
    EXPECT_NE(error_of({"--cluster-pool-ipv4-cidr=10.0.0.0/8,10.3.0.0/16"}).find("collides"), std::string::npos);
    EXPECT_NE(error_of({"--cluster-pool-ipv4-mask-size=7"}).find("--cluster-pool-ipv4-mask-size: 7"),
              std::string::npos);
    EXPECT_NE(error_of({"--cluster-pool-ipv4-cidr="}).find("at least one CIDR"), std::string::npos);
    EXPECT_NE(error_of({"--leader-election-retry-period=1h"}).find("each longer than the next"), std::string::npos);
}

TEST(OperatorConfig, HelpAndVersion) {
    EXPECT_NE(parse({"--help"})->print->find("--cluster-pool-ipv4-cidr"), std::string::npos);
    EXPECT_NE(parse({"--version"})->print->find("axoneme-operator"), std::string::npos);
}

}  // namespace
}  // namespace axo
