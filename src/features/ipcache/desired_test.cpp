#include "features/ipcache/desired.h"

#include <gtest/gtest.h>

namespace axo {
namespace {

IpAddress ip(const char* text) {
    return *IpAddress::parse(text);
}
Prefix prefix(const char* text) {
    return *Prefix::parse(text);
}

NodeRow remote_node() {
    NodeRow node;
    node.name = "n2";
    node.addresses = {
        {"InternalIP", ip("192.168.1.2")}, {"InternalIP", ip("fd01::2")}, {"CiliumInternalIP", ip("10.0.2.7")}};
    node.pod_cidrs = {prefix("10.0.2.0/24"), prefix("fd00::200/120")};
    node.health_ipv4 = ip("10.0.2.9");
    return node;
}

TEST(IpcacheNode, TunnelModeCarriesEndpointsAndPodCidrs) {
    const IpcacheSettings settings{.ipv4 = true, .ipv6 = true, .tunnel = true};
    const IpcacheRows rows = node_rows(settings, remote_node());
    ASSERT_EQ(rows.size(), 6U);
    for (const char* address : {"192.168.1.2", "fd01::2", "10.0.2.7"}) {
        EXPECT_EQ(rows.at(prefix(address)).identity, identity::kRemoteNode) << address;
        EXPECT_EQ(to_entry(rows.at(prefix(address))).tunnel_endpoint, ip("192.168.1.2")) << address;
    }
    EXPECT_EQ(rows.at(prefix("10.0.2.9")).identity, identity::kHealth);
    EXPECT_EQ(rows.at(prefix("10.0.2.0/24")).identity, identity::kWorld);
    EXPECT_EQ(to_entry(rows.at(prefix("fd00::200/120"))).tunnel_endpoint, ip("192.168.1.2"));
}

TEST(IpcacheNode, NativeRoutingHasNoTunnelEndpointsAndNoPodCidrs) {
    const IpcacheSettings settings{.ipv4 = true, .ipv6 = false, .tunnel = false};
    const IpcacheRows rows = node_rows(settings, remote_node());
    EXPECT_EQ(rows.size(), 3U);  // IPv6 is off
    for (const auto& [key, row] : rows) EXPECT_FALSE(to_entry(row).tunnel_endpoint) << key.to_string();
}

TEST(IpcacheNode, WithNativeRoutingATunnelIsKnownAndNotTheWay) {
    const IpcacheSettings settings{.ipv4 = true, .ipv6 = true, .tunnel = true, .native = true};
    const IpcacheRows rows = node_rows(settings, remote_node());
    EXPECT_EQ(rows.size(), 4U);  // no pod CIDRs
    for (const auto& [key, row] : rows) {
        EXPECT_EQ(to_entry(row).tunnel_endpoint, ip("192.168.1.2")) << key.to_string();
        EXPECT_TRUE(to_entry(row).skip_tunnel) << key.to_string();
    }
    const RemoteEndpoint pod{.k8s_namespace = "a",
                             .name = "b",
                             .identity = IdentityId(4711),
                             .node_ip = ip("192.168.1.2"),
                             .ipv4 = ip("10.0.2.5"),
                             .ipv6 = {}};
    const IpcacheEntry entry = to_entry(remote_endpoint_rows(settings, pod).at(prefix("10.0.2.5")));
    EXPECT_EQ(entry.tunnel_endpoint, ip("192.168.1.2"));
    EXPECT_TRUE(entry.skip_tunnel);
    EXPECT_FALSE(to_entry(remote_endpoint_rows({.tunnel = true}, pod).at(prefix("10.0.2.5"))).skip_tunnel);
}

TEST(IpcacheNode, LocalNodeIsTheHost) {
    NodeRow node = remote_node();
    node.local = true;
    const IpcacheRows rows = node_rows({}, node);
    EXPECT_EQ(rows.size(), 2U);
    EXPECT_EQ(rows.at(prefix("10.0.2.7")).identity, identity::kHost);
    EXPECT_FALSE(to_entry(rows.at(prefix("10.0.2.7"))).tunnel_endpoint);
}

TEST(IpcacheNode, UnderlayFamilyChoosesTheTunnelEndpoint) {
    const IpcacheSettings settings{.ipv4 = true, .ipv6 = true, .tunnel = true, .underlay = Family::kIpv6};
    EXPECT_EQ(to_entry(node_rows(settings, remote_node()).at(prefix("10.0.2.7"))).tunnel_endpoint, ip("fd01::2"));
}

TEST(IpcacheNode, NodeWithoutUnderlayAddressGetsNoTunnel) {
    NodeRow node = remote_node();
    node.addresses = {{"InternalIP", ip("fd01::2")}};
    const IpcacheRows rows = node_rows({.ipv4 = true, .ipv6 = true, .tunnel = true}, node);
    EXPECT_FALSE(rows.contains(prefix("10.0.2.0/24")));
    EXPECT_FALSE(to_entry(rows.at(prefix("fd01::2"))).tunnel_endpoint);
}

TEST(IpcacheHost, LoopbackAndLinkLocalAddressesAreNobodys) {
    const IpcacheRows rows =
        host_rows({.ipv4 = true, .ipv6 = true}, {ip("127.0.0.1"), ip("::1"), ip("fe80::1"), ip("10.1.1.1")});
    ASSERT_EQ(rows.size(), 1U);
    EXPECT_EQ(rows.begin()->first, prefix("10.1.1.1"));
}

TEST(IpcacheEndpoint, OnlyLivingEndpointsWithAnIdentityClaimAddresses) {
    EndpointRow endpoint;
    endpoint.ipv4 = ip("10.0.1.5");
    EXPECT_TRUE(endpoint_rows({}, endpoint).empty());
    endpoint.identity = IdentityId(4711);
    endpoint.state = EndpointState::kReady;
    EXPECT_EQ(endpoint_rows({}, endpoint).at(prefix("10.0.1.5")).identity, IdentityId(4711));
    endpoint.state = EndpointState::kDisconnected;
    EXPECT_TRUE(endpoint_rows({}, endpoint).empty());
}

TEST(IpcacheClaims, HigherSourceWinsAndTheOtherReturns) {
    IpcacheClaims claims;
    const Prefix pod = prefix("10.0.1.5");
    const IpcacheRow remote{.identity = IdentityId(300), .source = IpcacheSource::kCustomResource};
    const IpcacheRow local{.identity = IdentityId(400), .source = IpcacheSource::kLocal};
    EXPECT_EQ(claims.replace("endpoint/1", {{pod, local}}), std::vector<Prefix>{pod});
    EXPECT_EQ(claims.replace("cep/a/b", {{pod, remote}}), std::vector<Prefix>{pod});
    EXPECT_EQ(claims.winner(pod)->identity, IdentityId(400));
    EXPECT_TRUE(claims.replace("cep/a/b", {{pod, remote}}).empty());
    claims.replace("endpoint/1", {});
    EXPECT_EQ(claims.winner(pod)->identity, IdentityId(300));
    claims.replace("cep/a/b", {});
    EXPECT_EQ(claims.winner(pod), nullptr);
}

TEST(IpcacheClaims, EqualSourcesDoNotDependOnTheOrderOfArrival) {
    const Prefix pod = prefix("10.0.1.5");
    const IpcacheRow one{.identity = IdentityId(300), .source = IpcacheSource::kCustomResource};
    const IpcacheRow two{.identity = IdentityId(400), .source = IpcacheSource::kCustomResource};
    IpcacheClaims forward, backward;
    forward.replace("cep/a", {{pod, one}});
    forward.replace("cep/b", {{pod, two}});
    backward.replace("cep/b", {{pod, two}});
    backward.replace("cep/a", {{pod, one}});
    EXPECT_EQ(*forward.winner(pod), *backward.winner(pod));
}

}  // namespace
}  // namespace axo
