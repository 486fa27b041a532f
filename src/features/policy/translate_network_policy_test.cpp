// Kubernetes' NetworkPolicy, and policies as `policy get` prints them.
#include <gtest/gtest.h>

#include "features/policy/translate_fixture.h"

namespace axo::policy {
namespace {

// Recipes of Kubernetes' documentation.
TEST(TranslateNetworkPolicy, Recipes) {
    for (
        const auto& [spec, rules] : std::vector<std::pair<std::string, std::string>>{
            {"{podSelector: {}, policyTypes: [Ingress]}", "pods {ns=blue} deny-ingress\n"},
            {"{podSelector: {}}", "pods {ns=blue} deny-ingress\n"},
            {"{podSelector: {}, policyTypes: [Egress]}", "pods {ns=blue} deny-egress\n"},
            {"{podSelector: {}, policyTypes: [Ingress, Egress]}", "pods {ns=blue} deny-ingress deny-egress\n"},
            {"{podSelector: {}, ingress: [{}], policyTypes: [Ingress]}",
             "pods {ns=blue} deny-ingress\nallow spec.ingress[0]: E{}\n"},
            {"{podSelector: {}, egress: [{}], policyTypes: [Egress]}",
             "pods {ns=blue} deny-egress\nallow spec.egress[0]: E{}\n"},
            {"{podSelector: {}, egress: [{to: []}]}",
             "pods {ns=blue} deny-ingress deny-egress\nallow spec.egress[0]: E{}\n"},
            {"{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {}}]}]}",
             "pods {k8s:app=web,ns=blue} deny-ingress\nallow spec.ingress[0]: E{cluster=default,ns=blue}\n"},
            {"{podSelector: {}, ingress: [{from: [{namespaceSelector: {}}]}]}",
             "pods {ns=blue} deny-ingress\nallow spec.ingress[0]: E{cluster=default,ns}\n"},
            {"{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: red}}, "
             "podSelector: {matchLabels: {app: a}}}]}]}",
             "pods {ns=blue} deny-ingress\n"
             "allow spec.ingress[0]: E{k8s:app=a,nslabel.kubernetes.io/metadata.name=red,cluster=default}\n"},
            {"{podSelector: {}, egress: [{to: [{namespaceSelector: {matchExpressions: [{key: team, operator: NotIn, "
             "values: [x]}]}}]}], policyTypes: [Egress]}",
             "pods {ns=blue} deny-egress\nallow spec.egress[0]: E{nslabel.team notin (x),cluster=default}\n"},
            {"{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {io.cilium.k8s.policy.cluster: far}}}]}]}",
             "pods {ns=blue} deny-ingress\nallow spec.ingress[0]: E{cluster=far,ns=blue}\n"},
            {"{podSelector: {}, ingress: [{ports: [{port: 80}, {port: 32000, endPort: 32768}, {port: dns, protocol: "
             "UDP}, {protocol: UDP}, {}]}]}",
             "pods {ns=blue} deny-ingress\n"
             "allow spec.ingress[0]: E{} | TCP/0-65535 TCP/80 TCP/32000-32768 UDP/dns UDP/0-65535\n"},
        }) {
        expect_rules<NetworkPolicy>(np(spec), rules);
    }
}

TEST(TranslateNetworkPolicy, ExampleOfTheDocumentation) {
    expect_rules<NetworkPolicy>(
        R"(
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: test-network-policy
  namespace: default
spec:
  podSelector:
    matchLabels:
      role: db
  policyTypes:
  - Ingress
  - Egress
  ingress:
  - from:
    - ipBlock:
        cidr: 172.17.0.0/16
        except:
        - 172.17.1.0/24
    - namespaceSelector:
        matchLabels:
          project: myproject
    - podSelector:
        matchLabels:
          role: frontend
    ports:
    - protocol: TCP
      port: 6379
  egress:
  - to:
    - ipBlock:
        cidr: 10.0.0.0/24
    ports:
    - protocol: TCP
      port: 5978
)",
        "pods {ns=default,k8s:role=db} deny-ingress deny-egress\n"
        "allow spec.ingress[0]: 172.17.0.0/16-172.17.1.0/24 E{nslabel.project=myproject,cluster=default} "
        "E{cluster=default,ns=default,k8s:role=frontend} | TCP/6379\n"
        "allow spec.egress[0]: 10.0.0.0/24 | TCP/5978\n");
}

TEST(TranslateNetworkPolicy, WhatHasNoEffectIsWarnedOf) {
    auto translation = translated<NetworkPolicy>(np("{podSelector: {}, ingress: [{}], policyTypes: [Egress]}"));
    ASSERT_TRUE(translation);
    EXPECT_EQ(dump(translation->policy), "pods {ns=blue} deny-egress\n");
    expect_warning(translation, "spec.ingress: has no effect: policyTypes does not name this direction");

    const std::string sctp = np("{podSelector: {}, ingress: [{ports: [{port: 7, protocol: SCTP}]}]}");
    translation = translated<NetworkPolicy>(sctp);
    ASSERT_TRUE(translation);
    EXPECT_EQ(dump(translation->policy), "pods {ns=blue} deny-ingress\n");
    expect_warning(translation, "spec.ingress[0].ports[0]: SCTP has no effect");
    TranslateContext context;
    context.sctp = true;
    expect_rules<NetworkPolicy>(sctp, "pods {ns=blue} deny-ingress\nallow spec.ingress[0]: E{} | SCTP/7\n", context);
}

TEST(PolicyRulesJson, SelectorsAsUnderstoodAndLabelsOfTheOrigin) {
    const Json object = parse_yaml(R"(
kind: CiliumNetworkPolicy
metadata: {name: p, namespace: blue, uid: u-1}
spec:
  description: d
  labels: [{key: a, value: b, source: k8s}]
  endpointSelector: {matchLabels: {app: nginx}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: app1}, matchExpressions: [{key: "k8s:env", operator: In, values: [y, x]}]}]
    toPorts: [{ports: [{port: "80", protocol: TCP}]}]
)")
                            .value();
    const auto rules = policy_rules_json(object, {});
    ASSERT_TRUE(rules) << rules.error().message;
    EXPECT_EQ(*rules, Json::parse(R"([{
      "description": "d",
      "endpointSelector": {"matchLabels": {"any:app": "nginx", "k8s:io.kubernetes.pod.namespace": "blue"}},
      "enableDefaultDeny": {"ingress": true, "egress": false},
      "ingress": [{"fromEndpoints": [{"matchLabels": {"any:app": "app1", "k8s:io.cilium.k8s.policy.cluster": "default",
          "k8s:io.kubernetes.pod.namespace": "blue"}, "matchExpressions": [{"key": "k8s:env", "operator": "In", "values": ["x", "y"]}]}],
        "toPorts": [{"ports": [{"port": "80", "protocol": "TCP"}]}]}],
      "labels": [{"key": "a", "value": "b", "source": "k8s"},
        {"key": "io.cilium.k8s.policy.derived-from", "value": "CiliumNetworkPolicy", "source": "k8s"},
        {"key": "io.cilium.k8s.policy.name", "value": "p", "source": "k8s"},
        {"key": "io.cilium.k8s.policy.namespace", "value": "blue", "source": "k8s"},
        {"key": "io.cilium.k8s.policy.uid", "value": "u-1", "source": "k8s"}]}])"));
}

TEST(PolicyRulesJson, NetworkPoliciesInCiliumsForm) {
    const Json object =
        parse_yaml(np("{podSelector: {}, ingress: [{from: [{podSelector: {}}, {ipBlock: {cidr: 10.0.0.0/8}}], "
                      "ports: [{port: 80, endPort: 90}, {port: web}, {protocol: UDP}]}], policyTypes: "
                      "[Ingress, Egress]}"))
            .value();
    const auto rules = policy_rules_json(object, {});
    ASSERT_TRUE(rules) << rules.error().message;
    const Json ports =
        Json::parse(R"([{"ports": [{"port": "web", "protocol": "TCP"}, {"port": "80", "endPort": 90, "protocol": "TCP"},
        {"port": "0", "protocol": "UDP"}]}])");
    EXPECT_EQ(rules->at(0).at("ingress").at(0).at("toPorts"), ports);
    EXPECT_EQ(rules->at(0).at("ingress").at(1).at("fromCIDRSet"), Json::parse(R"([{"cidr": "10.0.0.0/8"}])"));
    EXPECT_EQ(rules->at(0).at("egress"), Json::parse("[{}]"));
    EXPECT_EQ(rules->at(0).at("enableDefaultDeny"), Json::parse(R"({"ingress": true, "egress": true})"));

    EXPECT_FALSE(policy_rules_json(Json::parse(R"({"kind": "Pod"})"), {}));
    EXPECT_FALSE(policy_rules_json(Json::parse("[]"), {}));
    EXPECT_FALSE(policy_rules_json(Json::parse(R"({"kind": "NetworkPolicy", "metadata": {"name": "p"}})"), {}));
}

}  // namespace
}  // namespace axo::policy
