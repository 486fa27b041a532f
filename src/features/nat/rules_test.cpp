#include "features/nat/rules.h"

#include <gtest/gtest.h>

namespace axo::nat {
namespace {

Prefix prefix(const char* text) {
    return Prefix::parse(text).value();
}
IpAddress ip(const char* text) {
    return IpAddress::parse(text).value();
}

RuleState state() {
    return {.pod_cidrs = {prefix("10.0.0.0/24"), prefix("fd00::/120")},
            .node_addresses = {ip("172.18.1.11"), ip("172.18.1.12"), ip("fd00:18:1::11")},
            .routes = {{prefix("192.168.0.0/16"), "eth1", ip("192.168.0.5")},
                       {prefix("0.0.0.0/0"), "eth0", ip("172.18.1.11")}}};
}

std::vector<std::string> rules(const RuleSettings& settings, Family family, const std::string& chain) {
    for (const Chain& one : wanted_chains(settings, state(), family)) {
        if (one.name == chain) return one.rules;
    }
    return {"no such chain"};
}

TEST(Rules, NothingUnlessAskedFor) {
    for (const Family family : {Family::kIpv4, Family::kIpv6}) {
        for (const Chain& chain : wanted_chains({}, state(), family)) EXPECT_TRUE(chain.rules.empty()) << chain.name;
    }
}

TEST(Rules, MasqueradeSparesNodesAndPods) {
    EXPECT_EQ(
        rules({.masquerade4 = true}, Family::kIpv4, "CILIUM_POST_nat"),
        (std::vector<std::string>{
            "-s 10.0.0.0/24 -d 172.18.1.11/32 -m comment --comment \"exclude traffic to cluster nodes from masquerade\" -j ACCEPT",
            "-s 10.0.0.0/24 -d 172.18.1.12/32 -m comment --comment \"exclude traffic to cluster nodes from masquerade\" -j ACCEPT",
            "-s 10.0.0.0/24 ! -d 10.0.0.0/24 ! -o cilium_+ -m comment --comment \"cilium masquerade non-cluster\" -j MASQUERADE"}));
    EXPECT_TRUE(rules({.masquerade4 = true}, Family::kIpv6, "CILIUM_POST_nat").empty());
    EXPECT_EQ(
        rules({.masquerade6 = true, .random_fully = true, .native_cidr6 = prefix("fd00::/104")}, Family::kIpv6,
              "CILIUM_POST_nat")
            .back(),
        "-s fd00::/120 ! -d fd00::/104 ! -o cilium_+ -m comment --comment \"cilium masquerade non-cluster\" -j MASQUERADE --random-fully");
}

TEST(Rules, AmongManyNodesConnectionsOfOthersThanPodsPassAtOnce) {
    RuleState many = state();
    for (int i = 0; i < 20; ++i) many.node_addresses.push_back(ip(("172.18.2." + std::to_string(i)).c_str()));
    const auto first = [&many] { return wanted_chains({.masquerade4 = true}, many, Family::kIpv4)[0].rules.front(); };
    EXPECT_EQ(first(), "! -s 10.0.0.0/24 -m comment --comment \"not from pods\" -j RETURN");
    // The other pods are behind it.
    many.pod_cidrs.push_back(prefix("10.0.7.0/24"));
    EXPECT_TRUE(first().starts_with("-s 10.0.0.0/24 -d 172.18.1.11/32 ")) << first();
}

TEST(Rules, OnlyThroughGivenDevices) {
    const auto all =
        rules({.masquerade4 = true, .out_interfaces = {"eth+", "bond0"}, .native_cidr4 = prefix("10.0.0.0/8")},
              Family::kIpv4, "CILIUM_POST_nat");
    ASSERT_EQ(all.size(), 4U);
    EXPECT_EQ(
        all[2],
        "-s 10.0.0.0/24 ! -d 10.0.0.0/8 -o eth+ -m comment --comment \"cilium masquerade non-cluster\" -j MASQUERADE");
    EXPECT_EQ(
        all[3],
        "-s 10.0.0.0/24 ! -d 10.0.0.0/8 -o bond0 -m comment --comment \"cilium masquerade non-cluster\" -j MASQUERADE");
}

TEST(Rules, ToTheRoutesSource) {
    const auto all = rules({.masquerade4 = true, .to_route_source = true, .native_cidr4 = prefix("10.0.0.0/8")},
                           Family::kIpv4, "CILIUM_POST_nat");
    ASSERT_EQ(all.size(), 5U);
    EXPECT_EQ(
        all[2],
        "-s 10.0.0.0/24 -d 10.0.0.0/8 -m comment --comment \"exclude native routing CIDR from masquerade\" -j ACCEPT");
    EXPECT_EQ(
        all[3],
        "-s 10.0.0.0/24 -d 192.168.0.0/16 -o eth1 -m comment --comment \"cilium snat non-cluster via source route\" -j SNAT --to-source 192.168.0.5");
    EXPECT_EQ(
        all[4],
        "-s 10.0.0.0/24 -o eth0 -m comment --comment \"cilium snat non-cluster via source route\" -j SNAT --to-source 172.18.1.11");
}

TEST(Rules, NoConntrackForPods) {
    const RuleSettings settings{.native_cidr4 = prefix("10.0.0.0/8"), .no_conntrack = true};
    for (const char* chain : {"CILIUM_PRE_raw", "CILIUM_OUTPUT_raw"}) {
        EXPECT_EQ(rules(settings, Family::kIpv4, chain),
                  (std::vector<std::string>{
                      "-s 10.0.0.0/8 -m comment --comment \"cilium: NOTRACK for pod traffic\" -j CT --notrack",
                      "-d 10.0.0.0/8 -m comment --comment \"cilium: NOTRACK for pod traffic\" -j CT --notrack"}));
    }
    EXPECT_EQ(rules(settings, Family::kIpv6, "CILIUM_PRE_raw").front(),
              "-s fd00::/120 -m comment --comment \"cilium: NOTRACK for pod traffic\" -j CT --notrack");
}

const Chain kChain{
    .table = "nat", .name = "CILIUM_POST_nat", .hook = "POSTROUTING", .rules = {"-s 10.0.0.0/24 -j MASQUERADE"}};
constexpr const char* kMark = "-A CILIUM_POST_nat -m comment --comment \"axoneme ";

// The script, and what the table looks like after it: what iptables would print, as far as the functions look at it.
std::string marked(const std::string& script) {
    const auto at = script.find(kMark);
    return at == std::string::npos ? "" : script.substr(at, script.find('\n', at) - at);
}

TEST(CorrectChains, MadeOnceThenLeftAlone) {
    const std::string script = correct_chains("*nat\n:POSTROUTING ACCEPT [0:0]\nCOMMIT\n", {kChain}, "nat", {});
    EXPECT_EQ(
        script,
        "*nat\n:CILIUM_POST_nat - [0:0]\n-A CILIUM_POST_nat -s 10.0.0.0/24 -j MASQUERADE\n" + marked(script) +
            "\n-I POSTROUTING -m comment --comment \"cilium-feeder: CILIUM_POST_nat\" -j CILIUM_POST_nat\nCOMMIT\n");
    const std::string right =
        "*nat\n:POSTROUTING ACCEPT [0:0]\n:CILIUM_POST_nat - [0:0]\n"
        "-A POSTROUTING -m comment --comment \"cilium-feeder: CILIUM_POST_nat\" -j CILIUM_POST_nat\n"
        "-A CILIUM_POST_nat -s 10.0.0.0/24 -j MASQUERADE\n" +
        marked(script) + "\nCOMMIT\n";
    EXPECT_EQ(correct_chains(right, {kChain}, "nat", {}), "");
    // Of another table: not here.
    EXPECT_EQ(correct_chains("", {kChain}, "raw", {}), "");

    Chain other = kChain;
    other.rules.emplace_back("-s 10.0.1.0/24 -j MASQUERADE");
    const std::string changed = correct_chains(right, {other}, "nat", {});
    EXPECT_NE(changed.find(":CILIUM_POST_nat - [0:0]\n"), std::string::npos) << changed;
    EXPECT_EQ(changed.find("POSTROUTING -m"), std::string::npos) << "the feeder is there already: " << changed;

    Chain none = kChain;
    none.rules.clear();
    EXPECT_EQ(correct_chains(right, {none}, "nat", {}),
              "*nat\n-D POSTROUTING -m comment --comment \"cilium-feeder: CILIUM_POST_nat\" -j CILIUM_POST_nat\n"
              "-F CILIUM_POST_nat\n-X CILIUM_POST_nat\nCOMMIT\n");
    EXPECT_EQ(correct_chains("*nat\n:POSTROUTING ACCEPT [0:0]\nCOMMIT\n", {none}, "nat", {}), "");
}

// A restarted agent learns of the nodes one after the other; pods go on reaching all of them as they are.
TEST(CorrectChains, RulesThatSpareNodesStandUntilAllNodesAreKnown) {
    RuleState known = state();
    known.all_nodes = false;
    const RuleSettings settings{.masquerade4 = true};
    const auto script = [&](const std::string& saved) {
        return correct_chains(saved, wanted_chains(settings, known, Family::kIpv4), "nat", settings);
    };
    const std::string feeder =
        "-A POSTROUTING -m comment --comment \"cilium-feeder: CILIUM_POST_nat\" -j CILIUM_POST_nat\n";
    const std::string standing =
        ":CILIUM_POST_nat - [0:0]\n-A CILIUM_POST_nat -s 10.0.0.0/24 -d 172.18.1.99/32 -j ACCEPT\n";
    EXPECT_EQ(script(standing + feeder), "");
    EXPECT_NE(script(standing).find("-I POSTROUTING"), std::string::npos) << "but they have to be reached";
    EXPECT_NE(script("").find("172.18.1.12/32"), std::string::npos) << "some are better than none";
    EXPECT_NE(script(":CILIUM_POST_nat - [0:0]\n" + feeder).find("172.18.1.12/32"), std::string::npos);
    RuleState more = known;
    more.node_addresses.push_back(ip("172.18.1.13"));
    EXPECT_FALSE(asks_for_look(known, more)) << "one after the other";
    more.all_nodes = true;
    EXPECT_TRUE(asks_for_look(known, more));
    EXPECT_FALSE(asks_for_look(more, more));
    more.all_nodes = false;
    more.pod_cidrs.push_back(prefix("10.0.7.0/24"));
    EXPECT_TRUE(asks_for_look(known, more));
    known.all_nodes = true;
    EXPECT_NE(script(standing + feeder).find("172.18.1.12/32"), std::string::npos);
}

TEST(CorrectChains, WhatOthersTookOrAddedIsPutRight) {
    const std::string mark = marked(correct_chains("", {kChain}, "nat", {}));
    const std::string feeder =
        "-A POSTROUTING -m comment --comment \"cilium-feeder: CILIUM_POST_nat\" -j CILIUM_POST_nat\n";
    const std::string rule = "-A CILIUM_POST_nat -s 10.0.0.0/24 -j MASQUERADE\n";
    const std::string head = ":CILIUM_POST_nat - [0:0]\n";
    for (const std::string& wrong :
         {head + feeder + mark + "\n", head + feeder + rule, head + rule + mark + "\n",
          head + feeder + rule + rule + mark + "\n", head + feeder + feeder + rule + mark + "\n"})
        EXPECT_NE(correct_chains(wrong, {kChain}, "nat", {}), "") << wrong;
    EXPECT_EQ(
        correct_chains(head + feeder + feeder + rule + mark + "\n", {kChain}, "nat", {}),
        "*nat\n-D POSTROUTING -m comment --comment \"cilium-feeder: CILIUM_POST_nat\" -j CILIUM_POST_nat\nCOMMIT\n");
    // Somebody else jumps there.
    EXPECT_EQ(correct_chains(head + rule + mark + "\n", {kChain}, "nat", {.feeder_rules = false}), "");
}

// As kube-proxy 1.20 writes them.
constexpr const char* kKubeProxy = R"_(*nat
:KUBE-SERVICES - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-SERVICES ! -s 10.0.0.0/8 -d 10.96.0.1/32 -p tcp -m comment --comment "default/web:http cluster IP" -m tcp --dport 80 -j KUBE-MARK-MASQ
-A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m comment --comment "default/web:http cluster IP" -m tcp --dport 80 -j KUBE-SVC-WEB
-A KUBE-SERVICES -d 192.0.2.1/32 -p tcp -m comment --comment "default/web:http loadbalancer IP" -m tcp --dport 80 -j KUBE-FW-WEB
-A KUBE-SERVICES -d 198.51.100.1/32 -p tcp -m comment --comment "default/web:http external IP" -m tcp --dport 80 -j KUBE-MARK-MASQ
-A KUBE-SERVICES -d 198.51.100.1/32 -p tcp -m comment --comment "default/web:http external IP" -m tcp --dport 80 -j KUBE-SVC-WEB
-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
-A KUBE-NODEPORTS -p tcp -m comment --comment "default/web:http" -m tcp --dport 30080 -j KUBE-SVC-WEB
-A KUBE-SEP-A -s 10.0.0.5/32 -m comment --comment "default/web:http" -j KUBE-MARK-MASQ
-A KUBE-SEP-A -p tcp -m comment --comment "default/web:http" -m tcp -j DNAT --to-destination 10.0.0.5:8080
-A KUBE-SEP-B -p tcp -m comment --comment "default/web:http" -m tcp -j DNAT --to-destination 10.0.1.6:8080
-A KUBE-SVC-WEB -m comment --comment "default/web:http" -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-A
-A KUBE-SVC-WEB -m comment --comment "default/web:http" -j KUBE-SEP-B
COMMIT
)_";

TEST(KubeProxyAdapter, TakesClusterIpsAndNothingElse) {
    const Adaptation adaptation = adapt_kube_proxy(kKubeProxy, {});
    EXPECT_EQ(adaptation.taken, 2U);
    EXPECT_EQ(adaptation.host_rules, 2U);
    const std::string& script = adaptation.script;
    EXPECT_NE(
        script.find(
            "-D KUBE-SERVICES ! -s 10.0.0.0/8 -d 10.96.0.1/32 -p tcp -m comment --comment \"default/web:http cluster IP\" -m tcp --dport 80 -j KUBE-MARK-MASQ\n"),
        std::string::npos)
        << script;
    EXPECT_NE(
        script.find(
            "-D KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m comment --comment \"default/web:http cluster IP\" -m tcp --dport 80 -j KUBE-SVC-WEB\n"),
        std::string::npos)
        << script;
    for (const char* kept : {"192.0.2.1", "198.51.100.1", "NODEPORTS"})
        EXPECT_EQ(script.find(kept), std::string::npos) << kept << script;
}

// The node's processes keep their way; kube-proxy can remove its chains whenever it wants to.
TEST(KubeProxyAdapter, TheNodesOwnWayRefersToNoChainOfKubeProxy) {
    const std::string script = adapt_kube_proxy(kKubeProxy, {}).script;
    EXPECT_NE(
        script.find(
            "-A CILIUM_OUTPUT_nat -d 10.96.0.1/32 -p tcp -m tcp --dport 80 -m statistic --mode random --probability 0.50000000000 "
            "-m comment --comment \"cilium: host->cluster IP\" -j DNAT --to-destination 10.0.0.5:8080\n"
            "-A CILIUM_OUTPUT_nat -d 10.96.0.1/32 -p tcp -m tcp --dport 80 -m comment --comment \"cilium: host->cluster IP\" -j DNAT --to-destination 10.0.1.6:8080\n"),
        std::string::npos)
        << script;
    EXPECT_NE(script.find("-I OUTPUT -m comment --comment \"cilium-feeder: CILIUM_OUTPUT_nat\" -j CILIUM_OUTPUT_nat\n"),
              std::string::npos)
        << script;
    for (std::size_t at = script.find("-A "); at != std::string::npos; at = script.find("-A ", at + 1))
        EXPECT_EQ(script.substr(at, script.find('\n', at) - at).find("KUBE-"), std::string::npos);
}

TEST(KubeProxyAdapter, NothingToTakeIsNothingToDo) {
    std::string out;
    const std::string text = kKubeProxy;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = text.find('\n', at);
        const std::string line = text.substr(at, end - at + 1);
        if (line.find("cluster IP") == std::string::npos) out += line;
        at = end + 1;
    }
    EXPECT_EQ(adapt_kube_proxy(out, {}).script, "");
    EXPECT_EQ(adapt_kube_proxy("", {}).script, "");
}

}  // namespace
}  // namespace axo::nat
