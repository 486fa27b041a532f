// CIDRs, CIDR groups and Services in policies.
#include <gtest/gtest.h>

#include <chrono>

#include "features/policy/translate_fixture.h"

namespace axo::policy {
namespace {

TEST(TranslateCilium, Cidrs) {
    const auto rules = [](const std::string& member, const std::string& peers, const TranslateContext& context = {}) {
        expect_rules<CiliumNetworkPolicy>(cnp("{endpointSelector: {}, egress: [{" + member + "}]}"),
                                          "pods {ns=blue} deny-egress\nallow spec.egress[0]: " + peers + "\n", context);
    };
    rules("toCIDR: [192.0.2.7, 10.0.0.0/8, 10.0.0.0/8, \"fd00::/64\"]", "10.0.0.0/8 192.0.2.7/32 fd00::/64");
    rules("toCIDRSet: [{cidr: 10.0.0.0/8, except: [10.2.0.0/16, 10.1.0.0/16, 10.1.2.0/24]}]",
          "10.0.0.0/8-10.1.0.0/16-10.2.0.0/16");
    rules("toCIDR: [0.0.0.0/0]", "{reserved:world-ipv4}");
    rules("toCIDR: [\"::/0\"]", "{reserved:world-ipv6}");
    TranslateContext ipv4;
    ipv4.ipv6 = false;
    rules("toCIDR: [0.0.0.0/0]", "{reserved:world} {reserved:world-ipv4}", ipv4);
    rules("toCIDR: [\"::/0\"]", "{reserved:world-ipv6}", ipv4);
    TranslateContext ipv6;
    ipv6.ipv4 = false;
    rules("toCIDR: [\"::/0\"]", "{reserved:world} {reserved:world-ipv6}", ipv6);
    rules("toCIDRSet: [{cidr: 0.0.0.0/0, except: [10.0.0.0/8]}]", "0.0.0.0/0-10.0.0.0/8");

    const auto bits = translated<CiliumNetworkPolicy>(
        cnp("{endpointSelector: {}, ingressDeny: [{fromCIDRSet: [{cidr: 10.1.2.3/8, except: [10.1.2.3/16]}]}]}"));
    ASSERT_TRUE(bits);
    EXPECT_EQ(dump(bits->policy), "pods {ns=blue} deny-ingress\ndeny spec.ingressDeny[0]: 10.0.0.0/8-10.1.0.0/16\n");
    expect_warning(bits,
                   "spec.ingressDeny[0].fromCIDRSet[0]: 10.1.2.3/8 has host bits, which do not count: it means "
                   "10.0.0.0/8");
    expect_warning(bits, "fromCIDRSet[0].except: 10.1.2.3/16 has host bits");

    const auto nothing = translated<CiliumNetworkPolicy>(
        cnp("{endpointSelector: {}, egress: [{toCIDRSet: [{cidr: 10.0.0.0/8, except: [10.0.0.0/8]}]}]}"));
    ASSERT_TRUE(nothing);
    EXPECT_EQ(dump(nothing->policy), "pods {ns=blue} deny-egress\n");
    expect_warning(nothing, "selects nobody: 10.0.0.0/8 is excepted as a whole");
}

TEST(TranslateCilium, CidrsOfTheClusterAreWarnedOf) {
    TranslateContext context;
    for (const char* prefix : {"10.1.0.0/16", "10.1.4.0/24", "192.0.2.1/32", "fd00::/48"}) {
        context.cluster_prefixes.push_back(Prefix::parse(prefix).value());
    }
    const auto warning = [&](const std::string& cidr) {
        const auto translation = translated<CiliumNetworkPolicy>(
            cnp("{endpointSelector: {}, egress: [{toCIDR: [\"" + cidr + "\"]}]}"), context);
        EXPECT_TRUE(translation);
        EXPECT_EQ(translation->policy.specs.at(0).rules.size(), 1U) << "it stays in force";
        return warnings_of(translation);
    };
    for (const char* cidr : {"10.1.2.0/24", "10.1.4.9/32", "192.0.2.1/32", "10.0.0.0/8", "fd00::5/128", "fd00::/48"}) {
        EXPECT_NE(warning(cidr).find("matches no pod or node"), std::string::npos) << cidr;
    }
    for (const char* cidr : {"10.2.0.0/16", "192.0.2.2/32", "0.0.0.0/0", "fd00:1::/48", "9.0.0.0/8", "11.0.0.0/8"}) {
        EXPECT_EQ(warning(cidr), "") << cidr;
    }
}

TEST(TranslateCilium, CidrGroups) {
    std::map<std::string, CiliumCidrGroup> groups;
    for (const auto& [name, cidrs, team] : std::vector<std::tuple<std::string, std::string, std::string>>{
             {"office", "[10.0.0.0/8, 192.0.2.0/24]", "a"}, {"vpn", "[\"fd00::/64\"]", "b"}}) {
        const Json json = parse_yaml("{metadata: {name: " + name + ", labels: {team: " + team +
                                     "}}, spec: {externalCIDRs: " + cidrs + "}}")
                              .value();
        groups.emplace(name, CiliumCidrGroup::parse(json).value());
    }
    TranslateContext context;
    context.cidr_groups = &groups;
    auto translation = translated<CiliumNetworkPolicy>(
        cnp("{endpointSelector: {}, egress: [{toCIDRSet: [{cidrGroupRef: office, except: [10.1.0.0/16, 192.0.0.0/16]}, "
            "{cidrGroupRef: gone}]}]}"),
        context);
    ASSERT_TRUE(translation) << translation.error().message;
    EXPECT_EQ(dump(translation->policy), "pods {ns=blue} deny-egress\nallow spec.egress[0]: 10.0.0.0/8-10.1.0.0/16\n");
    EXPECT_EQ(translation->cidr_groups, (std::set<std::string>{"gone", "office"}));
    EXPECT_FALSE(translation->all_cidr_groups);
    expect_warning(translation, "spec.egress[0].toCIDRSet[1]: selects nobody: there is no CiliumCIDRGroup gone");

    translation = translated<CiliumNetworkPolicy>(
        cnp("{endpointSelector: {}, ingress: [{fromCIDRSet: [{cidrGroupSelector: {matchLabels: {\"cidrgroup:team\": b}}}]}]}"),
        context);
    ASSERT_TRUE(translation);
    EXPECT_EQ(dump(translation->policy), "pods {ns=blue} deny-ingress\nallow spec.ingress[0]: fd00::/64\n");
    EXPECT_TRUE(translation->all_cidr_groups);
    expect_warning(translated<CiliumNetworkPolicy>(
                       cnp("{endpointSelector: {}, ingress: [{fromCIDRSet: [{cidrGroupSelector: {}}]}]}")),
                   "no CiliumCIDRGroup has these labels");
}

TEST(TranslateCilium, Services) {
    std::map<ServiceName, ServiceView> services;
    services[{"x", "with"}] = {
        .labels = {{"tier", "db"}}, .selector = {{"app", "db"}, {"v", "1"}}, .external_name = false, .backends = {}};
    services[{"y", "with"}] = {.labels = {}, .selector = {{"app", "other"}}, .external_name = false, .backends = {}};
    services[{"x", "without"}] = {
        .labels = {{"tier", "db"}},
        .selector = {},
        .external_name = false,
        .backends = {IpAddress::parse("192.0.2.1").value(), IpAddress::parse("fd00::1").value()}};
    services[{"x", "name"}].external_name = true;
    TranslateContext context;
    context.services = &services;
    const auto peers = [&](const std::string& reference) {
        auto translation =
            translated<CiliumNetworkPolicy>(cnp("{endpointSelector: {}, egress: [{toServices: [" + reference +
                                                "], toPorts: [{ports: [{port: \"5432\"}]}]}]}"),
                                            context);
        EXPECT_TRUE(translation && translation->services);
        std::string text = dump(translation->policy);
        replace_all(text, "pods {ns=blue} deny-egress\n", "");
        replace_all(text, "allow spec.egress[0].toPorts[0]: ", "");
        replace_all(text, " | ANY/5432\n", "");
        return text + warnings_of(translation);
    };
    EXPECT_EQ(peers("{k8sService: {serviceName: with, namespace: x}}"), "E{k8s:app=db,cluster=default,ns=x,k8s:v=1}");
    EXPECT_EQ(peers("{k8sService: {serviceName: with}}"),
              "E{k8s:app=db,cluster=default,ns=x,k8s:v=1} E{k8s:app=other,cluster=default,ns=y}");
    EXPECT_EQ(peers("{k8sService: {serviceName: without, namespace: x}}"), "192.0.2.1/32 fd00::1/128");
    EXPECT_EQ(peers("{k8sServiceSelector: {selector: {matchLabels: {\"k8s:tier\": db}}}}"),
              "192.0.2.1/32 fd00::1/128 E{k8s:app=db,cluster=default,ns=x,k8s:v=1}");
    EXPECT_EQ(peers("{k8sServiceSelector: {namespace: y, selector: {matchLabels: {tier: db}}}}"),
              "spec.egress[0].toServices[0]: selects nobody: no Service has these labels");
    EXPECT_EQ(peers("{k8sService: {serviceName: name, namespace: x}}"),
              "spec.egress[0].toServices[0]: Service x/name is a DNS name (ExternalName) and has no endpoints");
    // A Service whose endpoints are pods, kept by hand: a CIDR rule cannot mean them.
    context.cluster_prefixes = {Prefix::parse("192.0.2.0/24").value()};
    EXPECT_NE(peers("{k8sService: {serviceName: without, namespace: x}}").find("matches no pod or node"),
              std::string::npos);
}

TEST(TranslateCilium, ServiceViewsHaveBackendsOfServicesWithoutSelector) {
    auto service =
        Service::parse(Json::parse(R"({"metadata": {"name": "s", "labels": {"a": "b"}}, "spec": {}})")).value();
    const auto slice = EndpointSlice::parse(Json::parse(R"({"metadata": {"name": "s-1"}, "addressType": "IPv4",
      "endpoints": [{"addresses": ["192.0.2.2"]}, {"addresses": ["192.0.2.1"], "conditions": {"ready": false}},
                    {"addresses": ["192.0.2.2"]}]})"))
                           .value();
    ServiceView view = service_view(service, {slice});
    EXPECT_EQ(view.labels, (std::map<std::string, std::string>{{"a", "b"}}));
    ASSERT_EQ(view.backends.size(), 2U);
    EXPECT_EQ(view.backends[0].to_string(), "192.0.2.1");
    service.selector = {{"app", "x"}};
    EXPECT_TRUE(service_view(service, {slice}).backends.empty());
    service.selector.clear();
    service.type = Service::Type::kExternalName;
    EXPECT_TRUE(service_view(service, {slice}).external_name);
}

TEST(TranslateCilium, FiveThousandCidrsAreQuick) {
    Json cidrs = Json::array();
    TranslateContext context;
    for (int i = 0; i < 5000; ++i) {
        cidrs.push_back("11." + std::to_string(i / 250) + "." + std::to_string(i % 250) + ".0/24");
        context.cluster_prefixes.push_back(
            Prefix::parse("10." + std::to_string(i / 250) + "." + std::to_string(i % 250) + ".0/24").value());
    }
    const Json json = {{"kind", "CiliumNetworkPolicy"},
                       {"metadata", {{"name", "p"}}},
                       {"spec", {{"endpointSelector", Json::object()}, {"egress", {{{"toCIDR", cidrs}}}}}}};
    const auto start = std::chrono::steady_clock::now();
    const auto object = CiliumNetworkPolicy::parse(json);
    ASSERT_TRUE(object) << object.error().message;
    const auto translation = translate(*object, context);
    const auto taken = std::chrono::steady_clock::now() - start;
    ASSERT_TRUE(translation);
    EXPECT_EQ(translation->policy.specs.at(0).rules.at(0).peers.size(), 5000U);
    EXPECT_LT(taken, std::chrono::milliseconds(500));  // 15 ms on an idle machine
}

TEST(TranslateCilium, WarningsAreCounted) {
    std::string cidrs;
    for (int i = 0; i < 50; ++i) cidrs += "10.0.0." + std::to_string(i + 1) + "/24,";
    const auto translation =
        translated<CiliumNetworkPolicy>(cnp("{endpointSelector: {}, egress: [{toCIDR: [" + cidrs + "]}]}"));
    ASSERT_TRUE(translation);
    EXPECT_EQ(translation->warnings.size(), 21U);
    EXPECT_EQ(translation->warnings.back(), "30 more warnings of this policy are not shown");
    EXPECT_EQ(translation->policy.specs.at(0).rules.at(0).peers.size(), 1U);
}

}  // namespace
}  // namespace axo::policy
