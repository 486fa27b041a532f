// The host endpoint's policy is tried before it is kept.
#include "features/policy/module_fixture.h"

namespace axo::policy {
namespace {

using namespace std::chrono_literals;

std::string host_policy(const std::string& ingress) {
    return ccnp_manifest("host", "{nodeSelector: {matchLabels: {role: edge}}, ingress: [" + ingress + "]}");
}
const std::string kFromWeb = "{fromEndpoints: [{matchLabels: {app: web, io.kubernetes.pod.namespace: default}}]}";
const std::string kFromClient = "{fromEndpoints: [{matchLabels: {app: client, io.kubernetes.pod.namespace: default}}]}";

class HostPolicy : public ModuleTest {
protected:
    static constexpr std::uint16_t kHost = 100;
    Status set_host(bool audit = false, const std::string& role = "edge") {
        return module_->set_endpoint(
            EndpointId(kHost),
            {.labels = LabelSet::from_strings({"k8s:role=" + role}), .named_ports = {}, .host = true}, audit);
    }
    // With a policy that selects the node: it is tried like every other one.
    void start_confirmed() {
        start();
        EXPECT_EQ(std::exchange(host_events_, {}), "-+");
        module_->confirm_host();
    }
    bool from(IdentityId id) { return allows(kHost, Direction::kIngress, id); }
    static constexpr const char* kWhere = "host policy";
};

TEST_F(HostPolicy, EveryChangeIsTried) {
    write("p.yaml", host_policy(kFromWeb));
    ASSERT_TRUE(set_host());
    start_confirmed();
    EXPECT_TRUE(from(kWeb));
    EXPECT_FALSE(from(kClient));
    apply("p.yaml", host_policy(kFromClient));
    EXPECT_EQ(host_events_, "-+");
    EXPECT_TRUE(from(kClient)) << "in force while it is tried";
    module_->confirm_host();
    EXPECT_TRUE(from(kClient));
    EXPECT_TRUE(wait_until([&] { return slabs_->usage().images == 2; })) << "what was before is kept no longer";
    module_->roll_back_host("too late");
    EXPECT_TRUE(from(kClient));
    EXPECT_TRUE(rejected_.empty());
    // Policies of pods are not tried.
    ASSERT_TRUE(set(1, "web"));
    apply("q.yaml", cnp_manifest("q", "{endpointSelector: {}, ingress: [{}]}"));
    EXPECT_EQ(host_events_, "-+");
}

// Otherwise a node whose policy was changed while it was down would be cut off for good.
TEST_F(HostPolicy, TheFirstOneIsTakenBackToAnOpenNode) {
    write("p.yaml", host_policy(kFromWeb));
    ASSERT_TRUE(set_host());
    EXPECT_EQ(reference(kHost), 0U) << "open until every source has spoken";
    start();
    EXPECT_EQ(host_events_, "-+");
    EXPECT_FALSE(from(kClient));
    module_->roll_back_host("the object store does not answer");
    EXPECT_EQ(reference(kHost), 0U);
    ASSERT_TRUE(rejected_.contains(kWhere));
    EXPECT_NE(rejected_[kWhere].find("the node is open, as it started"), std::string::npos) << rejected_[kWhere];
    // The same again is still refused; another one is tried, and there is nothing to go back to but an open node.
    module_->set_identity(kOther, pod("client"));
    module_->flush();
    EXPECT_EQ(reference(kHost), 0U);
    EXPECT_TRUE(wait_until([&] { return slabs_->usage().images == 1; })) << "the refused image is not kept";
    apply("p.yaml", host_policy(kFromClient));
    EXPECT_EQ(host_events_, "-+-+");
    EXPECT_TRUE(from(kClient));
    EXPECT_FALSE(rejected_.contains(kWhere));
    module_->roll_back_host("the object store does not answer");
    EXPECT_EQ(reference(kHost), 0U);
    // Nothing selects the node any more: nothing to try.
    host_events_.clear();
    apply("p.yaml", ccnp_manifest("host", "{nodeSelector: {matchLabels: {role: core}}, ingress: [{}]}"));
    EXPECT_EQ(host_events_, "");
    EXPECT_NE(reference(kHost), 0U);
    EXPECT_TRUE(from(kWeb) && from(kClient));
}

TEST_F(HostPolicy, RolledBackItStaysAwayUntilPoliciesSaySomethingElse) {
    write("p.yaml", host_policy(kFromWeb));
    ASSERT_TRUE(set_host());
    start_confirmed();
    const std::uint32_t good = reference(kHost);
    apply("p.yaml", host_policy(kFromClient));
    const std::uint32_t bad = reference(kHost);
    EXPECT_NE(bad, good);
    const std::uint32_t generation = generations_->endpoint(EndpointId(kHost));
    module_->roll_back_host("node b does not answer");
    EXPECT_EQ(reference(kHost), good);
    EXPECT_EQ(generations_->endpoint(EndpointId(kHost)), generation + 1);
    EXPECT_TRUE(from(kWeb));
    EXPECT_FALSE(from(kClient));
    ASSERT_TRUE(rejected_.contains(kWhere));
    EXPECT_NE(rejected_[kWhere].find("node b does not answer"), std::string::npos);

    // None of these is another policy: the same again, a pod that the refused one selects, another endpoint, a policy
    // that selects other nodes.
    ASSERT_TRUE(set_host());
    module_->set_identity(kOther, pod("client"));
    module_->flush();
    ASSERT_TRUE(set(1, "web"));
    apply("others.yaml", ccnp_manifest("others", "{nodeSelector: {matchLabels: {role: core}}, ingress: [{}]}"));
    EXPECT_EQ(reference(kHost), good);
    EXPECT_EQ(host_events_, "-+");
    EXPECT_TRUE(rejected_.contains(kWhere));
    EXPECT_TRUE(wait_until([&] { return slabs_->usage().images == 2; })) << "the refused image is not kept";

    apply("p.yaml", host_policy(kFromWeb + ", " + kFromClient));
    EXPECT_EQ(host_events_, "-+-+");
    EXPECT_FALSE(rejected_.contains(kWhere));
    EXPECT_TRUE(from(kWeb) && from(kClient) && from(kOther));
    // Rolled back to what was confirmed last, whatever was tried in between.
    apply("p.yaml", host_policy(kFromClient));
    EXPECT_EQ(host_events_, "-+-+-+");
    module_->roll_back_host("node b does not answer");
    EXPECT_EQ(reference(kHost), good);
    // The way out that always works: back to the policy that was good. Nothing changes, so nothing is tried.
    apply("p.yaml", host_policy(kFromWeb));
    EXPECT_FALSE(rejected_.contains(kWhere));
    EXPECT_EQ(host_events_, "-+-+-+");
    EXPECT_TRUE(from(kWeb));
    EXPECT_FALSE(from(kClient));
    module_->roll_back_host("nothing is on trial");
    EXPECT_TRUE(rejected_.empty());
}

TEST_F(HostPolicy, PodsThatComeAndGoAreNoTrial) {
    write("p.yaml", host_policy(kFromClient));
    ASSERT_TRUE(set_host());
    start_confirmed();
    apply("p.yaml", host_policy(kFromWeb + ", " + kFromClient));
    EXPECT_EQ(host_events_, "-+");
    for (std::uint32_t i = 0; i < 10; ++i) {
        module_->set_identity(IdentityId(3000 + i), pod("client"));
        module_->flush();
        EXPECT_TRUE(from(IdentityId(3000 + i)));
    }
    EXPECT_EQ(host_events_, "-+") << "or a busy cluster's trial never ends";
    module_->roll_back_host("node b does not answer");
    EXPECT_FALSE(from(kWeb));
    EXPECT_TRUE(from(kClient));
}

TEST_F(HostPolicy, LabelsOfTheNodeAndAuditAreTried) {
    write("p.yaml", host_policy(kFromWeb));
    ASSERT_TRUE(set_host(false, "core"));
    start();
    EXPECT_TRUE(from(kClient));
    ASSERT_TRUE(set_host());
    EXPECT_EQ(host_events_, "-+");
    EXPECT_FALSE(from(kClient));
    module_->roll_back_host("the store is away");
    EXPECT_TRUE(from(kClient));
    // Audited, the policy cuts nothing off.
    ASSERT_TRUE(set_host(true));
    EXPECT_EQ(host_events_, "-+-+");
    EXPECT_NE(reference(kHost) & POLICY_REF_F_AUDIT, 0U);
    module_->confirm_host();
    ASSERT_TRUE(set_host(false));
    EXPECT_EQ(host_events_, "-+-+-+");
    module_->roll_back_host("the store is away");
    EXPECT_NE(reference(kHost) & POLICY_REF_F_AUDIT, 0U);
}

TEST_F(HostPolicy, WhatChangedWhileNoAgentRanIsTriedToo) {
    write("p.yaml", host_policy(kFromWeb));
    ASSERT_TRUE(set_host());
    start_confirmed();
    const std::uint32_t good = reference(kHost);
    make();
    ASSERT_TRUE(set_host());
    start();
    EXPECT_EQ(host_events_, "");
    module_.reset();
    write("p.yaml", host_policy(kFromClient));
    run_for(50ms);
    make();
    ASSERT_TRUE(set_host());
    start();
    EXPECT_EQ(host_events_, "-+");
    EXPECT_NE(reference(kHost), good);
    module_->roll_back_host("node b does not answer");
    EXPECT_EQ(reference(kHost), good);
    EXPECT_TRUE(from(kWeb));
}

TEST_F(HostPolicy, AHostEndpointThatWentEndsItsTrial) {
    write("p.yaml", host_policy(kFromWeb));
    ASSERT_TRUE(set_host());
    start_confirmed();
    apply("p.yaml", host_policy(kFromClient));
    module_->remove_endpoint(EndpointId(kHost));
    module_->roll_back_host("node b does not answer");
    EXPECT_EQ(reference(kHost), 0U);
    EXPECT_TRUE(wait_until([&] { return slabs_->usage().images == 1; }));
}

}  // namespace
}  // namespace axo::policy
