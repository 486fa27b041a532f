// Policies as the store has them, good and bad, and what they refer to.
#include "features/policy/sources.h"

#include "features/policy/module_fixture.h"
#include "features/policy/translate_fixture.h"

namespace axo::policy {
namespace {

using namespace std::chrono_literals;

const std::string kIngress = "ingress: [{fromCIDR: [192.0.2.0/24]}]";
const std::string kNp =
    "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: np, namespace: default}, "
    "spec: {podSelector: {}, ingress: [{}]}}";

class Sources : public StoreTest {
protected:
    Sources() : late_(*store_) {}
    void start() {
        sources_.reset();
        upserted_.clear();
        synced_ = 0;
        (void)store_->list(resources::kNetworkPolicy);  // has read what was written
        sources_ = std::make_unique<PolicySources>(
            late_, settings_,
            PolicySources::Callbacks{
                .upserted =
                    [this](std::shared_ptr<const Policy> policy) {
                        upserted_.push_back(policy->origin.to_string());
                        policies_[policy->origin.to_string()] = std::move(policy);
                    },
                .removed = [this](const Origin& origin) { EXPECT_EQ(policies_.erase(origin.to_string()), 1U); },
                .synced =
                    [this] {
                        ++synced_;
                        delivered_at_sync_ = upserted_.size();
                    },
                .api_server =
                    [this](const std::set<IpAddress>& addresses) {
                        api_server_.clear();
                        for (const IpAddress& address : addresses) api_server_ += address.to_string() + " ";
                    },
                .rejected = [this](const std::string& where, const Error& error) { rejected_[where] = error.message; },
                .accepted =
                    [this](const std::string& where) {
                        accepted_.push_back(where);
                        rejected_.erase(where);
                    }});
        sources_->start();
        ASSERT_TRUE(wait_until([this] { return synced_ > 0; }));
    }
    // What is in force, and how often something was said about it since last asked.
    std::string rules(const std::string& origin) {
        const auto found = policies_.find(origin);
        return found == policies_.end() ? "" : dump(*found->second);
    }
    bool becomes(const std::string& origin, const std::string& part) {
        return wait_until([&] { return rules(origin).find(part) != std::string::npos; }, 3s);
    }
    bool rejects(const std::string& where, const std::string& part) {
        return wait_until(
            [&] { return rejected_.contains(where) && rejected_.at(where).find(part) != std::string::npos; }, 3s);
    }

    LateStore late_;
    SourceSettings settings_;
    std::vector<std::string> upserted_;
    std::vector<std::string> accepted_;  // whatever was read or translated
    std::map<std::string, std::shared_ptr<const Policy>> policies_;
    std::string api_server_;
    std::map<std::string, std::string> rejected_;
    int synced_ = 0;
    std::size_t delivered_at_sync_ = 0;
    std::unique_ptr<PolicySources> sources_;
};

const char* const kCnpP = "CiliumNetworkPolicy default/p";

TEST_F(Sources, EveryKindIsDeliveredBeforeItSaysThatItIsComplete) {
    write("np.yaml", kNp);
    write("p.yaml", cnp_manifest("p", "{endpointSelector: {}, " + kIngress + "}"));
    write("c.yaml", ccnp_manifest("c", "{endpointSelector: {}, " + kIngress + "}"));
    start();
    EXPECT_EQ(delivered_at_sync_, 3U);
    EXPECT_TRUE(policies_.contains("NetworkPolicy default/np"));
    EXPECT_TRUE(policies_.contains(kCnpP));
    EXPECT_TRUE(policies_.contains("CiliumClusterwideNetworkPolicy c"));
    erase("np.yaml");
    erase("c.yaml");
    EXPECT_TRUE(wait_until([&] { return policies_.size() == 1; }));
    EXPECT_EQ(sources_->rows().size(), 1U);
    run_for(20ms);
    EXPECT_EQ(synced_, 1);
    EXPECT_EQ(sources_->changes().taken, 5U) << "three came, two went";
    EXPECT_EQ(sources_->changes().refused, 0U);
}

TEST_F(Sources, KindsThatAreOffAreNotLookedAt) {
    write("np.yaml", kNp);
    write("p.yaml", cnp_manifest("p", "{endpointSelector: {}, " + kIngress + "}"));
    write("c.yaml", ccnp_manifest("c", "{endpointSelector: {}, " + kIngress + "}"));
    const std::vector<std::pair<bool SourceSettings::*, std::string>> kinds = {
        {&SourceSettings::network_policies, "NetworkPolicy default/np"},
        {&SourceSettings::cilium_network_policies, kCnpP},
        {&SourceSettings::cilium_clusterwide_network_policies, "CiliumClusterwideNetworkPolicy c"}};
    for (const auto& [flag, origin] : kinds) {
        settings_ = {};
        settings_.*flag = false;
        policies_.clear();
        start();
        EXPECT_EQ(policies_.size(), 2U) << origin;
        EXPECT_FALSE(policies_.contains(origin));
    }
    settings_ = {.network_policies = false,
                 .cilium_network_policies = false,
                 .cilium_clusterwide_network_policies = false,
                 .context = {}};
    policies_.clear();
    start();
    EXPECT_TRUE(policies_.empty());
}

TEST_F(Sources, ABadVersionLeavesTheOneBeforeInForceAndSaysSo) {
    const std::string good = cnp_manifest("p", "{endpointSelector: {}, " + kIngress + "}");
    write("p.yaml", good);
    start();
    const std::string before = rules(kCnpP);
    ASSERT_NE(before, "");
    write("p.yaml", cnp_manifest("p", "{endpointSelector: {}, ingress: [{fromCIDR: [192.0.2.0/99]}]}"));
    ASSERT_TRUE(rejects(kCnpP, "192.0.2.0/99"));
    EXPECT_EQ(rules(kCnpP), before);
    EXPECT_EQ(sources_->changes().refused, 1U);
    const auto row = sources_->rows().at({"CiliumNetworkPolicy", {"default", "p"}});
    ASSERT_TRUE(row.error);
    EXPECT_NE(row.policy, nullptr);
    // Corrected to what is in force, but for what no rule is made of: nothing to do for the engine.
    const std::size_t told = upserted_.size();
    write("p.yaml",
          "{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {name: p, namespace: default, labels: "
          "{team: a}}, spec: {endpointSelector: {}, " +
              kIngress + "}}");
    ASSERT_TRUE(wait_until([&] { return rejected_.empty(); }));
    EXPECT_FALSE(sources_->rows().at({"CiliumNetworkPolicy", {"default", "p"}}).error);
    EXPECT_EQ(upserted_.size(), told);
    // Corrected to something else.
    write("p.yaml", cnp_manifest("p", "{endpointSelector: {}, ingress: [{fromCIDR: [198.51.100.0/24]}]}"));
    EXPECT_TRUE(becomes(kCnpP, "198.51.100.0/24"));
    // Bad again, and away with it: the version in force goes, too.
    write("p.yaml", cnp_manifest("p", "{endpointSelector: {}, ingress: [{fromCIDR: [7]}]}"));
    ASSERT_TRUE(rejects(kCnpP, ""));
    EXPECT_TRUE(policies_.contains(kCnpP));
    erase("p.yaml");
    EXPECT_TRUE(wait_until([&] { return policies_.empty(); }));
    EXPECT_TRUE(rejected_.empty());
    EXPECT_TRUE(sources_->rows().empty());
}

TEST_F(Sources, WhatWasNeverUsableIsListedAndGoesQuietly) {
    write("p.yaml", cnp_manifest("p", "{ingress: 7}"));
    write("np.yaml",
          "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: np, namespace: default}, spec: 1}");
    start();
    EXPECT_TRUE(policies_.empty());
    EXPECT_EQ(sources_->rows().size(), 2U);
    EXPECT_TRUE(rejected_.contains(kCnpP));
    EXPECT_TRUE(rejected_.contains("NetworkPolicy default/np"));
    erase("p.yaml");
    erase("np.yaml");
    EXPECT_TRUE(wait_until([&] { return sources_->rows().empty(); }));
    EXPECT_TRUE(rejected_.empty());
}

TEST_F(Sources, OnlyPoliciesThatReferToAGroupAreTranslatedAgain) {
    const auto group = [](const std::string& name, const std::string& cidrs) {
        return "{apiVersion: cilium.io/v2, kind: CiliumCIDRGroup, metadata: {name: " + name +
               "}, spec: {externalCIDRs: [" + cidrs + "]}}";
    };
    const auto user = [](const std::string& name, const std::string& from) {
        return cnp_manifest(name, "{endpointSelector: {}, ingress: [{fromCIDRSet: [" + from + "]}]}");
    };
    write("g.yaml", group("g", "192.0.2.0/24"));
    write("p.yaml", user("p", "{cidrGroupRef: g}"));
    write("q.yaml", user("q", "{cidrGroupRef: h}"));
    write("r.yaml", user("r", "{cidr: 203.0.113.0/24}"));
    start();
    EXPECT_NE(rules(kCnpP).find("192.0.2.0/24"), std::string::npos) << rules(kCnpP);
    EXPECT_EQ(upserted_.size(), 3U) << "groups first: each is translated once";
    upserted_.clear();
    accepted_.clear();
    write("g.yaml", group("g", "198.51.100.0/24"));
    ASSERT_TRUE(becomes(kCnpP, "198.51.100.0/24"));
    EXPECT_EQ(upserted_, std::vector<std::string>{kCnpP});
    EXPECT_EQ(accepted_, (std::vector<std::string>{"CiliumCIDRGroup g", kCnpP}));
    upserted_.clear();
    write("h.yaml", group("h", "10.7.0.0/16"));
    ASSERT_TRUE(becomes("CiliumNetworkPolicy default/q", "10.7.0.0/16"));
    EXPECT_EQ(upserted_, std::vector<std::string>{"CiliumNetworkPolicy default/q"});
    // A bad group stays as it was.
    write("g.yaml", group("g", "nonsense"));
    ASSERT_TRUE(rejects("CiliumCIDRGroup g", "nonsense"));
    EXPECT_NE(rules(kCnpP).find("198.51.100.0/24"), std::string::npos);
    upserted_.clear();
    erase("g.yaml");
    ASSERT_TRUE(wait_until([&] { return !upserted_.empty(); }));
    EXPECT_EQ(rules(kCnpP).find("198.51.100.0/24"), std::string::npos);
    EXPECT_TRUE(rejected_.empty());
}

TEST_F(Sources, ServicesAndTheirEndpointsReachTheRulesThatNameThem) {
    const auto service = [](const std::string& more) {
        return "{apiVersion: v1, kind: Service, metadata: {name: db, namespace: default}, spec: {clusterIP: 10.96.0.7, "
               "ports: [{port: 5432}]" +
               more + "}}";
    };
    const auto slice = [](const std::string& name, const std::string& service_name, const std::string& address) {
        return "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, metadata: {name: " + name +
               ", namespace: default, labels: {kubernetes.io/service-name: " + service_name +
               "}}, endpoints: [{addresses: [" + address + "]}], ports: [{port: 5432}]}";
    };
    write("p.yaml",
          cnp_manifest("p",
                       "{endpointSelector: {}, egress: [{toServices: [{k8sService: {serviceName: db, namespace: "
                       "default}}]}]}"));
    write("r.yaml", cnp_manifest("r", "{endpointSelector: {}, " + kIngress + "}"));
    start();
    EXPECT_EQ(rules(kCnpP).find("192.0.2."), std::string::npos);
    upserted_.clear();
    write("slice.yaml", slice("db-1", "db", "192.0.2.1"));
    run_for(30ms);
    EXPECT_TRUE(upserted_.empty()) << "a slice without its service means nothing";
    write("service.yaml", service(""));
    ASSERT_TRUE(becomes(kCnpP, "192.0.2.1/32")) << rules(kCnpP);
    write("slice2.yaml", slice("db-2", "db", "192.0.2.2"));
    ASSERT_TRUE(becomes(kCnpP, "192.0.2.2/32"));
    EXPECT_NE(rules(kCnpP).find("192.0.2.1/32"), std::string::npos);
    // A slice that now is another service's.
    write("slice.yaml", slice("db-1", "other", "192.0.2.1"));
    ASSERT_TRUE(wait_until([&] { return rules(kCnpP).find("192.0.2.1/32") == std::string::npos; }));
    EXPECT_NE(rules(kCnpP).find("192.0.2.2/32"), std::string::npos);
    const std::size_t told = upserted_.size();
    write("service.yaml", service(", sessionAffinity: ClientIP"));
    run_for(50ms);
    EXPECT_EQ(upserted_.size(), told) << "nothing that policies look at";
    erase("service.yaml");
    ASSERT_TRUE(wait_until([&] { return rules(kCnpP).find("192.0.2.2/32") == std::string::npos; }));
    for (const std::string& origin : upserted_) EXPECT_EQ(origin, kCnpP);
    EXPECT_EQ(std::ranges::count(accepted_, "CiliumNetworkPolicy default/r"), 1) << "refers to no Service";
    write("slice.yaml",
          "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, metadata: {name: db-1, "
          "namespace: default}, endpoints: 7}");
    EXPECT_TRUE(rejects("EndpointSlice default/db-1", ""));
}

TEST_F(Sources, AddressesOfTheApiServerAreThoseOfItsSlices) {
    start();
    const auto slice = [](const std::string& name, const std::string& name_space, const std::string& addresses) {
        return "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, metadata: {name: " + name +
               ", namespace: " + name_space +
               ", labels: {kubernetes.io/service-name: kubernetes}}, endpoints: " + "[{addresses: [" + addresses +
               "]}], ports: [{port: 6443}]}";
    };
    write("a.yaml", slice("a", "default", "192.0.2.1"));
    ASSERT_TRUE(wait_until([&] { return api_server_ == "192.0.2.1 "; }));
    write("b.yaml", slice("b", "default", "192.0.2.2"));
    ASSERT_TRUE(wait_until([&] { return api_server_ == "192.0.2.1 192.0.2.2 "; }));
    write("c.yaml", slice("c", "other", "192.0.2.3"));
    erase("a.yaml");
    ASSERT_TRUE(wait_until([&] { return api_server_ == "192.0.2.2 "; }));
    erase("b.yaml");
    ASSERT_TRUE(wait_until([&] { return api_server_.empty(); }));
}

TEST_F(Sources, PreviewsTranslateAndChangeNothing) {
    write("g.yaml",
          "{apiVersion: cilium.io/v2, kind: CiliumCIDRGroup, metadata: {name: g}, spec: {externalCIDRs: "
          "[192.0.2.0/24]}}");
    start();
    const auto preview = [this](const std::string& yaml) {
        return run_to_end(loop_, sources_->preview(parse_yaml(yaml).value()));
    };
    const auto good =
        preview(cnp_manifest("x", "{endpointSelector: {}, ingress: [{fromCIDRSet: [{cidrGroupRef: g}]}]}"));
    ASSERT_TRUE(good) << good.error().message;
    EXPECT_NE(dump(good->policy).find("192.0.2.0/24"), std::string::npos) << "with this cluster's groups";
    EXPECT_TRUE(preview(kNp));
    EXPECT_TRUE(preview(ccnp_manifest("x", "{endpointSelector: {}, " + kIngress + "}")));
    EXPECT_TRUE(policies_.empty());
    EXPECT_TRUE(sources_->rows().empty());
    EXPECT_EQ(preview(cnp_manifest("x", "{endpointSelector: {}, ingress: 1}")).error().code, Code::kInvalidArgument);
    for (const char* text : {"{kind: Service, metadata: {name: x}}", "{kind: 7}", "{kind: [NetworkPolicy]}",
                             "{kind: null}", "{kind: {}}", "{}", "[]", "7", "null", "[NetworkPolicy]"}) {
        const auto refused = preview(text);
        ASSERT_FALSE(refused) << text;
        EXPECT_EQ(refused.error().code, Code::kInvalidArgument) << text;
        EXPECT_NE(refused.error().message.find("CiliumClusterwideNetworkPolicy"), std::string::npos)
            << "says what is expected: " << refused.error().message;
    }
}

TEST_F(Sources, FilesWithOddKindsHarmNobody) {
    write("odd.yaml", "{apiVersion: cilium.io/v2, kind: 7, metadata: {name: p, namespace: default}}");
    write("odd2.yaml", "{apiVersion: [], kind: [CiliumNetworkPolicy], metadata: 7}");
    write("odd3.yaml", "{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {name: 7, namespace: {}}}");
    write("p.yaml", cnp_manifest("p", "{endpointSelector: {}, " + kIngress + "}"));
    start();
    EXPECT_EQ(policies_.size(), 1U);
    EXPECT_EQ(store_->rejected().size(), 3U);
}

// The store lists what it cannot read; nobody would take a second list's entry away.
TEST_F(Sources, FilesThatCannotBeReadAreTheStoresToTell) {
    const std::string good = cnp_manifest("p", "{endpointSelector: {}, " + kIngress + "}");
    write("p.yaml", good);
    start();
    const std::string before = rules(kCnpP);
    write("p.yaml", good.substr(0, good.size() - 2));
    ASSERT_TRUE(wait_until([&] { return !store_->rejected().empty(); }));
    run_for(20ms);
    EXPECT_EQ(rules(kCnpP), before);
    EXPECT_TRUE(rejected_.empty()) << rejected_.begin()->first;
    write("p.yaml", good);
    EXPECT_TRUE(wait_until([&] { return store_->rejected().empty(); }));
    EXPECT_EQ(rules(kCnpP), before);
}

// `policy get` has no other place to look: an API server may be away for long.
TEST_F(Sources, WhatIsInForceCanBePrintedWithoutTheStore) {
    write("p.yaml", cnp_manifest("p", "{description: first, endpointSelector: {}, " + kIngress + "}"));
    start();
    const auto description = [&] {
        const Json rules = Json::parse(sources_->rows().at({"CiliumNetworkPolicy", {"default", "p"}}).rules.text());
        return rules.size() == 1 ? rules[0].value("description", "") : "";
    };
    EXPECT_EQ(description(), "first");
    write("p.yaml",
          cnp_manifest("p", "{description: second, endpointSelector: {}, ingress: [{fromCIDR: [nonsense]}]}"));
    ASSERT_TRUE(wait_until([&] { return !rejected_.empty(); }));
    EXPECT_EQ(description(), "first") << "the earlier version is in force";
    write("p.yaml", cnp_manifest("p", "{description: third, endpointSelector: {}, " + kIngress + "}"));
    EXPECT_TRUE(wait_until([&] { return description() == "third"; }));
}

TEST_F(Sources, WarningsSeeTheClusterAsItIsNow) {
    write("p.yaml", cnp_manifest("p", "{endpointSelector: {}, egress: [{toCIDR: [10.0.1.7/32]}]}"));
    start();
    const PolicySources::Key key{"CiliumNetworkPolicy", {"default", "p"}};
    EXPECT_TRUE(sources_->rows().at(key).warnings.empty());
    sources_->set_cluster_prefixes({prefix("10.0.1.0/24")});
    write("p.yaml", cnp_manifest("p", "{endpointSelector: {}, egress: [{toCIDR: [10.0.1.8/32]}]}"));
    ASSERT_TRUE(wait_until([&] { return !sources_->rows().at(key).warnings.empty(); }));
}

}  // namespace
}  // namespace axo::policy
