// Prefixes outside the cluster: their numbers, labels, and that no address is judged by an image that does not know it.
#include "features/policy/module_fixture.h"

namespace axo::policy {
namespace {

using namespace std::chrono_literals;

std::string egress_to(const std::string& app, const std::string& cidrs) {
    return "{endpointSelector: {matchLabels: {app: " + app + "}}, egress: [{toCIDRSet: [" + cidrs + "]}]}";
}

class PrefixTest : public ModuleTest {
protected:
    [[nodiscard]] IdentityId id_of(const std::string& text) const {
        const auto found = module_->prefixes().find(prefix(text));
        return found == module_->prefixes().end() ? IdentityId{} : found->second;
    }
};

TEST_F(PrefixTest, EveryImageKnowsAPrefixBeforeAnAddressHasItsIdentity) {
    start();
    apply("wide.yaml", cnp_manifest("wide", egress_to("web", "{cidr: 10.0.0.0/8}")));
    ASSERT_TRUE(set(1, "web"));
    ASSERT_TRUE(set(2, "client"));
    int fresh = 0;
    on_prefixes_ = [&](const std::map<Prefix, IdentityId>& prefixes) {
        for (const auto& [one, id] : prefixes) {
            if (ipcache_.contains(one)) continue;
            ++fresh;
            EXPECT_TRUE(allows(1, Direction::kEgress, id)) << one.to_string() << " still is in 10.0.0.0/8";
        }
    };
    // Of another endpoint, of the same policy with an exception, and of a policy that selects both.
    apply("other.yaml", cnp_manifest("other", egress_to("client", "{cidr: 10.9.0.0/16}")));
    EXPECT_EQ(fresh, 1);
    EXPECT_TRUE(allows(1, Direction::kEgress, id_of("10.9.0.0/16")));
    EXPECT_TRUE(allows(2, Direction::kEgress, id_of("10.9.0.0/16")));
    EXPECT_FALSE(allows(2, Direction::kEgress, id_of("10.0.0.0/8")));
    apply("wide.yaml", cnp_manifest("wide", egress_to("web", "{cidr: 10.0.0.0/8, except: [10.1.0.0/16]}")));
    EXPECT_EQ(fresh, 2);
    EXPECT_FALSE(allows(1, Direction::kEgress, id_of("10.1.0.0/16")));
    EXPECT_TRUE(allows(1, Direction::kEgress, id_of("10.0.0.0/8")));
    // With an endpoint that comes after its policy:
    apply("late.yaml", cnp_manifest("late", egress_to("late", "{cidr: 10.2.3.0/24}")));
    EXPECT_EQ(fresh, 2) << "nobody asks";
    EXPECT_EQ(id_of("10.2.3.0/24"), IdentityId{});
    ASSERT_TRUE(set(3, "late"));
    EXPECT_EQ(fresh, 3);
    EXPECT_EQ(ipcache_, module_->prefixes());
    EXPECT_TRUE(allows(3, Direction::kEgress, id_of("10.2.3.0/24")));
    module_->remove_endpoint(EndpointId(3));
    EXPECT_TRUE(wait_until([&] { return !ipcache_.contains(prefix("10.2.3.0/24")); }));
    EXPECT_TRUE(allows(1, Direction::kEgress, id_of("10.0.0.0/8")));
}

TEST_F(PrefixTest, IdentitiesGoWithTheLastPolicyThatAsksForThem) {
    start();
    ASSERT_TRUE(set(1, "web"));
    apply("a.yaml", cnp_manifest("a", egress_to("web", "{cidr: 10.0.0.0/8}, {cidr: 192.0.2.0/24}")));
    apply("b.yaml", cnp_manifest("b", egress_to("web", "{cidr: 10.0.0.0/8}")));
    const IdentityId wide = id_of("10.0.0.0/8"), narrow = id_of("192.0.2.0/24");
    EXPECT_NE(wide, narrow);
    EXPECT_EQ(wide.value >> 24, 1U) << "local scope";
    withdraw("a.yaml");
    EXPECT_EQ(id_of("10.0.0.0/8"), wide);
    EXPECT_EQ(id_of("192.0.2.0/24"), IdentityId{});
    EXPECT_FALSE(ipcache_.contains(prefix("192.0.2.0/24")));
    EXPECT_FALSE(module_->knows_identity(narrow));
    apply("a.yaml", cnp_manifest("a", egress_to("web", "{cidr: 192.0.2.0/24}")));
    EXPECT_NE(id_of("192.0.2.0/24"), narrow) << "events of the earlier one may still be on their way";
    EXPECT_TRUE(allows(1, Direction::kEgress, id_of("192.0.2.0/24")));
    withdraw("a.yaml");
    withdraw("b.yaml");
    EXPECT_TRUE(module_->prefixes().empty());
    EXPECT_TRUE(ipcache_.empty());
    EXPECT_EQ(module_->engine().identities().identities().size(), 4U) << "host, world, web, client";
}

TEST_F(PrefixTest, APrefixWhosePolicyGoesBeforeItIsInForceIsForgotten) {
    start();
    ASSERT_TRUE(set(1, "web"));
    // Between the preparation and what would put the policy into force, its only endpoint goes.
    on_accepted_ = [this](const std::string& where) {
        if (where.find("default/a") == std::string::npos) return;
        loop_.post([this] {
            EXPECT_FALSE(module_->prefixes().empty());
            module_->remove_endpoint(EndpointId(1));
        });
    };
    apply("a.yaml", cnp_manifest("a", egress_to("web", "{cidr: 10.0.0.0/8}")));
    EXPECT_TRUE(module_->prefixes().empty());
    EXPECT_TRUE(ipcache_.empty());
    EXPECT_EQ(module_->engine().identities().identities().size(), 4U) << "host, world, web, client";
}

TEST_F(PrefixTest, NumbersSurviveARestart) {
    write("a.yaml",
          cnp_manifest("a", egress_to("web", "{cidr: 10.0.0.0/8}, {cidr: 192.0.2.0/24}, {cidr: '2001:db8::/32'}")));
    ASSERT_TRUE(set(1, "web"));
    start();
    const auto before = module_->prefixes();
    ASSERT_EQ(before.size(), 3U);
    module_.reset();
    // What else stands in an ipcache is none of its business; one prefix is not asked for any more, one is new and
    // sorts first.
    write("a.yaml",
          cnp_manifest("a", egress_to("web", "{cidr: 9.0.0.0/8}, {cidr: 10.0.0.0/8}, {cidr: '2001:db8::/32'}")));
    std::map<Prefix, IdentityId> found = before;
    found[prefix("10.200.0.1/32")] = identity::kHost;
    found[prefix("10.200.0.2/32")] = IdentityId(54321);
    make();
    module_->restore_prefixes(found);
    ASSERT_TRUE(set(1, "web"));
    start();
    EXPECT_EQ(module_->prefixes().size(), 3U);
    EXPECT_EQ(id_of("10.0.0.0/8"), before.at(prefix("10.0.0.0/8")));
    EXPECT_EQ(id_of("2001:db8::/32"), before.at(prefix("2001:db8::/32")));
    for (const auto& [one, id] : before) EXPECT_NE(id_of("9.0.0.0/8"), id) << one.to_string();
    EXPECT_EQ(id_of("9.0.0.0/8").value >> 24, 1U);
}

TEST_F(PrefixTest, LabelsSayWhatAPrefixIs) {
    const auto labels = [this](const std::string& text) { return module_->labels_of_prefix(prefix(text)).to_string(); };
    EXPECT_EQ(labels("10.0.0.0/8"), "cidr:10.0.0.0/8,reserved:world-ipv4");
    EXPECT_EQ(labels("2001:db8::/32"), "cidr:2001-db8--0/32,reserved:world-ipv6");
    settings_.sources.context.ipv6 = false;
    make();
    EXPECT_EQ(labels("10.0.0.0/8"), "cidr:10.0.0.0/8,reserved:world");
}

TEST_F(PrefixTest, TheApiServerIsNamedByItsAddresses) {
    start();
    ASSERT_TRUE(set(1, "web"));
    apply("a.yaml",
          cnp_manifest("a", "{endpointSelector: {matchLabels: {app: web}}, egress: [{toEntities: [kube-apiserver]}]}"));
    apply("b.yaml", cnp_manifest("b", egress_to("client", "{cidr: 192.0.2.7/32}, {cidr: 192.0.2.0/24}")));
    ASSERT_TRUE(set(2, "client"));
    const IdentityId server = id_of("192.0.2.7/32"), around = id_of("192.0.2.0/24");
    EXPECT_FALSE(allows(1, Direction::kEgress, server));
    const std::string service =
        "{apiVersion: v1, kind: Service, metadata: {name: kubernetes, namespace: default}, "
        "spec: {clusterIP: 10.96.0.1, ports: [{port: 443}]}}";
    const auto slice = [](const std::string& name, const std::string& address) {
        return "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, metadata: {name: " + name +
               ", namespace: default, labels: {kubernetes.io/service-name: kubernetes}}, endpoints: [{addresses: [" +
               address + "]}], ports: [{port: 6443}]}";
    };
    write("service.yaml", service);
    write("slice.yaml", slice("kubernetes", "192.0.2.7"));
    const IpAddress address = IpAddress::parse("192.0.2.7").value(), other = IpAddress::parse("192.0.2.8").value();
    ASSERT_TRUE(wait_until([&] { return api_server_ == std::set<IpAddress>{address}; }));
    module_->flush();
    EXPECT_TRUE(allows(1, Direction::kEgress, server));
    EXPECT_FALSE(allows(1, Direction::kEgress, around)) << "the prefix around it is not the server";
    EXPECT_NE(module_->labels_of_prefix(prefix("192.0.2.7/32")).to_string().find("reserved:kube-apiserver"),
              std::string::npos);
    write("slice2.yaml", slice("kubernetes-2", "192.0.2.8"));
    ASSERT_TRUE(wait_until([&] { return api_server_ == std::set<IpAddress>{address, other}; }));
    erase("slice.yaml");
    ASSERT_TRUE(wait_until([&] { return api_server_ == std::set<IpAddress>{other}; }));
    module_->flush();
    EXPECT_FALSE(allows(1, Direction::kEgress, server));
    EXPECT_EQ(id_of("192.0.2.7/32"), server) << "its number stays";
}

// Also where no rule has its address, as where a cloud runs it: it is not the world.
TEST_F(PrefixTest, TheApiServerOutsideOfTheClusterHasAnIdentity) {
    start();
    ASSERT_TRUE(set(1, "web"));
    apply("a.yaml",
          cnp_manifest("a", "{endpointSelector: {matchLabels: {app: web}}, egress: [{toEntities: [kube-apiserver]}]}"));
    const auto write_slice = [this](const std::string& address) {
        write("slice.yaml",
              "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, metadata: {name: kubernetes, "
              "namespace: default, labels: {kubernetes.io/service-name: kubernetes}}, endpoints: [{addresses: [" +
                  address + "]}], ports: [{port: 6443}]}");
        const std::set<IpAddress> wanted{IpAddress::parse(address).value()};
        ASSERT_TRUE(wait_until([&] { return api_server_ == wanted; }));
        module_->flush();
    };
    write_slice("192.0.2.7");
    EXPECT_TRUE(allows(1, Direction::kEgress, id_of("192.0.2.7/32")));
    // A rule that comes and goes takes nothing with it.
    apply("b.yaml", cnp_manifest("b", egress_to("web", "{cidr: 192.0.2.7/32}")));
    erase("b.yaml");
    ASSERT_TRUE(wait_until([&] { return module_->engine().policies().size() == 1; }));
    module_->flush();
    EXPECT_TRUE(allows(1, Direction::kEgress, id_of("192.0.2.7/32")));
    write_slice("192.0.2.9");
    EXPECT_TRUE(allows(1, Direction::kEgress, id_of("192.0.2.9/32")));
    EXPECT_FALSE(module_->prefixes().contains(prefix("192.0.2.7/32"))) << "what it no longer has is the world's again";
}

}  // namespace
}  // namespace axo::policy
