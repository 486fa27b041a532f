#include "app/cni/agent.h"

#include <gtest/gtest.h>

namespace axo::cni {
namespace {

using nlohmann::json;

TEST(CniAgentModels, ConfigurationIsRead) {
    const auto config = parse_agent_config(
        R"({"spec":{},"status":{"deviceMTU":1500,"routeMTU":1450,"GSOMaxSize":65536,"GROMaxSize":65535,
        "ipam-mode":"cluster-pool","datapathMode":"veth","ipLocalReservedPorts":"8472","packetizationLayerPMTUDMode":"blackhole"}})");
    ASSERT_TRUE(config);
    EXPECT_EQ(config->device_mtu, 1500U);
    EXPECT_EQ(config->route_mtu, 1450U);
    EXPECT_EQ(config->gso_max_size, 65536U);
    EXPECT_EQ(config->gro_max_size, 65535U);
    EXPECT_EQ(config->ipam_mode, "cluster-pool");
    EXPECT_EQ(config->datapath_mode, "veth");
    EXPECT_EQ(config->reserved_ports, "8472");
    EXPECT_EQ(config->path_mtu_discovery, "blackhole");
    EXPECT_FALSE(parse_agent_config("{}"));
    EXPECT_FALSE(parse_agent_config("<html>"));
}

TEST(CniAgentModels, LeaseOfOneAndOfBothFamilies) {
    const auto both = parse_lease(R"({"address":{"ipv4":"10.0.0.5","ipv6":"fd00::5","ipv4-pool-name":"p"},
        "ipv4":{"ip":"10.0.0.5","expiration-uuid":"u4"},"ipv6":{"ip":"fd00::5","expiration-uuid":"u6"},
        "host-addressing":{"ipv4":{"enabled":true,"ip":"10.0.0.1"},"ipv6":{"enabled":true,"ip":"fd00::1"}}})");
    ASSERT_TRUE(both) << both.error().message;
    EXPECT_EQ(both->v4.address.to_string(), "10.0.0.5");
    EXPECT_EQ(both->v4.gateway.to_string(), "10.0.0.1");
    EXPECT_EQ(both->v4.expiration_uuid, "u4");
    EXPECT_EQ(both->v4.pool, "p");
    EXPECT_EQ(both->v6.gateway.to_string(), "fd00::1");
    EXPECT_EQ(both->v6.expiration_uuid, "u6");
    const auto only6 = parse_lease(R"({"address":{"ipv6":"fd00::5"},"host-addressing":{"ipv6":{"ip":"fd00::1"}}})");
    ASSERT_TRUE(only6);
    EXPECT_FALSE(only6->v4.address);
    EXPECT_FALSE(parse_lease(R"({"address":{}})"));
    EXPECT_FALSE(parse_lease(R"({"address":{"ipv4":"10.0.0.5"}})"));  // no gateway
    EXPECT_FALSE(parse_lease(R"({"address":{"ipv4":"10.0.0.5"},"host-addressing":{"ipv4":{"ip":"fd00::1"}}})"));
    EXPECT_FALSE(parse_lease(R"({"address":{"ipv4":"nonsense"}})"));
}

TEST(CniAgentModels, EndpointRequestIsWhatTheContractSays) {
    PodEndpoint endpoint;
    endpoint.attachment = {"abc", "eth0"};
    endpoint.pod = {"nginx", "default", "uid-1"};
    endpoint.lease.v4 = {*IpAddress::parse("10.0.0.5"), *IpAddress::parse("10.0.0.1"), "u4", "", false};
    endpoint.netns = "/tmp/netns/x";
    endpoint.netns_cookie = 4711;
    endpoint.host_interface = "lxcb133159de544";
    endpoint.host_index = 17;
    endpoint.mac = *MacAddress::parse("02:00:00:00:00:02");
    endpoint.host_mac = *MacAddress::parse("02:00:00:00:00:01");
    json request = json::parse(endpoint_request(endpoint));
    const std::string netns = request["container-netns-path"];
    EXPECT_TRUE(netns == "/tmp/netns/x" || netns == "/var/run/cilium/netns/x") << netns;
    request.erase("container-netns-path");
    EXPECT_EQ(
        request,
        json::parse(
            R"({"container-id":"abc","container-interface-name":"eth0","interface-name":"lxcb133159de544","interface-index":17,
        "mac":"02:00:00:00:00:02","host-mac":"02:00:00:00:00:01","netns-cookie":"4711","addressing":{"ipv4":"10.0.0.5","ipv4-expiration-uuid":"u4"},
        "k8s-pod-name":"nginx","k8s-namespace":"default","k8s-uid":"uid-1","state":"waiting-for-identity","sync-build-endpoint":true,"labels":null,
        "datapath-configuration":{},"properties":{}})"));
}

TEST(CniAgentModels, OnlyEndpointsOfARuntimeAreKnown) {
    const auto known = parse_endpoints(R"([
        {"id":1,"status":{"external-identifiers":{}}},
        {"id":811,"status":{"external-identifiers":{"container-id":"abc","cni-attachment-id":"abc:eth0"},"networking":{"interface-name":"lxc1"}}},
        "noise"])");
    ASSERT_EQ(known.size(), 1U);
    EXPECT_EQ(known[0].id, 811U);
    EXPECT_EQ(known[0].attachment.key(), "abc:eth0");
    EXPECT_EQ(known[0].host_interface, "lxc1");
    EXPECT_TRUE(parse_endpoints("not json").empty());
}

TEST(CniAgentModels, RemovalRequestIsStable) {
    // Its hash names the file in the delete queue, which an agent of another build replays.
    EXPECT_EQ(removal_request("abc"), R"({"container-id":"abc"})");
}

}  // namespace
}  // namespace axo::cni
