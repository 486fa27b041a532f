// Service, EndpointSlice and Endpoints.
#include <gtest/gtest.h>

#include "model/endpoint_slice.h"
#include "model/object_checks.h"
#include "model/service.h"

namespace axo {
namespace {

TEST(Service, RoundTrip) {
    expect_round_trip<Service>(R"({"apiVersion": "v1", "kind": "Service",
      "metadata": {"name": "web", "namespace": "default", "annotations": {"service.cilium.io/type": "NodePort"}},
      "spec": {"type": "LoadBalancer", "selector": {"app": "web"}, "clusterIP": "10.96.0.1",
        "clusterIPs": ["10.96.0.1", "fd00::1"], "ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "PreferDualStack",
        "externalIPs": ["192.0.2.1"], "sessionAffinity": "ClientIP",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}, "externalTrafficPolicy": "Local",
        "internalTrafficPolicy": "Local", "healthCheckNodePort": 30000, "publishNotReadyAddresses": true,
        "loadBalancerIP": "192.0.2.2", "loadBalancerSourceRanges": ["198.51.100.0/24"], "loadBalancerClass": "c",
        "allocateLoadBalancerNodePorts": false, "trafficDistribution": "PreferClose",
        "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": "web", "nodePort": 31000, "appProtocol": "h2"},
                  {"name": "dns", "protocol": "UDP", "port": 53, "targetPort": 5353}]},
      "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.3", "ipMode": "VIP"}, {"hostname": "lb.example.com"}]}}})");
    expect_round_trip<Service>(R"({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "h", "namespace": "n"},
      "spec": {"type": "ClusterIP", "clusterIP": "None", "clusterIPs": ["None"],
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}]}})");
    expect_round_trip<Service>(R"({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "e", "namespace": "n"},
      "spec": {"type": "ExternalName", "externalName": "db.example.com"}})");
}

TEST(Service, BadDocumentsNameThePlace) {
    expect_refused<Service>(R"({"metadata": {"name": "a"}, "spec": {"type": "Nodeport"}})",
                            "Service default/a: spec.type: \"Nodeport\"");
    expect_refused<Service>(R"({"metadata": {"name": "a"}, "spec": {"ports": [{"port": 0}]}})",
                            "spec.ports[0].port: 0");
    expect_refused<Service>(R"({"metadata": {"name": "a"}, "spec": {"ports": [{}]}})", "spec.ports[0].port: missing");
    expect_refused<Service>(
        R"({"metadata": {"name": "a"}, "spec": {"ports": [{"port": 1, "name": "x"}, {"port": 2, "name": "x"}]}})",
        "spec.ports[1].name: \"x\"");
    expect_refused<Service>(R"({"metadata": {"name": "a"}, "spec": {"ports": [{"port": 1}, {"port": 2}]}})",
                            "spec.ports[1].name: missing");
    expect_refused<Service>(R"({"metadata": {"name": "a"}, "spec": {"ports": [{"port": 1, "targetPort": "a_b"}]}})",
                            "targetPort");
    expect_refused<Service>(R"({"metadata": {"name": "a"}, "spec": {"clusterIPs": ["10.0.0"]}})", "spec.clusterIPs[0]");
    expect_refused<Service>(R"({"metadata": {"name": "a"}, "spec": {"externalTrafficPolicy": "local"}})",
                            "accepted: Cluster, Local");
    expect_refused<Service>(R"({"metadata": {"name": "a"}, "spec": {"loadBalancerSourceRanges": ["1.2.3.4"]}})",
                            "spec.loadBalancerSourceRanges[0]");
}

TEST(EndpointSlice, RoundTrip) {
    expect_round_trip<EndpointSlice>(R"({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
      "metadata": {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
      "addressType": "IPv6", "ports": [{"name": "http", "protocol": "TCP", "port": 8080, "appProtocol": "h2"},
        {"name": "all", "protocol": "UDP"}],
      "endpoints": [{"addresses": ["fd00::1"], "conditions": {"ready": false, "serving": true, "terminating": true},
        "hostname": "web-0", "nodeName": "node-1", "zone": "a", "hints": {"forZones": [{"name": "a"}], "forNodes": [{"name": "node-1"}]},
        "targetRef": {"kind": "Pod", "namespace": "default", "name": "web-0"}}]})");
}

TEST(EndpointSlice, ConditionsAndTopologyOfOlderVersions) {
    const auto slice =
        EndpointSlice::parse(Json::parse(R"({"apiVersion": "discovery.k8s.io/v1beta1", "kind": "EndpointSlice",
      "metadata": {"name": "s", "labels": {"kubernetes.io/service-name": "web"}}, "addressType": "IPv4",
      "endpoints": [{"addresses": ["10.0.0.1"], "topology": {"kubernetes.io/hostname": "n1", "topology.kubernetes.io/zone": "z"}},
                    {"addresses": ["10.0.0.2"], "conditions": {"ready": false}}]})"));
    ASSERT_TRUE(slice) << slice.error().message;
    EXPECT_EQ(slice->service_name(), "web");
    EXPECT_EQ(slice->endpoints.at(0).node_name, "n1");
    EXPECT_EQ(slice->endpoints[0].zone, "z");
    EXPECT_TRUE(slice->endpoints[0].ready && slice->endpoints[0].serving);
    EXPECT_FALSE(slice->endpoints.at(1).ready || slice->endpoints[1].serving);

    expect_refused<EndpointSlice>(R"({"metadata": {"name": "s"}})", "addressType: missing");
    expect_refused<EndpointSlice>(R"({"metadata": {"name": "s"}, "addressType": "IP"})", "addressType: \"IP\"");
    expect_refused<EndpointSlice>(
        R"({"metadata": {"name": "s"}, "addressType": "IPv4", "endpoints": [{"addresses": ["fd00::1"]}]})",
        "endpoints[0].addresses[0]: \"fd00::1\"; accepted: an IPv4 address");
}

TEST(Endpoints, BecomeSlicesByFamily) {
    const auto slices =
        parse_endpoints(Json::parse(R"({"kind": "Endpoints", "metadata": {"name": "web", "namespace": "x"},
      "subsets": [{"addresses": [{"ip": "10.0.0.1", "nodeName": "n1", "targetRef": {"kind": "Pod", "name": "p"}}, {"ip": "fd00::1"}],
                   "notReadyAddresses": [{"ip": "10.0.0.2"}], "ports": [{"name": "http", "port": 80}]}]})"));
    ASSERT_TRUE(slices) << slices.error().message;
    ASSERT_EQ(slices->size(), 2U);
    EXPECT_EQ(slices->at(0).service_name(), "web");
    EXPECT_EQ(slices->at(0).endpoints.size(), 2U);
    EXPECT_EQ(slices->at(0).endpoints[0].target_name, "p");
    EXPECT_FALSE(slices->at(0).endpoints[1].ready);
    EXPECT_EQ(slices->at(1).family, Family::kIpv6);
    EXPECT_EQ(slices->at(1).ports.at(0).port, 80);
    EXPECT_FALSE(parse_endpoints(Json::parse(R"({"metadata": {"name": "w"}, "subsets": [{"addresses": [{}]}]})")));
}

}  // namespace
}  // namespace axo
