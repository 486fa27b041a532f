#include "features/policy/explain.h"

#include <gtest/gtest.h>

#include "features/policy/diff.h"
#include "features/policy/oracle_fixture.h"

namespace axo::policy {
namespace {

using oracle::Decider;
using oracle::Oracle;
using oracle::Verdict;
using oracle::World;
using oracle::Worlds;

constexpr EndpointId kWeb{7};
constexpr IdentityId kClient{300}, kOther{301};

Requirement is(std::string key, std::string value) {
    return {"k8s", std::move(key), Requirement::Op::kIn, {std::move(value)}};
}
Selector peers(std::vector<Requirement> all) {
    Selector selector;
    selector.labels = LabelQuery{std::move(all)};
    selector.endpoints = true;
    return selector;
}
LabelSet app(const std::string& name) {
    return {Label{"k8s", "app", name}};
}
Rule rule(std::string path, Selector peer, std::vector<PortRange> ports, bool deny = false) {
    Rule rule;
    rule.deny = deny;
    rule.path = std::move(path);
    rule.peers = {std::move(peer)};
    rule.ports = std::move(ports);
    return rule;
}
PortRange tcp(std::uint16_t port) {
    return {Protocol::kTcp, port, port, {}};
}
std::shared_ptr<Policy> policy(const std::string& name, std::vector<Rule> rules) {
    auto policy = std::make_shared<Policy>();
    policy->origin = {"CiliumNetworkPolicy", "default", name, ""};
    Spec spec;
    spec.subject.all = {is("app", "web")};
    spec.default_deny_ingress = true;
    spec.rules = std::move(rules);
    policy->specs = {spec};
    return policy;
}

class Explain : public testing::Test {
protected:
    void SetUp() override {
        engine_.upsert_identity(kClient, app("client"));
        engine_.upsert_identity(kOther, app("other"));
        engine_.upsert_identity(IdentityId{400}, app("web"));
        engine_.upsert_subject(kWeb, {app("web"), {}, false});
    }
    std::string ask(IdentityId peer, Traffic traffic, Direction direction = Direction::kIngress) {
        engine_.changes();
        const auto explanation = explain(engine_, kWeb, direction, peer, traffic);
        return explanation ? to_text(*explanation) : explanation.error().to_string();
    }
    PolicyEngine engine_;
};

TEST_F(Explain, NamesTheRuleThatAllows) {
    engine_.upsert_policy(policy("web", {rule("spec.ingress[0]", peers({is("app", "client")}), {tcp(80)})}));
    EXPECT_EQ(ask(kClient, {6, 80}),
              "Allowed: ingress of endpoint 7 (k8s:app=web) from identity 300 (k8s:app=client), TCP/80.\n"
              "  By CiliumNetworkPolicy default/web, spec.ingress[0]: allow ingress from k8s:app=client, to TCP/80.\n");
}

TEST_F(Explain, SaysWhatADefaultDenialWouldNeed) {
    engine_.upsert_policy(policy("web", {rule("spec.ingress[0]", peers({is("app", "client")}), {tcp(80)})}));
    engine_.upsert_policy(policy("metrics", {rule("spec.ingress[0]", peers({is("app", "other")}), {tcp(9090)})}));
    EXPECT_EQ(
        ask(kOther, {6, 80}),
        "Denied: ingress of endpoint 7 (k8s:app=web) from identity 301 (k8s:app=other), TCP/80.\n"
        "  No rule allows it: default deny from CiliumNetworkPolicy default/metrics, CiliumNetworkPolicy default/web.\n"
        "  Rules that come near:\n"
        "    CiliumNetworkPolicy default/metrics, spec.ingress[0] allows this peer, but only to TCP/9090.\n"
        "    CiliumNetworkPolicy default/web, spec.ingress[0] allows TCP/80, but the peer would need label "
        "k8s:app=client (it has k8s:app=other).\n");
    EXPECT_EQ(
        ask(kOther, {17, 53}),
        "Denied: ingress of endpoint 7 (k8s:app=web) from identity 301 (k8s:app=other), UDP/53.\n"
        "  No rule allows it: default deny from CiliumNetworkPolicy default/metrics, CiliumNetworkPolicy default/web.\n"
        "  Rules that come near:\n"
        "    CiliumNetworkPolicy default/metrics, spec.ingress[0] allows this peer, but only to TCP/9090.\n");
    EXPECT_EQ(
        ask(IdentityId{400}, {6, 22}),
        "Denied: ingress of endpoint 7 (k8s:app=web) from identity 400 (k8s:app=web), TCP/22.\n"
        "  No rule allows it: default deny from CiliumNetworkPolicy default/metrics, CiliumNetworkPolicy default/web.\n"
        "  No rule comes near: one is needed that allows ingress from identity 400 (k8s:app=web) on TCP/22.\n");
}

TEST_F(Explain, NamesTheRuleThatDeniesAndWhatItHides) {
    engine_.upsert_policy(policy("web", {rule("spec.ingress[0]", peers({}), {tcp(80)}),
                                         rule("spec.ingressDeny[0]", peers({is("app", "client")}), {}, true)}));
    EXPECT_EQ(
        ask(kClient, {6, 80}),
        "Denied: ingress of endpoint 7 (k8s:app=web) from identity 300 (k8s:app=client), TCP/80.\n"
        "  By CiliumNetworkPolicy default/web, spec.ingressDeny[0]: deny ingress from k8s:app=client, to every port "
        "and protocol.\n"
        "  Without the denial, allowed by CiliumNetworkPolicy default/web, spec.ingress[0]: allow ingress from "
        "everybody, to TCP/80.\n"
        "  To allow it, every rule that denies it has to be removed or narrowed.\n");
}

TEST_F(Explain, SaysWhenNothingIsClosedAndWhenNothingIsKnown) {
    EXPECT_EQ(ask(kClient, {6, 80}, Direction::kEgress),
              "Allowed: egress of endpoint 7 (k8s:app=web) to identity 300 (k8s:app=client), TCP/80.\n"
              "  No policy closes this direction: what no rule denies is allowed.\n");
    engine_.upsert_policy(policy("web", {rule("spec.ingress[0]", peers({is("app", "client")}), {})}));
    EXPECT_EQ(ask(IdentityId{999}, {1, 8}),
              "Denied: ingress of endpoint 7 (k8s:app=web) from identity 999 (not known here), ICMP type 8.\n"
              "  No rule allows it: default deny from CiliumNetworkPolicy default/web.\n"
              "  Rules that come near:\n"
              "    CiliumNetworkPolicy default/web, spec.ingress[0] allows ICMP type 8, but the peer would need label "
              "k8s:app=client.\n"
              "  The peer's labels are not known here: only rules for everybody take it.\n");
    EXPECT_EQ(ask(identity::kHost, {6, 80}),
              "Allowed: ingress of endpoint 7 (k8s:app=web) from identity 1 (reserved:host), TCP/80.\n"
              "  By allow-localhost: a node may reach its own pods.\n");
    const auto nobody = explain(engine_, EndpointId{8}, Direction::kIngress, kClient, {});
    ASSERT_FALSE(nobody);
    EXPECT_EQ(nobody.error().code, Code::kNotFound);
    PolicyEngine fresh;
    fresh.upsert_subject(kWeb, {app("web"), {}, false});
    const auto early = explain(fresh, kWeb, Direction::kIngress, kClient, {});
    ASSERT_FALSE(early);
    EXPECT_EQ(early.error().code, Code::kUnavailable);
}

TEST_F(Explain, SaysWhenThePolicyDoesNotFit) {
    std::vector<Rule> rules(5000, rule("", peers({}), {tcp(80)}));
    for (std::size_t i = 0; i < rules.size(); ++i) rules[i].path = "spec.ingress[" + std::to_string(i) + "]";
    engine_.upsert_policy(policy("large", rules));
    const std::string text = ask(kClient, {6, 80});
    EXPECT_NE(text.find("Denied: "), std::string::npos) << text;
    EXPECT_NE(text.find("the endpoint is closed: its own policy does not fit"), std::string::npos) << text;
    EXPECT_NE(text.find("5001 rules; at most 4096 fit"), std::string::npos) << text;
    engine_.remove_policy("CiliumNetworkPolicy", "default", "large");
    EXPECT_EQ(engine_.changes(), std::vector<EndpointId>{kWeb});
    EXPECT_EQ(engine_.error(kWeb), nullptr);
}

TEST_F(Explain, SpeaksOfPodsElsewhereWithReserve) {
    engine_.upsert_policy(policy("web", {rule("spec.ingress[0]", peers({is("app", "client")}), {tcp(80)})}));
    const auto remote = explain_remote(engine_, IdentityId{400}, Direction::kIngress, kOther, {6, 80});
    ASSERT_TRUE(remote);
    EXPECT_FALSE(remote->allowed);
    EXPECT_EQ(remote->notes.back(), "Computed from the policies known here; the node of the pod decides.");
    const auto host = explain_remote(engine_, identity::kHost, Direction::kEgress, kOther, {6, 80});
    ASSERT_TRUE(host);
    EXPECT_TRUE(host->allowed);
    EXPECT_NE(host->notes.back().find("not known here"), std::string::npos);
    EXPECT_FALSE(explain_remote(engine_, IdentityId{12345}, Direction::kIngress, kOther, {}));
}

std::vector<std::string> names_of(const std::vector<RuleInfo>& rules) {
    std::vector<std::string> names;
    for (const RuleInfo& rule : rules) names.push_back(rule.origin.to_string() + " " + rule.path);
    return names;
}

// The allow rules that would let the traffic pass if only their ports, or only their peers, took it.
std::set<std::string> near_by_oracle(const World& world, const Subject& subject, Direction direction, IdentityId peer,
                                     const Traffic& traffic, bool peer_matches) {
    const Oracle oracle(world);
    std::vector<Requirement> demanded;
    const auto each = [&](auto visit) {
        for (const auto& [key, policy] : world.policies) {
            for (const Spec& spec : policy.specs) {
                if (Oracle::selects(spec, subject)) visit(policy, spec);
            }
        }
    };
    each([&](const Policy&, const Spec& spec) {
        const auto& more = direction == Direction::kIngress ? spec.ingress_requires : spec.egress_requires;
        demanded.insert(demanded.end(), more.begin(), more.end());
    });
    std::set<std::string> near;
    each([&](const Policy& policy, const Spec& spec) {
        for (const Rule& rule : spec.rules) {
            if (rule.direction != direction || rule.deny || rule.peers.empty()) continue;
            const bool by_peer = oracle.peers_match(rule, peer, demanded);
            const bool by_port = oracle.ports_match(rule, subject, peer, traffic.protocol, traffic.port);
            if (by_peer != by_port && by_peer == peer_matches) near.insert(policy.origin.to_string() + " " + rule.path);
        }
    });
    return near;
}

TEST(ExplainAccuracy, NamesWhatTheOracleNames) {
    int pairs = 0, wrong = 0, denied_by_default = 0, near = 0;
    for (int seed = 1; pairs < 20000; ++seed) {
        Worlds random(static_cast<std::uint64_t>(seed) + 5'000'000);
        const World world = random.world();
        PolicyEngine engine(world.settings);
        oracle::fill(engine, world);
        engine.changes();
        const Oracle oracle(world);
        for (int probe = 0; probe < 10; ++probe, ++pairs) {
            const auto& [id, local] = random.any_of(world.subjects);
            const Direction direction = random.one_in(2) ? Direction::kIngress : Direction::kEgress;
            const IdentityId peer = random.peer(world);
            const Traffic traffic{random.protocol(), random.port()};
            Subject subject = local;
            Result<Explanation> found = explain(engine, id, direction, peer, traffic);
            if (const IdentityId remote = random.any_of(world.identities).first;
                probe % 3 == 0 && remote.value >= 256 && !world.identities.at(remote).cidr &&
                !world.identities.at(remote).labels.empty()) {
                subject = {world.identities.at(remote).labels, {}, false};
                if (world.ports.contains(remote)) subject.named_ports = world.ports.at(remote);
                found = explain_remote(engine, remote, direction, peer, traffic);
            }
            ASSERT_TRUE(found);
            const Verdict expected = oracle.verdict(subject, direction, peer, traffic.protocol, traffic.port);
            bool right = found->allowed == expected.allowed &&
                         oracle::decider_of(found->decided_by) == expected.decider &&
                         names_of(found->allows) == expected.allows && names_of(found->denies) == expected.denies;
            if (!expected.allowed) {
                denied_by_default += expected.decider.kind == "default" ? 1 : 0;
                const auto by_peer = near_by_oracle(world, subject, direction, peer, traffic, true);
                const auto by_port = near_by_oracle(world, subject, direction, peer, traffic, false);
                right = right && found->nearest.size() == std::min<std::size_t>(5, by_peer.size() + by_port.size());
                for (const NearMiss& miss : found->nearest) {
                    const std::string name = miss.rule.origin.to_string() + " " + miss.rule.path;
                    right = right && (miss.peer_matches ? by_peer : by_port).contains(name);
                    right = right && miss.missing.empty() == miss.peer_matches;
                    ++near;
                }
            }
            wrong += right ? 0 : 1;
            EXPECT_TRUE(right) << "seed " << seed << "\n" << to_text(*found);
            if (wrong > 3) return;
        }
    }
    std::printf("    %d of %d explanations are the oracle's\n", pairs - wrong, pairs);
    EXPECT_EQ(wrong, 0);
    EXPECT_GE(denied_by_default, 2000);
    EXPECT_GE(near, 1000);
}

TEST(PolicyDiff, SaysWhichFlowsAnotherSetOfPoliciesTurns) {
    int turned = 0;
    for (int seed = 1; seed <= 1000; ++seed) {
        Worlds random(static_cast<std::uint64_t>(seed) + 9'000'000);
        const World world = random.world();
        World changed = world;
        for (auto& [key, policy] : changed.policies) {
            if (random.one_in(2)) policy.specs = random.policy().specs;
        }
        PolicyEngine before(world.settings);
        oracle::fill(before, world);
        before.changes();
        const std::unique_ptr<PolicyEngine> after = before.clone();
        for (const auto& [key, policy] : changed.policies) after->upsert_policy(std::make_shared<Policy>(policy));
        after->changes();
        std::vector<FlowTuple> flows, expected;
        for (int i = 0; i < 20; ++i) {
            FlowTuple flow;
            flow.source_identity = random.any_of(world.identities).first;
            flow.destination_identity = random.any_of(world.identities).first;
            if (!random.one_in(3)) flow.source = random.any_of(world.subjects).first;
            if (!random.one_in(3)) flow.destination = random.any_of(world.subjects).first;
            flow.protocol = random.protocol();
            flow.port = random.port();
            const auto allowed = [&](const World& which) {
                const Oracle oracle(which);
                const auto side = [&](std::optional<EndpointId> id, Direction direction, IdentityId peer) {
                    return !id ||
                           oracle.verdict(which.subjects.at(*id), direction, peer, flow.protocol, flow.port).allowed;
                };
                return side(flow.source, Direction::kEgress, flow.destination_identity) &&
                       side(flow.destination, Direction::kIngress, flow.source_identity);
            };
            if (allowed(world) != allowed(changed)) expected.push_back(flow);
            flows.push_back(flow);
        }
        std::vector<FlowTuple> found;
        for (const Difference& one : compare(before, *after, flows)) found.push_back(one.flow);
        ASSERT_EQ(found, expected) << "seed " << seed;
        turned += static_cast<int>(found.size());
    }
    EXPECT_GE(turned, 500);
}

TEST(PolicyDiff, AddressesFallUnderNewPrefixes) {
    PolicyEngine engine;
    engine.upsert_identity(identity::kWorldIpv4, LabelSet::reserved("world-ipv4"));
    engine.upsert_subject(kWeb, {app("web"), {}, false});
    engine.changes();
    const std::unique_ptr<PolicyEngine> after = engine.clone();
    auto changed = policy("web", {});
    Selector selector;
    selector.cidr = CidrQuery{Prefix::parse("192.0.2.0/24").value(), {Prefix::parse("192.0.2.128/25").value()}};
    Rule allow = rule("spec.ingress[0]", selector, {tcp(443)});
    changed->specs[0].rules = {allow};
    after->upsert_policy(changed);
    assume_identities(*after);
    after->changes();
    std::vector<FlowTuple> flows;
    for (const char* address : {"192.0.2.5", "192.0.2.200", "198.51.100.1"}) {
        FlowTuple flow;
        flow.destination = kWeb;
        flow.source_identity = identity::kWorldIpv4;
        flow.source_address = IpAddress::parse(address).value();
        flow.port = 443;
        flows.push_back(flow);
    }
    const std::vector<Difference> differences = compare(engine, *after, flows);
    ASSERT_EQ(differences.size(), 2U) << "192.0.2.5 stays allowed";
    EXPECT_EQ(differences[0].flow, flows[1]);
    EXPECT_EQ(differences[1].flow, flows[2]);
    EXPECT_FALSE(differences[0].allowed_after);
    EXPECT_EQ(differences[0].direction, Direction::kIngress);
    EXPECT_EQ(differences[0].before.kind, RuleInfo::Kind::kNone);
    EXPECT_EQ(differences[0].after.to_string(), "default deny from CiliumNetworkPolicy default/web");
}

}  // namespace
}  // namespace axo::policy
