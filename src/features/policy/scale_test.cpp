// Size and shape of what large clusters give, with bounds that only a change of complexity breaks. How long
// it takes is printed, and bounded so that loaded machines and sanitizers pass.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <random>

#include "features/policy/desired.h"

namespace axo::policy {
namespace {

class Stopwatch {
public:
    double ms() const {
        return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start_).count();
    }

private:
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

void report(const char* what, double value, const char* unit) {
    std::printf("    %-62s %10.3f %s\n", what, value, unit);
}

Requirement in(std::string key, std::vector<std::string> values) {
    std::ranges::sort(values);
    return {"k8s", std::move(key), Requirement::Op::kIn, std::move(values)};
}

Selector selector(std::vector<Requirement> all) {
    Selector selector;
    selector.labels = LabelQuery{std::move(all)};
    selector.endpoints = true;
    return selector;
}

Rule tcp_rule(std::string path, Selector peer, std::uint16_t port) {
    Rule rule;
    rule.path = std::move(path);
    rule.peers = {std::move(peer)};
    rule.ports = {{Protocol::kTcp, port, port, {}}};
    return rule;
}

std::shared_ptr<Policy> policy(const std::string& name, LabelQuery subject, std::vector<Rule> rules) {
    auto policy = std::make_shared<Policy>();
    policy->origin = {"CiliumNetworkPolicy", "default", name, "uid-" + name};
    Spec spec;
    spec.subject = std::move(subject);
    spec.default_deny_ingress = true;
    spec.rules = std::move(rules);
    policy->specs = {std::move(spec)};
    return policy;
}

LabelSet pod_labels(int number) {
    LabelSet labels;
    labels.insert({"k8s", "app", "app" + std::to_string(number)});
    labels.insert({"k8s", "io.kubernetes.pod.namespace", "default"});
    labels.insert({"k8s", "io.cilium.k8s.policy.cluster", "default"});
    labels.insert({"k8s", "io.cilium.k8s.policy.serviceaccount", "default"});
    labels.insert({"k8s", "io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name", "default"});
    return labels;
}

constexpr EndpointId kEndpoint{1};

TEST(PolicyScale, FiveThousandIdentitiesByTwoHundredFiftyRules) {
    constexpr int kIdentities = 5000;
    constexpr int kRules = 250;
    std::mt19937 random(7);
    std::vector<std::vector<bool>> selected(kRules, std::vector<bool>(kIdentities));
    std::vector<std::shared_ptr<Policy>> policies;
    for (int rule = 0; rule < kRules; ++rule) {
        std::vector<std::string> values;
        for (int identity = 0; identity < kIdentities; ++identity) {
            if ((random() & 1) == 0) continue;
            selected[rule][identity] = true;
            values.push_back("app" + std::to_string(identity));
        }
        Rule one = tcp_rule("spec.ingress[0]", selector({in("app", std::move(values))}),
                            static_cast<std::uint16_t>(1000 + rule));
        policies.push_back(policy("p" + std::to_string(rule), {}, {std::move(one)}));
    }
    std::vector<LabelSet> labels;
    for (int identity = 0; identity < kIdentities; ++identity) labels.push_back(pod_labels(identity));

    for (const bool policies_first : {false, true}) {
        const Stopwatch all;
        PolicyEngine engine;
        const auto add_policies = [&] {
            for (const auto& one : policies) engine.upsert_policy(one);
        };
        engine.upsert_subject(kEndpoint, {pod_labels(0), {}, false});
        if (policies_first) add_policies();
        for (int identity = 0; identity < kIdentities; ++identity) {
            engine.upsert_identity(IdentityId{256 + static_cast<std::uint32_t>(identity)}, labels[identity]);
        }
        if (!policies_first) add_policies();
        const Stopwatch compile;
        ASSERT_EQ(engine.changes().size(), 1U);
        report("from the last object to the image", compile.ms(), "ms");
        report(policies_first ? "policy_scale, policies first" : "policy_scale, identities first", all.ms(), "ms");
        EXPECT_LE(all.ms(), 15000);
        report("policy_scale image", static_cast<double>(engine.image(kEndpoint)->bytes()) / 1024, "KiB");
        EXPECT_LE(engine.image(kEndpoint)->bytes(), 1U << 20);

        int wrong = 0;
        for (int rule = 0; rule < kRules; ++rule) {
            for (int identity = 0; identity < kIdentities; ++identity) {
                const IdentityId peer{256 + static_cast<std::uint32_t>(identity)};
                const auto found = lookup(engine.image(kEndpoint)->rows, Direction::kIngress, peer, 6,
                                          static_cast<std::uint16_t>(1000 + rule));
                wrong += found.allowed() != selected[rule][identity] ? 1 : 0;
            }
        }
        EXPECT_EQ(wrong, 0);

        const Stopwatch more;
        engine.upsert_identity(IdentityId{9999}, labels[17]);
        report("one more identity: bookkeeping", more.ms(), "ms");
        engine.changes();
        report("one more identity: with its image", more.ms(), "ms");
        EXPECT_LE(more.ms(), 1000);
        EXPECT_TRUE(engine.decide(kEndpoint, Direction::kIngress, IdentityId{9999}, 6, 1000).has_value());
    }
}

// 50 endpoints and 50 identities with 300 policies; then one policy changes, and changes back.
TEST(PolicyScale, AChangeOfFiftyEndpointsAtOnce) {
    for (const bool alike : {true, false}) {
        PolicyEngine engine;
        for (int i = 0; i < 50; ++i) {
            engine.upsert_identity(IdentityId{256 + static_cast<std::uint32_t>(i)}, pod_labels(i));
            engine.upsert_subject(EndpointId{static_cast<std::uint16_t>(i + 1)}, {pod_labels(i), {}, false});
        }
        for (int i = 0; i < 300; ++i) {
            LabelQuery subject;
            // Not alike: each endpoint is selected by other policies, and has an image of its own.
            if (!alike) subject.all = {in("app", {"app" + std::to_string(i % 50)})};
            engine.upsert_policy(
                policy("p" + std::to_string(i), subject,
                       {tcp_rule("spec.ingress[0]", selector({in("app", {"app" + std::to_string(i % 50)})}),
                                 static_cast<std::uint16_t>(80 + i))}));
        }
        EXPECT_EQ(engine.changes().size(), 50U);
        const auto changing = [](std::uint16_t port) {
            return policy("changing", {}, {tcp_rule("spec.ingress[0]", selector({in("app", {"app3"})}), port)});
        };
        std::vector<double> times;
        for (std::uint16_t round = 0; round < 41; ++round) {
            const Stopwatch watch;
            engine.upsert_policy(changing(static_cast<std::uint16_t>(5000 + round % 2)));
            EXPECT_EQ(engine.changes().size(), 50U);
            times.push_back(watch.ms());
        }
        std::ranges::sort(times);
        report(alike ? "a policy of 50 endpoints changes, one image" : "a policy of 50 endpoints changes, 50 images",
               times[20], "ms");
        EXPECT_LE(times[20], 500);
    }
}

TEST(PolicyScale, PoliciesThatSelectNobodyCostNothingButThemselves) {
    PolicyEngine engine;
    engine.upsert_subject(kEndpoint, {pod_labels(0), {}, false});
    engine.changes();
    for (int i = 0; i < 1000; ++i) {
        Rule rule = tcp_rule("spec.ingress[0]", selector({in("app", {"x" + std::to_string(i)})}), 80);
        Selector cidr;
        cidr.cidr = CidrQuery{Prefix::parse("10.0.0.0/8").value(), {}};
        rule.peers.push_back(cidr);
        engine.upsert_policy(policy("p" + std::to_string(i), {{in("app", {"nobody"})}}, {std::move(rule)}));
    }
    EXPECT_TRUE(engine.changes().empty());
    EXPECT_EQ(engine.identities().selector_count(), 0U);
    EXPECT_TRUE(engine.cidrs().empty());
    EXPECT_TRUE(engine.rules().empty());
    EXPECT_EQ(engine.image(kEndpoint)->rows.size(), 2U);
}

TEST(PolicyScale, FiveThousandCidrsInOneRule) {
    PolicyEngine engine;
    engine.upsert_subject(kEndpoint, {pod_labels(0), {}, false});
    Rule rule = tcp_rule("spec.ingress[0]", {}, 443);
    rule.peers.clear();
    for (std::uint32_t i = 0; i < 5000; ++i) {
        Selector peer;
        peer.cidr = CidrQuery{Prefix(IpAddress::parse("10.0.0.0").value().plus(i * 256), 24), {}};
        rule.peers.push_back(std::move(peer));
    }
    const Stopwatch watch;
    engine.upsert_policy(policy("cidrs", {}, {std::move(rule)}));
    const CidrChanges cidrs = engine.take_cidr_changes();
    ASSERT_EQ(cidrs.added.size(), 5000U);
    for (std::uint32_t i = 0; i < 5000; ++i) {
        engine.upsert_identity(IdentityId{16777217 + i}, LabelSet::reserved("world"), cidrs.added[i]);
    }
    EXPECT_EQ(engine.changes().size(), 1U);
    report("5,000 CIDRs in one rule", watch.ms(), "ms");
    EXPECT_LE(watch.ms(), 5000);
    for (std::uint32_t i = 0; i < 5000; ++i) {
        EXPECT_TRUE(engine.decide(kEndpoint, Direction::kIngress, IdentityId{16777217 + i}, 6, 443)->allowed());
    }
    EXPECT_FALSE(engine.decide(kEndpoint, Direction::kIngress, IdentityId{16777217 + 5000}, 6, 443)->allowed());
    engine.remove_policy("CiliumNetworkPolicy", "default", "cidrs");
    EXPECT_EQ(engine.take_cidr_changes().removed.size(), 5000U);
}

TEST(PolicyScale, AFloodOfLabelSets) {
    PolicyEngine engine;
    engine.upsert_subject(kEndpoint, {pod_labels(0), {}, false});
    Rule rule = tcp_rule("spec.ingress[0]", selector({in("app", {"app7"})}), 80);
    engine.upsert_policy(policy("p", {}, {std::move(rule)}));
    engine.changes();
    const Stopwatch watch;
    std::size_t switched = 0;
    for (std::uint32_t i = 0; i < 10000; ++i) {
        engine.upsert_identity(IdentityId{256 + i}, pod_labels(static_cast<int>(i)));
        switched += engine.changes().size();
    }
    report("10,000 label sets, one by one", watch.ms(), "ms");
    EXPECT_LE(watch.ms(), 10000);
    EXPECT_EQ(switched, 1U) << "only app7 concerns the endpoint";
    for (std::uint32_t i = 0; i < 10000; ++i) engine.remove_identity(IdentityId{256 + i});
    EXPECT_EQ(engine.changes().size(), 1U);
    EXPECT_EQ(engine.identities().identities().size(), 1U);
}

}  // namespace
}  // namespace axo::policy
