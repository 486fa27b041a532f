// The engine's semantics, one by one; oracle_test.cpp holds their combinations.
#include "features/policy/desired.h"

#include <gtest/gtest.h>

namespace axo::policy {
namespace {

constexpr std::uint8_t kTcp = 6, kUdp = 17, kSctp = 132, kIcmp = 1, kGre = 47;
constexpr EndpointId kPod{10}, kHostEndpoint{11};
constexpr IdentityId kClient{300}, kServer{301}, kUnknown{9999};
constexpr Direction kIngress = Direction::kIngress, kEgress = Direction::kEgress;

Prefix prefix(const char* text) {
    return Prefix::parse(text).value();
}
LabelSet app(const char* name) {
    return {Label{"k8s", "app", name}};
}
Requirement is(const char* key, const char* value) {
    return {"any", key, Requirement::Op::kIn, {value}};
}
Selector labels(std::vector<Requirement> all) {
    Selector selector;
    selector.labels = LabelQuery{std::move(all)};
    selector.endpoints = true;
    return selector;
}
Selector cidr(const char* text, std::vector<const char*> except = {}) {
    Selector selector;
    selector.cidr = CidrQuery{prefix(text), {}};
    for (const char* one : except) selector.cidr->except.push_back(prefix(one));
    return selector;
}
const Selector kEverybody = labels({});
PortRange port(Protocol protocol, std::uint16_t first, std::uint16_t last = 0) {
    return {protocol, first, std::max(first, last), {}};
}
PortRange named(const char* name, Protocol protocol = Protocol::kTcp) {
    return {protocol, 0, 0, name};
}

struct Wanted {
    bool deny = false;
    std::vector<PortRange> ports{};
    Direction direction = kIngress;
};

class Engine : public testing::Test {
protected:
    void SetUp() override {
        engine_.upsert_identity(kClient, app("client"));
        engine_.upsert_identity(kServer, app("server"));
        engine_.upsert_subject(kPod, {app("server"), {}, false});
    }
    // A policy of one rule for app=server.
    static Policy one(const std::string& name, std::vector<Selector> peers, Wanted wanted = {}) {
        Policy policy;
        policy.origin = {"CiliumNetworkPolicy", "default", name, ""};
        Spec spec;
        spec.subject.all = {is("app", "server")};
        (wanted.direction == kIngress ? spec.default_deny_ingress : spec.default_deny_egress) = true;
        Rule rule;
        rule.direction = wanted.direction;
        rule.deny = wanted.deny;
        rule.path = "spec.rule";
        rule.peers = std::move(peers);
        rule.ports = std::move(wanted.ports);
        spec.rules = {rule};
        policy.specs = {spec};
        return policy;
    }
    void put(Policy policy) { engine_.upsert_policy(std::make_shared<Policy>(std::move(policy))); }
    void drop(const std::string& name) { engine_.remove_policy("CiliumNetworkPolicy", "default", name); }
    Lookup decide(Direction direction, IdentityId peer, std::uint8_t protocol, std::uint16_t number,
                  EndpointId endpoint = kPod) {
        engine_.changes();
        return engine_.decide(endpoint, direction, peer, protocol, number).value();
    }
    bool allows(Direction direction, IdentityId peer, std::uint8_t protocol = kTcp, std::uint16_t number = 80,
                EndpointId endpoint = kPod) {
        return decide(direction, peer, protocol, number, endpoint).allowed();
    }
    std::string decider(Direction direction, IdentityId peer) {
        return engine_.rule(decide(direction, peer, kTcp, 80).cookie).value().to_string();
    }
    PolicyEngine engine_;
};

TEST_F(Engine, NobodySelectedIsOpen) {
    Policy other = one("p", {});
    other.specs[0].subject.all = {is("app", "other")};
    put(other);
    EXPECT_TRUE(allows(kIngress, kClient));
    EXPECT_EQ(decide(kIngress, kClient, kTcp, 80).cookie, std::uint32_t{POLICY_COOKIE_NONE});
    EXPECT_EQ(engine_.image(kPod)->ref_flags, POLICY_REF_F_READY);
}

TEST_F(Engine, ASelectedDirectionIsClosedTheOtherIsNot) {
    put(one("p", {labels({is("app", "client")})}));
    EXPECT_TRUE(allows(kIngress, kClient));
    EXPECT_FALSE(allows(kIngress, kServer));
    EXPECT_FALSE(allows(kIngress, kUnknown));
    EXPECT_TRUE(allows(kEgress, kUnknown));
    EXPECT_EQ(decider(kIngress, kClient), "CiliumNetworkPolicy default/p, spec.rule");
    EXPECT_EQ(decider(kIngress, kServer), "default deny from CiliumNetworkPolicy default/p");
    drop("p");
    EXPECT_TRUE(allows(kIngress, kServer));
}

TEST_F(Engine, ARuleForNobodyClosesAllTheSame) {
    put(one("p", {}));
    EXPECT_FALSE(allows(kIngress, kClient));
}

TEST_F(Engine, WithoutDefaultDenyRulesOnlyDeny) {
    Policy policy = one("p", {labels({is("app", "client")})}, {.deny = true});
    policy.specs[0].default_deny_ingress = false;
    put(policy);
    EXPECT_FALSE(allows(kIngress, kClient));
    EXPECT_TRUE(allows(kIngress, kServer));
    EXPECT_TRUE(allows(kIngress, kUnknown));
    Policy additive = one("q", {labels({is("app", "client")})});
    additive.specs[0].default_deny_ingress = false;
    drop("p");
    put(additive);
    EXPECT_TRUE(allows(kIngress, kServer)) << "a rule that allows takes nothing away";
    EXPECT_EQ(engine_.image(kPod)->ref_flags, POLICY_REF_F_READY);
}

TEST_F(Engine, DenialsWinWhateverIsMoreSpecific) {
    put(one("allow", {labels({is("app", "client")})}, {.ports = {port(Protocol::kTcp, 80)}}));
    put(one("deny", {kEverybody}, {.deny = true}));
    EXPECT_FALSE(allows(kIngress, kClient));
    EXPECT_EQ(decider(kIngress, kClient), "CiliumNetworkPolicy default/deny, spec.rule");
    drop("deny");
    EXPECT_TRUE(allows(kIngress, kClient));
    put(one("deny", {labels({is("app", "client")})}, {.deny = true, .ports = {port(Protocol::kTcp, 80)}}));
    EXPECT_FALSE(allows(kIngress, kClient));
}

TEST_F(Engine, ModesAlwaysAndNever) {
    engine_.set_mode(EnforcementMode::kAlways);
    EXPECT_FALSE(allows(kIngress, kClient));
    EXPECT_FALSE(allows(kEgress, kClient));
    EXPECT_EQ(decider(kEgress, kClient), "default deny because of enable-policy=always");
    put(one("deny", {kEverybody}, {.deny = true}));
    engine_.set_mode(EnforcementMode::kNever);
    EXPECT_TRUE(allows(kIngress, kClient));
    EXPECT_TRUE(engine_.rules().empty());
    engine_.set_mode(EnforcementMode::kDefault);
    EXPECT_FALSE(allows(kIngress, kClient));
}

TEST_F(Engine, PodsWithoutLabelsYetAreClosed) {
    engine_.upsert_subject(kPod, {LabelSet::reserved("init"), {}, false});
    EXPECT_FALSE(allows(kIngress, kClient));
    EXPECT_FALSE(allows(kEgress, kClient));
    EXPECT_EQ(decider(kEgress, kClient), "default deny because the pod's labels are not known yet (reserved:init)");
    engine_.upsert_subject(kPod, {app("server"), {}, false});
    EXPECT_TRUE(allows(kEgress, kClient));
    PolicyEngine lenient({.enforce_init = false});
    lenient.upsert_subject(kPod, {LabelSet::reserved("init"), {}, false});
    lenient.changes();
    EXPECT_TRUE(lenient.decide(kPod, kEgress, kClient, kTcp, 80)->allowed());
}

TEST_F(Engine, TheNodeReachesItsPodsUnlessDenied) {
    put(one("p", {}));
    EXPECT_TRUE(allows(kIngress, identity::kHost));
    EXPECT_EQ(decide(kIngress, identity::kHost, kTcp, 80).cookie, std::uint32_t{POLICY_COOKIE_LOCALHOST});
    engine_.remove_identity(identity::kHost);  // it has no object that could come late
    EXPECT_TRUE(allows(kIngress, identity::kHost));
    put(one("closes-egress", {}, {.direction = kEgress}));
    EXPECT_FALSE(allows(kEgress, identity::kHost));
    Selector host = labels({{"reserved", "host", Requirement::Op::kExists, {}}});
    put(one("deny", {host}, {.deny = true}));
    EXPECT_FALSE(allows(kIngress, identity::kHost));
    PolicyEngine strict({.allow_localhost = false});
    strict.upsert_subject(kPod, {app("server"), {}, false});
    strict.upsert_policy(std::make_shared<Policy>(one("p", {})));
    strict.changes();
    EXPECT_FALSE(strict.decide(kPod, kIngress, identity::kHost, kTcp, 80)->allowed());
}

TEST_F(Engine, PortsOfARule) {
    put(one("p", {kEverybody},
            {.ports = {port(Protocol::kTcp, 80, 90), port(Protocol::kAny, 53), port(Protocol::kIcmp, 8)}}));
    EXPECT_TRUE(allows(kIngress, kClient, kTcp, 80));
    EXPECT_TRUE(allows(kIngress, kUnknown, kTcp, 90));
    EXPECT_FALSE(allows(kIngress, kClient, kTcp, 91));
    EXPECT_FALSE(allows(kIngress, kClient, kUdp, 80));
    for (const std::uint8_t protocol : {kTcp, kUdp, kSctp}) EXPECT_TRUE(allows(kIngress, kClient, protocol, 53));
    EXPECT_FALSE(allows(kIngress, kClient, kIcmp, 53));
    EXPECT_TRUE(allows(kIngress, kClient, kIcmp, 8));
    EXPECT_FALSE(allows(kIngress, kClient, kIcmp, 0));
    EXPECT_FALSE(allows(kIngress, kClient, kGre, 0));
    put(one("p", {kEverybody}));
    EXPECT_TRUE(allows(kIngress, kClient, kGre, 0)) << "without ports: every protocol";
}

TEST_F(Engine, NamedPortsOfTheReceivingPod) {
    put(one("p", {kEverybody}, {.ports = {named("http"), named("dns", Protocol::kAny)}}));
    EXPECT_FALSE(allows(kIngress, kClient, kTcp, 8080)) << "no such port: the rule takes nothing";
    engine_.upsert_subject(kPod,
                           {app("server"),
                            {{"http", {{Protocol::kTcp, 8080}, {Protocol::kUdp, 99}}}, {"dns", {{Protocol::kUdp, 53}}}},
                            false});
    EXPECT_TRUE(allows(kIngress, kClient, kTcp, 8080));
    EXPECT_FALSE(allows(kIngress, kClient, kUdp, 8080));
    EXPECT_FALSE(allows(kIngress, kClient, kUdp, 99)) << "http is asked for with TCP";
    EXPECT_TRUE(allows(kIngress, kClient, kUdp, 53));
    EXPECT_FALSE(allows(kIngress, kClient, kTcp, 53));
}

TEST_F(Engine, NamedPortsOfPeersOnTheWayOut) {
    put(one("p", {kEverybody}, {.ports = {named("http"), port(Protocol::kTcp, 443)}, .direction = kEgress}));
    EXPECT_FALSE(allows(kEgress, kClient, kTcp, 8080));
    EXPECT_TRUE(allows(kEgress, kUnknown, kTcp, 443));
    engine_.set_named_ports(kClient, {{"http", {{Protocol::kTcp, 8080}}}});
    engine_.set_named_ports(kServer, {{"http", {{Protocol::kTcp, 9090}, {Protocol::kTcp, 9091}}}});
    EXPECT_TRUE(allows(kEgress, kClient, kTcp, 8080));
    EXPECT_FALSE(allows(kEgress, kClient, kTcp, 9090)) << "that is the other's port";
    EXPECT_TRUE(allows(kEgress, kServer, kTcp, 9090));
    EXPECT_TRUE(allows(kEgress, kServer, kTcp, 9091));
    EXPECT_FALSE(allows(kEgress, kUnknown, kTcp, 8080));
    engine_.set_named_ports(kClient, {});
    EXPECT_FALSE(allows(kEgress, kClient, kTcp, 8080));
    engine_.set_named_ports(kUnknown, {{"http", {{Protocol::kTcp, 8080}}}});
    EXPECT_FALSE(allows(kEgress, kUnknown, kTcp, 8080));
    engine_.upsert_identity(kUnknown, app("late"));
    EXPECT_TRUE(allows(kEgress, kUnknown, kTcp, 8080)) << "ports may be known before the identity";
    engine_.remove_identity(kUnknown);
    EXPECT_FALSE(allows(kEgress, kUnknown, kTcp, 8080));
}

TEST_F(Engine, CidrsTakePrefixesAndNothingElse) {
    const IdentityId inside{16777217}, excepted{16777218}, outside{16777219};
    put(one("p", {cidr("10.0.0.0/8", {"10.1.0.0/16"})}));
    EXPECT_EQ(engine_.cidrs(), (std::vector<Prefix>{prefix("10.0.0.0/8"), prefix("10.1.0.0/16")}));
    engine_.upsert_identity(inside, LabelSet::reserved("world"), prefix("10.0.0.0/8"));
    engine_.upsert_identity(excepted, LabelSet::reserved("world"), prefix("10.1.0.0/16"));
    engine_.upsert_identity(outside, LabelSet::reserved("world"), prefix("11.0.0.0/8"));
    engine_.upsert_identity(identity::kWorld, LabelSet::reserved("world"));
    EXPECT_TRUE(allows(kIngress, inside));
    EXPECT_FALSE(allows(kIngress, excepted));
    EXPECT_FALSE(allows(kIngress, outside));
    EXPECT_FALSE(allows(kIngress, identity::kWorld));
    EXPECT_FALSE(allows(kIngress, kClient));
    put(one("p", {labels({{"reserved", "world", Requirement::Op::kExists, {}}})}));
    EXPECT_TRUE(allows(kIngress, excepted)) << "prefixes are parts of the world";
    EXPECT_TRUE(engine_.cidrs().empty());
}

TEST_F(Engine, TheWholeOfAFamilyIsTheWorld) {
    for (const IdentityId world : {identity::kWorld, identity::kWorldIpv4, identity::kWorldIpv6}) {
        engine_.upsert_identity(world, LabelSet::reserved("world"));
    }
    put(one("p", {cidr("0.0.0.0/0", {"10.0.0.0/8"})}));
    EXPECT_EQ(engine_.cidrs(), std::vector<Prefix>{prefix("10.0.0.0/8")}) << "/0 has its identity already";
    EXPECT_TRUE(allows(kIngress, identity::kWorld));
    EXPECT_TRUE(allows(kIngress, identity::kWorldIpv4));
    EXPECT_FALSE(allows(kIngress, identity::kWorldIpv6));
    put(one("p", {cidr("::/0")}));
    EXPECT_TRUE(allows(kIngress, identity::kWorld));
    EXPECT_FALSE(allows(kIngress, identity::kWorldIpv4));
    EXPECT_TRUE(allows(kIngress, identity::kWorldIpv6));
}

TEST_F(Engine, CidrChangesCountUses) {
    put(one("p", {cidr("10.0.0.0/8"), cidr("11.0.0.0/8")}));
    EXPECT_EQ(engine_.cidrs_added_by(one("q", {cidr("10.0.0.0/8"), cidr("12.0.0.0/8")})),
              std::vector<Prefix>{prefix("12.0.0.0/8")});
    put(one("q", {cidr("10.0.0.0/8")}));
    EXPECT_EQ(engine_.take_cidr_changes().added.size(), 2U);
    drop("p");
    const CidrChanges changes = engine_.take_cidr_changes();
    EXPECT_TRUE(changes.added.empty());
    EXPECT_EQ(changes.removed, std::vector<Prefix>{prefix("11.0.0.0/8")});
    drop("q");
    put(one("q", {cidr("10.0.0.0/8")}));
    EXPECT_TRUE(engine_.take_cidr_changes().removed.empty()) << "gone and back is no change";
    engine_.remove_subject(kPod);
    EXPECT_EQ(engine_.take_cidr_changes().removed, std::vector<Prefix>{prefix("10.0.0.0/8")}) << "no subject needs it";
    EXPECT_TRUE(engine_.cidrs_added_by(one("q", {cidr("12.0.0.0/8")})).empty());
}

TEST_F(Engine, RequirementsNarrowWhatOtherPoliciesAllow) {
    const IdentityId good{400}, bad{401};
    engine_.upsert_identity(good, {Label{"k8s", "app", "client"}, Label{"k8s", "env", "prod"}});
    engine_.upsert_identity(bad, {Label{"k8s", "app", "client"}, Label{"k8s", "env", "dev"}});
    put(one("p", {labels({is("app", "client")})}));
    EXPECT_TRUE(allows(kIngress, bad));
    Policy demanding = one("q", {});
    demanding.specs[0].ingress_requires = {is("env", "prod")};
    put(demanding);
    EXPECT_TRUE(allows(kIngress, good));
    EXPECT_FALSE(allows(kIngress, bad));
    EXPECT_FALSE(allows(kIngress, kClient));
    engine_.upsert_identity(bad, {Label{"k8s", "app", "client"}, Label{"k8s", "env", "prod"}});
    EXPECT_TRUE(allows(kIngress, bad));
    Selector entity = labels({is("app", "client")});
    entity.endpoints = false;
    put(one("r", {entity}));
    EXPECT_TRUE(allows(kIngress, kClient)) << "only selectors of endpoints are narrowed";
    put(one("deny", {labels({is("app", "client")})}, {.deny = true}));
    EXPECT_FALSE(allows(kIngress, kClient)) << "denials are not";
}

TEST_F(Engine, NodesAndPodsAreSelectedApart) {
    Policy host = one("host", {labels({is("app", "client")})});
    host.specs[0].selects_nodes = true;
    put(host);
    EXPECT_TRUE(allows(kIngress, kServer)) << "the pod has the labels, but is no node";
    engine_.upsert_subject(kHostEndpoint, {app("server"), {}, true});
    EXPECT_TRUE(allows(kIngress, kClient, kTcp, 22, kHostEndpoint));
    EXPECT_FALSE(allows(kIngress, kServer, kTcp, 22, kHostEndpoint));
    EXPECT_FALSE(allows(kIngress, identity::kHost, kTcp, 22, kHostEndpoint)) << "allow-localhost is about pods";
    put(one("pods", {kEverybody}));
    EXPECT_FALSE(allows(kIngress, kServer, kTcp, 22, kHostEndpoint));
}

TEST_F(Engine, UnknownIdentitiesAreTakenByUnconditionalSelectorsOnly) {
    put(one("p", {labels({{"any", "app", Requirement::Op::kNotIn, {"server"}}})}));
    EXPECT_FALSE(allows(kIngress, kUnknown));
    engine_.upsert_identity(kUnknown, {Label{"k8s", "x", "y"}});
    EXPECT_TRUE(allows(kIngress, kUnknown));
    engine_.remove_identity(kUnknown);
    EXPECT_FALSE(allows(kIngress, kUnknown));
    put(one("p", {kEverybody}));
    EXPECT_TRUE(allows(kIngress, kUnknown));
}

TEST_F(Engine, EqualEndpointsShareOneImage) {
    engine_.upsert_subject(EndpointId{20}, {app("server"), {{"unused", {{Protocol::kTcp, 1}}}}, false});
    put(one("p", {labels({is("app", "client")})}));
    EXPECT_EQ(engine_.changes(), (std::vector<EndpointId>{kPod, EndpointId{20}}));
    EXPECT_EQ(engine_.image(kPod), engine_.image(EndpointId{20}));
    EXPECT_TRUE(engine_.changes().empty());
    put(one("p", {labels({is("app", "client")})}));
    EXPECT_TRUE(engine_.changes().empty()) << "the same policy again";
    Policy same = one("p", {labels({is("app", "client")})});
    same.specs[0].description = "other words";
    put(same);
    EXPECT_TRUE(engine_.changes().empty()) << "the same rules again";
}

TEST_F(Engine, CookiesOutliveThePolicysVersions) {
    put(one("p", {labels({is("app", "client")})}));
    const std::uint32_t before = decide(kIngress, kClient, kTcp, 80).cookie;
    const std::uint32_t closed = decide(kIngress, kServer, kTcp, 80).cookie;
    put(one("p", {labels({is("app", "client")}), labels({is("app", "x")})}));
    EXPECT_EQ(decide(kIngress, kClient, kTcp, 80).cookie, before);
    EXPECT_EQ(decide(kIngress, kServer, kTcp, 80).cookie, closed);
    EXPECT_EQ(engine_.rule(before)->text, "allow ingress from app=client or app=x, to every port and protocol");
    put(one("q", {}));
    EXPECT_NE(decide(kIngress, kServer, kTcp, 80).cookie, closed) << "now two policies close it";
    drop("q");
    drop("p");
    EXPECT_FALSE(engine_.rule(before));
}

TEST_F(Engine, AnErrorClosesAndIsToldOnce) {
    engine_.changes();
    Policy large = one("large", {kEverybody});
    large.specs[0].rules.resize(4097, large.specs[0].rules[0]);
    put(large);
    EXPECT_EQ(engine_.changes(), std::vector<EndpointId>{kPod});
    ASSERT_NE(engine_.error(kPod), nullptr);
    EXPECT_EQ(engine_.error(kPod)->code, Code::kResourceExhausted);
    EXPECT_EQ(engine_.image(kPod), nullptr);
    EXPECT_EQ(engine_.decide(kPod, kIngress, kClient, kTcp, 80)->cookie, std::uint32_t{POLICY_COOKIE_CLOSED});
    EXPECT_FALSE(engine_.decide(kPod, kIngress, kClient, kTcp, 80)->allowed());
    EXPECT_TRUE(engine_.changes().empty());
    drop("large");
    EXPECT_EQ(engine_.changes(), std::vector<EndpointId>{kPod});
    EXPECT_EQ(engine_.error(kPod), nullptr);
    EXPECT_TRUE(engine_.decide(kPod, kIngress, kClient, kTcp, 80)->allowed());
}

TEST_F(Engine, UnknownThingsAreLeftAlone) {
    drop("nothing");
    engine_.remove_identity(kUnknown);
    engine_.remove_subject(EndpointId{77});
    engine_.set_named_ports(kUnknown, {});
    EXPECT_EQ(engine_.subject(EndpointId{77}), nullptr);
    EXPECT_EQ(engine_.image(EndpointId{77}), nullptr);
    EXPECT_FALSE(engine_.decide(EndpointId{77}, kIngress, kClient, kTcp, 80));
    EXPECT_FALSE(engine_.rule(123456));
}

}  // namespace
}  // namespace axo::policy
