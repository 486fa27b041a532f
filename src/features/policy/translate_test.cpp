// CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy as users write them, and the rules that they come down to.
#include <gtest/gtest.h>

#include "features/policy/translate_fixture.h"

namespace axo::policy {
namespace {

// The policies of the articles that this project started from, word for word.

TEST(TranslateSeeds, AllowApp1ToNginx) {
    const auto translation = translated<CiliumNetworkPolicy>(R"(
apiVersion: "cilium.io/v2"
kind: CiliumNetworkPolicy
metadata:
  name: l3-rule-allow-app1-to-nginx
spec:
  endpointSelector:
    matchLabels:
      app: nginx
  ingress:
  - fromEndpoints:
    - matchLabels:
        app: app1
)");
    ASSERT_TRUE(translation);
    EXPECT_EQ(dump(translation->policy),
              "pods {any:app=nginx,ns=default} deny-ingress\n"
              "allow spec.ingress[0]: E{any:app=app1,cluster=default,ns=default}\n");
    EXPECT_EQ(translation->policy.origin.to_string(), "CiliumNetworkPolicy default/l3-rule-allow-app1-to-nginx");
    EXPECT_TRUE(translation->warnings.empty());
    EXPECT_FALSE(translation->services);
}

TEST(TranslateSeeds, ToServiceNginx) {
    const std::string yaml = R"(
apiVersion: "cilium.io/v2"
kind: CiliumNetworkPolicy
metadata:
  name: l3-rule-allow-app1-to-nginx-svc
spec:
  endpointSelector:
    matchLabels:
      app: app1
  egress:
  - toServices:
    - k8sService:
        serviceName: nginx
        namespace: default
)";
    std::map<ServiceName, ServiceView> services;
    TranslateContext context;
    context.services = &services;
    auto translation = translated<CiliumNetworkPolicy>(yaml, context);
    ASSERT_TRUE(translation);
    EXPECT_EQ(dump(translation->policy), "pods {any:app=app1,ns=default} deny-egress\n");
    EXPECT_TRUE(translation->services);
    expect_warning(translation, "spec.egress[0].toServices[0]: selects nobody: there is no Service default/nginx");

    services[{"default", "nginx"}].selector = {{"app", "nginx"}};
    services[{"other", "nginx"}].selector = {{"app", "other"}};
    translation = translated<CiliumNetworkPolicy>(yaml, context);
    ASSERT_TRUE(translation);
    EXPECT_EQ(dump(translation->policy),
              "pods {any:app=app1,ns=default} deny-egress\n"
              "allow spec.egress[0]: E{k8s:app=nginx,cluster=default,ns=default}\n");
    EXPECT_TRUE(translation->warnings.empty());
}

TEST(TranslateSeeds, App1ToHost) {
    expect_rules<CiliumNetworkPolicy>(R"(
apiVersion: "cilium.io/v2"
kind: CiliumNetworkPolicy
metadata:
  name: "app1-to-host"
spec:
  endpointSelector:
    matchLabels:
      app: app1
  egress:
    - toEntities:
      - host
)",
                                      "pods {any:app=app1,ns=default} deny-egress\n"
                                      "allow spec.egress[0]: {reserved:host}\n");
}

TEST(TranslateSeeds, L4Rule) {
    expect_rules<CiliumNetworkPolicy>(R"(
apiVersion: "cilium.io/v2"
kind: CiliumNetworkPolicy
metadata:
  name: "l4-rule"
spec:
  endpointSelector:
    matchLabels:
      app: app1
  egress:
    - toPorts:
      - ports:
        - port: "80"
          protocol: TCP
)",
                                      "pods {any:app=app1,ns=default} deny-egress\n"
                                      "allow spec.egress[0].toPorts[0]: {} | TCP/80\n");
}

TEST(TranslateSeeds, FromWorldToRolePublic) {
    const std::string head = R"(
apiVersion: "cilium.io/v2"
kind: CiliumNetworkPolicy
metadata:
  name: "from-world-to-role-public"
spec:
  endpointSelector:
    matchLabels:
      role: public
  ingress:
    - fromEntities:
)";
    expect_rules<CiliumNetworkPolicy>(
        head + "      - world\n",
        "pods {any:role=public,ns=default} deny-ingress\n"
        "allow spec.ingress[0]: {reserved:world} {reserved:world-ipv4} {reserved:world-ipv6}\n");
    // As printed in the article, where the list item has lost its dash: not a policy, and said so.
    const auto printed = translated<CiliumNetworkPolicy>(head + "      world\n");
    ASSERT_FALSE(printed);
    EXPECT_NE(printed.error().message.find("spec.ingress[0]"), std::string::npos) << printed.error().message;
    EXPECT_NE(printed.error().message.find("lacks its \"- \""), std::string::npos) << printed.error().message;
}

TEST(TranslateCilium, DefaultDeny) {
    for (
        const auto& [spec, rules] : std::vector<std::pair<std::string, std::string>>{
            {"{endpointSelector: {}, ingress: [{}]}", "pods {ns=blue} deny-ingress\n"},
            {"{endpointSelector: {}, egress: [{}], ingress: []}", "pods {ns=blue} deny-egress\n"},
            {"{endpointSelector: {}, ingress: [{}], egress: [{}]}", "pods {ns=blue} deny-ingress deny-egress\n"},
            {"{endpointSelector: {}, ingressDeny: [{}]}", "pods {ns=blue} deny-ingress\n"},
            {"{endpointSelector: {}, ingressDeny: [{fromEntities: [world-ipv4]}], enableDefaultDeny: {ingress: false}}",
             "pods {ns=blue}\ndeny spec.ingressDeny[0]: {reserved:world-ipv4}\n"},
            {"{endpointSelector: {}, ingress: [{}], enableDefaultDeny: {egress: true}}",
             "pods {ns=blue} deny-ingress deny-egress\n"},
            {"{endpointSelector: {}, ingress: [{fromEndpoints: []}]}", "pods {ns=blue} deny-ingress\n"},
            {"{endpointSelector: {}, ingress: [{fromEndpoints: [], toPorts: [{ports: [{port: \"80\"}]}]}]}",
             "pods {ns=blue} deny-ingress\n"},
            {"{endpointSelector: {}, egress: [{toCIDR: [], toPorts: [{ports: [{port: \"80\"}]}]}]}",
             "pods {ns=blue} deny-egress\n"},
            {"{endpointSelector: {}, ingress: [{toPorts: []}]}", "pods {ns=blue} deny-ingress\n"},
            {"{endpointSelector: {}, ingress: [{toPorts: [{}]}]}", "pods {ns=blue} deny-ingress\n"},
            {"{endpointSelector: {}, ingress: [{fromEndpoints: [{}], toPorts: [{ports: []}]}]}",
             "pods {ns=blue} deny-ingress\n"},
            {"{endpointSelector: {}, ingress: [{fromEntities: [none]}]}", "pods {ns=blue} deny-ingress\n"},
        }) {
        expect_rules<CiliumNetworkPolicy>(cnp(spec), rules);
    }
}

TEST(TranslateCilium, PeersOfANamespacedPolicy) {
    for (const auto& [selector, query] : std::vector<std::pair<std::string, std::string>>{
             {"{}", "cluster=default,ns=blue"},
             {"{matchLabels: {app: a}}", "any:app=a,cluster=default,ns=blue"},
             {"{matchLabels: {\"k8s:app\": a}}", "k8s:app=a,cluster=default,ns=blue"},
             {"{matchLabels: {\"any:app\": a, \"container:x\": b}}", "any:app=a,container:x=b,cluster=default,ns=blue"},
             {"{matchLabels: {io.kubernetes.pod.namespace: red}}",
              "any:io.kubernetes.pod.namespace=red,cluster=default"},
             {"{matchLabels: {\"k8s:io.kubernetes.pod.namespace\": red, app: a}}", "any:app=a,cluster=default,ns=red"},
             {"{matchExpressions: [{key: \"k8s:io.kubernetes.pod.namespace\", operator: Exists}]}",
              "cluster=default,ns"},
             {"{matchExpressions: [{key: \"k8s:io.kubernetes.pod.namespace\", operator: In, values: [b, a, b]}]}",
              "cluster=default,ns in (a b)"},
             {"{matchLabels: {\"k8s:io.cilium.k8s.namespace.labels.team\": x}}", "nslabel.team=x,cluster=default"},
             {"{matchLabels: {io.cilium.k8s.namespace.labels.team: x}}",
              "any:io.cilium.k8s.namespace.labels.team=x,cluster=default"},
             {"{matchLabels: {\"k8s:io.cilium.k8s.policy.cluster\": far, app: a}}", "any:app=a,cluster=far,ns=blue"},
             {"{matchLabels: {\"reserved:host\": \"\"}}", "reserved:host"},
             {"{matchExpressions: [{key: reserved:ingress, operator: DoesNotExist}]}", "!reserved:ingress"},
             {"{matchExpressions: [{key: a, operator: NotIn, values: [y, x]}, {key: b, operator: DoesNotExist}, "
              "{key: c, operator: Exists}]}",
              "any:a notin (x y),!any:b,any:c,cluster=default,ns=blue"},
         }) {
        expect_rules<CiliumNetworkPolicy>(cnp("{endpointSelector: {}, ingress: [{fromEndpoints: [" + selector + "]}]}"),
                                          "pods {ns=blue} deny-ingress\nallow spec.ingress[0]: E{" + query + "}\n");
    }
    TranslateContext all_clusters;
    all_clusters.default_local_cluster = false;
    expect_rules<CiliumNetworkPolicy>(cnp("{endpointSelector: {}, egress: [{toEndpoints: [{matchLabels: {a: b}}]}]}"),
                                      "pods {ns=blue} deny-egress\nallow spec.egress[0]: E{any:a=b,ns=blue}\n",
                                      all_clusters);
    TranslateContext named;
    named.cluster_name = "west";
    expect_rules<CiliumNetworkPolicy>(cnp("{endpointSelector: {}, egress: [{toEndpoints: [{}, {}]}]}"),
                                      "pods {ns=blue} deny-egress\nallow spec.egress[0]: E{cluster=west,ns=blue}\n",
                                      named);
}

TEST(TranslateCilium, ClusterwidePolicies) {
    expect_rules<CiliumClusterwideNetworkPolicy>(
        ccnp("{endpointSelector: {}, ingress: [{fromEndpoints: [{}, {matchLabels: {app: a}}, {matchLabels: "
             "{io.kubernetes.pod.namespace: x}}]}]}"),
        "pods {} deny-ingress\n"
        "allow spec.ingress[0]: E{any:app=a,cluster=default,ns} "
        "E{any:io.kubernetes.pod.namespace=x,cluster=default} E{cluster=default,ns}\n");
    // Pods without labels yet have no namespace either.
    expect_rules<CiliumClusterwideNetworkPolicy>(
        ccnp("{endpointSelector: {matchLabels: {\"reserved:init\": \"\"}}, egress: [{toEndpoints: [{}]}]}"),
        "pods {reserved:init} deny-egress\nallow spec.egress[0]: E{cluster=default}\n");
    const std::string nodes = ccnp("{nodeSelector: {matchLabels: {role: edge}}, ingress: [{fromEntities: [cluster]}]}");
    TranslateContext context;
    context.host_firewall = true;
    expect_rules<CiliumClusterwideNetworkPolicy>(
        nodes,
        "nodes {any:role=edge} deny-ingress\n"
        "allow spec.ingress[0]: {cluster=default} {reserved:health} {reserved:host} {reserved:ingress} {reserved:init} "
        "{reserved:kube-apiserver} {reserved:remote-node} {reserved:unmanaged}\n",
        context);
    expect_warning(translated<CiliumClusterwideNetworkPolicy>(nodes), "spec.nodeSelector: has no effect");
}

TEST(TranslateCilium, SubjectsOfANamespacedPolicyStayInTheirNamespace) {
    const auto other = translated<CiliumNetworkPolicy>(
        cnp("{endpointSelector: {matchLabels: {\"k8s:io.kubernetes.pod.namespace\": red}}, ingress: [{}]}"));
    ASSERT_TRUE(other);
    EXPECT_EQ(dump(other->policy), "pods {ns=blue} deny-ingress\n");
    expect_warning(other, "spec.endpointSelector: namespace red is ignored");
    const auto any = translated<CiliumNetworkPolicy>(
        cnp("{endpointSelector: {matchLabels: {io.kubernetes.pod.namespace: red}}, ingress: [{}]}"));
    expect_warning(any, "spec.endpointSelector: selects nothing: label io.kubernetes.pod.namespace cannot be both");
}

TEST(TranslateCilium, ContradictionsAreWarnedOf) {
    for (const auto& [selector, why] : std::vector<std::pair<std::string, std::string>>{
             {"{matchLabels: {a: x, \"k8s:a\": y}}", "label a cannot be both"},
             {"{matchLabels: {a: x}, matchExpressions: [{key: a, operator: NotIn, values: [x]}]}",
              "label a cannot both be and not be x"},
             {"{matchExpressions: [{key: a, operator: Exists}, {key: a, operator: DoesNotExist}]}",
              "label a cannot both exist and not exist"},
             {"{matchLabels: {\"k8s:a\": x}, matchExpressions: [{key: a, operator: DoesNotExist}]}",
              "label a cannot both exist and not exist"},
         }) {
        expect_warning(translated<CiliumNetworkPolicy>(cnp("{endpointSelector: " + selector + ", ingress: [{}]}")),
                       "spec.endpointSelector: selects nothing: " + why);
        expect_warning(translated<CiliumNetworkPolicy>(
                           cnp("{endpointSelector: {}, ingress: [{fromEndpoints: [" + selector + "]}]}")),
                       "spec.ingress[0]: a selector matches nothing: " + why);
    }
    for (const char* fine : {"{matchLabels: {a: x, b: y}}",
                             "{matchExpressions: [{key: \"k8s:a\", operator: Exists}, "
                             "{key: \"cni:a\", operator: DoesNotExist}]}",
                             "{matchLabels: {a: x}, matchExpressions: [{key: a, operator: In, values: [x, y]}]}"}) {
        const auto translation =
            translated<CiliumNetworkPolicy>(cnp("{endpointSelector: " + std::string(fine) + ", ingress: [{}]}"));
        EXPECT_EQ(warnings_of(translation), "");
    }
}

TEST(TranslateCilium, Entities) {
    for (const auto& [entities, peers] : std::vector<std::pair<std::string, std::string>>{
             {"all", "{}"},
             {"world-ipv4, world-ipv4", "{reserved:world-ipv4}"},
             {"world-ipv6", "{reserved:world-ipv6}"},
             {"remote-node, host", "{reserved:host} {reserved:remote-node}"},
             {"kube-apiserver", "{reserved:kube-apiserver}"},
             {"init, health, unmanaged, ingress, none",
              "{reserved:health} {reserved:ingress} {reserved:init} {reserved:unmanaged}"},
         }) {
        expect_rules<CiliumNetworkPolicy>(cnp("{endpointSelector: {}, egress: [{toEntities: [" + entities + "]}]}"),
                                          "pods {ns=blue} deny-egress\nallow spec.egress[0]: " + peers + "\n");
    }
}

TEST(TranslateCilium, Ports) {
    const auto ports = [](const std::string& list, const TranslateContext& context = {}) {
        const auto translation = translated<CiliumNetworkPolicy>(
            cnp("{endpointSelector: {}, ingress: [{toPorts: [{ports: [" + list + "]}]}]}"), context);
        if (!translation) return translation.error().message;
        std::string text;
        for (const Rule& rule : translation->policy.specs.at(0).rules) {
            EXPECT_EQ(dump(rule.peers.at(0)), "{}");
            text += joined(rule.ports, " ", [](const PortRange& range) { return dump(range); });
        }
        return text + warnings_of(translation);
    };
    EXPECT_EQ(ports("{port: \"80\"}, {port: \"80\"}, {port: \"53\", protocol: UDP}"), "ANY/80 UDP/53");
    EXPECT_EQ(ports("{port: \"80\", endPort: 90, protocol: TCP}, {port: \"80\", endPort: 80}"), "ANY/80 TCP/80-90");
    EXPECT_EQ(ports("{port: \"80\", endPort: 0}"), "ANY/80");
    EXPECT_EQ(ports("{port: Web, protocol: TCP}"), "TCP/web");
    EXPECT_EQ(ports("{port: \"0\", protocol: UDP}"), "UDP/0-65535");
    EXPECT_EQ(ports("{port: \"0\"}"), "TCP/0-65535 UDP/0-65535");
    EXPECT_EQ(ports("{port: \"0\", endPort: 65535}"), "TCP/0-65535 UDP/0-65535");
    EXPECT_EQ(ports("{port: \"1\", endPort: 65535, protocol: TCP}"), "TCP/1-65535");
    TranslateContext sctp;
    sctp.sctp = true;
    EXPECT_EQ(ports("{port: \"0\"}", sctp), "TCP/0-65535 UDP/0-65535 SCTP/0-65535");
    EXPECT_EQ(ports("{port: \"7\", protocol: SCTP}", sctp), "SCTP/7");
    // Without SCTP the element must not come to mean "every port".
    EXPECT_EQ(ports("{port: \"7\", protocol: SCTP}, {port: \"8\", protocol: SCTP}"),
              "spec.ingress[0].toPorts[0].ports[0]: SCTP has no effect: enable-sctp is off");
    TranslateContext extended;
    extended.extended_ip_protocols = true;
    EXPECT_EQ(ports("{protocol: VRRP}, {protocol: IGMP}", extended), "IGMP/0-65535 VRRP/0-65535");
    EXPECT_EQ(ports("{protocol: VRRP}"),
              "CiliumNetworkPolicy blue/p: spec.ingress[0].toPorts[0].ports[0].protocol: \"VRRP\"; accepted only with "
              "enable-extended-ip-protocols");
}

TEST(TranslateCilium, EveryElementOfToPortsIsARuleOfItsOwn) {
    expect_rules<CiliumNetworkPolicy>(
        cnp("{endpointSelector: {}, egress: [{toEntities: [host], toPorts: [{ports: [{port: \"1\"}, {port: \"2\"}]}, "
            "{ports: [{port: \"3\", protocol: TCP}]}]}], ingressDeny: [{icmps: [{fields: [{type: 8}, {type: EchoRequest, "
            "family: IPv6}]}, {fields: []}, {fields: [{type: 0}]}]}]}"),
        "pods {ns=blue} deny-ingress deny-egress\n"
        "deny spec.ingressDeny[0].icmps[0]: {} | ICMP/8 ICMPv6/128\n"
        "deny spec.ingressDeny[0].icmps[2]: {} | ICMP/0\n"
        "allow spec.egress[0].toPorts[0]: {reserved:host} | ANY/1 ANY/2\n"
        "allow spec.egress[0].toPorts[1]: {reserved:host} | TCP/3\n");
    TranslateContext context;
    context.icmp_rules = false;
    const auto refused = translated<CiliumNetworkPolicy>(
        cnp("{endpointSelector: {}, egress: [{icmps: [{fields: [{type: 8}]}]}]}"), context);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().message,
              "CiliumNetworkPolicy blue/p: spec.egress[0].icmps: accepted only with enable-icmp-rules");
}

TEST(TranslateCilium, Requires) {
    expect_rules<CiliumNetworkPolicy>(
        cnp("{endpointSelector: {}, ingress: [{fromRequires: [{matchLabels: {team: a}}]}, {fromEndpoints: [{}]}], "
            "egress: [{toRequires: [{matchExpressions: [{key: k, operator: Exists}]}], toPorts: [{ports: [{port: \"1\"}]}]}]}"),
        "pods {ns=blue} deny-ingress deny-egress ingress-requires {any:team=a,cluster=default,ns=blue} "
        "egress-requires {any:k,cluster=default,ns=blue}\n"
        "allow spec.ingress[1]: E{cluster=default,ns=blue}\n");
}

TEST(TranslateCilium, Nodes) {
    const std::string policy =
        cnp("{endpointSelector: {}, egress: [{toNodes: [{matchLabels: {\"node:zone\": a}}, {}]}]}");
    const auto refused = translated<CiliumNetworkPolicy>(policy);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().message,
              "CiliumNetworkPolicy blue/p: spec.egress[0].toNodes: accepted only with enable-node-selector-labels");
    TranslateContext context;
    context.node_selector_labels = true;
    expect_rules<CiliumNetworkPolicy>(policy,
                                      "pods {ns=blue} deny-egress\n"
                                      "allow spec.egress[0]: {cluster=default,node:zone=a,reserved:remote-node} "
                                      "{cluster=default,reserved:remote-node}\n",
                                      context);
}

TEST(TranslateCilium, WhatIsNotEnforcedYetIsRefusedAsAWhole) {
    for (const auto& [entry, path] : std::vector<std::pair<std::string, std::string>>{
             {"toFQDNs: [{matchName: example.com}]", "toFQDNs"},
             {"toGroups: [{aws: {region: x}}]", "toGroups"},
             {"authentication: {mode: required}, toEndpoints: [{}]", "authentication"},
             {"toPorts: [{ports: [{port: \"80\", protocol: TCP}], rules: {http: [{}]}}]", "toPorts[0].rules"},
             {"toPorts: [{ports: [{port: \"53\"}], rules: {dns: [{matchPattern: \"*\"}]}}]", "toPorts[0].rules"},
             {"toPorts: [{ports: [{port: \"1\"}], rules: {l7proto: x}}]", "toPorts[0].rules"},
             {"toPorts: [{ports: [{port: \"1\"}], serverNames: [a.b]}]", "toPorts[0].serverNames"},
             {"toPorts: [{ports: [{port: \"1\"}], listener: {name: x}}]", "toPorts[0].listener"},
             {"toPorts: [{ports: [{port: \"1\"}], terminatingTLS: {secret: {name: x}}}]", "toPorts[0].terminatingTLS"},
             {"toPorts: [{ports: [{port: \"1\"}], originatingTLS: {secret: {name: x}}}]", "toPorts[0].originatingTLS"},
         }) {
        const auto refused = translated<CiliumNetworkPolicy>(
            cnp("{endpointSelector: {}, egress: [{toEntities: [host]}, {" + entry + "}]}"));
        ASSERT_FALSE(refused) << entry;
        EXPECT_EQ(refused.error().code, Code::kUnimplemented);
        EXPECT_EQ(refused.error().message, "CiliumNetworkPolicy blue/p: spec.egress[1]." + path +
                                               ": not supported yet; the policy as a whole is not enforced");
    }
    expect_rules<CiliumNetworkPolicy>(
        cnp("{endpointSelector: {}, egress: [{authentication: {mode: disabled}, toPorts: [{ports: [{port: \"1\"}], rules: "
            "{http: []}}]}]}"),
        "pods {ns=blue} deny-egress\nallow spec.egress[0].toPorts[0]: {} | ANY/1\n");
}

TEST(TranslateCilium, OrderOfPeersAndPortsDoesNotMatter) {
    const auto one = translated<CiliumNetworkPolicy>(cnp(
        "{endpointSelector: {matchLabels: {a: x, b: y}}, egress: [{toCIDR: [10.0.0.0/8, 11.0.0.0/8], toPorts: [{ports: "
        "[{port: \"1\"}, {port: \"2\"}]}]}]}"));
    const auto other = translated<CiliumNetworkPolicy>(cnp(
        "{endpointSelector: {matchExpressions: [{key: b, operator: In, values: [y]}, {key: a, operator: In, values: [x]}]}, "
        "egress: [{toCIDR: [11.0.0.0/8, 10.0.0.0/8, 11.0.0.0/8], toPorts: [{ports: [{port: \"2\"}, {port: \"1\"}]}]}]}"));
    ASSERT_TRUE(one && other);
    EXPECT_EQ(one->policy, other->policy);
}

}  // namespace
}  // namespace axo::policy
