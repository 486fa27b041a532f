// Every object: what is written is read back equal, and bad documents are refused with the place of the fault.
#include <gtest/gtest.h>

#include "model/cilium_endpoint.h"
#include "model/cilium_identity.h"
#include "model/cilium_node.h"
#include "model/names.h"
#include "model/namespace.h"
#include "model/node.h"
#include "model/object_checks.h"
#include "model/pod.h"
#include "model/pod_ip_pool.h"
#include "model/time.h"

namespace axo {
namespace {

TEST(Objects, RoundTrip) {
    expect_round_trip<CiliumNode>(R"({"apiVersion": "cilium.io/v2", "kind": "CiliumNode",
      "metadata": {"name": "node-1", "labels": {"a": "b"}, "annotations": {"c": "d"}, "uid": "u", "resourceVersion": "7",
        "generation": 3, "creationTimestamp": "2026-01-02T03:04:05Z",
        "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "node-1", "uid": "n"}]},
      "spec": {"bootid": "b", "instance-id": "i", "nodeidentity": 1,
        "addresses": [{"type": "InternalIP", "ip": "192.168.1.1"}, {"type": "CiliumInternalIP", "ip": "fd00::1"}],
        "encryption": {"key": 1}, "health": {"ipv4": "10.0.0.5", "ipv6": "fd00::5"}, "ingress": {"ipv4": "10.0.0.6"},
        "ipam": {"podCIDRs": ["10.0.0.0/24", "fd00::/120"]}},
      "status": {"ipam": {"operator-status": {"error": "allocator full"}}}})");
    expect_round_trip<CiliumIdentity>(R"({"apiVersion": "cilium.io/v2", "kind": "CiliumIdentity",
      "metadata": {"name": "28723", "labels": {"app": "web"}},
      "security-labels": {"k8s:app": "web", "k8s:io.kubernetes.pod.namespace": "default"}})");
    expect_round_trip<CiliumEndpoint>(R"({"apiVersion": "cilium.io/v2", "kind": "CiliumEndpoint",
      "metadata": {"name": "web", "namespace": "default",
        "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "web", "uid": "p", "blockOwnerDeletion": true}]},
      "status": {"id": 12, "state": "ready", "service-account": "sa", "identity": {"id": 28723, "labels": ["k8s:app=web"]},
        "external-identifiers": {"cni-attachment-id": "c:eth0", "container-id": "c", "container-name": "n",
          "k8s-namespace": "default", "k8s-pod-name": "web", "pod-name": "default/web"},
        "named-ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
        "networking": {"addressing": [{"ipv4": "10.0.0.7", "ipv6": "fd00::7"}], "node": "192.168.1.1"},
        "encryption": {"key": 2}, "policy": {"ingress": {"enforcing": true, "state": "enforcing"}}}})");
    expect_round_trip<Pod>(R"({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "default"},
      "spec": {"nodeName": "node-1", "hostNetwork": true, "serviceAccountName": "sa",
        "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 80, "protocol": "TCP"}]}]},
      "status": {"phase": "Running", "hostIP": "192.168.1.1", "podIP": "10.0.0.7",
        "podIPs": [{"ip": "10.0.0.7"}, {"ip": "fd00::7"}]}})");
    expect_round_trip<Namespace>(
        R"({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default", "labels": {"team": "blue"}}})");
    expect_round_trip<Node>(R"({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"},
      "spec": {"podCIDR": "10.0.0.0/24", "podCIDRs": ["10.0.0.0/24", "fd00::/64"], "providerID": "p",
        "taints": [{"key": "node.cilium.io/agent-not-ready", "effect": "NoSchedule"}]},
      "status": {"addresses": [{"type": "InternalIP", "address": "192.168.1.1"}]}})");
    expect_round_trip<PodIpPool>(R"({"apiVersion": "cilium.io/v2alpha1", "kind": "CiliumPodIPPool",
      "metadata": {"name": "default"},
      "spec": {"ipv4": {"cidrs": ["10.0.0.0/8"], "maskSize": 24}, "ipv6": {"cidrs": ["fd00::/104"], "maskSize": 120},
        "podSelector": {"matchLabels": {"a": "b"}},
        "namespaceSelector": {"matchExpressions": [{"key": "k", "operator": "In", "values": ["v"]}]}}})");
}

TEST(Objects, BadDocumentsNameThePlace) {
    expect_refused<CiliumNode>(R"({"kind": "Pod", "metadata": {"name": "n"}})", "kind: \"Pod\"; accepted: CiliumNode");
    expect_refused<CiliumNode>(R"({"kind": "CiliumNode"})", "CiliumNode: metadata: missing");
    expect_refused<CiliumNode>(R"({"metadata": {"name": "../etc"}})", "metadata.name: \"../etc\"");
    expect_refused<CiliumNode>(R"({"metadata": {"name": ""}})", "metadata.name: \"\"");
    expect_refused<CiliumNode>(R"({"metadata": {"name": "n", "namespace": "x"}})", "cluster-scoped");
    expect_refused<CiliumNode>(R"({"metadata": {"name": "n"}, "spec": {"addresses": [{"type": "InternalIP"}]}})",
                               "CiliumNode n: spec.addresses[0].ip: missing");
    expect_refused<CiliumNode>(R"({"metadata": {"name": "n"}, "spec": {"health": {"ipv4": "10.0.0.256"}}})",
                               "spec.health.ipv4: \"10.0.0.256\"");
    expect_refused<CiliumIdentity>(R"({"metadata": {"name": "web"}, "security-labels": {}})", "the identity's number");
    expect_refused<CiliumIdentity>(R"({"metadata": {"name": "0256"}, "security-labels": {}})", "the identity's number");
    expect_refused<CiliumIdentity>(R"({"metadata": {"name": "300"}})", "security-labels: missing");
    expect_refused<CiliumEndpoint>(R"({"metadata": {"name": "a", "namespace": "A"}})", "metadata.namespace: \"A\"");
    expect_refused<CiliumEndpoint>(R"({"metadata": {"name": "a"}, "status": {"state": "sleeping"}})",
                                   "waiting-for-identity");
    expect_refused<CiliumEndpoint>(
        R"({"metadata": {"name": "a"}, "status": {"networking": {"addressing": [{"ipv4": "fd00::1"}]}}})",
        "status.networking.addressing[0].ipv4: \"fd00::1\"; accepted: an IPv4 address");
    expect_refused<Pod>(R"({"metadata": {"name": "a"}, "status": {"phase": "Dancing"}})",
                        "Pod default/a: status.phase");
    expect_refused<Pod>(R"({"metadata": {"name": "a"}, "spec": {"containers": [{"ports": [{"containerPort": 0}]}]}})",
                        "spec.containers[0].ports[0].containerPort: 0");
    expect_refused<Namespace>(R"({"metadata": {"name": "a.b"}})", "metadata.name");
    expect_refused<PodIpPool>(
        R"({"metadata": {"name": "p"}, "spec": {"ipv4": {"cidrs": ["10.0.0.0/8"], "maskSize": 4}}})", "maskSize");
    expect_refused<PodIpPool>(
        R"({"metadata": {"name": "p"}, "spec": {"ipv4": {"cidrs": ["fd00::/8"], "maskSize": 24}}})", "spec.ipv4.cidrs");
}

TEST(CiliumNode, AddressesByTypeAndFamily) {
    const auto node = CiliumNode::parse(Json::parse(R"({"metadata": {"name": "n"}, "spec": {
      "addresses": [{"type": "InternalIP", "ip": "fd00::1"}, {"type": "InternalIP", "ip": "10.1.1.1"}],
      "ipam": {"podCIDRs": ["fd00::/120", "10.0.0.0/24"],
               "pools": {"requested": [{"pool": "default", "needed": {"ipv4-addrs": 16}}],
                         "allocated": [{"pool": "default", "cidrs": ["10.5.0.0/28"]}]}}}})"));
    ASSERT_TRUE(node);
    EXPECT_EQ(node->address("InternalIP", Family::kIpv4).to_string(), "10.1.1.1");
    EXPECT_FALSE(node->address("ExternalIP", Family::kIpv4));
    EXPECT_TRUE(node->has_address(IpAddress::parse("fd00::1").value()));
    EXPECT_EQ(node->all_pod_cidrs().size(), 3U);
    EXPECT_EQ(node->pools_requested, (std::vector<PoolRequest>{{"default", 16, 0}}));
    EXPECT_EQ(CiliumNode::parse(node->to_json()).value(), *node);
}

TEST(CiliumIdentity, MakePutsLegalK8sLabelsIntoMetadata) {
    const auto identity = CiliumIdentity::make(
        IdentityId{300}, LabelSet::from_strings({"k8s:app=web", "container:x=1", "k8s:odd=not legal"}));
    EXPECT_EQ(identity.metadata.name, "300");
    EXPECT_EQ(identity.metadata.labels, (std::map<std::string, std::string>{{"app", "web"}}));
    EXPECT_EQ(identity.id().value, 300U);
    EXPECT_TRUE(CiliumIdentity::parse(identity.to_json()));
}

TEST(Names, Rfc1123) {
    EXPECT_TRUE(is_dns_label("a-1"));
    EXPECT_TRUE(is_dns_label(std::string(63, 'a')));
    for (const char* name : {"", "-a", "a-", "A", "a.b", "a_b", "ä", "."}) EXPECT_FALSE(is_dns_label(name)) << name;
    EXPECT_FALSE(is_dns_label(std::string(64, 'a')));
    EXPECT_TRUE(is_dns_subdomain("node-1.example.com"));
    for (const char* name : {"", ".", "..", "a..b", "a.", ".a", "a/b", "a.-b"})
        EXPECT_FALSE(is_dns_subdomain(name)) << name;
    EXPECT_FALSE(is_dns_subdomain(std::string(254, 'a')));
    EXPECT_EQ(validate_dns_label("namespace", "A/../b").error().message,
              "namespace: \"A/../b\"; accepted: " + std::string(kDnsLabelRule));
}

TEST(Time, FormatsAndParses) {
    const auto time = parse_time("2024-02-29T23:59:58.123456789Z");
    ASSERT_TRUE(time);
    EXPECT_EQ(format_time(*time), "2024-02-29T23:59:58Z");
    EXPECT_EQ(format_time_micro(*time), "2024-02-29T23:59:58.123456Z");
    EXPECT_EQ(format_time_nano(*time), "2024-02-29T23:59:58.123456789Z");
    EXPECT_EQ(parse_time("2024-03-01T01:59:58.123456789+02:00").value(), *time);
    EXPECT_EQ(format_time_nano(parse_time("2024-02-29T00:00:00.5Z").value()), "2024-02-29T00:00:00.5Z");
    EXPECT_EQ(format_time_nano(WallTime{}), "1970-01-01T00:00:00Z");
    for (const char* text : {"", "2024", "2023-02-29T00:00:00Z", "2024-02-29T24:00:00Z", "2024-02-29T00:00:00",
                             "2024-02-29T00:00:00.Z", "2024-02-29T00:00:00Zx", "2024-02-29T00:00:00+1:00"}) {
        EXPECT_FALSE(parse_time(text)) << text;
    }
}

TEST(LabelSelector, AllRequirementsHold) {
    const Json json = Json::parse(R"({"matchLabels": {"a": "1"}, "matchExpressions": [
        {"key": "b", "operator": "In", "values": ["x", "y"]}, {"key": "c", "operator": "DoesNotExist"},
        {"key": "d", "operator": "NotIn", "values": ["no"]}]})");
    const JsonReader reader(json, "selector");
    const LabelSelector selector = LabelSelector::read(reader);
    ASSERT_TRUE(reader.status());
    EXPECT_TRUE(selector.matches({{"a", "1"}, {"b", "y"}}));
    EXPECT_FALSE(selector.matches({{"a", "1"}, {"b", "z"}}));
    EXPECT_FALSE(selector.matches({{"a", "1"}, {"b", "x"}, {"c", ""}}));
    EXPECT_FALSE(selector.matches({{"a", "1"}, {"b", "x"}, {"d", "no"}}));
    EXPECT_TRUE(LabelSelector{}.matches({}));

    const Json bad = Json::parse(R"({"matchExpressions": [{"key": "b", "operator": "Like"}]})");
    const JsonReader bad_reader(bad, "selector");
    LabelSelector::read(bad_reader);
    EXPECT_FALSE(bad_reader.status());
}

}  // namespace
}  // namespace axo
