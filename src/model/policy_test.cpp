// Policy objects: what is accepted, and that everything else is refused with the place and the value.
#include <gtest/gtest.h>

#include "model/cidr_group.h"
#include "model/cilium_network_policy.h"
#include "model/network_policy.h"
#include "model/policy_status.h"
#include "model/yaml.h"

namespace axo {
namespace {

template <class Object>
Result<Object> parse(const std::string& yaml) {
    TRY_ASSIGN(const Json json, parse_yaml(yaml));
    return Object::parse(json);
}

// A policy "default/p" with this spec, in YAML flow or block style.
Result<CiliumNetworkPolicy> with_spec(const std::string& spec) {
    return parse<CiliumNetworkPolicy>(
        "{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {name: p}, spec: " + spec + "}");
}
Result<CiliumNetworkPolicy> with_ingress(const std::string& entry) {
    return with_spec("{endpointSelector: {}, ingress: [" + entry + "]}");
}
Result<CiliumNetworkPolicy> with_egress(const std::string& entry) {
    return with_spec("{endpointSelector: {}, egress: [" + entry + "]}");
}

template <class Object>
void expect_error(const Result<Object>& result, const std::string& part, const std::string& input) {
    ASSERT_FALSE(result) << "accepted: " << input;
    EXPECT_NE(result.error().message.find(part), std::string::npos)
        << input << "\n  gave:     " << result.error().message << "\n  expected: " << part;
    EXPECT_EQ(result.error().code, Code::kInvalidArgument);
}

struct Bad {
    const char* input;
    const char* message;
};

TEST(CiliumNetworkPolicyErrors, Spec) {
    for (const auto& [input, message] : {
             Bad{"{}", "spec: {}; accepted: exactly one of endpointSelector and nodeSelector"},
             Bad{"[]", "spec: []; accepted: an object"},
             Bad{"{endpointSelector: {}}", "at least one entry in ingress"},
             Bad{"{endpointSelector: {}, ingress: [], egress: []}", "at least one entry in ingress"},
             Bad{"{endpointSelector: {}, nodeSelector: {}, ingress: [{}]}", "exactly one of endpointSelector"},
             Bad{"{nodeSelector: {}, ingress: [{}]}", "spec.nodeSelector: accepted: endpointSelector only"},
             Bad{"{endpointSelector: {}, ingres: [{}]}", "spec.ingres: [{}]; accepted: only the members"},
             Bad{"{endpointSelector: [], ingress: [{}]}", "spec.endpointSelector: []; accepted: an object"},
             Bad{"{endpointSelector: {}, ingress: {}}", "spec.ingress: {}; accepted: a list"},
             Bad{"{endpointSelector: {}, ingress: [x]}", "spec.ingress[0]: \"x\"; accepted: an object"},
             Bad{"{endpointSelector: {}, ingress: [{}], enableDefaultDeny: {ingress: \"yes\"}}",
                 "spec.enableDefaultDeny.ingress: \"yes\"; accepted: true or false"},
             Bad{"{endpointSelector: {}, ingress: [{}], log: {value: 0123456789012345678901234567890123}}",
                 "spec.log.value"},
             Bad{"{endpointSelector: {}, ingress: [{}], labels: [{value: x}]}", "spec.labels[0].key: missing"},
             Bad{"{endpointSelector: {matchLabels: {app: 1}}, ingress: [{}]}",
                 "spec.endpointSelector.matchLabels.app: 1; accepted: a string"},
             Bad{"{endpointSelector: {matchLabel: {app: x}}, ingress: [{}]}", "spec.endpointSelector.matchLabel"},
             Bad{"{endpointSelector: {matchLabels: {\"k8s:a b\": x}}, ingress: [{}]}",
                 "spec.endpointSelector.matchLabels[\"k8s:a b\"]"},
             Bad{"{endpointSelector: {matchLabels: {app: -x}}, ingress: [{}]}",
                 "spec.endpointSelector.matchLabels.app: \"-x\"; accepted: a label's value"},
             Bad{"{endpointSelector: {matchExpressions: [{key: a, operator: Like}]}, ingress: [{}]}",
                 "matchExpressions[0].operator: \"Like\"; accepted: In, NotIn, Exists, DoesNotExist"},
             Bad{"{endpointSelector: {matchExpressions: [{key: a, operator: In}]}, ingress: [{}]}",
                 "at least one value"},
             Bad{"{endpointSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}, ingress: [{}]}",
                 "no values for Exists"},
             Bad{"{endpointSelector: {matchExpressions: [{operator: Exists}]}, ingress: [{}]}", ".key: missing"},
         }) {
        expect_error(with_spec(input), message, input);
    }
    expect_error(parse<CiliumNetworkPolicy>("{kind: CiliumNetworkPolicy, metadata: {name: p}}"), "spec: missing", "");
    expect_error(parse<CiliumNetworkPolicy>("{kind: CiliumNetworkPolicy, metadata: {name: p}, specs: []}"), "spec", "");
    expect_error(parse<CiliumNetworkPolicy>("{kind: CiliumNetworkPolicy, metadata: {name: p}, Spec: {}}"), "Spec: {}",
                 "");
    expect_error(parse<CiliumNetworkPolicy>("{kind: CiliumClusterwideNetworkPolicy, metadata: {name: p}}"),
                 "accepted: CiliumNetworkPolicy", "");
    expect_error(parse<CiliumClusterwideNetworkPolicy>("{metadata: {name: p, namespace: default}, spec: {}}"),
                 "cluster-scoped", "");
}

TEST(CiliumNetworkPolicyErrors, Peers) {
    for (const auto& [input, message] : {
             Bad{"{fromEndpoint: [{}]}", "spec.ingress[0].fromEndpoint: [{}]; accepted: only the members fromCIDR"},
             Bad{"{toEndpoints: [{}]}", "spec.ingress[0].toEndpoints"},
             Bad{"{toServices: [{}]}", "spec.ingress[0].toServices"},
             Bad{"{fromEndpoints: {}}", "spec.ingress[0].fromEndpoints: {}; accepted: a list"},
             Bad{"{fromEndpoints: [x]}", "spec.ingress[0].fromEndpoints[0]: \"x\""},
             Bad{"{fromEndpoints: [null]}", "spec.ingress[0].fromEndpoints[0]: null"},
             Bad{"{fromEndpoints: [{}], fromCIDR: [10.0.0.0/8]}", "one kind of peers in an entry"},
             Bad{"{fromEntities: [world], fromCIDRSet: [{cidr: 10.0.0.0/8}]}", "one kind of peers in an entry"},
             Bad{"{fromEntities: [wrld]}",
                 "spec.ingress[0].fromEntities[0]: \"wrld\"; accepted: all, world, world-ipv4"},
             Bad{"{fromEntities: [World]}", "spec.ingress[0].fromEntities[0]: \"World\""},
             Bad{"{fromEntities: world}", "spec.ingress[0].fromEntities: \"world\"; accepted: a list"},
             Bad{"{fromEntities: [1]}", "spec.ingress[0].fromEntities[0]: 1"},
             Bad{"{fromEntities: , world: }", "a list item that lacks its \"- \"?"},
             Bad{"{fromCIDR: [10.0.0.0/33]}", "spec.ingress[0].fromCIDR[0]: \"10.0.0.0/33\"; accepted: a CIDR"},
             Bad{"{fromCIDR: [10.0.0.256/32]}", "spec.ingress[0].fromCIDR[0]"},
             Bad{"{fromCIDR: [10.0.0.0/-1]}", "spec.ingress[0].fromCIDR[0]"},
             Bad{"{fromCIDR: [10.0.0.0/08]}", "spec.ingress[0].fromCIDR[0]"},
             Bad{"{fromCIDR: [10.0.0.0/]}", "spec.ingress[0].fromCIDR[0]"},
             Bad{"{fromCIDR: [\"\"]}", "spec.ingress[0].fromCIDR[0]: \"\""},
             Bad{"{fromCIDR: [\"fd00::/129\"]}", "spec.ingress[0].fromCIDR[0]"},
             Bad{"{fromCIDR: [8]}", "spec.ingress[0].fromCIDR[0]: 8"},
             Bad{"{fromCIDRSet: [{cidr: 10.0.0.1}]}", "spec.ingress[0].fromCIDRSet[0].cidr: \"10.0.0.1\""},
             Bad{"{fromCIDRSet: [{}]}", "exactly one of cidr, cidrGroupRef and cidrGroupSelector"},
             Bad{"{fromCIDRSet: [{cidr: 10.0.0.0/8, cidrGroupRef: a}]}", "exactly one of cidr"},
             Bad{"{fromCIDRSet: [{cidrGroupRef: A_b}]}", "cidrGroupRef: \"A_b\""},
             Bad{"{fromCIDRSet: [{cidr: 10.0.0.0/8, except: [11.0.0.0/16]}]}",
                 "spec.ingress[0].fromCIDRSet[0].except[0]: \"11.0.0.0/16\"; accepted: a CIDR inside 10.0.0.0/8"},
             Bad{"{fromCIDRSet: [{cidr: 10.0.0.0/8, except: [\"fd00::/64\"]}]}", "a CIDR inside 10.0.0.0/8"},
             Bad{"{fromCIDRSet: [{cidr: 10.1.0.0/16, except: [10.0.0.0/8]}]}", "a CIDR inside 10.1.0.0/16"},
             Bad{"{fromCIDRSet: [{cidr: 10.0.0.0/8, excepts: []}]}", "excepts"},
             Bad{"{fromEndpoints: , toPorts: [{ports: [{port: \"80\"}]}]}", "accepted: a value for \"fromEndpoints\""},
             Bad{"{fromEndpoints: [{matchLabels: }]}",
                 "spec.ingress[0].fromEndpoints[0]: {\"matchLabels\":null}; accepted"},
             Bad{"{fromEndpoints: [{matchLabels: {app: }}]}", "a value for \"app\""},
             Bad{"{fromEntities: [host], toPorts: }", "a value for \"toPorts\""},
             Bad{"{authentication: {mode: maybe}}", "disabled, required, test-always-fail"},
             Bad{"{authentication: {}}", "spec.ingress[0].authentication.mode: missing"},
         }) {
        expect_error(with_ingress(input), message, input);
    }
    for (const auto& [input, message] : {
             Bad{"{toServices: [{}]}", "exactly one of k8sService and k8sServiceSelector"},
             Bad{"{toServices: [{k8sService: {serviceName: a}, k8sServiceSelector: {selector: {}}}]}",
                 "exactly one of k8sService"},
             Bad{"{toServices: [{k8sService: {namespace: x}}]}", "k8sService.serviceName: missing"},
             Bad{"{toServices: [{k8sService: {serviceName: a, namespace: B}}]}", "k8sService.namespace: \"B\""},
             Bad{"{toServices: [{k8sServiceSelector: {namespace: x}}]}", "k8sServiceSelector.selector: missing"},
             Bad{"{toServices: [{k8sService: {serviceName: a}}], toCIDR: [10.0.0.0/8]}", "one kind of peers"},
             Bad{"{toFQDNs: [{matchName: a.b}], toEndpoints: [{}]}", "one kind of peers"},
         }) {
        expect_error(with_egress(input), message, input);
    }
    expect_error(with_spec("{endpointSelector: {}, ingressDeny: [{fromRequires: [{}]}]}"),
                 "spec.ingressDeny[0].fromRequires", "fromRequires in a denial");
    expect_error(with_spec("{endpointSelector: {}, egressDeny: [{toFQDNs: []}]}"), "spec.egressDeny[0].toFQDNs", "");
}

TEST(CiliumNetworkPolicyErrors, Ports) {
    for (const auto& [input, message] : {
             Bad{"{port: \"70000\"}", "spec.ingress[0].toPorts[0].ports[0].port: \"70000\"; accepted: a string with a"},
             Bad{"{port: \"-1\"}", "ports[0].port: \"-1\""},
             Bad{"{port: \"080\"}", "ports[0].port: \"080\""},
             Bad{"{port: \"\"}", "ports[0].port: \"\""},
             Bad{"{port: 80}", "ports[0].port: 80; accepted: a string"},
             Bad{"{protocol: TCP}", "ports[0].port: missing"},
             Bad{"{port: ht--tp}", "ports[0].port: \"ht--tp\""},
             Bad{"{port: -http}", "ports[0].port: \"-http\""},
             Bad{"{port: a-name-that-is-too-long}", "ports[0].port"},
             Bad{"{port: \"80\", protocol: tcp}", "protocol: \"tcp\"; accepted: ANY, TCP, UDP, SCTP, VRRP, IGMP"},
             Bad{"{port: \"80\", protocol: ICMP}", "protocol: \"ICMP\""},
             Bad{"{port: \"80\", endPort: 79}", "endPort: 79; accepted: a number from the port, 80, to 65535"},
             Bad{"{port: \"80\", endPort: 65536}", "endPort: 65536"},
             Bad{"{port: \"80\", endPort: \"90\"}", "endPort: \"90\""},
             Bad{"{port: http, endPort: 90}", "endPort: 90; accepted: no endPort: the port is given by name"},
             Bad{"{port: \"0\", endPort: 90}", "endPort: 90; accepted: no endPort: port \"0\" means every port"},
             Bad{"{port: \"80\", protocol: VRRP}", "port: \"80\"; accepted: no port: VRRP has none"},
             Bad{"{port: \"80\", ports: 80}", "toPorts[0].ports[0].ports"},
             Bad{"x", "toPorts[0].ports[0]: \"x\""},
         }) {
        expect_error(with_ingress("{toPorts: [{ports: [" + std::string(input) + "]}]}"), message, input);
    }
    std::string many;
    for (int i = 1; i <= 41; ++i) many += "{port: \"" + std::to_string(i) + "\"},";
    expect_error(with_ingress("{toPorts: [{ports: [" + many + "]}]}"), "at most 40 ports", "41 ports");
    expect_error(with_ingress("{toPorts: {ports: []}}"), "spec.ingress[0].toPorts: {\"ports\":[]}; accepted: a list",
                 "");
    expect_error(with_spec("{endpointSelector: {}, ingressDeny: [{toPorts: [{ports: [], rules: {http: []}}]}]}"),
                 "spec.ingressDeny[0].toPorts[0].rules", "L7 in a denial");
    expect_error(with_ingress("{icmps: [{fields: [{type: 8}]}], toPorts: [{ports: [{port: \"1\"}]}]}"),
                 "spec.ingress[0].icmps", "icmps and toPorts");
    for (const auto& [input, message] : {
             Bad{"{type: 256}", "spec.ingress[0].icmps[0].fields[0].type: 256; accepted: a whole number from 0 to 255"},
             Bad{"{type: \"256\"}", "type: \"256\"; accepted: a number from 0 to 255, EchoReply"},
             Bad{"{type: Ping}", "type: \"Ping\""},
             Bad{"{type: EchoReply, family: ipv4}", "family: \"ipv4\"; accepted: IPv4, IPv6"},
             Bad{"{type: PacketTooBig}", "type: \"PacketTooBig\""},
             Bad{"{family: IPv4}", "type: missing"},
         }) {
        expect_error(with_ingress("{icmps: [{fields: [" + std::string(input) + "]}]}"), message, input);
    }
    std::string fields;
    for (int i = 0; i <= 40; ++i) fields += "{type: " + std::to_string(i) + "},";
    expect_error(with_ingress("{icmps: [{fields: [" + fields + "]}]}"), "at most 40 fields", "41 fields");
}

TEST(CiliumNetworkPolicy, EveryMemberIsRead) {
    const auto policy = parse<CiliumNetworkPolicy>(R"(
    metadata: {name: p}
    spec:
      description: everything
      labels: [{key: team, value: a, source: k8s}]
      log: {value: cookie}
      enableDefaultDeny: {ingress: false}
      endpointSelector: {matchLabels: {"k8s:app": web}, matchExpressions: [{key: env, operator: In, values: [a, b]}]}
      ingress:
      - fromEndpoints: [{matchLabels: {app: client}}]
        authentication: {mode: disabled}
        toPorts:
        - ports: [{port: "80", protocol: TCP}, {port: "8000", endPort: 8080}, {port: HTTP-alt}, {port: "0", protocol: UDP}]
          rules: {http: []}
      - fromRequires: [{matchLabels: {team: a}}]
      ingressDeny:
      - fromCIDR: [10.0.0.1, 10.0.0.5/8, "fd00::/64"]
      egress:
      - toCIDRSet: [{cidr: 10.0.0.0/8, except: [10.1.0.0/16]}, {cidrGroupRef: office}, {cidrGroupSelector: {}}]
      - toServices: [{k8sService: {serviceName: db, namespace: prod}}, {k8sServiceSelector: {selector: {matchLabels: {a: b}}}}]
      - icmps: [{fields: [{type: 8}, {type: EchoReply, family: IPv6}, {type: "3"}]}]
      - toEndpoints: []
      egressDeny:
      - toEntities: [host, kube-apiserver]
)");
    ASSERT_TRUE(policy) << policy.error().message;
    ASSERT_EQ(policy->specs.size(), 1U);
    const PolicySpec& spec = policy->specs[0];
    EXPECT_EQ(spec.path, "spec");
    EXPECT_EQ(spec.default_deny_ingress, false);
    EXPECT_EQ(spec.default_deny_egress, std::nullopt);
    EXPECT_EQ(spec.endpoint_selector->match_labels.at("k8s:app"), "web");
    EXPECT_EQ(spec.labels, (std::vector<Label>{{"k8s", "team", "a"}}));
    EXPECT_EQ(spec.log, "cookie");
    EXPECT_TRUE(spec.unenforced.empty());
    ASSERT_EQ(spec.ingress.size(), 2U);
    const std::vector<PolicyPort> ports{
        {80, 80, "", "TCP"}, {8000, 8080, "", "ANY"}, {0, 0, "http-alt", "ANY"}, {0, 0, "", "UDP"}};
    EXPECT_EQ(spec.ingress[0].to_ports, (std::vector<std::vector<PolicyPort>>{ports}));
    EXPECT_TRUE(spec.ingress[0].peers_given);
    EXPECT_FALSE(spec.ingress[1].peers_given);
    EXPECT_EQ(spec.ingress[1].required.size(), 1U);
    ASSERT_EQ(spec.ingress_deny.at(0).cidrs.size(), 3U);
    EXPECT_EQ(spec.ingress_deny[0].cidrs[0].prefix.to_string(), "10.0.0.1/32");
    EXPECT_EQ(spec.ingress_deny[0].cidrs[1].prefix.to_string(), "10.0.0.0/8");
    EXPECT_EQ(spec.ingress_deny[0].cidrs[1].written, "10.0.0.5/8");
    ASSERT_EQ(spec.egress.size(), 4U);
    EXPECT_EQ(spec.egress[0].cidr_set.at(0).except.at(0).prefix.to_string(), "10.1.0.0/16");
    EXPECT_EQ(spec.egress[0].cidr_set.at(1).group, "office");
    EXPECT_TRUE(spec.egress[0].cidr_set.at(2).group_selector);
    EXPECT_EQ(spec.egress[1].services.at(0).name_space, "prod");
    EXPECT_EQ(spec.egress[1].services.at(1).selector->match_labels.at("a"), "b");
    const std::vector<PolicyIcmpField> fields{{Family::kIpv4, 8}, {Family::kIpv6, 129}, {Family::kIpv4, 3}};
    EXPECT_EQ(spec.egress[2].icmps, (std::vector<std::vector<PolicyIcmpField>>{fields}));
    EXPECT_TRUE(spec.egress[3].nobody);
    EXPECT_EQ(spec.egress_deny.at(0).entities, (std::vector<std::string>{"host", "kube-apiserver"}));
}

TEST(CiliumNetworkPolicy, MembersOfLaterVersionsAreKept) {
    const auto policy = parse<CiliumClusterwideNetworkPolicy>(R"(
      metadata: {name: p}
      specs:
      - endpointSelector: {}
        ingress:
        - authentication: {mode: required}
          toPorts: [{ports: [{port: "80", protocol: TCP}], rules: {http: [{method: GET}]}, serverNames: [a.b],
                     listener: {name: x, envoyConfig: {name: y, kind: CiliumEnvoyConfig}}, terminatingTLS: {secret: {name: s}}}]
      - endpointSelector: {}
        egress:
        - toFQDNs: [{matchName: example.com}]
        - toGroups: [{aws: {region: x}}]
)");
    ASSERT_TRUE(policy) << policy.error().message;
    std::vector<std::string> paths;
    for (const PolicySpec& spec : policy->specs) {
        for (const auto& [path, value] : spec.unenforced) paths.push_back(path);
    }
    EXPECT_EQ(paths, (std::vector<std::string>{
                         "specs[0].ingress[0].authentication", "specs[0].ingress[0].toPorts[0].listener",
                         "specs[0].ingress[0].toPorts[0].rules", "specs[0].ingress[0].toPorts[0].serverNames",
                         "specs[0].ingress[0].toPorts[0].terminatingTLS", "specs[1].egress[0].toFQDNs",
                         "specs[1].egress[1].toGroups"}));
}

TEST(PolicySelector, KeysAndValuesWithEveryAllowedCharacter) {
    EXPECT_TRUE(is_label_key("app"));
    EXPECT_TRUE(is_label_key("A-z_0.9"));
    EXPECT_TRUE(is_label_key("example.com/A-z_0.9"));
    EXPECT_TRUE(is_label_key(std::string(253, 'a') + "/" + std::string(63, 'b')));
    for (const char* key : {"", "/", "a/", "/a", "a/b/c", "-a", "a-", "a b", "ä", "A.com/x", "a:b"}) {
        EXPECT_FALSE(is_label_key(key)) << key;
    }
    EXPECT_FALSE(is_label_key(std::string(64, 'b')));
    EXPECT_TRUE(is_label_value(""));
    EXPECT_TRUE(is_label_value("A-z_0.9"));
    EXPECT_FALSE(is_label_value("a:b"));
    EXPECT_FALSE(is_label_value(std::string(64, 'b')));

    // A namespace's label keeps all of its 63 characters behind the prefix.
    const std::string name(63, 'n');
    EXPECT_TRUE(with_spec("{endpointSelector: {matchLabels: {\"k8s:io.cilium.k8s.namespace.labels.example.com/" + name +
                          "\": x, \"any:io.cilium.k8s.namespace.labels." + name + "\": y}}, ingress: [{}]}"));

    const auto key = [](std::string_view text) {
        const SelectorKey parsed = parse_selector_key(text);
        return std::string(parsed.source) + "|" + std::string(parsed.key);
    };
    EXPECT_EQ(key("app"), "any|app");
    EXPECT_EQ(key("k8s:app"), "k8s|app");
    EXPECT_EQ(key("any:example.com/app"), "any|example.com/app");
    EXPECT_EQ(key("reserved:host"), "reserved|host");
    EXPECT_EQ(key("reserved.host"), "reserved|host");
    EXPECT_EQ(key("$host"), "reserved|host");
    EXPECT_EQ(key(":app"), "any|app");
}

TEST(PolicySelector, PortNames) {
    for (const char* name : {"http", "HTTP", "a", "0x10", "http-alt", "a1-b2", "12345678901234a"}) {
        EXPECT_TRUE(is_port_name(name)) << name;
    }
    for (const char* name : {"", "80", "-a", "a-", "a--b", "a_b", "a.b", "123456789012345a"}) {
        EXPECT_FALSE(is_port_name(name)) << name;
    }
    EXPECT_EQ(parse_port_number("0"), 0);
    EXPECT_EQ(parse_port_number("65535"), 65535);
    for (const char* text : {"", "00", "01", "65536", "99999999999999999999", "+1", "1 ", "1.0"}) {
        EXPECT_EQ(parse_port_number(text), -1) << text;
    }
}

TEST(CiliumCidrGroup, ReadsSortedAndUnique) {
    const auto group = parse<CiliumCidrGroup>(
        "{apiVersion: cilium.io/v2alpha1, kind: CiliumCIDRGroup, metadata: {name: g, labels: {a: b}}, "
        "spec: {externalCIDRs: [10.2.0.0/16, 10.1.0.0/16, 10.2.0.1/16, 10.9.9.9]}}");
    ASSERT_TRUE(group) << group.error().message;
    ASSERT_EQ(group->external_cidrs.size(), 3U);
    EXPECT_EQ(group->external_cidrs[0].to_string(), "10.1.0.0/16");
    EXPECT_EQ(CiliumCidrGroup::parse(group->to_json()).value(), *group);
    expect_error(parse<CiliumCidrGroup>("{metadata: {name: g}}"), "CiliumCIDRGroup g: spec: missing", "");
    expect_error(parse<CiliumCidrGroup>("{metadata: {name: g}, spec: {}}"), "spec.externalCIDRs: missing", "");
    expect_error(parse<CiliumCidrGroup>("{metadata: {name: g}, spec: {externalCIDRs: [x]}}"),
                 "spec.externalCIDRs[0]: \"x\"", "");
}

TEST(NetworkPolicyErrors, AsKubernetesRefusesThem) {
    for (const auto& [input, message] : {
             Bad{"{podSelector: {}, ingress: [{from: [{}]}]}",
                 "NetworkPolicy default/p: spec.ingress[0].from[0]: {}; accepted: at least one of podSelector"},
             Bad{"{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}]}]}",
                 "ipBlock without podSelector"},
             Bad{"{podSelector: {}, ingress: [{from: [{ipBlock: {}}]}]}", "from[0].ipBlock.cidr: missing"},
             Bad{"{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0}}]}]}", "ipBlock.cidr: \"10.0.0.0\""},
             Bad{"{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/8]}}]}]}",
                 "from[0].ipBlock.except[0]: \"10.0.0.0/8\"; accepted: a CIDR that is a part of 10.0.0.0/8"},
             Bad{"{podSelector: {}, ingress: [{to: []}]}", "spec.ingress[0].to"},
             Bad{"{podSelector: {}, egress: [{from: []}]}", "spec.egress[0].from"},
             Bad{"{podSelector: {}, policyTypes: [ingress]}", "accepted: Ingress, Egress"},
             Bad{"{podSelector: {}, ingress: [{ports: [{port: 0}]}]}", "ports[0].port: 0"},
             Bad{"{podSelector: {}, ingress: [{ports: [{port: 65536}]}]}", "ports[0].port: 65536"},
             Bad{"{podSelector: {}, ingress: [{ports: [{port: \"80\"}]}]}", "ports[0].port: \"80\""},
             Bad{"{podSelector: {}, ingress: [{ports: [{port: HTTP}]}]}", "ports[0].port: \"HTTP\""},
             Bad{"{podSelector: {}, ingress: [{ports: [{port: 80, endPort: 79}]}]}", "ports[0].endPort: 79"},
             Bad{"{podSelector: {}, ingress: [{ports: [{endPort: 79}]}]}", "no endPort without port"},
             Bad{"{podSelector: {}, ingress: [{ports: [{port: http, endPort: 79}]}]}", "given by name"},
             Bad{"{podSelector: {}, ingress: [{ports: [{port: 80, protocol: ICMP}]}]}", "accepted: TCP, UDP, SCTP"},
             Bad{"{podSelector: {matchLabels: {\"k8s:app\": x}}}", "spec.podSelector.matchLabels[\"k8s:app\"]"},
             Bad{"{PodSelector: {}}", "spec.PodSelector"},
         }) {
        expect_error(
            parse<NetworkPolicy>("{kind: NetworkPolicy, metadata: {name: p}, spec: " + std::string(input) + "}"),
            message, input);
    }
    expect_error(parse<NetworkPolicy>("{kind: NetworkPolicy, metadata: {name: p}}"), "spec: missing", "");
}

TEST(PolicyStatus, ValidConditionIsWrittenOnceAndKeepsItsTime) {
    const WallTime first = parse_time("2026-01-01T00:00:00Z").value();
    const WallTime later = parse_time("2026-01-02T00:00:00Z").value();
    Json object = {{"kind", "CiliumNetworkPolicy"}, {"status", {{"derivativePolicies", {{"a", 1}}}}}};
    auto status = status_with_validity(object, false, "bad", first);
    ASSERT_TRUE(status);
    EXPECT_EQ(*status,
              Json::parse(R"({"derivativePolicies": {"a": 1}, "conditions": [{"type": "Valid", "status": "False",
      "message": "bad", "lastTransitionTime": "2026-01-01T00:00:00Z"}]})"));
    object["status"] = *status;
    EXPECT_FALSE(status_with_validity(object, false, "bad", later));
    status = status_with_validity(object, false, "worse", later);
    ASSERT_TRUE(status);
    EXPECT_EQ(status->at("conditions").at(0).at("lastTransitionTime"), "2026-01-01T00:00:00Z");
    status = status_with_validity(object, true, "good", later);
    ASSERT_TRUE(status);
    EXPECT_EQ(status->at("conditions").at(0).at("lastTransitionTime"), "2026-01-02T00:00:00Z");
    EXPECT_EQ(status->at("conditions").size(), 1U);
}

}  // namespace
}  // namespace axo
