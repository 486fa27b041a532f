// What users read in .status of their policies.
#include "features/policy/validity.h"

#include "features/policy/module_fixture.h"
#include "model/yaml.h"

namespace axo::policy {
namespace {

using namespace std::chrono_literals;

class Validity : public StoreTest {
protected:
    Validity() : counting_(*store_) {}
    void start() {
        validator_ = std::make_unique<PolicyValidator>(loop_, registry_, counting_, TranslateContext{},
                                                       [this] { return cluster_; });
    }
    Json condition(const ResourceType& type, const ObjectKey& key) {
        const Json object = get(type, key);
        return object.is_object() ? object.value(Json::json_pointer("/status/conditions/0"), Json()) : Json();
    }
    std::string text(const ResourceType& type, const ObjectKey& key) {
        const Json found = condition(type, key);
        return found.is_object()
                   ? found.value("type", "") + "=" + found.value("status", "") + " " + found.value("message", "")
                   : "";
    }
    bool becomes(const ResourceType& type, const ObjectKey& key, const std::string& part) {
        return wait_until([&] { return text(type, key).find(part) != std::string::npos; }, 3s);
    }

    const ResourceType& cnp_ = resources::kCiliumNetworkPolicy;
    const ResourceType& ccnp_ = resources::kCiliumClusterwideNetworkPolicy;
    const ObjectKey key_{"default", "p"};
    LateStore counting_;
    std::vector<Prefix> cluster_;
    std::unique_ptr<PolicyValidator> validator_;
};

const std::string kGood = "{endpointSelector: {}, ingress: [{fromCIDR: [192.0.2.0/24]}]}";
const std::string kBad = "{endpointSelector: {}, ingress: [{fromCIDR: [192.0.2.0/99]}]}";

TEST_F(Validity, TellsBothKindsWhetherTheyAreValidAndWhyNot) {
    write("p.yaml", cnp_manifest("p", kGood));
    write("bad.yaml", ccnp_manifest("bad", kBad));
    start();
    ASSERT_TRUE(becomes(cnp_, key_, "Valid=True Policy validation succeeded"));
    EXPECT_EQ(text(cnp_, key_), "Valid=True Policy validation succeeded");
    ASSERT_TRUE(becomes(ccnp_, {"", "bad"}, "Valid=False"));
    EXPECT_NE(text(ccnp_, {"", "bad"}).find("192.0.2.0/99"), std::string::npos) << text(ccnp_, {"", "bad"});
    EXPECT_EQ(validator_->invalid(), 1U);
    write("bad.yaml", ccnp_manifest("bad", kGood));
    ASSERT_TRUE(becomes(ccnp_, {"", "bad"}, "Valid=True"));
    EXPECT_EQ(validator_->invalid(), 0U);
    write("bad.yaml", ccnp_manifest("bad", kBad));
    ASSERT_TRUE(becomes(ccnp_, {"", "bad"}, "Valid=False"));
    erase("bad.yaml");
    EXPECT_TRUE(wait_until([&] { return validator_->invalid() == 0; }));
}

TEST_F(Validity, NothingIsWrittenThatIsThereAlready) {
    put(cnp_, {{"metadata", {{"name", "p"}, {"namespace", "default"}}}, {"spec", *parse_yaml(kGood)}});
    start();
    ASSERT_TRUE(becomes(cnp_, key_, "Valid=True"));
    const Json first = get(cnp_, key_);
    EXPECT_EQ(counting_.status_writes, 1) << "not again for its own write";
    run_for(50ms);
    EXPECT_EQ(counting_.status_writes, 1);
    validator_.reset();
    start();
    run_for(50ms);
    EXPECT_EQ(counting_.status_writes, 1) << "another operator finds it as it is";
    EXPECT_EQ(get(cnp_, key_), first);
}

TEST_F(Validity, TheTimeIsThatOfTheTransition) {
    put(cnp_, {{"metadata", {{"name", "p"}, {"namespace", "default"}}}, {"spec", *parse_yaml(kGood)}});
    start();
    ASSERT_TRUE(becomes(cnp_, key_, "Valid=True"));
    const auto rewrite = [this](const std::string& time, const std::string& spec) {
        Json object = get(cnp_, key_);
        object["status"]["conditions"][0]["lastTransitionTime"] = time;
        ASSERT_TRUE(store_->update_status(cnp_, object));
        object = get(cnp_, key_);
        object["spec"] = *parse_yaml(spec);
        ASSERT_TRUE(store_->update(cnp_, object));
    };
    const std::string old = "2020-01-01T00:00:00Z";
    // Another message of the same state keeps it.
    cluster_ = {prefix("192.0.2.0/25")};
    rewrite(old, kGood + " ");
    rewrite(old, "{endpointSelector: {}, ingress: [{fromCIDR: [192.0.2.0/24, 192.0.2.0/26]}]}");
    ASSERT_TRUE(becomes(cnp_, key_, "warning")) << text(cnp_, key_);
    EXPECT_EQ(condition(cnp_, key_).at("lastTransitionTime"), old);
    rewrite(old, kBad);
    ASSERT_TRUE(becomes(cnp_, key_, "Valid=False"));
    EXPECT_NE(condition(cnp_, key_).at("lastTransitionTime"), old);
}

TEST_F(Validity, CidrsOverThePodsOfTheClusterEarnAWarning) {
    cluster_ = {prefix("10.0.1.0/24"), prefix("172.16.0.5/32")};
    write("p.yaml", cnp_manifest("p", "{endpointSelector: {}, egress: [{toCIDR: [10.0.1.7/32]}]}"));
    write("q.yaml", cnp_manifest("q", "{endpointSelector: {}, egress: [{toCIDR: [192.0.2.0/24]}]}"));
    start();
    ASSERT_TRUE(becomes(cnp_, key_, "Valid=True"));
    EXPECT_NE(text(cnp_, key_).find("; warning: spec.egress[0].toCIDR[0]"), std::string::npos) << text(cnp_, key_);
    ASSERT_TRUE(becomes(cnp_, {"default", "q"}, "Valid=True"));
    EXPECT_EQ(text(cnp_, {"default", "q"}).find("warning"), std::string::npos);
    EXPECT_EQ(validator_->invalid(), 0U) << "a warning is no error";
}

TEST_F(Validity, OtherConditionsStay) {
    put(cnp_, {{"metadata", {{"name", "p"}, {"namespace", "default"}}},
               {"spec", *parse_yaml(kGood)},
               {"status", {{"conditions", {{{"type", "Other"}, {"status", "True"}}}}, {"mine", 1}}}});
    Json object = get(cnp_, key_);
    object["status"] = {{"conditions", {{{"type", "Other"}, {"status", "True"}}}}, {"mine", 1}};
    ASSERT_TRUE(store_->update_status(cnp_, object));
    start();
    ASSERT_TRUE(wait_until([&] { return get(cnp_, key_).at("status").at("conditions").size() == 2; }));
    const Json status = get(cnp_, key_).at("status");
    EXPECT_EQ(status.at("conditions")[0], (Json{{"type", "Other"}, {"status", "True"}}));
    EXPECT_EQ(status.at("conditions")[1].at("type"), "Valid");
    EXPECT_EQ(status.at("mine"), 1);
}

}  // namespace
}  // namespace axo::policy
