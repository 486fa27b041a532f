// What is in force, when, and what a restart or a lack of memory changes about it.
#include "features/policy/module_fixture.h"

namespace axo::policy {
namespace {

using namespace std::chrono_literals;

const std::string kFromClient =
    "{endpointSelector: {matchLabels: {app: web}}, ingress: [{fromEndpoints: "
    "[{matchLabels: {app: client}}], toPorts: [{ports: [{port: '80', protocol: TCP}]}]}]}";
const std::string kFromClient81 =
    "{endpointSelector: {matchLabels: {app: web}}, ingress: [{fromEndpoints: "
    "[{matchLabels: {app: client}}], toPorts: [{ports: [{port: '81', protocol: TCP}]}]}]}";
const std::string kToWeb =
    "{endpointSelector: {matchLabels: {app: client}}, egress: [{toEndpoints: "
    "[{matchLabels: {app: web}}]}]}";

TEST_F(ModuleTest, NothingIsSwitchedBeforeEverySourceHasSpoken) {
    write("p.yaml", cnp_manifest("p", kFromClient));
    // Services count only where a policy refers to them.
    write("s.yaml", cnp_manifest("s",
                                 "{endpointSelector: {matchLabels: {app: nobody}}, egress: [{toServices: "
                                 "[{k8sService: {serviceName: db, namespace: default}}]}]}"));
    for (const char* kind : {"NetworkPolicy", "CiliumCIDRGroup", "EndpointSlice", "Service"}) {
        generations_ = std::make_unique<Generations>(std::move(*Generations::create_private()));
        late_->late_kind = kind;
        late_->say_synced = {};
        make();
        ASSERT_TRUE(set(1, "web"));
        module_->start([this] { synced_ = true; });
        ASSERT_TRUE(wait_until([&] { return static_cast<bool>(late_->say_synced); })) << kind;
        run_for(20ms);
        ASSERT_TRUE(set(2, "client"));
        module_->flush();
        EXPECT_EQ(reference(1), 0U) << kind;
        EXPECT_EQ(reference(2), 0U) << kind;
        EXPECT_EQ(module_->revision(), 0U) << kind;
        EXPECT_FALSE(synced_);
        late_->say_synced();
        ASSERT_TRUE(wait_until([this] { return synced_; })) << kind;
        EXPECT_TRUE(allows(1, Direction::kIngress, kClient)) << kind;
        EXPECT_FALSE(allows(1, Direction::kIngress, kWeb)) << kind;
        EXPECT_EQ(reference(2), PolicySlabs::open_policy().reference(0)) << kind;
        EXPECT_EQ(module_->counters().added, 2U) << kind;
    }
}

TEST_F(ModuleTest, EveryEndpointIsInForceWhenSetEndpointReturns) {
    start();
    apply("p.yaml", cnp_manifest("p", kFromClient));
    ASSERT_TRUE(set(7, "web"));
    EXPECT_TRUE(allows(7, Direction::kIngress, kClient));
    EXPECT_FALSE(allows(7, Direction::kIngress, kClient, 81));
    EXPECT_EQ(module_->match_of(*module_->engine().rule(verdict(7, Direction::kIngress, kClient)->cookie)), "L3-L4");
    EXPECT_EQ(module_->match_of(*module_->engine().rule(verdict(7, Direction::kIngress, kWeb)->cookie)), "none");
}

TEST_F(ModuleTest, ARestartChangesNothing) {
    write("a.yaml", cnp_manifest("a", kFromClient));
    write("b.yaml", cnp_manifest("b", kToWeb));
    write("c.yaml", cnp_manifest("c",
                                 "{endpointSelector: {matchLabels: {app: client}}, egress: [{toCIDRSet: [{cidr: "
                                 "10.0.0.0/8, except: [10.1.0.0/16]}]}]}"));
    const auto endpoints = [this] {
        ASSERT_TRUE(set(1, "web"));
        ASSERT_TRUE(set(2, "client"));
        ASSERT_TRUE(set(3, "client", true));
        ASSERT_TRUE(set(4, "bystander"));
    };
    endpoints();
    start();
    struct Seen {
        std::uint32_t reference, generation;
        bool operator==(const Seen&) const = default;
    };
    const auto look = [this] {
        std::vector<Seen> all;
        for (std::uint16_t id = 1; id <= 4; ++id)
            all.push_back({reference(id), generations_->endpoint(EndpointId(id))});
        return all;
    };
    const auto before = look();
    const auto prefixes = module_->prefixes();
    const auto usage = slabs_->usage();
    const std::uint32_t node = generations_->node();
    EXPECT_EQ(prefixes.size(), 2U);
    for (const Seen& one : before) EXPECT_NE(one.reference, 0U);
    EXPECT_EQ(before[1].reference | POLICY_REF_F_AUDIT, before[2].reference);

    for (int round = 0; round < 2; ++round) {
        make();
        module_->restore_prefixes(prefixes);
        endpoints();
        start();
        run_for(30ms);
        EXPECT_EQ(look(), before);
        EXPECT_EQ(generations_->node(), node);
        EXPECT_EQ(module_->prefixes(), prefixes);
        EXPECT_EQ(module_->counters().unchanged_at_start, 4U);
        EXPECT_EQ(module_->counters().added, 0U);
        EXPECT_EQ(module_->counters().updated, 0U);
        EXPECT_EQ(module_->counters().removed, 0U);
        EXPECT_EQ(slabs_->usage().images, usage.images);
        EXPECT_EQ(slabs_->usage().used_bytes, usage.used_bytes);
    }
}

// Images of endpoints that are looked at later are in force all the time.
TEST_F(ModuleTest, WhatChangedWhileNoAgentRanIsPlacedBesideWhatIsInForce) {
    write("a.yaml", cnp_manifest("a", kFromClient));
    write("b.yaml", cnp_manifest("b", kToWeb));
    ASSERT_TRUE(set(1, "web"));
    ASSERT_TRUE(set(2, "client"));
    start();
    const std::uint32_t first = reference(1), second = reference(2);
    module_.reset();
    write("a.yaml", cnp_manifest("a", kFromClient81));
    run_for(50ms);
    make();
    ASSERT_TRUE(set(1, "web"));
    ASSERT_TRUE(set(2, "client"));
    start();
    EXPECT_EQ(reference(2), second);
    EXPECT_NE(reference(1), first);
    EXPECT_EQ(module_->counters().unchanged_at_start, 1U);
    EXPECT_EQ(module_->counters().updated, 1U);
    EXPECT_TRUE(allows(2, Direction::kEgress, kWeb));
    EXPECT_FALSE(allows(2, Direction::kEgress, kClient));
    EXPECT_TRUE(allows(1, Direction::kIngress, kClient, 81));
}

TEST_F(ModuleTest, AnImageThatDoesNotFitItsDigestIsReplaced) {
    write("a.yaml", cnp_manifest("a", kFromClient));
    ASSERT_TRUE(set(1, "web"));
    start();
    const std::uint32_t good = reference(1);
    module_.reset();
    generations_->set_policy(EndpointId(1), PolicyLocation(0, 1000).reference(POLICY_REF_F_INGRESS));
    make();
    ASSERT_TRUE(set(1, "web"));
    start();
    EXPECT_EQ(reference(1), good) << "free rows from the start: the same place again";
    EXPECT_EQ(module_->counters().updated, 1U);
    EXPECT_TRUE(allows(1, Direction::kIngress, kClient));
}

TEST_F(ModuleTest, ReferencesOfEndpointsThatWentAreTakenAwayAtTheStart) {
    write("a.yaml", cnp_manifest("a", kFromClient));
    write("b.yaml", cnp_manifest("b", kToWeb));
    write("c.yaml", cnp_manifest("c",
                                 "{endpointSelector: {matchLabels: {app: gone}}, ingress: [{toPorts: [{ports: "
                                 "[{port: '7', protocol: UDP}]}]}]}"));
    ASSERT_TRUE(set(1, "web"));
    ASSERT_TRUE(set(2, "client"));
    ASSERT_TRUE(set(3, "client"));
    ASSERT_TRUE(set(4, "gone"));
    start();
    EXPECT_EQ(slabs_->usage().images, 4U) << "the open one, that of web, of client and of gone";
    module_.reset();
    generations_->set_policy(EndpointId(65535), reference(2));
    make();
    ASSERT_TRUE(set(1, "web"));
    ASSERT_TRUE(set(3, "client"));
    const std::uint32_t kept = reference(3);
    module_->start([this] { synced_ = true; });
    EXPECT_EQ(reference(2), 0U) << "before the sources have spoken: its number may be given to another pod now";
    EXPECT_EQ(reference(65535), 0U);
    EXPECT_EQ(reference(3), kept);
    ASSERT_TRUE(wait_until([this] { return synced_; }));
    EXPECT_EQ(reference(3), kept);
    EXPECT_EQ(module_->counters().unchanged_at_start, 2U);
    EXPECT_EQ(reference(4), 0U);
    EXPECT_TRUE(wait_until([&] { return slabs_->usage().images == 3; })) << "nobody uses that of gone";
    ASSERT_TRUE(set(2, "web"));
    EXPECT_EQ(reference(2), reference(1));
}

TEST_F(ModuleTest, EqualEndpointsShareOneImage) {
    start();
    apply("a.yaml", cnp_manifest("a", kFromClient));
    for (std::uint16_t id = 1; id <= 20; ++id) ASSERT_TRUE(set(id, "web"));
    EXPECT_EQ(slabs_->usage().images, 2U);
    for (std::uint16_t id = 2; id <= 20; ++id) EXPECT_EQ(reference(id), reference(1));
}

TEST_F(ModuleTest, AChangeMovesGenerationAndLocationTogetherAndTheOldMemoryComesBack) {
    start();
    ASSERT_TRUE(set(1, "web"));
    ASSERT_TRUE(set(2, "client"));
    const std::uint64_t empty = slabs_->usage().used_bytes;
    apply("a.yaml", cnp_manifest("a", kFromClient));
    const std::uint64_t used = slabs_->usage().used_bytes;
    const PolicyLocation first = location(1);
    const std::uint32_t generation = generations_->endpoint(EndpointId(1));
    const std::uint32_t other = reference(2), other_generation = generations_->endpoint(EndpointId(2));
    apply("a.yaml", cnp_manifest("a", kFromClient81));
    EXPECT_NE(location(1), first);
    EXPECT_EQ(generations_->endpoint(EndpointId(1)), generation + 1);
    EXPECT_EQ(reference(2), other);
    EXPECT_EQ(generations_->endpoint(EndpointId(2)), other_generation) << "flows of others are not decided again";
    EXPECT_TRUE(usage_becomes(2, used));
    withdraw("a.yaml");
    EXPECT_EQ(reference(1), PolicySlabs::open_policy().reference(0));
    EXPECT_TRUE(usage_becomes(1, empty));
}

// Changes come while the kernel is waited for that frees what earlier ones left.
TEST_F(ModuleTest, MemoryComesBackHoweverFastPoliciesChange) {
    start();
    ASSERT_TRUE(set(1, "web"));
    apply("a.yaml", cnp_manifest("a", kFromClient));
    const auto usage = slabs_->usage();
    for (std::uint32_t round = 0; round < 60; ++round) {
        module_->set_identity(IdentityId(2000 + round), pod("client"));
        module_->flush();
        run_for(3ms);
    }
    for (std::uint32_t round = 0; round < 60; ++round) module_->remove_identity(IdentityId(2000 + round));
    EXPECT_TRUE(usage_becomes(usage.images, usage.used_bytes))
        << slabs_->usage().images << " images, " << slabs_->usage().used_bytes << " bytes";
}

TEST_F(ModuleTest, RemovedEndpointsGiveTheirImagesBack) {
    start();
    apply("a.yaml", cnp_manifest("a", kFromClient));
    const std::uint64_t empty = slabs_->usage().used_bytes;
    ASSERT_TRUE(set(1, "web"));
    ASSERT_TRUE(set(2, "web"));
    module_->remove_endpoint(EndpointId(1));
    EXPECT_EQ(reference(1), 0U);
    run_for(50ms);
    EXPECT_TRUE(allows(2, Direction::kIngress, kClient)) << "still used by the other";
    EXPECT_EQ(slabs_->usage().images, 2U);
    module_->remove_endpoint(EndpointId(2));
    module_->remove_endpoint(EndpointId(3));
    EXPECT_EQ(reference(2), 0U);
    EXPECT_TRUE(usage_becomes(1, empty));
    EXPECT_EQ(module_->counters().removed, 2U);
    // Of an earlier run, before this one has computed anything:
    ASSERT_TRUE(set(4, "web"));
    make();
    ASSERT_TRUE(set(4, "web"));
    module_->remove_endpoint(EndpointId(4));
    EXPECT_EQ(reference(4), 0U);
    EXPECT_TRUE(usage_becomes(1, empty));
}

class SmallMemory : public ModuleTest {
protected:
    SmallMemory() { max_bytes_ = 65536; }
    void clients(std::uint32_t number) {
        for (std::uint32_t i = 0; i < number; ++i) module_->set_identity(IdentityId(2000 + i), pod("client"));
    }
};

TEST_F(SmallMemory, WhatDoesNotFitClosesTheEndpointAndSaysSo) {
    ASSERT_TRUE(set(1, "web"));
    ASSERT_TRUE(set(2, "bystander"));
    start();
    apply("a.yaml", cnp_manifest("a", kFromClient));
    EXPECT_TRUE(allows(1, Direction::kIngress, kClient));
    clients(12000);
    module_->flush();
    for (const Direction direction : kDirections) {
        for (const IdentityId peer : {kClient, kWeb, identity::kHost, IdentityId(2500)}) {
            const auto found = verdict(1, direction, peer);
            ASSERT_TRUE(found);
            EXPECT_FALSE(found->allowed());
            EXPECT_EQ(found->cookie, POLICY_COOKIE_CLOSED);
        }
    }
    ASSERT_NE(module_->error(EndpointId(1)), nullptr);
    EXPECT_EQ(module_->error(EndpointId(1))->code, Code::kResourceExhausted);
    ASSERT_TRUE(rejected_.contains("policy of endpoint 1"));
    EXPECT_NE(rejected_["policy of endpoint 1"].find("the endpoint is closed"), std::string::npos);
    EXPECT_GE(module_->counters().failed, 1U);
    EXPECT_EQ(module_->error(EndpointId(2)), nullptr);
    EXPECT_TRUE(allows(2, Direction::kIngress, kClient));
    const auto again = set(3, "web");
    EXPECT_FALSE(again) << "who adds a pod is told";
    EXPECT_EQ(location(3), location(1));

    run_for(300ms);
    EXPECT_LT(module_->counters().failed, 20U) << "it is tried again, and not in a loop";

    for (std::uint32_t i = 0; i < 12000; ++i) module_->remove_identity(IdentityId(2000 + i));
    ASSERT_TRUE(wait_until([&] { return module_->error(EndpointId(1)) == nullptr; }));
    EXPECT_TRUE(allows(1, Direction::kIngress, kClient));
    EXPECT_FALSE(allows(1, Direction::kIngress, kWeb));
    EXPECT_EQ(reference(3), reference(1));
    EXPECT_TRUE(rejected_.empty()) << rejected_.begin()->first;
    EXPECT_TRUE(wait_until([&] { return registry_.all().front().consecutive_failures == 0; }));
}

// Nothing about its own policy changes: there is room again.
TEST_F(SmallMemory, AnEndpointRecoversWhenOthersGiveMemoryBack) {
    ASSERT_TRUE(set(1, "web"));
    ASSERT_TRUE(set(2, "bystander"));
    start();
    apply("a.yaml", cnp_manifest("a", kFromClient));
    clients(2000);
    module_->flush();
    ASSERT_EQ(module_->error(EndpointId(1)), nullptr) << module_->error(EndpointId(1))->message;
    apply("b.yaml", cnp_manifest("b",
                                 "{endpointSelector: {matchLabels: {app: bystander}}, ingress: [{fromEndpoints: "
                                 "[{matchLabels: {app: client}}]}]}"));
    ASSERT_NE(module_->error(EndpointId(2)), nullptr);
    EXPECT_EQ(verdict(2, Direction::kIngress, kClient)->cookie, POLICY_COOKIE_CLOSED);
    EXPECT_TRUE(allows(1, Direction::kIngress, kClient));
    module_->remove_endpoint(EndpointId(1));
    ASSERT_TRUE(wait_until([&] { return module_->error(EndpointId(2)) == nullptr; }, 900ms))
        << "when the memory is free, not when somebody next looks";
    EXPECT_TRUE(allows(2, Direction::kIngress, kClient));
    EXPECT_FALSE(allows(2, Direction::kIngress, kWeb));
    EXPECT_TRUE(rejected_.empty());
}

TEST_F(ModuleTest, NamedPortsOfAnIdentityAreThoseOfAllItsPods) {
    start();
    apply("a.yaml",
          cnp_manifest("a",
                       "{endpointSelector: {matchLabels: {app: client}}, egress: [{toEndpoints: [{matchLabels: "
                       "{app: web}}], toPorts: [{ports: [{port: http, protocol: TCP}]}]}]}"));
    ASSERT_TRUE(set(1, "client"));
    const auto open = [this](std::uint16_t port, IdentityId id = kWeb) {
        module_->flush();
        return allows(1, Direction::kEgress, id, port);
    };
    const auto http = [](std::uint16_t port) { return NamedPorts{{"http", {{Protocol::kTcp, port}}}}; };
    EXPECT_FALSE(open(80));
    module_->set_named_ports("cep/default/a", kWeb, http(80));
    module_->set_named_ports("cep/default/b", kWeb, http(8080));
    module_->set_named_ports("cep/default/c", kWeb, http(80));
    EXPECT_TRUE(open(80));
    EXPECT_TRUE(open(8080));
    EXPECT_FALSE(open(8081));
    module_->set_named_ports("cep/default/a", kWeb, {});
    EXPECT_TRUE(open(80)) << "c has it, too";
    module_->set_named_ports("cep/default/b", kWeb, {});
    EXPECT_FALSE(open(8080));
    module_->set_identity(kOther, pod("web"));
    module_->set_named_ports("cep/default/c", kOther, http(80));
    EXPECT_FALSE(open(80)) << "the pod has another identity now";
    EXPECT_TRUE(open(80, kOther));
    module_->set_named_ports("cep/default/c", kOther, http(81));
    EXPECT_FALSE(open(80, kOther));
    EXPECT_TRUE(open(81, kOther));
    module_->set_named_ports("cep/default/c", kOther, {});
    EXPECT_FALSE(open(81, kOther));
    EXPECT_EQ(module_->engine().named_ports(kOther), nullptr);
    EXPECT_EQ(module_->engine().named_ports(kWeb), nullptr);
}

TEST_F(ModuleTest, AuditIsAFlagOfTheReference) {
    start();
    apply("a.yaml", cnp_manifest("a", kFromClient));
    ASSERT_TRUE(set(1, "web"));
    const std::uint32_t enforced = reference(1);
    const std::uint32_t generation = generations_->endpoint(EndpointId(1));
    ASSERT_TRUE(set(1, "web", true));
    EXPECT_TRUE(module_->audited(EndpointId(1)));
    EXPECT_EQ(reference(1), enforced | POLICY_REF_F_AUDIT);
    EXPECT_EQ(generations_->endpoint(EndpointId(1)), generation + 1);
    apply("a.yaml", cnp_manifest("a", kFromClient81));
    EXPECT_NE(reference(1) & POLICY_REF_F_AUDIT, 0U) << "also of later policies";
    apply("a.yaml", cnp_manifest("a", kFromClient));
    ASSERT_TRUE(set(1, "web", false));
    EXPECT_FALSE(module_->audited(EndpointId(1)));
    EXPECT_EQ(reference(1) & POLICY_REF_F_AUDIT, 0U);

    settings_.audit = true;
    make();
    ASSERT_TRUE(set(1, "web", false));
    ASSERT_TRUE(set(2, "bystander"));
    start();
    EXPECT_NE(reference(1) & POLICY_REF_F_AUDIT, 0U);
    EXPECT_TRUE(module_->audited(EndpointId(2)));
}

TEST_F(ModuleTest, NodeIdentitiesAreCounted) {
    start();
    LabelSet labels = LabelSet::reserved("remote-node");
    labels.insert(Label::parse("node:zone=a"));
    const IdentityId first = module_->take_node_identity(labels);
    EXPECT_EQ(first.value >> 24, 2U) << "remote-node scope";
    EXPECT_EQ(module_->take_node_identity(labels), first);
    LabelSet others = LabelSet::reserved("remote-node");
    others.insert(Label::parse("node:zone=b"));
    const IdentityId second = module_->take_node_identity(others);
    EXPECT_NE(second, first);
    module_->give_back_node_identity(first);
    EXPECT_TRUE(module_->knows_identity(first));
    module_->give_back_node_identity(first);
    EXPECT_FALSE(module_->knows_identity(first));
    EXPECT_TRUE(module_->knows_identity(second));
    module_->give_back_node_identity(first);
    EXPECT_NE(module_->take_node_identity(labels), first) << "events of the earlier one may still be on their way";
    EXPECT_TRUE(module_->knows_identity(second));
}

}  // namespace
}  // namespace axo::policy
